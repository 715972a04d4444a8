"""Every operation, written once, as a flow of steps that sync and async both perform.

A flow does the work that needs no database (checking, serializing, hashing, packing) before it asks for a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from docshelf.codec import Codec, Encoded, Stored
from docshelf.dialects.base import Identity, PackedRow
from docshelf.engine import Compute, Flow, Read, Write
from docshelf.errors import CorruptEntryError, DatabaseError, MassDeleteError, SchemaError
from docshelf.migrations import is_current, upgrade
from docshelf.models import DEL, INS, SKIP, UPD, Change, Entry, Item, Op, Problem, Report, Source, Stats
from docshelf.queries import Queries, Standing

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from docshelf.dialects import Dialect

Scope = Literal["source", "collection"]

# Canonical and packed bytes that a call keeps between its steps; past this they are made again, chunk by chunk.
_KEPT_BYTES: Final = 64 * 1024 * 1024
# Values this small are encoded and decoded on the event loop: a thread costs more (some 60 µs).
_LIGHT_ITEMS: Final = 8
_LIGHT_ROWS: Final = 200
_LIGHT_BYTES: Final = 65_536
# A page of keys, and the packed bytes and keys of one batch of values, when streaming.
_PAGE_KEYS: Final = 5_000
_PAGE_BYTES: Final = 16 * 1024 * 1024
_PAGE_VALUES: Final = 500


@dataclass(frozen=True)
class Context:
    """What every operation of one store works with."""

    collection: str
    codec: Codec
    queries: Queries
    tick: Callable[[int], None] = lambda done: None

    @property
    def dialect(self) -> Dialect:
        return self.queries.dialect


class _Prepared:
    """An item, hashed. Its canonical bytes are kept while the call's budget lasts, and made again after that."""

    __slots__ = ("_codec", "encoded", "item", "packed", "position")

    def __init__(self, item: Item, position: int, codec: Codec) -> None:
        self.item = item
        self.position = position
        self._codec = codec
        self.encoded: Encoded = codec.encode(item.value, item.key)
        self.packed: tuple[str, bytes] | None = None

    @property
    def identity(self) -> Identity:
        return self.item.key, self.item.source or ""

    def differs(self, standing: Standing | None) -> bool:
        return (
            standing is None
            or standing.value_hash != self.encoded.value_hash
            or (self.item.version is not None and standing.version != self.item.version)
        )

    def drop_data(self) -> None:
        self.encoded = self.encoded._replace(data=b"")

    def pack(self) -> int:
        """Pack now; returns the size."""
        if not self.encoded.data:
            # Never empty when kept, except for b"" itself. Encoded anew, so that hash and bytes belong together.
            self.encoded = self._codec.encode(self.item.value, self.item.key)
        self.packed = self._codec.pack(self.encoded.data)
        self.drop_data()
        return len(self.packed[1])

    def take_row(self) -> PackedRow:
        """The row to write. What was packed is handed over: a retry packs again."""
        if self.packed is None:
            self.pack()
        assert self.packed is not None
        (encoding, value), self.packed = self.packed, None
        item, encoded = self.item, self.encoded
        return PackedRow(
            *self.identity,
            value,
            encoded.value_hash,
            encoded.checksum,
            encoded.content_type,
            encoding,
            item.version,
            self.position,
        )


@dataclass(frozen=True)
class SourceNote:
    """What a sync writes down about its source. `metadata` None keeps what is there."""

    source: str
    fingerprint: str | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True)
class WritePlan:
    """One call that writes items.

    Attributes:
        scope: what is deleted when no item names it: nothing (None), the source's entries, or the collection's.
        max_delete: the share of what stands that may go.
    """

    source: str
    scope: Scope | None = None
    dry_run: bool = False
    max_delete: float = 1.0
    allow_mass_delete: bool = False
    note: SourceNote | None = None


class _Outcome(NamedTuple):
    ops: Mapping[Identity, Op]
    deleted: Collection[Identity]


