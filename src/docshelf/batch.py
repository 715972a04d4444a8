"""A call that writes many items: what is prepared before the connection, and what is decided under the locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from docshelf.codec import Codec, Encoded
from docshelf.dialects.base import Identity, PackedRow
from docshelf.errors import MassDeleteError
from docshelf.models import DEL, SKIP, Change, Item, Op, Report, SourceNote
from docshelf.queries import Queries, Standing, chunked

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.dialects import Dialect

Scope = Literal["source", "sources", "collection"]

# Canonical bytes that a call keeps between its steps; past this they are made again, chunk by chunk.
_KEPT_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Context:
    """What every operation of one store works with. `tick` is told of entries done."""

    collection: str
    codec: Codec
    queries: Queries
    tick: Callable[[int], None] = lambda done: None

    @property
    def dialect(self) -> Dialect:
        return self.queries.dialect


class Prepared:
    """An item, hashed. Its canonical bytes are kept while the call's budget lasts, and made again after that."""

    __slots__ = ("encoded", "identity", "item", "position", "row", "size")

    def __init__(self, identity: Identity, item: Item, position: int, codec: Codec) -> None:
        self.identity = identity
        self.item = item
        self.position = position
        self.encoded: Encoded = codec.encode(item.value, item.key)
        self.size = len(self.encoded.data)
        self.row: PackedRow | None = None

    def differs(self, standing: Standing | None) -> bool:
        return (
            standing is None
            or standing.value_hash != self.encoded.value_hash
            or (self.item.version is not None and standing.version != self.item.version)
        )

    def drop_data(self) -> None:
        self.encoded = self.encoded._replace(data=b"")

    def pack(self, codec: Codec) -> None:
        """Make the row, unless it is there, and let go of the canonical bytes."""
        if self.row is not None:
            return
        if len(self.encoded.data) != self.size:
            # Encoded anew as a whole, so that hash and bytes belong together whatever became of the value.
            self.encoded = codec.encode(self.item.value, self.item.key)
        encoded = self.encoded
        encoding, value = codec.pack(encoded.data)
        self.row = PackedRow(
            *self.identity,
            value,
            encoded.value_hash,
            encoded.checksum,
            encoded.content_type,
            encoding,
            self.item.version,
            self.position,
        )
        self.drop_data()

    def take_row(self) -> PackedRow:
        """The row, handed over; should the transaction run again, it is packed again."""
        row, self.row = self.row, None
        assert row is not None
        return row


def prepare(codec: Codec, items: Mapping[Identity, Item]) -> dict[Identity, Prepared]:
    """Serialize and hash every item; the first that cannot be stored raises."""
    prepared = {}
    kept = 0
    for position, (identity, item) in enumerate(items.items()):
        one = prepared[identity] = Prepared(identity, item, position, codec)
        kept += one.size
        if kept > _KEPT_BYTES:
            one.drop_data()
    return prepared


@dataclass(frozen=True)
class WritePlan:
    """One call that writes items.

    Attributes:
        scope: what is deleted when no item names it: nothing (None), what else `sources` hold (both "source" and
            "sources"), or what else the collection holds.
        sources: those that the call is about.
        notes: what to write down about sources.
        move: a key lives in one source only; writing it deletes its entries in others.
        max_delete: the share of what stands that may go.
    """

    scope: Scope | None = None
    sources: frozenset[str] = frozenset()
    notes: Mapping[str, SourceNote] = field(default_factory=dict)
    move: bool = False
    dry_run: bool = False
    max_delete: float = 1.0
    allow_mass_delete: bool = False


class Outcome(NamedTuple):
    ops: Mapping[Identity, Op]
    deleted: Collection[Identity]


