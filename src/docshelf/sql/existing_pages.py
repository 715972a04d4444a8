"""Statements that read what a write needs to know of a large collection or source, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, tuple_, type_coerce
from sqlalchemy.types import NullType

from docshelf.sql.rows import Identity, checked_identity
from docshelf.sql.statements import Statements

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from docshelf.sql.dialects.base import Dialect

_PAGE_ROWS: Final = 10_000


class ExistingPages(Statements):
    """The statements of one set of tables on one kind of database.

    Attributes:
        columns: what a write needs to know of an existing entry, without SQLAlchemy's type conversion.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        e = self._entries.c
        self.columns = (e.key, e.source, type_coerce(e.value_hash, NullType()), e.version)

    def all(self, connection: Connection, collection: str, source: str | None) -> Iterator[Sequence[Any]]:
        """The rows of a source, or of the whole collection (None).

        Pages are statements of their own: outside a transaction that locks others out, rows may change in between.
        """
        after: Identity | None = None
        while True:
            rows = self.page(connection, collection, after=after, source=source, limit=_PAGE_ROWS)
            yield from rows
            if len(rows) < _PAGE_ROWS:
                return
            after = checked_identity((rows[-1][0], rows[-1][1]))

    def page(
        self, connection: Connection, collection: str, *, after: Identity | None, source: str | None, limit: int
    ) -> Sequence[Sequence[Any]]:
        """At most `limit` rows after an identity, in the order of key and source."""
        e = self._entries.c
        parameters: dict[str, Any] = {"collection": collection, "limit": limit}
        if source is not None:
            parameters["source"] = source
        if after is not None:
            parameters |= {"after": after[0]} if source is not None else {"after": after[0], "after_source": after[1]}

        def build() -> Select[Any]:
            conditions = [self._of_collection]
            if source is not None:
                conditions.append(e.source == bindparam("source"))
            if after is not None and source is not None:
                conditions.append(e.key > bindparam("after"))
            elif after is not None:
                conditions.append(tuple_(e.key, e.source) > tuple_(bindparam("after"), bindparam("after_source")))
            return select(*self.columns).where(*conditions).order_by(e.key, e.source).limit(bindparam("limit"))

        return list(self._rows(connection, ("page", *parameters), build, parameters))