@dataclass
class _Batch:
    """The items of a call with what they need in the database."""

    context: Context
    plan: WritePlan
    prepared: dict[Identity, _Prepared]
    keys: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = list({key: None for key, _ in self.prepared})

    def standing(self, connection: Connection) -> dict[Identity, Standing]:
        """What the call has to know of the database: all that it might delete, or else the entries of its keys."""
        queries, collection = self.context.queries, self.context.collection
        if self.plan.scope == "collection":
            return queries.standing(connection, collection, keys=None, source=None)
        if self.plan.scope == "source":
            return queries.standing(connection, collection, keys=None, source=self.plan.source)
        sources = {source for _, source in self.prepared}
        only = sources.pop() if len(sources) == 1 else None
        return queries.standing(connection, collection, keys=self.keys, source=only)

    def changed(self, standing: Mapping[Identity, Standing]) -> list[_Prepared]:
        """The items to write, in the order that all writers keep."""
        found = [identity for identity, one in self.prepared.items() if one.differs(standing.get(identity))]
        return [self.prepared[identity] for identity in sorted(found)]

    def stale(self, standing: Mapping[Identity, Standing]) -> list[Identity]:
        """The entries to delete."""
        if self.plan.scope is None:
            return []
        return sorted(identity for identity in standing if identity not in self.prepared)

    def check_mass_delete(self, standing: Mapping[Identity, Standing], stale: Sequence[Identity]) -> None:
        plan = self.plan
        if plan.allow_mass_delete or plan.dry_run or not stale:
            return
        if len(stale) > plan.max_delete * len(standing) or (len(stale) == len(standing) and not self.prepared):
            where = f"source {plan.source!r}" if plan.scope == "source" else f"collection {self.context.collection!r}"
            raise MassDeleteError(
                f"this sync of {where} would delete {len(stale):,} of {len(standing):,} entries and hold "
                f"{len(self.prepared):,}; if that is meant, pass allow_mass_delete=True"
            )

    def apply(self, connection: Connection) -> _Outcome:
        """Write and delete, in a transaction that is open; decided by what stands once the locks are held."""
        context, plan = self.context, self.plan
        dialect, collection = context.dialect, context.collection
        sources = None if plan.scope == "collection" else {source for _, source in self.prepared} or {plan.source}
        ticket = dialect.begin_write(connection, collection, sources, exclusive=plan.scope is not None)
        standing = self.standing(connection)
        stale = self.stale(standing)
        self.check_mass_delete(standing, stale)
        ops: dict[Identity, Op] = {}
        for rows in _row_chunks(self.changed(standing), dialect):
            ops.update(dialect.upsert(connection, collection, rows, ticket, standing))
            context.tick(len(rows))
        deleted: list[Identity] = []
        for start in range(0, len(stale), dialect.chunk_rows):
            deleted += dialect.delete(connection, collection, stale[start : start + dialect.chunk_rows])
        if plan.note is not None:
            self._write_note(connection, plan.note, ticket.now)
        vanished = {source for _, source in deleted} - {plan.note.source if plan.note else None}
        if vanished:
            context.queries.forget_fingerprints(connection, collection, vanished)
        return _Outcome(ops, deleted)

    def note_differs(self, connection: Connection) -> bool:
        """True when what a sync says of its source is not what is written down."""
        note = self.plan.note
        if note is None or (note.fingerprint is None and note.metadata is None):
            return False
        known = self.context.queries.source(connection, self.context.collection, note.source)
        return (
            known is None
            or known.fingerprint != note.fingerprint
            or (note.metadata is not None and known.metadata != note.metadata)
        )

    def _write_note(self, connection: Connection, note: SourceNote, now: datetime) -> None:
        self.context.queries.put_source(
            connection,
            self.context.collection,
            note.source,
            fingerprint=note.fingerprint,
            metadata=note.metadata,
            now=now,
        )

    def report(self, outcome: _Outcome) -> Report:
        changes = [Change(key, outcome.ops.get((key, source), SKIP), source) for key, source in self.prepared]
        changes += [Change(key, DEL, source) for key, source in sorted(outcome.deleted)]
        return Report(tuple(changes), dry_run=self.plan.dry_run)


def _row_chunks(changed: Sequence[_Prepared], dialect: Dialect) -> Iterator[list[PackedRow]]:
    rows: list[PackedRow] = []
    size = 0
    for prepared in changed:
        row = prepared.take_row()
        rows.append(row)
        size += len(row.value or b"")
        if len(rows) >= dialect.chunk_rows or size >= dialect.chunk_bytes:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def setup(context: Context) -> Flow[None]:
    """Create or upgrade the tables where that is needed."""
    dialect = context.dialect
    if (yield Read(partial(is_current, dialect=dialect))):
        return
    try:
        yield Write(partial(upgrade, dialect=dialect))
    except DatabaseError as exc:
        if exc.sqlstate != "42501":
            raise
        raise SchemaError(
            f"the table {dialect.tables.entries.fullname} is missing or of an older version, and this role may not "
            f"change that ({exc}); run setup() once as a role that may, and grant this one SELECT, INSERT, UPDATE and "
            "DELETE on the tables and USAGE on the sequence of the entries table"
        ) from exc