@dataclass
class Batch:
    """The items of a call with what they need in the database."""

    context: Context
    plan: WritePlan
    prepared: dict[Identity, Prepared]
    keys: list[str] = field(init=False)
    # What an attempt did whose commit was not answered: where the next finds it done, it was this call's doing.
    attempted: Outcome = field(init=False, default_factory=lambda: Outcome({}, ()))

    def __post_init__(self) -> None:
        self.keys = list(dict.fromkeys(key for key, _ in self.prepared))

    def standing(self, connection: Connection) -> dict[Identity, Standing]:
        """What the call has to know of the database: all that it might delete, or else the entries of its keys."""
        queries, collection = self.context.queries, self.context.collection
        if self.plan.scope == "collection":
            return queries.standing(connection, collection, keys=None, sources=None)
        if self.plan.scope is not None:
            return queries.standing(connection, collection, keys=None, sources=self.plan.sources)
        sources = None if self.plan.move else {source for _, source in self.prepared}
        return queries.standing(connection, collection, keys=self.keys, sources=sources)

    def changed(self, standing: Mapping[Identity, Standing]) -> list[Prepared]:
        """The items to write, in the order that all writers keep."""
        found = [identity for identity, one in self.prepared.items() if one.differs(standing.get(identity))]
        return [self.prepared[identity] for identity in sorted(found)]

    def stale(self, standing: Mapping[Identity, Standing]) -> list[Identity]:
        """The entries to delete."""
        if self.plan.scope is None and not self.plan.move:
            return []
        return sorted(identity for identity in standing if identity not in self.prepared)

    def check_mass_delete(self, standing: Mapping[Identity, Standing], stale: Sequence[Identity]) -> None:
        plan = self.plan
        if plan.scope is None or plan.allow_mass_delete or plan.dry_run or not stale:
            return
        if len(stale) > plan.max_delete * len(standing) or (len(stale) == len(standing) and not self.prepared):
            names = sorted(plan.sources)
            where = f"source {names[0]!r}" if len(names) == 1 else f"collection {self.context.collection!r}"
            raise MassDeleteError(
                f"this sync of {where} would delete {len(stale):,} of {len(standing):,} entries and hold "
                f"{len(self.prepared):,}; if that is meant, pass allow_mass_delete=True"
            )

    def apply(self, connection: Connection) -> Outcome:
        """Write and delete, in a transaction that is open; decided by what stands once the locks are held."""
        context, plan = self.context, self.plan
        dialect, collection = context.dialect, context.collection
        # Where a key may leave sources that nobody named, the whole collection is locked.
        locked = None if plan.scope == "collection" or plan.move else plan.sources
        ticket = dialect.begin_write(connection, collection, locked, exclusive=plan.move or plan.scope is not None)
        standing = self.standing(connection)
        stale = self.stale(standing)
        self.check_mass_delete(standing, stale)
        changed = self.changed(standing)
        ops: dict[Identity, Op] = {}
        for rows in self._packed(changed):
            ops.update(dialect.upsert(connection, collection, rows, ticket, standing))
            context.tick(len(rows))
        deleted = delete_entries(connection, context, stale)
        notes = self.notes_to_write(connection, changed, stale)
        if notes:
            context.queries.put_notes(connection, collection, notes, ticket.now)
        vanished = {source for _, source in deleted} - notes.keys()
        if vanished:
            context.queries.forget_fingerprints(connection, collection, vanished)
        before = self.attempted
        gone = {identity for identity in before.deleted if identity not in standing}
        self.attempted = Outcome({**before.ops, **ops}, gone.union(deleted))
        return self.attempted

    def notes_to_write(
        self, connection: Connection, changed: Sequence[Prepared], stale: Sequence[Identity]
    ) -> dict[str, SourceNote]:
        """The notes that differ from what is written down; under a scope, also those of the sources that changed."""
        plan = self.plan
        # Sources that only lost entries to a sync of the collection were not synced; their fingerprints are forgotten.
        touched = {one.identity[1] for one in changed} if plan.scope is not None else set()
        if plan.scope != "collection" and plan.scope is not None:
            touched |= {source for _, source in stale}
        told = {source for source, note in plan.notes.items() if note != SourceNote()}
        if not (touched or told):
            return {}
        known = self.context.queries.noted(connection, self.context.collection, touched | told)
        notes = {}
        for source in touched | told:
            old, new = known.get(source), plan.notes.get(source, SourceNote())
            metadata = new.metadata if new.metadata is not None or old is None else old.metadata
            fingerprint = new.fingerprint
            if fingerprint is None and old is not None and source not in touched:
                fingerprint = old.fingerprint  # the entries are still those of that file
            note = SourceNote(fingerprint, metadata)
            if source in touched or note != old:
                notes[source] = note
        return notes

    def report(self, outcome: Outcome) -> Report:
        changes = [Change(key, outcome.ops.get((key, source), SKIP), source) for key, source in self.prepared]
        changes += [Change(key, DEL, source) for key, source in sorted(outcome.deleted)]
        return Report(tuple(changes), dry_run=self.plan.dry_run)

    def pack_first(self, changed: Sequence[Prepared]) -> None:
        """Pack what the first statement will write, before a connection waits for it."""
        for chunk in self._chunks(changed):
            _pack(self.context.codec, chunk)
            return

    def _packed(self, changed: Sequence[Prepared]) -> Iterator[list[PackedRow]]:
        """The rows to write, a statement's worth at a time; a thread packs the next while one is written."""
        chunks = list(self._chunks(changed))
        if len(chunks) < 2:
            yield from (_rows(_pack(self.context.codec, chunk)) for chunk in chunks)
            return
        with ThreadPoolExecutor(1, "docshelf-pack") as ahead:
            coming = ahead.submit(_pack, self.context.codec, chunks[0])
            for following in [*chunks[1:], []]:
                chunk = coming.result()
                coming = ahead.submit(_pack, self.context.codec, following)
                yield _rows(chunk)

    def _chunks(self, changed: Sequence[Prepared]) -> Iterator[Sequence[Prepared]]:
        start = size = 0
        dialect = self.context.dialect
        for position, one in enumerate(changed):
            if position > start and (position - start >= dialect.chunk_rows or size + one.size > dialect.chunk_bytes):
                yield changed[start:position]
                start, size = position, 0
            size += one.size
        if changed:
            yield changed[start:]


def delete_entries(connection: Connection, context: Context, identities: Sequence[Identity]) -> list[Identity]:
    """Delete entries; returns those that were there."""
    deleted: list[Identity] = []
    for chunk in chunked(identities, context.dialect.chunk_rows):
        deleted += context.dialect.delete(connection, context.collection, chunk)
    return deleted


def _pack(codec: Codec, chunk: Sequence[Prepared]) -> Sequence[Prepared]:
    for one in chunk:
        one.pack(codec)
    return chunk


def _rows(chunk: Sequence[Prepared]) -> list[PackedRow]:
    return [one.take_row() for one in chunk]
