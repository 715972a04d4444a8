"""The version of the schema, and the steps that create or upgrade it."""

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


# The column that step 2 adds. A table without it may be a table of step 1.
_SEARCH_FIELDS: Final = "search_fields"
# Step N upgrades the schema from version N - 1 to N. Step 1 creates the tables, or completes those that Alembic made.
# A new database equals an upgraded one.
STEPS: Final[Mapping[int, Step]] = {1: _create_tables, 2: _add_collections_and_search}


def is_current(connection: Connection, dialect: Dialect, steps: Mapping[int, Step] = STEPS) -> bool:
    """True when the schema has the version of this docshelf; False when `upgrade` has work to do. Changes nothing.

    Raises:
        SchemaError: the schema is newer, or a table of that name was not made by docshelf.
    """
    versions = dialect.tables.versions
    if not _table_exists(connection, versions):
        _table_exists(connection, dialect.tables.entries)
        _table_exists(connection, dialect.tables.sources)
        _table_exists(connection, dialect.tables.collections)
        return False
    version = _version(connection, dialect)
    if version > max(steps):
        raise SchemaError(
            f"the table {dialect.tables.entries.fullname} was written by a newer docshelf (schema version {version}, "
            f"this one supports {max(steps)}); upgrade docshelf, or use another table_prefix"
        )
    return version == max(steps)


def upgrade(
    connection: Connection, dialect: Dialect, steps: Mapping[int, Step] = STEPS, *, layout: Layout = DEFAULT_LAYOUT
) -> None:
    """Create or upgrade the schema in one transaction. A lock makes other processes wait.

    Raises:
        SchemaError: as `is_current`; or the existing table cannot have this layout.
    """
    dialect.lock_schema(connection)
    if not is_current(connection, dialect, steps):
        versions = dialect.tables.versions
        done = _version(connection, dialect) if _table_exists(connection, versions) else 0
        for version in sorted(steps):
            if version > done:
                steps[version](connection, dialect, layout)
                connection.execute(insert(versions).values(version=version, applied_at=datetime.now(timezone.utc)))
    if not dialect.is_laid_out(connection, layout):
        dialect.lay_out(connection, layout)


def schema_version(connection: Connection, dialect: Dialect) -> int | None:
    """The version of the schema; None where docshelf's tables are not there."""
    return _version(connection, dialect) if _table_exists(connection, dialect.tables.versions) else None


def _version(connection: Connection, dialect: Dialect) -> int:
    return connection.scalar(select(func.max(dialect.tables.versions.c.version))) or 0


def _table_exists(connection: Connection, table: Table) -> bool:
    """True when the table exists. Raises a SchemaError if it lacks a column of docshelf's table."""
    existing = _columns(connection, table)
    if not existing:
        return False  # missing, or another process is creating it right now; `upgrade` checks again under the lock
    missing = sorted({column.name for column in table.columns} - existing - {_SEARCH_FIELDS})
    if missing:
        raise SchemaError(
            f"the table {table.fullname} exists but was not made by docshelf (it has no column {missing[0]!r}); "
            "use another table_prefix or schema"
        )
    return True


def _columns(connection: Connection, table: Table) -> set[str]:
    """The names of a table's columns; empty if the table does not exist."""
    try:
        return {column["name"] for column in inspect(connection).get_columns(table.name, schema=table.schema)}
    except NoSuchTableError:
        return set()
