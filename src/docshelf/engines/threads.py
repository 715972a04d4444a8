"""The threads in which async calls use SQLite."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from docshelf.errors import DocShelfError
from docshelf.steps import Read, Write

if TYPE_CHECKING:
    from sqlalchemy import Connection

_READERS: Final = 15


class StepCancelledError(DocShelfError):
    """Rolls back a step whose caller was cancelled. Nobody sees it: the caller got its CancelledError."""


class StepThreads:
    """Runs steps in threads of its own: one for writes, which SQLite takes one at a time anyway, several for reads.

    The loop's own executor would do neither: cancelled calls that wait for a lock would fill it, and a cancelled write
    would go on, to land after a later one that was acknowledged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writer: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None

    async def run(self, perform: Callable[[Read | Write], Any], step: Read | Write) -> Any:
        """Perform a step in a thread. A write that is cancelled before its commit does not commit."""
        cancelled = threading.Event()

        def run(connection: Connection) -> Any:
            _check(cancelled)
            result = step.run(connection)
            _check(cancelled)
            return result

        context = copy_context()  # as asyncio.to_thread does
        future = asyncio.wrap_future(self._executor(step).submit(context.run, perform, replace(step, run=run)))
        try:
            return await future
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _executor(self, step: Read | Write) -> ThreadPoolExecutor:
        with self._lock:
            if isinstance(step, Write):
                if self._writer is None:
                    self._writer = ThreadPoolExecutor(1, "docshelf-sqlite-write")
                return self._writer
            if self._readers is None:
                self._readers = ThreadPoolExecutor(_READERS, "docshelf-sqlite-read")
            return self._readers

    def close(self) -> None:
        """Let the threads end when their work is done."""
        with self._lock:
            executors, self._writer, self._readers = (self._writer, self._readers), None, None
        for executor in executors:
            if executor is not None:
                executor.shutdown(wait=False)


def _check(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise StepCancelledError
