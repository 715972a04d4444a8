"""Statements about whole collections: which collection belongs to which, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, func, literal, select, update

from docshelf.sql.dialects.base import Dialect

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


class CollectionQueries:
    """The statements of one set of tables on one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._tables = dialect.tables

    def owner(self, connection: Connection, collection: str) -> str | None:
        """The collection that a collection belongs to, or None."""
        c = self._tables.collections.c
        owner: str | None = connection.scalar(select(c.owner).where(c.collection == collection))
        return owner

    def register(self, connection: Connection, collection: str, owner: str) -> None:
        """Store that a collection belongs to another."""
        insert = self._dialect.insert(self._tables.collections)
        c = self._tables.collections.c
        statement = insert.on_conflict_do_update(index_elements=[c.collection], set_={"owner": insert.excluded.owner})
        connection.execute(statement, {"collection": collection, "owner": owner})

    def family(self, connection: Connection, collection: str) -> list[str]:
        """The collection itself, then all collections that belong to it, directly or through others."""
        c = self._tables.collections.c
        names = [collection]
        newest = [collection]
        # A loop, because Citus does not support recursive queries.
        while newest:
            statement = select(c.collection).where(c.owner.in_(newest)).order_by(c.collection)
            newest = [name for name in connection.scalars(statement) if name not in names]
            names += newest
        return names

    def taken(self, connection: Connection, collections: Sequence[str]) -> list[str]:
        """The names that exist as collections."""
        existing: set[str] = set()
        for table in self._named():
            column = table.c.collection
            existing.update(connection.scalars(select(column).where(column.in_(collections)).distinct()))
        return [name for name in collections if name in existing]

    def rename(self, connection: Connection, old: str, new: str) -> int:
        """Rename a collection. Returns how many entries it has."""
        count = 0
        for table in self._named():
            statement = update(table).where(table.c.collection == bindparam("old")).values(collection=bindparam("new"))
            counted = select(func.count()).select_from(table).where(table.c.collection == old)
            if table is self._tables.entries:
                count = int(connection.scalar(counted) or 0)
            connection.execute(statement, {"old": old, "new": new})
        c = self._tables.collections.c
        owned = update(self._tables.collections).where(c.owner == bindparam("old")).values(owner=bindparam("new"))
        connection.execute(owned, {"old": old, "new": new})
        return count

    def copy_sources_and_settings(self, connection: Connection, collection: str, new: str) -> None:
        """Copy what is stored about a collection and its sources. The copy belongs to no other collection."""
        for table, without in ((self._tables.sources, ()), (self._tables.collections, ("owner",))):
            columns = {column.name: column for column in table.c if column.name not in ("collection", *without)}
            chosen = select(literal(new, Text), *columns.values()).where(table.c.collection == collection)
            statement = table.insert().from_select(["collection", *columns], chosen, include_defaults=False)
            connection.execute(statement)

    def _named(self) -> tuple[Table, ...]:
        """The tables with a column for the name of the collection."""
        tables: Any = self._tables
        return tables.entries, tables.sources, tables.collections
