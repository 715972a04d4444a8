"""Statements of moves and exports: rows by identity, sources with their times, collections with their owners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import starmap
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Text, func, literal, select, tuple_, type_coerce
from sqlalchemy.types import NullType

from docshelf.sql.chunks import chunked
from docshelf.sql.dialects.base import Dialect
from docshelf.sql.rows import Identity
from docshelf.types import Problem
from docshelf.validation import prefix_end
from docshelf.values.stored import Stored, utc_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PAIRS_PER_STATEMENT: Final = 2_000


class Outline(NamedTuple):
    """What an export sorts entries by: the order of insertion, the identity, and the packed bytes of the value."""

    seq: int
    key: str
    source: str
    size: int


class RawSource(NamedTuple):
    """What is stored about a source. The metadata are canonical JSON."""

    source: str
    fingerprint: str | None
    metadata: str | None
    synced_at: datetime


class RawCollection(NamedTuple):
    """What is stored about a collection besides its entries and sources. The settings are JSON."""

    collection: str
    owner: str | None = None
    settings: str | None = None


class TransferQueries:
    """The statements of one set of tables on one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._tables = dialect.tables
        e = dialect.tables.entries.c
        # As the driver returns them: any SQLite column may hold any type.
        self._stored = [type_coerce(e[name], NullType()).label(name) for name in Stored._fields]

    def outlines(
        self,
        connection: Connection,
        collection: str,
        *,
        after: Identity | None,
        prefix: str | None,
        source: str | None,
        limit: int,
    ) -> tuple[list[Outline], list[Problem]]:
        """At most `limit` entries after an identity, by key and source, and those whose names are not text."""
        e = self._tables.entries.c
        conditions = [e.collection == collection]
        if after is not None:
            conditions.append(tuple_(e.key, e.source) > tuple_(*(literal(name, Text) for name in after)))
        if prefix:
            conditions.append(e.key >= prefix)
            end = prefix_end(prefix)
            if end is not None:
                conditions.append(e.key < end)
        if source is not None:
            conditions.append(e.source == source)
        columns = (type_coerce(e.seq, NullType()), e.key, e.source, func.coalesce(func.length(e.value), 0))
        statement = select(*columns).where(*conditions).order_by(e.key, e.source).limit(limit)
        found: list[Outline] = []
        problems: list[Problem] = []
        for seq, key, of, size in connection.execute(statement):
            if type(key) is str and type(of) is str:
                found.append(Outline(seq if type(seq) is int else 0, key, of, size))
            else:
                problems.append(Problem(key, of, "a key or source that is not text"))
        return found, problems

    def rows(self, connection: Connection, collection: str, identities: Sequence[Identity]) -> list[Stored]:
        """The rows of some entries, in no order."""
        e = self._tables.entries.c
        rows: list[Stored] = []
        for chunk in chunked(identities, _PAIRS_PER_STATEMENT):
            statement = select(*self._stored).where(e.collection == collection, self._dialect.in_pairs(e.key, e.source))
            rows += starmap(Stored, connection.execute(statement, dict(self._dialect.pairs(chunk))))
        return rows

    def sources(
        self, connection: Connection, collection: str, *, after: str | None, limit: int
    ) -> tuple[list[RawSource], list[Problem]]:
        """At most `limit` sources after a name, in order, and those whose columns hold something else."""
        s = self._tables.sources.c
        columns = (s.source, s.fingerprint, s.metadata, type_coerce(s.synced_at, NullType()))
        statement = select(*columns).where(s.collection == collection).order_by(s.source).limit(limit)
        if after is not None:
            statement = statement.where(s.source > after)
        found: list[RawSource] = []
        problems: list[Problem] = []
        for name, fingerprint, metadata, synced_at in connection.execute(statement):
            try:
                texts = (name, fingerprint or "", metadata or "")
                if not all(type(one) is str for one in texts):
                    raise TypeError
                found.append(RawSource(name, fingerprint, metadata, utc_time(synced_at)))
            except (TypeError, ValueError, OverflowError):
                problems.append(Problem("", name, "a column of the source holds something else"))
        return found, problems

    def get_sources(self, connection: Connection, collection: str, names: Sequence[str]) -> dict[str, RawSource]:
        """What is stored about some sources, by name."""
        s = self._tables.sources.c
        statement = select(s.source, s.fingerprint, s.metadata, s.synced_at).where(
            s.collection == collection, self._dialect.in_array(s.source, "sources")
        )
        rows = connection.execute(statement, {"sources": self._dialect.array(names)})
        return {row.source: RawSource(*row) for row in rows}

    def put_sources(self, connection: Connection, collection: str, sources: Iterable[RawSource]) -> None:
        """Store what is known about some sources, with their times."""
        columns = self._tables.sources.c
        statement = self._dialect.insert(self._tables.sources)
        upsert = statement.on_conflict_do_update(
            index_elements=[columns.collection, columns.source],
            set_={name: statement.excluded[name] for name in ("fingerprint", "metadata", "synced_at")},
        )
        connection.execute(upsert, [{"collection": collection, **source._asdict()} for source in sources])

    def collections(self, connection: Connection) -> list[RawCollection]:
        """Every collection that has entries, sources or settings, by name."""
        tables = self._tables
        names: set[str] = set()
        for table in (tables.entries, tables.sources):
            names.update(connection.scalars(select(table.c.collection).distinct()))
        c = tables.collections.c
        known = {row[0]: RawCollection(*row) for row in connection.execute(select(c.collection, c.owner, c.settings))}
        return [known.get(name, RawCollection(name)) for name in sorted({*names, *known}) if type(name) is str]

    def collection(self, connection: Connection, name: str) -> RawCollection:
        """What is stored about a collection."""
        c = self._tables.collections.c
        row = connection.execute(select(c.collection, c.owner, c.settings).where(c.collection == name)).first()
        return RawCollection(name) if row is None else RawCollection(*row)

    def put_collection(self, connection: Connection, row: RawCollection) -> None:
        """Store the owner and the settings of a collection."""
        columns = self._tables.collections.c
        statement = self._dialect.insert(self._tables.collections)
        upsert = statement.on_conflict_do_update(
            index_elements=[columns.collection],
            set_={name: statement.excluded[name] for name in ("owner", "settings")},
        )
        connection.execute(upsert, row._asdict())
