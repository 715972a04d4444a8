"""Statements of searches by field: which rows to look at, and what an index knows of them.

A row whose `search_fields` is NULL was written by somebody who did not know of searchable fields, or holds what no
index takes. Searches look at all of these. They have an index of their own, so that to know that there are none is
quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, bindparam, false, func, or_, select

from docshelf.sql.statements import Statements
from docshelf.types import Problem
from docshelf.validation import prefix_end
from docshelf.values.search import Asked, AskedAny, Narrowing

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

    from docshelf.sql.rows import Identity


# In place of a narrowing: rows without search fields.
_UNFILLED: Final = "unfilled"


class Candidate(NamedTuple):
    """An entry to look at, and the bytes of its packed value."""

    key: str
    source: str
    size: int


class Page(NamedTuple):
    """Entries to look at, in the order of key and source.

    Attributes:
        problems: rows among them whose names are no text.
        is_last: no entry follows.
    """

    candidates: list[Candidate]
    problems: list[Problem]
    is_last: bool


class Bounds(NamedTuple):
    """Which entries a search is about: None for any. `after` is the last entry that was looked at."""

    prefix: str | None = None
    source: str | None = None
    after: Identity | None = None


class SearchQueries(Statements):
    """The statements of searches."""

    def candidates(
        self, connection: Connection, collection: str, bounds: Bounds, narrowing: Narrowing | None, limit: int
    ) -> Page:
        """The next entries to look at, `limit` at most.

        Args:
            narrowing: what the search fields of rows that have any must be.
        """
        if narrowing is None:
            return self._page(connection, collection, bounds, None, limit)
        unfilled = self._page(connection, collection, bounds, _UNFILLED, limit)
        if narrowing == AskedAny(()):
            return unfilled
        found = self._page(connection, collection, bounds, narrowing, limit)
        # Each of the two has its first rows; so the first of both together are there.
        candidates = sorted(unfilled.candidates + found.candidates)
        is_last = unfilled.is_last and found.is_last and len(candidates) <= limit
        return Page(candidates[:limit], unfilled.problems + found.problems, is_last)

    def source_counts(self, connection: Connection, collection: str, sources: Sequence[str]) -> dict[str, int]:
        """How many entries each of some sources has."""
        e = self._entries.c
        statement = (
            select(e.source, func.count())
            .where(self._of_collection, self.dialect.in_array(e.source, "sources"))
            .group_by(e.source)
        )
        parameters = {"collection": collection, "sources": self.dialect.array(sources)}
        return {row[0]: int(row[1]) for row in connection.execute(statement, parameters)}

    def _page(
        self, connection: Connection, collection: str, bounds: Bounds, asked: Narrowing | str | None, limit: int
    ) -> Page:
        parameters: dict[str, Any] = {"collection": collection, "limit": limit}
        e = self._entries.c
        conditions: list[ColumnElement[bool]] = [self._of_collection]
        if bounds.prefix is not None:
            parameters["prefix"] = bounds.prefix
            conditions.append(e.key >= bindparam("prefix"))
            end = prefix_end(bounds.prefix)
            if end is not None:
                parameters["prefix_end"] = end
                conditions.append(e.key < bindparam("prefix_end"))
        if bounds.source is not None:
            parameters["source"] = bounds.source
            conditions.append(e.source == bindparam("source"))
        if bounds.after is not None:
            # Twice, so that the primary key is read from there on.
            parameters["after"], parameters["after_source"] = bounds.after
            conditions.append(e.key >= bindparam("after"))
            conditions.append(or_(e.key > bindparam("after"), e.source > bindparam("after_source")))
        bound = tuple(parameters)
        shape: Any = asked
        if asked == _UNFILLED:
            conditions.append(self.dialect.is_unfilled(collection))
            shape = (asked, collection)
        elif asked is not None and not isinstance(asked, str):
            condition, shape = self._condition(asked, parameters)
            conditions.append(condition)

        def build() -> Select[Any]:
            columns: tuple[Any, ...] = e.key, e.source, func.coalesce(func.length(e.value), 0)
            return select(*columns).where(*conditions).order_by(e.key, e.source).limit(bindparam("limit"))

        rows = [Candidate(*row) for row in self._rows(connection, ("page", bound, shape), build, parameters)]
        # In SQLite, external rows may have names of any type.
        candidates = [row for row in rows if type(row.key) is str and type(row.source) is str]
        problems = [
            Problem(row.key, row.source, "a key or source that is no text")
            for row in (rows if len(candidates) < len(rows) else ())
            if not (type(row.key) is str and type(row.source) is str)
        ]
        return Page(candidates, problems, len(rows) < limit or not candidates)

    def _condition(self, asked: Narrowing, parameters: dict[str, Any]) -> tuple[ColumnElement[bool], Any]:
        """The condition of a narrowing, and its shape, which two that share a statement have in common."""
        if isinstance(asked, Asked):
            name = f"form_{len(parameters)}"
            condition, value = self.dialect.has_form(asked, name)
            if value is not None:
                parameters[name] = value
            return condition, (asked.name, asked.member, value is None, type(asked.form).__name__)
        if not asked.parts:
            return false(), ()
        parts = [self._condition(part, parameters) for part in asked.parts]
        combine = or_ if isinstance(asked, AskedAny) else and_
        shapes = tuple(shape for _, shape in parts)
        return combine(*(condition for condition, _ in parts)), (type(asked).__name__, shapes)
