"""Every statement that reads, and the statements that write in the same way on all databases."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, null, select, type_coerce, update
from sqlalchemy.types import NullType

from docshelf.sql.chunks import KEYS_PER_STATEMENT, bounded, chunked
from docshelf.sql.existing_pages import ExistingPages
from docshelf.sql.notes import note_columns, note_of
from docshelf.sql.pages import PageQueries, bounds_of
from docshelf.sql.rows import Identity, PackedNote, checked_identity
from docshelf.sql.search import SearchQueries
from docshelf.sql.value_reads import ValueReads
from docshelf.types import Problem, SourceNote, Stats
from docshelf.values.json import dumps
from docshelf.values.stored import Stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from docshelf.sql.dialects.base import Dialect

_TIMES: Final = ("created_at", "updated_at")
# The fields of `Stored` that `latest_values` does not read.
_DEFAULTS: Final = tuple(Stored._field_defaults.values())
ExistingRow = Sequence[Any]
"""What a write needs to know of an existing entry: key, source, hash as the driver returns it, version."""
NoteRow = Sequence[Any]
"""What is stored of a source's note: its name, fingerprint and metadata, of any type where others wrote it."""


class Queries(PageQueries):
    """The statements of one set of tables on one kind of database.

    Attributes:
        search: those of searches by field.
        pages: those that read large collections and sources page by page.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        tables = dialect.tables
        self._sources = tables.sources
        e = tables.entries.c
        # Without SQLAlchemy's type conversion: in SQLite, external rows may have any type. Decoding validates them.
        self._stored = [
            type_coerce(dialect.readable_time(e[name]) if name in _TIMES else e[name], NullType()).label(name)
            for name in Stored._fields
        ]
        self._without_value = [
            null().label(name) if name == "value" else column
            for name, column in zip(Stored._fields, self._stored, strict=True)
        ]
        self.pages = ExistingPages(dialect)
        self._existing_columns = self.pages.columns
        self._value_columns = self._stored[: Stored._fields.index("version")]
        self._note_columns = note_columns(tables)
        self._values = ValueReads(dialect)
        self._of_sources = dialect.in_array(e.source, "sources")
        self.search = SearchQueries(dialect)

    def __reduce__(self) -> tuple[type[Queries], tuple[Dialect]]:
        return Queries, (self.dialect,)  # another process compiles its own statements

    def existing(
        self,
        connection: Connection,
        collection: str,
        *,
        keys: Sequence[str] | None,
        sources: Collection[str] | None,
    ) -> Iterable[ExistingRow]:
        """Hashes and versions of the entries of some keys in some sources. None for either means all."""
        return self._select(connection, "existing", self._existing_columns, collection, keys=keys, sources=sources)

    def existing_pairs(
        self, connection: Connection, collection: str, identities: Sequence[Identity]
    ) -> Iterable[ExistingRow]:
        """Hashes and versions of some entries. May yield a row twice, and rows of the same keys in other sources."""
        sources = {source for _, source in identities}
        if len(sources) == 1:
            yield from self.existing(connection, collection, keys=[key for key, _ in identities], sources=sources)
            return
        for chunk in chunked(identities, KEYS_PER_STATEMENT):
            # Most keys have one source, and a query by keys takes half the time of one by pairs. If the keys have many
            # more entries than were asked for, the query by keys stops at its limit and one by pairs follows.
            expected = 2 * len(chunk)
            keys = list(dict.fromkeys(key for key, _ in chunk))
            parameters = {"collection": collection, "limit": expected + 1}
            rows = self._rows_of_keys(
                connection, "existing of keys", lambda: self._existing_columns, parameters, keys, limited=True
            )
            count = 0
            for row in rows:
                count += 1
                yield row
            if count > expected:
                pairs = {"collection": collection, **self.dialect.pairs(chunk)}
                yield from self._rows(connection, "existing of pairs", self._of_pairs, pairs)

    def fetch(
        self,
        connection: Connection,
        collection: str,
        keys: Sequence[str],
        source: str | None,
        *,
        values: bool = True,
        bounded: bool = False,
    ) -> list[Stored]:
        """The rows of some keys, in any order: one for each source of a key.

        Args:
            bounded: the caller knows that the values fit into one statement.
        """
        rows: Iterable[Any]
        if values and not bounded:
            rows = self._values.of_keys(connection, "fetch", self._stored, collection, keys=keys, source=source)
        else:
            columns = self._stored if values else self._without_value
            rows = self._select(connection, values, columns, collection, keys=keys, sources=_as_set(source))
        return list(starmap(Stored, rows))

    def fetch_pairs(
        self, connection: Connection, collection: str, pairs: Sequence[Identity], *, values: bool
    ) -> list[Stored]:
        """The rows of some pairs of key and source, in any order."""
        columns: Sequence[Any] = self._stored if values else self._without_value

        def build() -> Select[Any]:
            in_pairs = self.dialect.in_pairs(self._entries.c.key, self._entries.c.source)
            return select(*columns).where(self._of_collection, in_pairs)

        found: list[Stored] = []
        for chunk in chunked(pairs, KEYS_PER_STATEMENT):
            parameters = {"collection": collection, **self.dialect.pairs(chunk)}
            found += starmap(Stored, self._rows(connection, ("pairs", values), build, parameters))
        return found

    def latest_values(
        self, connection: Connection, collection: str, keys: Sequence[str], source: str | None
    ) -> list[Stored]:
        """For each key the row that was written last, without version, times and seq."""
        rows = self._values.of_keys(connection, "values", self._value_columns, collection, keys=keys, source=source)
        by_key: dict[str, Stored] = {}
        repeated = set()
        new = tuple.__new__  # takes a third of the time of Stored()
        for row in rows:
            stored = new(Stored, (*row, *_DEFAULTS))
            if by_key.setdefault(stored[0], stored) is not stored:
                repeated.add(stored[0])
        if repeated:  # only their times show which row is the last
            by_key |= latest(self.fetch(connection, collection, list(repeated), source))
        return list(by_key.values())

    def of_sources(
        self, connection: Connection, collection: str, sources: Sequence[str], *, values: bool
    ) -> list[Stored]:
        """The rows of some sources, in insertion order."""
        most = self.dialect.chunk_rows
        parameters = {"collection": collection, "sources": self.dialect.array(sources)}
        of_sources = (self._of_collection, self._of_sources)
        seq = self._entries.c.seq
        without_value: list[Any] = self._without_value
        if values:
            limits = {"whole": self.dialect.chunk_bytes // most, "limit": most + 1}
            short: list[Any] = self._values.short(self._stored)
            rows = self._rows(
                connection,
                "values of sources",
                lambda: select(*short).where(*of_sources).order_by(seq).limit(bindparam("limit")),
                parameters | limits,
            )
            found = list(starmap(Stored, rows))
            if len(found) <= most:
                return self._values.completed(connection, collection, self._stored, found)
        rows = self._rows(
            connection,
            "of sources",
            lambda: select(*without_value).where(*of_sources).order_by(seq),
            parameters,
        )
        found = list(starmap(Stored, rows))
        return self._values.completed(connection, collection, self._stored, found) if values else found

    def existing_keys(
        self, connection: Connection, collection: str, keys: Sequence[str], source: str | None
    ) -> set[str]:
        """The keys that have an entry."""
        columns = (self._entries.c.key,)
        rows = self._select(connection, "existing keys", columns, collection, keys=keys, sources=_as_set(source))
        return {row[0] for row in rows}

    def fetch_listed(
        self, connection: Connection, collection: str, keys: Sequence[str], source: str | None, rows: int
    ) -> list[Stored]:
        """The rows of some keys with their values, which fit into one statement.

        Args:
            keys: keys that follow each other, in order.
            rows: how many rows they had when they were listed.
        """
        e = self._entries.c
        parameters: dict[str, Any] = {"collection": collection, "first": keys[0], "last": keys[-1], "limit": rows + 1}
        conditions = [self._of_collection, e.key >= bindparam("first"), e.key <= bindparam("last")]
        if source is not None:
            conditions.append(self._of_source)
            parameters["source"] = source

        columns: list[Any] = self._stored

        def build() -> Select[Any]:
            return select(*columns).where(*conditions).order_by(e.key).limit(bindparam("limit"))

        found = list(starmap(Stored, self._rows(connection, ("listed", source is None), build, parameters)))
        # Entries were added between them meanwhile: they may be many, or large.
        return found if len(found) <= rows else self.fetch(connection, collection, keys, source, bounded=True)

    def count(
        self,
        connection: Connection,
        collection: str,
        *,
        prefix: str | None,
        source: str | None,
        at_most: int | None = None,
    ) -> int:
        """The number of entries, narrowed by a prefix of the key and by a source; no more than `at_most`."""
        parameters = bounds_of(None, prefix, source)
        limit = {} if at_most is None else {"limit": at_most}

        def build() -> Select[Any]:
            conditions = self._conditions(parameters)
            if not limit:
                return select(func.count()).select_from(self._entries).where(*conditions)
            found = select(self._entries.c.key).where(*conditions).limit(bindparam("limit"))
            return select(func.count()).select_from(found.subquery())

        name = ("count", *parameters, *limit)
        [[number]] = self._rows(connection, name, build, {**parameters, **limit, "collection": collection})
        return int(number)

    def get_notes(
        self, connection: Connection, collection: str, sources: Collection[str]
    ) -> tuple[dict[str, SourceNote], list[Problem]]:
        """The stored notes of some sources, and which of them have metadata that cannot be read.

        Sources that were never synced have no note. The note of unreadable metadata has None.
        """
        s = self._sources
        statement = select(*self._note_columns).where(
            s.c.collection == bindparam("collection"), self.dialect.in_array(s.c.source, "sources")
        )
        notes: dict[str, SourceNote] = {}
        problems: list[Problem] = []
        for chunk in chunked(list(sources), KEYS_PER_STATEMENT):
            parameters = {"collection": collection, "sources": self.dialect.array(chunk)}
            for row in connection.execute(statement, parameters):
                notes[row.source], unreadable = note_of(row)
                problems += unreadable
        return notes, problems

    def note_page(self, connection: Connection, collection: str, *, after: str | None, limit: int) -> Iterable[NoteRow]:
        """The notes of at most `limit` sources after a name, in order, as they are stored."""
        s = self._sources.c

        def build() -> Select[Any]:
            statement = select(*self._note_columns).where(s.collection == bindparam("collection"))
            return statement.where(s.source > bindparam("after")).order_by(s.source).limit(bindparam("limit"))

        parameters = {"collection": collection, "after": after or "", "limit": limit}
        return self._rows(connection, "note page", build, parameters)

    def fingerprints(self, connection: Connection, collection: str, sources: Collection[str]) -> dict[str, Any]:
        """The fingerprints of some sources, as the driver returns them: SQLite holds values of any type."""
        source, fingerprint, _ = self._note_columns
        conditions = (self._sources.c.collection == bindparam("collection"), self.dialect.in_array(source, "sources"))
        found: dict[str, Any] = {}
        for chunk in chunked(list(sources), KEYS_PER_STATEMENT):
            parameters = {"collection": collection, "sources": self.dialect.array(chunk)}
            rows = self._rows(
                connection, "fingerprints", lambda: select(source, fingerprint).where(*conditions), parameters
            )
            found |= {row[0]: row[1] for row in rows}
        return found

    def put_notes(
        self, connection: Connection, collection: str, notes: Mapping[str, SourceNote], now: datetime
    ) -> None:
        """Store the notes of some sources."""
        rows = [
            PackedNote(source, note.fingerprint, None if note.metadata is None else dumps(note.metadata).decode())
            for source, note in sorted(notes.items())
        ]
        for chunk in bounded(rows, lambda row: len(row.metadata or ""), self.dialect):
            self.dialect.put_notes(connection, collection, chunk, now)

    def forget_fingerprints(self, connection: Connection, collection: str, sources: Collection[str]) -> None:
        """Remove the fingerprints of some sources. Their entries no longer match the files of the last sync."""
        s = self._sources.c
        statement = update(self._sources).where(
            s.collection == bindparam("of_collection"),
            self.dialect.in_array(s.source, "sources"),
            s.fingerprint.is_not(None),
        )
        parameters = {"of_collection": collection, "sources": self.dialect.array(sources), "fingerprint": None}
        connection.execute(statement, parameters)

    def delete_source_rows(self, connection: Connection, collection: str, sources: Collection[str] | None) -> None:
        """Delete the rows of some sources, or of all (None), from the sources table."""
        s = self._sources.c
        statement = delete(self._sources).where(s.collection == bindparam("of_collection"))
        parameters: dict[str, Any] = {"of_collection": collection}
        if sources is not None:
            statement = statement.where(self.dialect.in_array(s.source, "sources"))
            parameters["sources"] = self.dialect.array(sources)
        connection.execute(statement, parameters)

    def delete_all(self, connection: Connection, collection: str) -> int:
        """Delete the entries of the collection. Returns how many there were."""
        return connection.execute(delete(self._entries).where(self._of_collection), {"collection": collection}).rowcount

    def count_sources(self, connection: Connection, collection: str) -> int:
        """The number of sources with entries."""
        statement = select(func.count(self._entries.c.source.distinct())).where(self._of_collection)
        return int(connection.scalar(statement, {"collection": collection}) or 0)

    def stats(self, connection: Connection, collection: str) -> Stats:
        """Numbers and sizes of the collection."""
        e = self._entries.c
        statement = select(
            func.count(), func.count(e.source.distinct()), func.coalesce(func.sum(func.length(e.value)), 0)
        ).where(self._of_collection)
        entries, sources, stored = connection.execute(statement, {"collection": collection}).one()
        return Stats(entries, sources, int(stored), self.dialect.disk_bytes(connection))

    def _of_pairs(self) -> Select[Any]:
        in_pairs = self.dialect.in_pairs(self._entries.c.key, self._entries.c.source)
        return select(*self._existing_columns).where(self._of_collection, in_pairs)

    def _select(
        self,
        connection: Connection,
        name: Hashable,
        columns: Sequence[Any],
        collection: str,
        *,
        keys: Sequence[str] | None,
        sources: Collection[str] | None,
    ) -> Iterable[Any]:
        """The rows of some keys in some sources. None for either means all. `name` identifies the columns."""
        parameters: dict[str, Any] = {"collection": collection}
        conditions: list[ColumnElement[bool]] = []
        if sources is not None and len(sources) == 1:
            conditions.append(self._of_source)
            [parameters["source"]] = sources
        elif sources is not None:
            conditions.append(self._of_sources)
            parameters["sources"] = self.dialect.array(sources)
        name = (name, *parameters)
        if keys is None:
            yield from self._rows(
                connection, name, lambda: select(*columns).where(self._of_collection, *conditions), parameters
            )
            return
        for chunk in chunked(keys, KEYS_PER_STATEMENT):
            yield from self._rows_of_keys(connection, name, lambda: columns, parameters, chunk, *conditions)


def identities_of(rows: Iterable[ExistingRow]) -> Iterator[Identity]:
    """The identities of rows. Raises as `checked_identity` does."""
    return (checked_identity((key, source)) for key, source, *_ in rows)


def latest(rows: Iterable[Stored]) -> dict[str, Stored]:
    """For each key the row that was written last."""
    by_key: dict[str, Stored] = {}
    for row in rows:
        other = by_key.setdefault(row.key, row)
        if other is not row and _is_newer(row, other):
            by_key[row.key] = row
    return by_key


def _is_newer(row: Stored, other: Stored) -> bool:
    try:
        return bool((row.updated_at, row.seq) > (other.updated_at, other.seq))
    except TypeError:
        return False  # one of the times is invalid; decoding reports it


def _as_set(source: str | None) -> set[str] | None:
    return None if source is None else {source}
