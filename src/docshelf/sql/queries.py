"""Every statement that reads, and those that write alike on all databases, over a sync SQLAlchemy `Connection`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from sqlalchemy import bindparam, delete, func, null, select, type_coerce, update
from sqlalchemy.types import NullType

from docshelf.errors import CorruptEntryError
from docshelf.sql.drivers.reads import Rows, can_use_driver, fetched, plan_for
from docshelf.types import Problem, Source, SourceNote, Stats
from docshelf.validation import prefix_end
from docshelf.values.json import DecodeError, dumps, loads
from docshelf.values.stored import Stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from docshelf.sql.dialects.base import Dialect
    from docshelf.sql.rows import Identity

T = TypeVar("T")

# Keys in one array parameter.
KEYS_PER_STATEMENT: Final = 20_000
# What `latest_values` does not ask for.
_UNREAD: Final = tuple(Stored._field_defaults.values())
Compared = Sequence[Any]
"""What a write has to know of an entry that stands: key, source, hash as the driver gives it, and version."""


class Sized(NamedTuple):
    """A key of a page and the bytes of its packed values, over all its sources."""

    key: str
    size: int


def chunked(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


class Queries:
    """The statements of one set of tables on one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        tables = dialect.tables
        self._entries = tables.entries
        self._sources = tables.sources
        e = tables.entries.c
        # As the driver gives them: what a stranger wrote into SQLite may be of any type, and is judged when it is read.
        self._stored = [type_coerce(e[name], NullType()).label(name) for name in Stored._fields]
        self._without_value = [
            null().label(name) if name == "value" else column
            for name, column in zip(Stored._fields, self._stored, strict=True)
        ]
        self._compared = (e.key, e.source, type_coerce(e.value_hash, NullType()), e.version)
        self._readable = self._stored[: Stored._fields.index("version")]
        self._of_collection = e.collection == bindparam("collection")
        self._of_keys = dialect.in_array(e.key, "keys")
        self._of_source = e.source == bindparam("source")
        self._of_sources = dialect.in_array(e.source, "sources")
        # SQLAlchemy takes as long to build a statement as the database to find a row: each is built once.
        self._built: dict[Hashable, Any] = {}

    def _once(self, name: Hashable, build: Callable[[], Any]) -> Any:
        statement = self._built.get(name)
        if statement is None:
            statement = self._built[name] = build()
        return statement

    def _rows(
        self, connection: Connection, name: Hashable, build: Callable[[], Select[Any]], parameters: Mapping[str, Any]
    ) -> Rows:
        """The rows of a statement that is built once. Its columns and parameters are as drivers take and give them."""
        statement = self._once(name, build)
        if can_use_driver(connection):
            dialect = connection.dialect
            plan = self._once((name, dialect.driver), lambda: plan_for(connection, statement))
            rows = None if plan is None else fetched(connection, plan, parameters)
            if rows is not None:
                return rows
        return connection.execute(statement, parameters)

    def existing(
        self,
        connection: Connection,
        collection: str,
        *,
        keys: Sequence[str] | None,
        sources: Collection[str] | None,
    ) -> Iterable[Compared]:
        """Hashes and versions of the entries of some keys, in some sources; None for either means all."""
        return self._narrowed(connection, "existing", self._compared, collection, keys=keys, sources=sources)

    def existing_pairs(
        self, connection: Connection, collection: str, identities: Sequence[Identity]
    ) -> Iterable[Compared]:
        """Hashes and versions of some entries, maybe twice, and maybe of others with their keys."""
        sources = {source for _, source in identities}
        if len(sources) == 1:
            yield from self.existing(connection, collection, keys=[key for key, _ in identities], sources=sources)
            return
        for chunk in chunked(identities, KEYS_PER_STATEMENT):
            # Most keys have one source: to ask by keys alone takes half as long as by pairs. Where they have more than
            # those that are wanted, this stops, and asks by pairs.
            most = 2 * len(chunk)
            keys = self.dialect.array(dict.fromkeys(key for key, _ in chunk))
            parameters = {"collection": collection, "keys": keys, "limit": most + 1}
            count = 0
            for row in self._rows(connection, "existing of keys", self._of_keys_limited, parameters):
                count += 1
                yield row
            if count > most:
                pairs = {"collection": collection, **self.dialect.pairs(chunk)}
                yield from self._rows(connection, "existing of pairs", self._of_pairs, pairs)

    def _of_keys_limited(self) -> Select[Any]:
        return select(*self._compared).where(self._of_collection, self._of_keys).limit(bindparam("limit"))

    def _of_pairs(self) -> Select[Any]:
        among = self.dialect.in_pairs(self._entries.c.key, self._entries.c.source)
        return select(*self._compared).where(self._of_collection, among)

    def fetch(
        self, connection: Connection, collection: str, keys: Sequence[str], source: str | None, *, values: bool = True
    ) -> list[Stored]:
        """The rows of some keys, in no order; a key has one for each of its sources."""
        columns = self._stored if values else self._without_value
        rows = self._narrowed(connection, values, columns, collection, keys=keys, sources=_only(source))
        return list(starmap(Stored, rows))

    def latest_values(
        self, connection: Connection, collection: str, keys: Sequence[str], source: str | None
    ) -> list[Stored]:
        """For each key the row written last, without version, times and seq."""
        rows = self._narrowed(connection, "values", self._readable, collection, keys=keys, sources=_only(source))
        found: dict[str, Stored] = {}
        repeated = set()
        new = tuple.__new__  # a third of what it takes to call Stored itself
        for row in rows:
            stored = new(Stored, (*row, *_UNREAD))
            if found.setdefault(stored[0], stored) is not stored:
                repeated.add(stored[0])
        if repeated:  # it takes their times to tell which one
            found |= latest(self.fetch(connection, collection, list(repeated), source))
        return list(found.values())

    def of_sources(
        self, connection: Connection, collection: str, sources: Sequence[str], *, values: bool
    ) -> list[Stored]:
        """The rows of some sources, in the order of their insertion."""
        columns: Sequence[Any] = self._stored if values else self._without_value
        rows = self._rows(
            connection,
            ("of sources", values),
            lambda: select(*columns).where(self._of_collection, self._of_sources).order_by(self._entries.c.seq),
            {"collection": collection, "sources": self.dialect.array(sources)},
        )
        return list(starmap(Stored, rows))

    def existing_keys(
        self, connection: Connection, collection: str, keys: Sequence[str], source: str | None
    ) -> set[str]:
        """Those of the keys that have an entry."""
        columns = (self._entries.c.key,)
        rows = self._narrowed(connection, "existing keys", columns, collection, keys=keys, sources=_only(source))
        return {row[0] for row in rows}

    def page(
        self,
        connection: Connection,
        collection: str,
        *,
        after: str | None,
        prefix: str | None,
        source: str | None,
        limit: int,
    ) -> list[str]:
        """At most `limit` keys after a key, in order; a key in several sources may stand there several times."""
        key = self._entries.c.key
        bounds = {
            "after": after,
            "prefix": prefix if after is None else None,
            "prefix_end": prefix_end(prefix) if prefix else None,
            "source": source,
        }
        parameters = {name: value for name, value in bounds.items() if value is not None}
        rows = self._rows(
            connection,
            ("page", *parameters),
            lambda: select(key).where(*self._bounded(parameters)).order_by(key).limit(bindparam("limit")),
            {**parameters, "collection": collection, "limit": limit},
        )
        keys = [row[0] for row in rows]
        if keys and type(keys[-1]) is not str:  # in SQLite such stand behind all text
            texts = [key for key in keys if type(key) is str]
            if not texts:
                checked_identity((keys[0], source or ""))
            return texts
        return keys

    def sizes(self, connection: Connection, collection: str, keys: Sequence[str], source: str | None) -> list[Sized]:
        """Each key with the packed size of its values, in order."""
        e = self._entries.c
        columns = (e.key, func.coalesce(func.length(e.value), 0))
        sizes: dict[str, int] = {}
        for key, size in self._narrowed(connection, "sizes", columns, collection, keys=keys, sources=_only(source)):
            sizes[key] = sizes.get(key, 0) + size
        return [Sized(key, size) for key, size in sorted(sizes.items())]

    def count(self, connection: Connection, collection: str, *, prefix: str | None, source: str | None) -> int:
        bounds = {"prefix": prefix, "prefix_end": prefix_end(prefix) if prefix else None, "source": source}
        parameters = {name: value for name, value in bounds.items() if value is not None}
        [[number]] = self._rows(
            connection,
            ("count", *parameters),
            lambda: select(func.count()).select_from(self._entries).where(*self._bounded(parameters)),
            {**parameters, "collection": collection},
        )
        return int(number)

    def sources(self, connection: Connection, collection: str) -> tuple[list[Source], list[Problem]]:
        """Every source that has entries or was synced, in order, and which of them have metadata that cannot be read.

        Raises:
            CorruptEntryError: the name of one is no text.
        """
        e = self._entries.c
        counted = select(e.source, func.count()).where(self._of_collection).group_by(e.source)
        counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted, {"collection": collection})}
        s = self._sources
        rows = connection.execute(
            select(s).where(s.c.collection == bindparam("collection")), {"collection": collection}
        )
        known = {row.source: row for row in rows}
        for name in (*counts, *known):
            checked_identity(("", name))
        found: list[Source] = []
        problems: list[Problem] = []
        for name in sorted({*counts, *known}):
            row = known.get(name)
            metadata = None
            try:
                metadata = None if row is None else _metadata(row)
            except CorruptEntryError as exc:
                problems += exc.problems
            kept = (None, None) if row is None else (row.fingerprint, row.synced_at)
            found.append(Source(name, counts.get(name, 0), kept[0], metadata, kept[1]))
        return found, problems

    def get_notes(self, connection: Connection, collection: str, sources: Collection[str]) -> dict[str, SourceNote]:
        """What is written down about some sources; those that were never synced are not there."""
        s = self._sources
        statement = select(s).where(
            s.c.collection == bindparam("collection"), self.dialect.in_array(s.c.source, "sources")
        )
        parameters = {"collection": collection, "sources": self.dialect.array(sources)}
        rows = connection.execute(statement, parameters)
        return {row.source: SourceNote(row.fingerprint, _metadata(row)) for row in rows}

    def put_notes(
        self, connection: Connection, collection: str, notes: Mapping[str, SourceNote], now: datetime
    ) -> None:
        """Write down what is known of some sources."""
        statement = self.dialect.insert(self._sources)
        columns = self._sources.c
        upsert = statement.on_conflict_do_update(
            index_elements=[columns.collection, columns.source],
            set_={name: statement.excluded[name] for name in ("fingerprint", "metadata", "synced_at")},
        )
        rows = [
            {
                "collection": collection,
                "source": source,
                "fingerprint": note.fingerprint,
                "metadata": None if note.metadata is None else dumps(note.metadata).decode(),
                "synced_at": now,
            }
            for source, note in sorted(notes.items())
        ]
        connection.execute(upsert, rows)

    def forget_fingerprints(self, connection: Connection, collection: str, sources: Collection[str]) -> None:
        """Entries of these sources went by other ways than a sync: no file is to be taken as unchanged."""
        s = self._sources.c
        statement = update(self._sources).where(
            s.collection == bindparam("of_collection"),
            self.dialect.in_array(s.source, "sources"),
            s.fingerprint.is_not(None),
        )
        parameters = {"of_collection": collection, "sources": self.dialect.array(sources), "fingerprint": None}
        connection.execute(statement, parameters)

    def delete_source_rows(self, connection: Connection, collection: str, sources: Collection[str] | None) -> None:
        """Forget some sources, or all of the collection's."""
        s = self._sources.c
        statement = delete(self._sources).where(s.collection == bindparam("of_collection"))
        parameters: dict[str, Any] = {"of_collection": collection}
        if sources is not None:
            statement = statement.where(self.dialect.in_array(s.source, "sources"))
            parameters["sources"] = self.dialect.array(sources)
        connection.execute(statement, parameters)

    def delete_all(self, connection: Connection, collection: str) -> int:
        """Delete the collection's entries; returns how many there were."""
        return connection.execute(delete(self._entries).where(self._of_collection), {"collection": collection}).rowcount

    def count_sources(self, connection: Connection, collection: str) -> int:
        """How many sources have entries."""
        statement = select(func.count(self._entries.c.source.distinct())).where(self._of_collection)
        return int(connection.scalar(statement, {"collection": collection}) or 0)

    def stats(self, connection: Connection, collection: str) -> Stats:
        e = self._entries.c
        statement = select(
            func.count(), func.count(e.source.distinct()), func.coalesce(func.sum(func.length(e.value)), 0)
        ).where(self._of_collection)
        entries, sources, stored = connection.execute(statement, {"collection": collection}).one()
        return Stats(entries, sources, int(stored), self.dialect.disk_bytes(connection))

    def _narrowed(
        self,
        connection: Connection,
        name: Hashable,
        columns: Sequence[Any],
        collection: str,
        *,
        keys: Sequence[str] | None,
        sources: Collection[str] | None,
    ) -> Iterable[Any]:
        """The rows of some keys, in some sources; None for either means all. `name` tells the columns apart."""
        parameters: dict[str, Any] = {"collection": collection}
        conditions = [self._of_collection]
        if keys is not None:
            conditions.append(self._of_keys)
        if sources is not None and len(sources) == 1:
            conditions.append(self._of_source)
            [parameters["source"]] = sources
        elif sources is not None:
            conditions.append(self._of_sources)
            parameters["sources"] = self.dialect.array(sources)
        name = (name, keys is None, *parameters)

        def build() -> Select[Any]:
            return select(*columns).where(*conditions)

        if keys is None:
            yield from self._rows(connection, name, build, parameters)
            return
        for chunk in chunked(keys, KEYS_PER_STATEMENT):
            yield from self._rows(connection, name, build, {**parameters, "keys": self.dialect.array(chunk)})

    def _bounded(self, parameters: Collection[str]) -> list[ColumnElement[bool]]:
        """The conditions of the parameters that are given."""
        key = self._entries.c.key
        conditions = {
            "after": key > bindparam("after"),
            "prefix": key >= bindparam("prefix"),
            "prefix_end": key < bindparam("prefix_end"),
            "source": self._of_source,
        }
        return [self._of_collection, *(conditions[name] for name in parameters)]


