"""Statements that list sources, page by page: their entries are counted, and what a sync stored is beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select, type_coerce
from sqlalchemy.types import NullType

from docshelf.sql.notes import note_columns, note_of
from docshelf.sql.pages import bounds_of, within
from docshelf.sql.rows import checked_identity
from docshelf.types import Problem, Source
from docshelf.values.stored import utc_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.sql.dialects.base import Dialect


class SourcePage(NamedTuple):
    """Some sources in the order of their names.

    Attributes:
        sources: the sources.
        problems: what is stored about them and cannot be read.
        last: the name after which the next page begins; None at the end.
    """

    sources: list[Source]
    problems: list[Problem]
    last: str | None


class SourceQueries:
    """The statements of one set of tables on one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        self._entries = dialect.tables.entries
        self._sources = dialect.tables.sources
        synced_at = type_coerce(dialect.readable_time(self._sources.c.synced_at), NullType()).label("synced_at")
        self._note_columns = (*note_columns(dialect.tables), synced_at)

    def page(
        self, connection: Connection, collection: str, *, after: str | None, prefix: str | None, limit: int
    ) -> SourcePage:
        """At most `limit` sources that have entries or were synced, after the name `after`.

        Raises:
            CorruptEntryError: the name of a source is not text.
        """
        e, s = self._entries.c, self._sources.c
        counted = select(e.source, func.count()).group_by(e.source)
        noted = select(*self._note_columns)
        parameters = bounds_of(after, prefix, None)
        counts, notes = (
            connection.execute(
                statement.where(columns.collection == bindparam("collection"), *within(columns.source, parameters))
                .order_by(columns.source)
                .limit(bindparam("limit")),
                {"collection": collection, "limit": limit, **parameters},
            ).all()
            for statement, columns in ((counted, e), (noted, s))
        )
        for row in (*counts, *notes):
            checked_identity(("", row[0]))
        # A list that is full may go on between its last name and those of the other: the page ends there.
        ends = [rows[-1][0] for rows in (counts, notes) if len(rows) == limit]
        last = min(ends, default=None)
        entries: dict[str, int] = {row[0]: row[1] for row in counts}
        synced = {row[0]: row for row in notes}
        names = sorted(name for name in {*entries, *synced} if last is None or name <= last)
        sources: list[Source] = []
        problems: list[Problem] = []
        for name in names:
            source, unreadable = _source(name, entries.get(name, 0), synced.get(name))
            sources.append(source)
            problems += unreadable
        return SourcePage(sources, problems, last)

    def noted(self, connection: Connection, collection: str, limit: int) -> list[str]:
        """The names of at most `limit` sources that were synced, in no order."""
        s = self._sources.c
        names = connection.scalars(select(s.source).where(s.collection == collection).limit(limit))
        return [name for name in names if type(name) is str]


def _source(name: str, entries: int, row: Any) -> tuple[Source, list[Problem]]:
    """A source, without what cannot be read of its row in the sources table, and what is wrong with that."""
    if row is None:
        return Source(name, entries), []
    note, problems = note_of(row)
    time = None
    try:
        time = utc_time(row.synced_at)
    except (ValueError, TypeError, OverflowError):
        problems.append(Problem("", name, "the source's synced_at: not a time that Python has"))
    return Source(name, entries, note.fingerprint, note.metadata, time), problems
