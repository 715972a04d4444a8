"""Statements that read keys in pages, in their order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select

from docshelf.sql.rows import checked_identity
from docshelf.sql.statements import Statements
from docshelf.validation import prefix_end

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

    from docshelf.sql.dialects.base import Dialect


class Sized(NamedTuple):
    """The key of an entry and the size of its packed value in bytes."""

    key: str
    size: int


class PageQueries(Statements):
    """The statements of one set of tables that page by key."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._of_source = self._entries.c.source == bindparam("source")

    def page(
        self,
        connection: Connection,
        collection: str,
        *,
        after: str | None,
        prefix: str | None,
        source: str | None,
        limit: int,
        with_value: bool = False,
    ) -> list[str]:
        """At most `limit` keys after the key `after`, in order. A key in several sources may appear several times.

        Args:
            with_value: leave out entries that hold only a version.
        """
        key = self._entries.c.key
        parameters = bounds_of(after, prefix, source)
        holds_value = [self._entries.c.content_type.is_not(None)] if with_value else []

        def build() -> Select[Any]:
            conditions = [*self._conditions(parameters), *holds_value]
            return select(key).where(*conditions).order_by(key).limit(bindparam("limit"))

        rows = self._rows(
            connection,
            ("page", with_value, *parameters),
            build,
            {**parameters, "collection": collection, "limit": limit},
        )
        return [row[0] for row in _with_text_keys(list(rows), source)]

    def sized_page(
        self,
        connection: Connection,
        collection: str,
        *,
        after: str | None,
        prefix: str | None,
        source: str | None,
        limit: int,
    ) -> list[Sized]:
        """As `page`, with the size of each packed value."""
        e = self._entries.c
        parameters = bounds_of(after, prefix, source)

        def build() -> Select[Any]:
            columns = (e.key, func.coalesce(func.length(e.value), 0))
            return select(*columns).where(*self._conditions(parameters)).order_by(e.key).limit(bindparam("limit"))

        rows = self._rows(
            connection, ("sizes", *parameters), build, {**parameters, "collection": collection, "limit": limit}
        )
        return [Sized(*row) for row in _with_text_keys(list(rows), source)]

    def _conditions(self, parameters: Collection[str]) -> list[ColumnElement[bool]]:
        """The conditions for the parameters that are given."""
        of_source = [self._of_source] if "source" in parameters else []
        return [self._of_collection, *within(self._entries.c.key, parameters), *of_source]


def bounds_of(after: str | None, prefix: str | None, source: str | None) -> dict[str, str]:
    """The parameters of `within` for these bounds, and that of a source, without those that are None."""
    bounds = {
        "after": after,
        "prefix": prefix if after is None else None,
        "prefix_end": prefix_end(prefix) if prefix else None,
        "source": source,
    }
    return {name: value for name, value in bounds.items() if value is not None}


def within(column: ColumnElement[str], parameters: Collection[str]) -> list[ColumnElement[bool]]:
    """The conditions that a column of names lies within the bounds that are given."""
    conditions = {
        "after": column > bindparam("after"),
        "prefix": column >= bindparam("prefix"),
        "prefix_end": column < bindparam("prefix_end"),
    }
    return [condition for name, condition in conditions.items() if name in parameters]


def _with_text_keys(rows: list[Sequence[Any]], source: str | None) -> list[Sequence[Any]]:
    """Rows in the order of their keys, without those at the end whose keys are no text.

    Raises:
        CorruptEntryError: there are no others.
    """
    if not rows or type(rows[-1][0]) is str:  # SQLite sorts values of other types after all text
        return rows
    texts = [row for row in rows if type(row[0]) is str]
    if not texts:
        checked_identity((rows[0][0], source or ""))
    return texts
