"""docshelf's tables as SQLAlchemy `Table`s. A project's own Alembic can import them.

from docshelf.schema import define_tables

target_metadata = [Base.metadata, define_tables(schema="rag").metadata]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

from docshelf.errors import ConfigurationError
from docshelf.values.stored import utc_time

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

# PostgreSQL cuts names after 63 bytes, and the longest name adds 22 to the prefix.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


class UTCDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC: timestamptz on PostgreSQL, sortable ISO text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and dialect.name == "sqlite":
            return value.astimezone(timezone.utc).replace(tzinfo=None)
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else utc_time(value)


class SearchFields(TypeDecorator[Any]):
    """The searchable fields of a value: jsonb on PostgreSQL, JSON text on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        # Not imported at the top: SQLAlchemy's part for PostgreSQL takes 60 ms. Here it is loaded already.
        jsonb: type[TypeEngine[Any]] = dialect.ischema_names["jsonb"]  # type: ignore[attr-defined]
        return dialect.type_descriptor(jsonb())


def _text(**options: Any) -> Column[str]:
    # "C" orders by bytes, as SQLite does, and lets a search by prefix use the primary key.
    return Column(Text().with_variant(Text(collation="C"), "postgresql"), **options)


@dataclass(frozen=True)
class Tables:
    """docshelf's tables with one prefix and schema.

    Attributes:
        entries: the documents. The primary key is (collection, key, source).
        sources: fingerprint and metadata of each source.
        collections: settings of each collection, and the collection that it belongs to.
        versions: one row for each upgrade step that was applied.

    Example:
        >>> tables = define_tables(table_prefix="rag")
        >>> [table.name for table in (tables.entries, tables.sources, tables.collections, tables.versions)]
        ['rag_entries', 'rag_sources', 'rag_collections', 'rag_schema']
    """

    metadata: MetaData
    entries: Table
    sources: Table
    collections: Table
    versions: Table


def check_table_prefix(table_prefix: str) -> str:
    """Check that a prefix is a plain identifier.

    Raises:
        ConfigurationError: it is not.
    """
    return _check_name(table_prefix, "table_prefix")


def check_schema(schema: str | None) -> str | None:
    """Check that the name of a PostgreSQL schema is a plain identifier or None. Raises as `check_table_prefix` does."""
    return None if schema is None else _check_name(schema, "schema")


def define_tables(
    metadata: MetaData | None = None, *, schema: str | None = None, table_prefix: str = "docshelf"
) -> Tables:
    """Define docshelf's tables.

    Args:
        metadata: the `MetaData` to define them in; by default a new one.
        schema: the PostgreSQL schema; by default the first in the connection's search path.
        table_prefix: the tables are named `<prefix>_entries`, `<prefix>_sources`, `<prefix>_collections` and
            `<prefix>_schema`.

    Raises:
        ConfigurationError: a name is not a plain identifier of at most 40 characters.

    Example:
        >>> define_tables(schema="rag").entries.fullname
        'rag.docshelf_entries'
    """
    check_table_prefix(table_prefix)
    check_schema(schema)
    metadata = MetaData() if metadata is None else metadata
    entries = Table(
        f"{table_prefix}_entries",
        metadata,
        _text(name="collection", primary_key=True),
        _text(name="key", primary_key=True),
        _text(name="source", primary_key=True),
        Column("seq", BigInteger, Identity(always=False), nullable=False),
        Column("created_at", UTCDateTime, nullable=False),
        Column("updated_at", UTCDateTime, nullable=False),
        Column("value_hash", LargeBinary),
        Column("checksum", LargeBinary),
        Column("content_type", Text),
        Column("encoding", Text),
        Column("version", Text),
        Column("value", LargeBinary),
        Column("search_fields", SearchFields),
        schema=schema,
    )
    Index(f"{table_prefix}_entries_source_idx", entries.c.collection, entries.c.source, entries.c.key)
    sources = Table(
        f"{table_prefix}_sources",
        metadata,
        _text(name="collection", primary_key=True),
        _text(name="source", primary_key=True),
        Column("fingerprint", Text),
        Column("metadata", Text),
        Column("synced_at", UTCDateTime, nullable=False),
        schema=schema,
    )
    collections = Table(
        f"{table_prefix}_collections",
        metadata,
        _text(name="collection", primary_key=True),
        _text(name="owner", nullable=True),
        Column("settings", Text),
        schema=schema,
    )
    versions = Table(
        f"{table_prefix}_schema",
        metadata,
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("applied_at", UTCDateTime, nullable=False),
        schema=schema,
    )
    return Tables(metadata, entries, sources, collections, versions)


def grants(tables: Tables, kind: Literal["reader", "writer", "owner"], role: str) -> list[str]:
    """The SQL statements that give a PostgreSQL role the rights it needs.

    Args:
        tables: what `define_tables` returns.
        kind: a "reader" only reads, a "writer" also writes, an "owner" also upgrades the tables and creates indexes.
        role: the name of the role.

    Raises:
        ConfigurationError: the kind is unknown, or the role's name is empty or holds a NUL.

    Example:
        >>> grants(define_tables(), "reader", "dashboard")[0][:38]
        'GRANT SELECT ON docshelf_entries, docs'
    """
    if kind not in ("reader", "writer", "owner"):
        raise ConfigurationError(f"kind={kind!r}: give 'reader', 'writer' or 'owner'")
    if not role or "\0" in role:
        raise ConfigurationError(f"role={role!r}: give the name of a role")
    to = '"{}"'.format(role.replace('"', '""'))
    schema = tables.entries.schema
    every = [tables.entries, tables.sources, tables.collections, tables.versions]
    statements = []
    if schema is not None:
        rights = "USAGE, CREATE" if kind == "owner" else "USAGE"
        statements.append(f"GRANT {rights} ON SCHEMA {_quoted(schema)} TO {to}")
    if kind == "owner":
        return statements + [f"ALTER TABLE {_quoted(table.fullname)} OWNER TO {to}" for table in every]
    statements.append(f"GRANT SELECT ON {', '.join(_quoted(table.fullname) for table in every)} TO {to}")
    if kind == "writer":
        written = ", ".join(_quoted(table.fullname) for table in (tables.entries, tables.sources, tables.collections))
        sequence = _quoted(f"{tables.entries.fullname}_seq_seq")
        statements.append(f"GRANT INSERT, UPDATE, DELETE ON {written} TO {to}")
        statements.append(f"GRANT USAGE ON SEQUENCE {sequence} TO {to}")
    return statements


def _quoted(name: str) -> str:
    """A name as PostgreSQL reads it; plain identifiers alone come here, in a schema maybe."""
    return ".".join(part if part == part.lower() else f'"{part}"' for part in name.split("."))


def _check_name(name: Any, what: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what}={name!r}: give letters, digits and underscores, at most 40, beginning with a letter or underscore"
        )
    return name
