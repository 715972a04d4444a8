"""Records the statements that are sent to a database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextlib.contextmanager
def recorded_statements() -> Iterator[list[str]]:
    """The text of each statement that any engine executes in the block. An executemany counts once."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def of_operations(statements: list[str]) -> list[str]:
    """The statements without the check of the planner's statistics, which runs once in a thousand new rows."""
    return [statement for statement in statements if "reltuples" not in statement and "ANALYZE" not in statement]
