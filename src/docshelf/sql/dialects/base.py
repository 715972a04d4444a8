"""The interface that operations use, whichever database it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Table, Text, literal, select, text
from sqlalchemy.schema import CreateColumn

from docshelf.schema import Tables, define_tables
from docshelf.sql.rows import Identity, Layout, LayoutKind, PackedRow, RowTimes, UpsertBatch, WriteStamp

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection
    from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert
    from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

    from docshelf.types import Op
    from docshelf.values.search import Asked


def unfilled_index(table: str, collection: str) -> str:
    """The name of the index of a collection's rows without search fields: at most 14 characters more than the table's.

    It names the collection by a digest, as names of indexes are short.
    """
    return f"{table}_u{sha256(collection.encode()).hexdigest()[:8]}_idx"


class Dialect(ABC):
    """Statements whose shape differs between databases, over a sync SQLAlchemy `Connection`.

    Attributes:
        layout: how the entries table is laid out, as `learn_layout` last read it. Statements may take other forms
            for it.
    """

    name: ClassVar[str]
    # The limits of one statement that carries values, to write or to read: rows, and bytes of values.
    chunk_rows: ClassVar[int]
    chunk_bytes: ClassVar[int] = 8 * 1024 * 1024
    # True where `upsert` itself detects rows that were inserted since they were read as absent. Where it is False, the
    # caller must read them again under the lock.
    upsert_compares: ClassVar[bool]

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.layout: LayoutKind = "plain"

    def __reduce__(self) -> Any:
        entries = self.tables.entries
        return _make, (type(self), entries.schema, entries.name.removesuffix("_entries"))

    @abstractmethod
    def in_array(self, column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
        """The condition that `column` is one of the texts in the array bound to `parameter`, of any length."""

    @abstractmethod
    def array(self, texts: Collection[str]) -> Any:
        """The value to bind to the parameter of `in_array`."""

    @abstractmethod
    def in_pairs(self, key: ColumnElement[Any], source: ColumnElement[Any]) -> ColumnElement[bool]:
        """The condition that a key and its source are one of the pairs that `pairs` binds, of any number."""

    @abstractmethod
    def pairs(self, identities: Sequence[Identity]) -> Mapping[str, Any]:
        """The values to bind to the parameters of `in_pairs`."""

    def readable_time(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """The time of a column; NULL for one that would make the driver fail, and so every row of its statement."""
        return column

    @abstractmethod
    def insert(self, table: Table) -> PostgreSQLInsert | SQLiteInsert:
        """An INSERT into a table that supports ON CONFLICT."""

    @abstractmethod
    def now(self, connection: Connection) -> datetime:
        """The time of the database's clock, in UTC."""

    @abstractmethod
    def begin_write(
        self, connection: Connection, collection: str, sources: Collection[str] | None, *, exclusive: bool
    ) -> WriteStamp:
        """Take the locks of a write. They are held until the transaction ends.

        Args:
            sources: the sources that will be written; None for the whole collection.
            exclusive: True blocks all other writers, False only exclusive ones. A write that deletes, or whose work
                depends on what it has read, must be exclusive. Upserts can run in parallel: they hardly ever deadlock,
                because their keys are sorted.
        """

    def upsert_batch(
        self,
        collection: str,
        rows: Sequence[PackedRow],
        stamp: WriteStamp,
        existing: Sequence[int],
        times: RowTimes | None = None,
    ) -> UpsertBatch:
        """Prepare some rows for `upsert`, as far as that needs no connection.

        Args:
            rows: sorted by (key, source).
            existing: by the position of a row, whether an entry is known; false means none is.
            times: when the rows were created and updated, instead of the time of the stamp.
        """
        new = [row for row in rows if not existing[row.position]]
        known = [row for row in rows if existing[row.position]] if new else rows
        searched = any(row.search_fields is not None for row in rows)
        return UpsertBatch(collection, stamp, new, known, times=times, has_search_fields=searched)

    @abstractmethod
    def upsert(self, connection: Connection, batch: UpsertBatch) -> Mapping[int, Op]:
        """Write the rows of a batch that are new or differ from their entries.

        Returns:
            INS or UPD by the position of the row. Rows that needed no write are left out.
        """

    def copy_entries(self, connection: Connection, collection: str, new: str, stamp: WriteStamp) -> None:
        """Copy the entries of a collection into one that has none, in one statement."""
        self._copy_entries(connection, collection, new, self.tables.entries.c.seq)

    def _copy_entries(
        self, connection: Connection, collection: str, new: str, seq: ColumnElement[int], *order: ColumnElement[Any]
    ) -> None:
        entries = self.tables.entries
        columns = {column.name: column for column in entries.c if column.name not in ("collection", "seq")}
        chosen = select(literal(new, Text), seq, *columns.values()).where(entries.c.collection == collection)
        names = ["collection", "seq", *columns]
        connection.execute(entries.insert().from_select(names, chosen.order_by(*order), include_defaults=False))

    @abstractmethod
    def delete(self, connection: Connection, collection: str, identities: Sequence[Identity]) -> list[Identity]:
        """Delete entries. Returns those that existed."""

    @abstractmethod
    def delete_where(
        self,
        connection: Connection,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        sources: Collection[str] | None = None,
    ) -> list[Identity]:
        """Delete the entries of some keys in some sources. None for either means all. Returns those that existed.

        Raises:
            CorruptEntryError: the name of one is not text. Nothing was deleted.
        """

    @abstractmethod
    def set_versions(
        self, connection: Connection, collection: str, identities: Sequence[Identity], versions: Mapping[str, str]
    ) -> list[Identity]:
        """Give entries the versions of their keys, without a look at their values. Returns those that existed."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Take the lock for changes of the schema. It is held until the transaction ends.

        Raises:
            ConfigurationError: as `learn_layout`.
        """

    @abstractmethod
    def create_namespace(self, connection: Connection) -> None:
        """Create the database schema of the tables, if it is missing."""

    def create_tables(self, connection: Connection, layout: Layout) -> None:
        """Create the missing tables, and complete those that Alembic made."""
        self.tables.metadata.create_all(connection, checkfirst=True)

    def add_column(self, connection: Connection, column: Column[Any]) -> None:
        """Add a nullable column to its existing table."""
        table = column.table
        assert isinstance(table, Table)
        specification = CreateColumn(column).compile(dialect=connection.dialect)
        name = connection.dialect.identifier_preparer.format_table(table)
        connection.execute(text(f"ALTER TABLE {name} ADD COLUMN {specification}"))

    def tune_tables(self, connection: Connection) -> None:
        """Set the options that large tables need, if this role may change them."""

    def is_laid_out(self, connection: Connection, layout: Layout) -> bool:
        """True when the entries table has this layout; False when `lay_out` can change it.

        Raises:
            SchemaError: the existing table cannot get this layout.
        """
        return True

    def learn_layout(self, connection: Connection) -> None:
        """Read the layout of the existing entries table.

        Raises:
            ConfigurationError: this server is a worker of Citus.
        """

    def lay_out(self, connection: Connection, layout: Layout) -> None:
        """Give this layout to an existing entries table."""

    def refresh_statistics(self, connection: Connection, new_rows: int) -> int | None:
        """Refresh the planner's statistics if enough rows are new.

        Returns:
            None if it was done or is never needed; else the number of new rows from which on it is due.
        """
        return None

    @abstractmethod
    def may_select(self, connection: Connection, table: Table) -> bool:
        """True when this role may read the table."""

    @abstractmethod
    def owns_tables(self, connection: Connection) -> bool:
        """True when this role may change the tables."""

    @abstractmethod
    def has_form(self, asked: Asked, parameter: str) -> tuple[ColumnElement[bool], Any]:
        """The condition that a row's search fields have a form, and what to bind to `parameter`; None binds nothing.

        It may hold for other rows too, and not for rows without search fields.
        """

    def is_unfilled(self, collection: str) -> ColumnElement[bool]:
        """The condition that a row of a collection has no search fields."""
        return self.tables.entries.c.search_fields.is_(None)

    @abstractmethod
    def search_indexes(self, collection: str, fields: Sequence[str]) -> Mapping[str, str]:
        """The indexes that searches by these fields of a collection need: name -> what follows its name in CREATE."""

    @abstractmethod
    def existing_indexes(self, connection: Connection) -> set[str]:
        """The names of the usable indexes of the entries table."""

    @abstractmethod
    def create_index(self, connection: Connection, name: str, definition: str, *, concurrently: bool) -> None:
        """Create an index of the entries table.

        Args:
            concurrently: do not lock out writers meanwhile; outside a transaction only.
        """

    @abstractmethod
    def drop_index(self, connection: Connection, name: str) -> None:
        """Drop an index of the entries table, where it exists."""

    @abstractmethod
    def fill_search_fields(self, connection: Connection, collection: str, forms: Mapping[Identity, str | None]) -> None:
        """Write the search fields of entries."""

    @abstractmethod
    def server(self, connection: Connection) -> str:
        """The database and its version, for people."""

    @abstractmethod
    def estimated_entries(self, connection: Connection, collection: str) -> int:
        """About how many entries a collection has, without reading them where the database knows."""

    @abstractmethod
    def disk_bytes(self, connection: Connection) -> int:
        """The bytes on disk of the entries table and its indexes."""


def _make(kind: type[Dialect], schema: str | None, table_prefix: str) -> Dialect:
    """The dialect of a pickle."""
    return kind(define_tables(schema=schema, table_prefix=table_prefix))
