"""The version of the schema, and the steps that create or upgrade it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, insert, inspect, select
from sqlalchemy.engine.reflection import ObjectKind, ObjectScope

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
    if column.name not in _columns(connection, tables.entries)[tables.entries]:
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
    return _version(connection, dialect, steps) == max(steps)


def upgrade(
    connection: Connection, dialect: Dialect, steps: Mapping[int, Step] = STEPS, *, layout: Layout = DEFAULT_LAYOUT
) -> None:
    """Create or upgrade the schema in one transaction. A lock makes other processes wait.

    Raises:
        SchemaError: as `is_current`; or the existing table cannot have this layout.
    """
    dialect.lock_schema(connection)
    done = _version(connection, dialect, steps)
    for version in sorted(steps):
        if version > done:
            steps[version](connection, dialect, layout)
            row = {"version": version, "applied_at": datetime.now(timezone.utc)}
            connection.execute(insert(dialect.tables.versions).values(row))
    if not dialect.is_laid_out(connection, layout):
        dialect.lay_out(connection, layout)


def schema_version(connection: Connection, dialect: Dialect) -> int | None:
    """The version that the tables say; None where docshelf's tables are not there."""
    versions = dialect.tables.versions
    return _stored_version(connection, dialect) if _columns(connection, versions)[versions] else None


def _stored_version(connection: Connection, dialect: Dialect) -> int:
    return connection.scalar(select(func.max(dialect.tables.versions.c.version))) or 0


def _version(connection: Connection, dialect: Dialect, steps: Mapping[int, Step]) -> int:
    """The version of the schema; 0 without tables, and for tables that Alembic made.

    Raises:
        SchemaError: as `is_current`.
    """
    tables = dialect.tables
    # Missing tables may be tables that another process is creating right now; `upgrade` looks again under its lock.
    columns = _columns(connection, tables.versions, tables.entries, tables.sources, tables.collections)
    for table, existing in columns.items():
        missing = sorted({column.name for column in table.columns} - existing - {_SEARCH_FIELDS})
        if existing and missing:
            raise SchemaError(
                f"the table {table.fullname} exists but was not made by docshelf (it has no column {missing[0]!r}); "
                "use another table_prefix or schema"
            )
    if not columns[tables.versions]:
        return 0
    version = _stored_version(connection, dialect)
    if version > max(steps):
        raise SchemaError(
            f"the table {tables.entries.fullname} was written by a newer docshelf (schema version {version}, "
            f"this one supports {max(steps)}); upgrade docshelf, or use another table_prefix"
        )
    return version


def _columns(connection: Connection, *tables: Table) -> dict[Table, set[str]]:
    """The names of the columns of each table, by one query; empty for a table that does not exist."""
    schema = tables[0].schema
    names = [table.name for table in tables]
    found = inspect(connection).get_multi_columns(
        schema=schema, filter_names=names, kind=ObjectKind.ANY, scope=ObjectScope.ANY
    )
    return {table: {column["name"] for column in found.get((schema, table.name), ())} for table in tables}
