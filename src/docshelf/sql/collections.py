"""Statements about whole collections: which collection belongs to which, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import Text, bindparam, func, literal, select, update

from docshelf.sql.dialects.base import Dialect
from docshelf.sql.rows import checked_identity
from docshelf.types import Collection

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


class Searchable(NamedTuple):
    """What is searchable in a collection.

    Attributes:
        fields: the names of the fields, in order.
        filled: True once the rows that were there before have their search fields.
    """

    fields: tuple[str, ...] = ()
    filled: bool = False


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

    def searchable(self, connection: Connection, collection: str | None = None) -> dict[str, Searchable]:
        """What is searchable, by collection: of all collections where it is settled, or of one."""
        c = self._tables.collections.c
        statement = select(c.collection, c.settings).where(c.settings.is_not(None))
        if collection is not None:
            statement = statement.where(c.collection == collection)
        return {name: searchable_in(settings) for name, settings in connection.execute(statement)}

    def put_searchable(self, connection: Connection, collection: str, searchable: Searchable) -> None:
        """Write down what is searchable in a collection, beside its other settings."""
        c = self._tables.collections.c
        known = _settings(connection.scalar(select(c.settings).where(c.collection == collection)))
        known |= {"searchable": list(searchable.fields), "filled": searchable.filled}
        insert = self._dialect.insert(self._tables.collections)
        statement = insert.on_conflict_do_update(
            index_elements=[c.collection], set_={"settings": insert.excluded.settings}
        )
        connection.execute(statement, {"collection": collection, "settings": orjson.dumps(known).decode()})

    def names(self, connection: Connection) -> list[str]:
        """Every collection that has entries or sources, in order.

        Each is one step in an index: to read all rows for their few names takes seconds in a large table. A loop, not
        a recursive query, which Citus does not take.
        """
        found: set[str] = set()
        for table in (self._tables.entries, self._tables.sources):
            column = table.c.collection
            first = select(column).order_by(column).limit(1)
            following = select(column).where(column > bindparam("name")).order_by(column).limit(1)
            name = connection.scalar(first)
            while isinstance(name, str):
                found.add(name)
                name = connection.scalar(following, {"name": name})
        return sorted(found)

    def counted(self, connection: Connection) -> list[Collection]:
        """Every collection that has entries or sources, in order, counted."""
        e = self._tables.entries.c
        by_source = (
            select(e.collection, func.count().label("entries"), func.sum(func.length(e.value)).label("stored"))
            .group_by(e.collection, e.source)
            .subquery()
        )
        c = by_source.c
        statement = select(c.collection, func.sum(c.entries), func.count(), func.coalesce(func.sum(c.stored), 0))
        rows = connection.execute(statement.group_by(c.collection)).all()
        found = {row[0]: Collection(row[0], int(row[1]), int(row[2]), int(row[3])) for row in rows}
        for name in found:
            checked_identity(("", name))
        known = self._tables.sources.c.collection
        for name in connection.scalars(select(known).distinct()):
            found.setdefault(name, Collection(name, 0, 0, 0))
        return [found[name] for name in sorted(found)]

    def estimated(self, connection: Connection) -> list[Collection]:
        """As `counted`, by estimates where the database has them, and without what only counting tells."""
        return [Collection(name, self._dialect.estimated_entries(connection, name)) for name in self.names(connection)]

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


def searchable_in(settings: Any) -> Searchable:
    """What a collection's settings say of its searchable fields; nothing where they cannot be read."""
    known = _settings(settings)
    fields = known.get("searchable")
    if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
        return Searchable()
    return Searchable(tuple(fields), known.get("filled") is True)


def _settings(text: Any) -> dict[str, Any]:
    with suppress(ValueError, TypeError):
        known = orjson.loads(text)
        if isinstance(known, dict):
            return known
    return {}


def imported_settings(settings: str | None, known: str | None) -> str | None:
    """The settings of a collection that is imported from elsewhere into one that may exist.

    Searches trust an index only after `setup(searchable=...)` has filled it here.

    Args:
        settings: those of the imported collection.
        known: those of the existing collection.
    """
    if settings is None or searchable_in(settings).fields == searchable_in(known).fields:
        return known if settings is None else _merged(settings, filled=searchable_in(known).filled)
    return _merged(settings, filled=False)


def _merged(settings: str, *, filled: bool) -> str:
    known = _settings(settings)
    if "filled" in known or "searchable" in known:
        known["filled"] = filled
    return orjson.dumps(known).decode()
