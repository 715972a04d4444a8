"""Which fields of which collections are searchable, as far as a store knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from docshelf.sql.collections import CollectionQueries, Searchable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.sql.dialects.base import Dialect

# Seconds after which a write reads again what is searchable: another process may have changed it.
_LIFETIME: Final = 60.0
_NOTHING: Final = Searchable()


class KnownFields:
    """The searchable fields of collections, as they were last read. One object serves a store and all its views.

    A write that does not know of them writes rows without search fields, at which searches always look. So what is
    known here may be old; only a write that knows of some asks again under its locks, as other collections shall not
    pay for them.
    """

    def __init__(self) -> None:
        self._known: dict[str, Searchable] = {}
        self._read_at: float | None = None

    def __reduce__(self) -> tuple[type[KnownFields], tuple[()]]:
        return KnownFields, ()  # another process reads them itself, by its own clock

    def of(self, collection: str) -> tuple[str, ...]:
        """The names of the collection's searchable fields."""
        return self.settled(collection).fields

    def settled(self, collection: str) -> Searchable:
        """The collection's searchable fields, and whether its rows have them."""
        return self._known.get(collection, _NOTHING)

    def all(self) -> dict[str, Searchable]:
        """The collections with searchable fields."""
        return {name: searchable for name, searchable in self._known.items() if searchable.fields}

    @property
    def is_due(self) -> bool:
        """True when what is known is old."""
        return self._read_at is None or time.monotonic() - self._read_at > _LIFETIME

    def read(self, connection: Connection, dialect: Dialect) -> None:
        """Read the searchable fields of all collections; none where this role may not."""
        self._read_at = time.monotonic()
        if dialect.may_select(connection, dialect.tables.collections):
            self._known = CollectionQueries(dialect).searchable(connection)

    def confirm(self, connection: Connection, dialect: Dialect, collection: str) -> Searchable:
        """What is settled now, where any fields were known. A write asks under its locks."""
        if not self.of(collection):
            return _NOTHING
        found = CollectionQueries(dialect).searchable(connection, collection).get(collection, _NOTHING)
        self.note(collection, found)
        return found

    def note(self, collection: str, searchable: Searchable) -> None:
        """Remember what was just settled."""
        self._known = {**self._known, collection: searchable}
