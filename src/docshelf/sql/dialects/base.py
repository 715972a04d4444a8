"""What an operation asks of a database, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Table, text
from sqlalchemy.schema import CreateColumn

from docshelf.sql.rows import Identity, Layout, PackedRow, UpsertBatch, WriteStamp

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection
    from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert
    from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

    from docshelf.schema import Tables
    from docshelf.types import Op


class Dialect(ABC):
    """Statements whose shape differs between databases, over a sync SQLAlchemy `Connection`."""

    name: ClassVar[str]
    # How many statements of `upsert` one call makes depends on these: rows, and bytes of packed values.
    chunk_rows: ClassVar[int]
    chunk_bytes: ClassVar[int] = 8 * 1024 * 1024
    # True where `upsert` finds out by itself which of the new rows stand by now; else none may.
    upsert_compares: ClassVar[bool]

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    @abstractmethod
    def in_array(self, column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
        """`column` is one of the texts in the array bound to `parameter`, however many there are."""

    @abstractmethod
    def array(self, texts: Collection[str]) -> Any:
        """What to bind to the parameter of `in_array`."""

    @abstractmethod
    def in_pairs(self, key: ColumnElement[Any], source: ColumnElement[Any]) -> ColumnElement[bool]:
        """A key and its source are one of the pairs that `pairs` gives, however many there are."""

    @abstractmethod
    def pairs(self, identities: Sequence[Identity]) -> Mapping[str, Any]:
        """What to bind to the parameters of `in_pairs`."""

    @abstractmethod
    def insert(self, table: Table) -> PostgreSQLInsert | SQLiteInsert:
        """An INSERT into a table that can take ON CONFLICT."""

    @abstractmethod
    def begin_write(
        self, connection: Connection, collection: str, sources: Collection[str] | None, *, exclusive: bool
    ) -> WriteStamp:
        """Take the locks of a write, to be held until the transaction ends.

        Args:
            sources: those that will be written; None for the whole collection.
            exclusive: shut out other writers; else only those that need to be alone. A write that deletes, or that
                decides by what it read, is exclusive; upserts beside each other hardly ever deadlock, as their keys
                are sorted.
        """

    def upsert_batch(
        self, collection: str, rows: Sequence[PackedRow], stamp: WriteStamp, existing: Sequence[int]
    ) -> UpsertBatch:
        """What `upsert` is given of some rows. Whatever can be made of them without a connection is made here.

        Args:
            rows: sorted by (key, source).
            existing: by the position of a row, false where no entry is known.
        """
        new = [row for row in rows if not existing[row.position]]
        return UpsertBatch(collection, stamp, new, [row for row in rows if existing[row.position]] if new else rows)

    @abstractmethod
    def upsert(self, connection: Connection, bundle: UpsertBatch) -> Mapping[int, Op]:
        """Write the rows of one of `bundle`'s that differ from what stands; say what each one went through.

        Returns:
            INS or UPD by the position of the row; those that needed no write are not there.
        """

    @abstractmethod
    def delete(self, connection: Connection, collection: str, identities: Sequence[Identity]) -> list[Identity]:
        """Delete entries; returns those that were there."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Let one process at a time change the schema, until the transaction ends."""

    @abstractmethod
    def create_namespace(self, connection: Connection) -> None:
        """Make the schema that the tables are to live in, where it is missing."""

    def create_tables(self, connection: Connection, layout: Layout) -> None:
        """Create the tables that are missing, and complete those that Alembic made."""
        self.tables.metadata.create_all(connection, checkfirst=True)

    def add_column(self, connection: Connection, column: Column[Any]) -> None:
        """Add a column that takes NULL to its table."""
        table = column.table
        assert isinstance(table, Table)
        specification = CreateColumn(column).compile(dialect=connection.dialect)
        name = connection.dialect.identifier_preparer.format_table(table)
        connection.execute(text(f"ALTER TABLE {name} ADD COLUMN {specification}"))

    def tune_tables(self, connection: Connection) -> None:
        """Give the tables the settings that large ones need, where this role may change them."""

    def is_laid_out(self, connection: Connection, layout: Layout) -> bool:
        """True when the entries are spread as asked; False when `lay_out` can do it.

        Raises:
            SchemaError: nothing can, now that the table is there.
        """
        return True

    def lay_out(self, connection: Connection, layout: Layout) -> None:
        """Spread the entries of a table that is there as asked."""

    def refresh_statistics(self, connection: Connection, new_rows: int) -> int | None:
        """See to it that the database knows enough of its rows to plan; None, or from how many new rows on it would."""
        return None

    @abstractmethod
    def server(self, connection: Connection) -> str:
        """The database and its version, for people."""

    @abstractmethod
    def estimated_entries(self, connection: Connection, collection: str) -> int:
        """About how many entries a collection has, without reading them where the database knows."""

    @abstractmethod
    def disk_bytes(self, connection: Connection) -> int:
        """What the entries take on disk, with indexes."""