def write(context: Context, items: Mapping[Identity, Item], plan: WritePlan) -> Flow[Report]:
    """Make the database hold the items, and under a scope nothing else; the report says what that took."""
    prepared = yield Compute(partial(_prepare, context.codec, items), heavy=_is_heavy(items.values()))
    batch = _Batch(context, plan, prepared)
    if not prepared and plan.scope is None:
        return Report(dry_run=plan.dry_run)

    def probe(connection: Connection) -> tuple[dict[Identity, Standing], bool]:
        return batch.standing(connection), batch.note_differs(connection)

    standing, note_differs = yield Read(probe)
    changed, stale = batch.changed(standing), batch.stale(standing)
    batch.check_mass_delete(standing, stale)
    context.tick(len(prepared) - len(changed))
    if plan.dry_run or not (changed or stale or note_differs):
        ops: dict[Identity, Op] = {one.identity: UPD if one.identity in standing else INS for one in changed}
        return batch.report(_Outcome(ops, stale))
    yield Compute(partial(_pack, changed), heavy=_is_heavy([one.item for one in changed]))
    return batch.report((yield Write(batch.apply)))


def write_one(context: Context, item: Item) -> Flow[Op]:
    """Write one item if it differs from what stands; the op says what that took."""
    report = yield from write(context, {(item.key, item.source or ""): item}, WritePlan(item.source or ""))
    return report[0].op


def get_values(context: Context, keys: Sequence[str], source: str | None) -> Flow[list[Any]]:
    """The values of the keys, in their order, None where there is none."""
    entries = yield from _entries(context, keys, source, with_values=True)
    return [None if (entry := entries.get(key)) is None else entry[1] for key in keys]


def get_entries(context: Context, keys: Sequence[str], source: str | None, *, values: bool) -> Flow[list[Entry | None]]:
    """The entries of the keys, in their order, None where there is none."""
    entries = yield from _entries(context, keys, source, with_values=values)
    return [None if (entry := entries.get(key)) is None else _entry(*entry) for key in keys]


def existing(context: Context, keys: Sequence[str], source: str | None) -> Flow[set[str]]:
    """Those of the keys that have an entry."""
    if not keys:
        return set()
    found: set[str] = yield Read(
        lambda connection: context.queries.existing(connection, context.collection, keys, source)
    )
    return found


def delete_keys(context: Context, keys: Sequence[str], source: str | None) -> Flow[Report]:
    """Delete the entries of some keys, in one source or in all."""
    if not keys:
        return Report()
    queries, dialect, collection = context.queries, context.dialect, context.collection
    unique = list(dict.fromkeys(keys))

    def apply(connection: Connection) -> list[Identity]:
        dialect.begin_write(connection, collection, None if source is None else [source], exclusive=True)
        there = set(queries.standing(connection, collection, keys=unique, source=source))
        doomed = sorted(there)
        deleted: list[Identity] = []
        for start in range(0, len(doomed), dialect.chunk_rows):
            deleted += dialect.delete(connection, collection, doomed[start : start + dialect.chunk_rows])
        if deleted:
            queries.forget_fingerprints(connection, collection, {source for _, source in deleted})
        return deleted

    deleted = yield Write(apply)
    order = {key: position for position, key in enumerate(unique)}
    deleted.sort(key=lambda identity: (order[identity[0]], identity[1]))
    return Report(tuple(Change(key, DEL, of) for key, of in deleted))


def delete_source(context: Context, source: str) -> Flow[Report]:
    """Delete a source with its entries."""
    batch = _Batch(context, WritePlan(source, "source", allow_mass_delete=True), {})

    def apply(connection: Connection) -> _Outcome:
        outcome = batch.apply(connection)
        context.queries.delete_source_row(connection, context.collection, source)
        return outcome

    return batch.report((yield Write(apply)))


def clear(context: Context) -> Flow[int]:
    """Delete the whole collection; returns how many entries it had."""
    queries, collection = context.queries, context.collection

    def apply(connection: Connection) -> int:
        context.dialect.begin_write(connection, collection, None, exclusive=True)
        queries.delete_source_row(connection, collection, None)
        return queries.delete_all(connection, collection)

    count: int = yield Write(apply)
    return count


def key_page(context: Context, after: str | None, prefix: str | None, source: str | None) -> Flow[list[str]]:
    """The next page of keys, without repeats; an empty one is the end."""
    keys: list[str] = yield Read(
        lambda connection: context.queries.page(
            connection, context.collection, after=after, prefix=prefix, source=source, limit=_PAGE_KEYS
        )
    )
    return list(dict.fromkeys(keys))


