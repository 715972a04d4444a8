"""Operations on the tables and on the collection as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from docshelf.errors import ABOUT_THE_STORE, CorruptEntryError, DatabaseError, DocShelfError, SchemaError
from docshelf.operations.context import Context
from docshelf.sql.migrations import is_current, schema_version, upgrade
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout
from docshelf.steps import Compute, Flow, Read, Write
from docshelf.types import EstimatedStats, Health, Problem, Stats
from docshelf.values.stored import Stored

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Connection


def setup(context: Context, layout: Layout = DEFAULT_LAYOUT) -> Flow[None]:
    """Create or upgrade the tables and lay out the entries, where needed."""
    dialect = context.dialect

    def is_done(connection: Connection) -> bool:
        if not (is_current(connection, dialect) and dialect.is_laid_out(connection, layout)):
            return False
        context.learn(connection)
        return True

    def apply(connection: Connection) -> None:
        upgrade(connection, dialect, layout=layout)
        context.learn(connection)

    if (yield Read(is_done)):
        return
    try:
        yield Write(apply)
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


class HealthCheck:
    """Keeps what a store finds out about its database, and ends at the first error of docshelf's own."""

    def __init__(self) -> None:
        self.database = ""
        self.schema_version: int | None = None
        self._problem = ""
        self._start = perf_counter()

    def __enter__(self) -> HealthCheck:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, DocShelfError) or isinstance(error, ABOUT_THE_STORE):
            return False
        self._problem = str(error)
        return True

    def result(self) -> Health:
        milliseconds = 1000 * (perf_counter() - self._start)
        return Health(not self._problem, self._problem, self.database, self.schema_version, milliseconds)


def ping(context: Context) -> Flow[str]:
    """The database and its version, if it answers at the first attempt."""
    server: str = yield Read(context.dialect.server, retry=False)
    return server


def version(context: Context) -> Flow[int | None]:
    """The version of the tables, and whether this role can read the entries of the collection."""

    def read(connection: Connection) -> int | None:
        context.queries.page(connection, context.collection, after=None, prefix=None, source=None, limit=1)
        return schema_version(connection, context.dialect)

    found: int | None = yield Read(read, retry=False)
    return found


def is_set_up(context: Context) -> Flow[bool]:
    """True when the tables are there, and of this version."""
    done: bool = yield Read(lambda connection: is_current(connection, context.dialect))
    return done


def stats(context: Context) -> Flow[Stats]:
    """Numbers and sizes of the collection."""
    result: Stats = yield Read(lambda connection: context.queries.stats(connection, context.collection))
    return result


def estimated_stats(context: Context) -> Flow[EstimatedStats]:
    """About how large the collection is, without reading its entries."""
    dialect, collection = context.dialect, context.collection
    result: EstimatedStats = yield Read(
        lambda connection: EstimatedStats(
            dialect.estimated_entries(connection, collection), dialect.disk_bytes(connection)
        )
    )
    return result
