"""Operations on the tables and on the collection as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from docshelf.errors import CorruptEntryError, DatabaseError, SchemaError
from docshelf.operations.context import Context
from docshelf.sql.migrations import is_current, upgrade
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout
from docshelf.steps import Compute, Flow, Read, Write
from docshelf.types import Problem, Stats
from docshelf.values.stored import Stored

if TYPE_CHECKING:
    from sqlalchemy import Connection


def setup(context: Context, layout: Layout = DEFAULT_LAYOUT) -> Flow[None]:
    """Create or upgrade the tables and lay out the entries, where needed."""
    dialect = context.dialect

    def is_done(connection: Connection) -> bool:
        return is_current(connection, dialect) and dialect.is_laid_out(connection, layout)

    if (yield Read(is_done)):
        return
    try:
        yield Write(partial(upgrade, dialect=dialect, layout=layout))
    except DatabaseError as exc:
        if exc.sqlstate not in ("42501", "3F000"):  # insufficient privilege, no schema to create in
            raise
        raise SchemaError(
            f"the table {dialect.tables.entries.fullname} is missing or has an older version, and this role may not "
            f"create or change it ({exc}); run setup() once with a role that may, and grant this role SELECT, INSERT, "
            "UPDATE and DELETE on the tables and USAGE on the sequence of the entries table"
        ) from exc


def problems(context: Context, keys: Sequence[str]) -> Flow[list[Problem]]:
    """The rows of some keys that cannot be read. Reports progress for each row. They fit in memory together."""
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch(connection, context.collection, keys, None, bounded=True)
    )

    def check() -> list[Problem]:
        problems: list[Problem] = []
        for row in rows:
            try:
                context.codec.decode(row)
            except CorruptEntryError as exc:
                problems += exc.problems
        return problems

    problems: list[Problem] = yield Compute(check, heavy=True)
    context.on_progress(len(rows))
    return problems


def stats(context: Context) -> Flow[Stats]:
    """Numbers and sizes of the collection."""
    result: Stats = yield Read(lambda connection: context.queries.stats(connection, context.collection))
    return result