def value_batches(context: Context, keys: Sequence[str], source: str | None) -> Flow[list[list[str]]]:
    """A page of keys in batches whose values can be held in memory together."""
    sizes = yield Read(lambda connection: context.queries.sizes(connection, context.collection, keys, source))
    batches: list[list[str]] = [[]]
    held = 0
    for key, size in sizes:
        if batches[-1] and (held + size > _PAGE_BYTES or len(batches[-1]) >= _PAGE_VALUES):
            batches.append([])
            held = 0
        batches[-1].append(key)
        held += size
    return batches


def present_values(context: Context, keys: Sequence[str], source: str | None) -> Flow[list[tuple[str, Any]]]:
    """(key, value) of those keys that are still there, in their order."""
    entries = yield from _entries(context, keys, source, with_values=True)
    return [(key, entries[key][1]) for key in keys if key in entries]


def problems(context: Context, keys: Sequence[str]) -> Flow[list[Problem]]:
    """The rows of some keys that cannot be read."""
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch(connection, context.collection, keys, None)
    )

    def check() -> list[Problem]:
        found: list[Problem] = []
        for row in rows:
            try:
                context.codec.decode(row)
            except CorruptEntryError as exc:
                found += exc.problems
        return found

    found: list[Problem] = yield Compute(check, heavy=True)
    return found


def count(context: Context, prefix: str | None, source: str | None) -> Flow[int]:
    number: int = yield Read(
        lambda connection: context.queries.count(connection, context.collection, prefix=prefix, source=source)
    )
    return number


def sources(context: Context) -> Flow[list[Source]]:
    found: list[Source] = yield Read(lambda connection: context.queries.sources(connection, context.collection))
    return found


def changed_sources(context: Context, fingerprints: Mapping[str, str]) -> Flow[list[str]]:
    """The sources whose fingerprint is not the one of their last sync, in input order."""
    if not fingerprints:
        return []
    known = yield Read(
        lambda connection: context.queries.source_rows(connection, context.collection, list(fingerprints))
    )
    return [
        source
        for source, fingerprint in fingerprints.items()
        if source not in known or known[source].fingerprint != fingerprint
    ]


def stats(context: Context) -> Flow[Stats]:
    found: Stats = yield Read(lambda connection: context.queries.stats(connection, context.collection))
    return found


def _prepare(codec: Codec, items: Mapping[Identity, Item]) -> dict[Identity, _Prepared]:
    prepared = {}
    kept = 0
    for position, (identity, item) in enumerate(items.items()):
        one = prepared[identity] = _Prepared(item, position, codec)
        kept += len(one.encoded.data)
        if kept > _KEPT_BYTES:
            one.drop_data()
    return prepared


def _pack(changed: Sequence[_Prepared]) -> None:
    kept = 0
    for prepared in changed:
        kept += prepared.pack()
        if kept > _KEPT_BYTES:
            return


def _entries(
    context: Context, keys: Sequence[str], source: str | None, *, with_values: bool
) -> Flow[dict[str, tuple[Stored, Any]]]:
    """By key, the row written last and its value."""
    if not keys:
        return {}
    unique = list(dict.fromkeys(keys))
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch(connection, context.collection, unique, source)
    )
    latest: dict[str, Stored] = {}
    for row in rows:
        other = latest.get(row.key)
        if other is None or (other.updated_at, other.seq) < (row.updated_at, row.seq):
            latest[row.key] = row
    if not with_values:
        return {key: (row, None) for key, row in latest.items()}
    heavy = len(latest) > _LIGHT_ROWS or sum(len(row.value or b"") for row in latest.values()) > _LIGHT_BYTES * 4
    decoded = yield Compute(lambda: context.codec.decode_all(latest.values()), heavy=heavy)
    return {row.key: (row, value) for row, value in decoded}


def _entry(row: Stored, value: Any) -> Entry:
    value_hash = None if row.value_hash is None else bytes(row.value_hash)
    return Entry(row.key, row.source, value, row.version, value_hash, row.content_type, row.created_at, row.updated_at)


def _is_heavy(items: Collection[Item]) -> bool:
    if len(items) > _LIGHT_ITEMS:
        return True
    # Text and bytes tell their size; what a document or a dict holds is not worth the look for so few.
    return any(isinstance(item.value, str | bytes) and len(item.value) > _LIGHT_BYTES for item in items)
