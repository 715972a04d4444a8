"""Counts the work of SQLite, so that a test sees what grows with a collection."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool


class Work:
    """The work on all SQLite connections that are opened after `watch`.

    A step is one instruction of SQLite's virtual machine. Unlike seconds, steps are the same in every run.
    """

    def __init__(self) -> None:
        self._connections: list[sqlite3.Connection] = []
        self.steps = 0

    def opened(self, connection: Any, _record: Any) -> None:
        """Takes note of a connection."""
        if isinstance(connection, sqlite3.Connection):
            self._connections.append(connection)

    def closed(self, connection: Any, _record: Any) -> None:
        """Takes note that a connection is closed."""
        if connection in self._connections:
            self._connections.remove(connection)

    def _count(self) -> int:
        self.steps += 1
        return 0  # lets SQLite go on

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Counts steps from 0, on the connections that are open."""
        self.steps = 0
        for connection in self._connections:
            connection.set_progress_handler(self._count, 1)
        try:
            yield
        finally:
            for connection in self._connections:
                connection.set_progress_handler(None, 0)


@contextlib.contextmanager
def watched_work() -> Iterator[Work]:
    """Watches the connections that are opened meanwhile."""
    work = Work()
    event.listen(Pool, "connect", work.opened)
    event.listen(Pool, "close", work.closed)
    try:
        yield work
    finally:
        event.remove(Pool, "connect", work.opened)
        event.remove(Pool, "close", work.closed)
