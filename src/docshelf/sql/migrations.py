"""The schema's version: what stands, whether it is ours, and the steps that bring it up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, insert, inspect, select
from sqlalchemy.exc import NoSuchTableError

from docshelf.errors import SchemaError
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from docshelf.sql.dialects.base import Dialect

Step = Callable[["Connection", "Dialect", Layout], None]


def _create_tables(connection: Connection, dialect: Dialect, layout: Layout) -> None:
    dialect.create_namespace(connection)
    dialect.create_tables(connection, layout)


def _add_collections_and_search(connection: Connection, dialect: Dialect, layout: Layout) -> None:
    tables = dialect.tables
    tables.collections.create(connection, checkfirst=True)
    column = tables.entries.c[_SEARCH_FIELDS]
    if column.name not in _columns(connection, tables.entries):
        dialect.add_column(connection, column)
    dialect.tune_tables(connection)


# The column that step 2 adds: a table without it may be of step 1.
_SEARCH_FIELDS: Final = "search_fields"
# Each step turns the schema of the version before it into its own. A database made by all of them in turn equals one
# made by the last. Step 1 makes the tables, or completes those that Alembic made.
STEPS: Final[Mapping[int, Step]] = {1: _create_tables, 2: _add_collections_and_search}


def is_current(connection: Connection, dialect: Dialect, steps: Mapping[int, Step] = STEPS) -> bool:
    """True when the schema has the version that this docshelf works on; False when `upgrade` has something to do.

    Raises:
        SchemaError: the schema is newer, or a table of that name is not docshelf's. Nothing was touched.
    """
    versions = dialect.tables.versions
    if not _is_there(connection, versions):
        _is_there(connection, dialect.tables.entries)
        _is_there(connection, dialect.tables.sources)
        _is_there(connection, dialect.tables.collections)
        return False
    version = _version(connection, dialect)
    if version > max(steps):
        raise SchemaError(
            f"the table {dialect.tables.entries.fullname} was written by a newer docshelf (schema version {version}, "
            f"this one knows {max(steps)}); upgrade docshelf, or use another table_prefix"
        )
    return version == max(steps)


def upgrade(
    connection: Connection, dialect: Dialect, steps: Mapping[int, Step] = STEPS, *, layout: Layout = DEFAULT_LAYOUT
) -> None:
    """Bring the schema up to date, in one transaction, under a lock that other processes wait for.

    Raises:
        SchemaError: as `is_current` does, or the table that is there cannot have this layout.
    """
    dialect.lock_schema(connection)
    if not is_current(connection, dialect, steps):
        versions = dialect.tables.versions
        done = _version(connection, dialect) if _is_there(connection, versions) else 0
        for version in sorted(steps):
            if version > done:
                steps[version](connection, dialect, layout)
                connection.execute(insert(versions).values(version=version, applied_at=datetime.now(timezone.utc)))
    if not dialect.is_laid_out(connection, layout):
        dialect.lay_out(connection, layout)


def schema_version(connection: Connection, dialect: Dialect) -> int | None:
    """The version of the schema; None where docshelf's tables are not there."""
    return _version(connection, dialect) if _is_there(connection, dialect.tables.versions) else None


def _version(connection: Connection, dialect: Dialect) -> int:
    return connection.scalar(select(func.max(dialect.tables.versions.c.version))) or 0


def _is_there(connection: Connection, table: Table) -> bool:
    """True when the table exists and is ours; raises for a foreign one."""
    there = _columns(connection, table)
    if not there:
        return False
    missing = sorted({column.name for column in table.columns} - there - {_SEARCH_FIELDS})
    if missing:
        raise SchemaError(
            f"there is a table {table.fullname} that is not docshelf's (it has no column {missing[0]!r}); "
            "use another table_prefix or schema"
        )
    return True


def _columns(connection: Connection, table: Table) -> set[str]:
    """The names of a table's columns; none where there is no such table."""
    try:
        return {column["name"] for column in inspect(connection).get_columns(table.name, schema=table.schema)}
    except NoSuchTableError:
        return set()