def identities_of(rows: Iterable[Compared]) -> Iterator[Identity]:
    """Whose rows they are. Raises as `checked_identity` does."""
    return (checked_identity((key, source)) for key, source, *_ in rows)


def checked_identity(identity: Identity) -> Identity:
    """The identity of a row.

    Raises:
        CorruptEntryError: a name that is no text: SQLite lets any column hold bytes.
    """
    for name in identity:
        if type(name) is not str:
            raise CorruptEntryError([Problem(*identity, f"{name!r:.60} is no text")])
    return identity


def latest(rows: Iterable[Stored]) -> dict[str, Stored]:
    """By key, the row written last."""
    found: dict[str, Stored] = {}
    for row in rows:
        other = found.setdefault(row.key, row)
        if other is not row and _is_newer(row, other):
            found[row.key] = row
    return found


def _is_newer(row: Stored, other: Stored) -> bool:
    try:
        return bool((row.updated_at, row.seq) > (other.updated_at, other.seq))
    except TypeError:
        return False  # one of them holds no time, as decoding will say


def _only(source: str | None) -> set[str] | None:
    return None if source is None else {source}


def _metadata(row: Row[Any]) -> dict[str, Any] | None:
    try:
        return None if row.metadata is None else loads(row.metadata.encode())
    except DecodeError as exc:
        raise CorruptEntryError([Problem("", row.source, f"the source's metadata: {exc}")]) from exc
