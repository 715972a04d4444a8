"""A call that writes many items: what is prepared before the connection, and what is decided under the locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from docshelf.codec import Codec
from docshelf.dialects.base import Identity, PackedRow
from docshelf.errors import MassDeleteError, UnsupportedValueError
from docshelf.models import DEL, SKIP, UPD, Change, Diff, Diffs, Op, Report, SourceNote
from docshelf.queries import Queries, Standing, chunked
from docshelf.serialization import DecodeError
from docshelf.spill import Spill
from docshelf.validation import check_items

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.dialects import Dialect

Scope = Literal["source", "sources", "collection"]

# Canonical bytes that a call keeps in memory between its steps; a temporary file takes what is past this.
_KEPT_BYTES: Final = 32 * 1024 * 1024
# Items that are taken from an iterator before they are serialized: the first, all others, and bytes that they may have.
_FIRST_ITEMS: Final = 128
_MOST_ITEMS: Final = 1_000
_ITEM_BYTES: Final = 8 * 1024 * 1024


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
    """The items of a call, hashed: a column for each thing that a row needs, as objects by the row cost more to make.

    It holds their canonical bytes and not the items, so that of a generator's only a few are ever there.
    """

    __slots__ = (
        "_checksums",
        "_codec",
        "_content_types",
        "_positions",
        "_rows",
        "_source",
        "_spill",
        "_starts",
        "_taken",
        "_versions",
        "hashes",
        "identities",
        "sizes",
    )

    def __init__(self, codec: Codec, source: str) -> None:
        """For items of which those that name no source are of this one."""
        self.identities: list[Identity] = []
        self.hashes: list[bytes] = []
        self.sizes: list[int] = []
        self._codec = codec
        self._source = source
        self._starts: list[int] = []
        self._content_types: list[str] = []
        self._checksums: list[bytes | None] = []
        self._versions: dict[Identity, str] = {}
        self._positions: dict[Identity, int] = {}
        self._rows: dict[int, PackedRow] = {}
        self._spill = Spill(_KEPT_BYTES)
        self._taken = 0

    def __len__(self) -> int:
        return len(self.identities)

    def __contains__(self, identity: Identity) -> bool:
        return identity in self._positions

    @property
    def room(self) -> int:
        """How many items to add next, where they come from somewhere that does not hold them all."""
        if not self._taken:
            return _FIRST_ITEMS
        return max(1, min(_MOST_ITEMS, _ITEM_BYTES * self._taken // max(1, len(self._spill))))

    def add(self, items: Sequence[Any]) -> None:
        """Check, serialize and hash items; of those with equal key and source the last wins, in the place of the first.

        Raises:
            ArgumentTypeError, ArgumentValueError, UnsupportedValueError, ValueTooLargeError: for the first that cannot
                be stored.
        """
        positions, versions, encode, put = self._positions, self._versions, self._codec.encode, self._spill.put
        identities, hashes, sizes, starts = self.identities, self.hashes, self.sizes, self._starts
        content_types, checksums = self._content_types, self._checksums
        for identity, value, version in check_items(items, self._source, self._taken):
            content_type, data, value_hash, checksum = encode(value, identity[0])
            new = len(identities)
            position = positions.setdefault(identity, new)
            if position == new:
                identities.append(identity)
                hashes.append(value_hash)
                sizes.append(len(data))
                starts.append(put(data))
                content_types.append(content_type)
                checksums.append(checksum)
            else:
                hashes[position], sizes[position], starts[position] = value_hash, len(data), put(data)
                content_types[position], checksums[position] = content_type, checksum
            if version is not None:
                versions[identity] = version
            elif versions:
                versions.pop(identity, None)
        self._taken += len(items)

    def value(self, position: int) -> Any:
        """What the item's entry will hold, made from its canonical bytes.

        Raises:
            UnsupportedValueError: its content type cannot load what it dumped.
        """
        try:
            return self._codec.value_of(self._content_types[position], self._canonical(position))
        except DecodeError as exc:
            raise UnsupportedValueError(f"key {self.identities[position][0]!r}: what it dumps to is {exc}") from exc

    def close(self) -> None:
        """Let go of what is held outside memory."""
        self._spill.close()

    def changed(self, standing: Mapping[Identity, Standing]) -> list[int]:
        """The positions of the items to write, in the order of their identities, which all writers keep."""
        found = []
        versions = self._versions
        for position, (identity, value_hash) in enumerate(zip(self.identities, self.hashes, strict=True)):
            there = standing.get(identity)
            if there is not None and there[0] == value_hash:
                version = versions.get(identity)
                if version is None or version == there[1]:
                    continue
            found.append(position)
        found.sort(key=self.identities.__getitem__)
        return found

    def pack(self, positions: Sequence[int]) -> None:
        """Make the rows of some items, unless they are there."""
        missing = [position for position in positions if position not in self._rows]
        packed = self._codec.pack_all([self._canonical(position) for position in missing])
        for position, (encoding, value) in zip(missing, packed, strict=True):
            identity = self.identities[position]
            self._rows[position] = PackedRow(
                *identity,
                value,
                self.hashes[position],
                self._checksums[position],
                self._content_types[position],
                encoding,
                self._versions.get(identity),
                position,
            )

    def take_rows(self, positions: Sequence[int]) -> list[PackedRow]:
        """Packed rows, handed over; should the transaction run again, they are packed again."""
        return [self._rows.pop(position) for position in positions]

    def _canonical(self, position: int) -> bytes:
        return self._spill.get(self._starts[position], self.sizes[position])


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
        diff: give the report the texts of updated entries before and after.
    """

    scope: Scope | None = None
    sources: frozenset[str] = frozenset()
    notes: Mapping[str, SourceNote] = field(default_factory=dict)
    move: bool = False
    dry_run: bool = False
    max_delete: float = 1.0
    allow_mass_delete: bool = False
    diff: bool = False


class Outcome(NamedTuple):
    ops: Mapping[Identity, Op]
    deleted: Collection[Identity]


@dataclass
class Batch:
    """The items of a call with what they need in the database."""

    context: Context
    plan: WritePlan
    prepared: Prepared
    # What an attempt did whose commit was not answered: where the next finds it done, it was this call's doing.
    attempted: Outcome = field(init=False, default_factory=lambda: Outcome({}, ()))

    def standing(self, connection: Connection) -> dict[Identity, Standing]:
        """What the call has to know of the database: all that it might delete, or else the entries of its keys."""
        queries, collection = self.context.queries, self.context.collection
        if self.plan.scope == "collection":
            return queries.standing(connection, collection, keys=None, sources=None)
        if self.plan.scope is not None:
            return queries.standing(connection, collection, keys=None, sources=self.plan.sources)
        identities = self.prepared.identities
        if self.plan.move:
            keys = list(dict.fromkeys(key for key, _ in identities))
            return queries.standing(connection, collection, keys=keys, sources=None)
        return queries.standing_of(connection, collection, identities)

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
        changed = self.prepared.changed(standing)
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
        self, connection: Connection, changed: Sequence[int], stale: Sequence[Identity]
    ) -> dict[str, SourceNote]:
        """The notes that differ from what is written down; under a scope, also those of the sources that changed."""
        plan = self.plan
        told = {source for source, note in plan.notes.items() if note != SourceNote()}
        touched = set()
        if plan.scope is not None:
            lost = {source for _, source in stale}
            touched = {self.prepared.identities[position][1] for position in changed}
            # A source that only lost entries to a sync of the collection was not synced; its fingerprint is forgotten.
            touched |= lost & told if plan.scope == "collection" else lost
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

    def report(self, outcome: Outcome, diffs: Sequence[Diff] = ()) -> Report:
        ops = outcome.ops
        told = Diffs(diff for diff in diffs if ops.get((diff.key, diff.source)) == UPD)
        changes = [Change(key, ops.get((key, source), SKIP), source) for key, source in self.prepared.identities]
        changes += [Change(key, DEL, source) for key, source in sorted(outcome.deleted)]
        return Report(tuple(changes), dry_run=self.plan.dry_run, diffs=told)

    def pack_first(self, changed: Sequence[int]) -> None:
        """Pack what the first statement will write, before a connection waits for it."""
        for chunk in self._chunks(changed):
            self.prepared.pack(chunk)
            return

    def _packed(self, changed: Sequence[int]) -> Iterator[list[PackedRow]]:
        """The rows to write, a statement's worth at a time; a thread packs the next while one is written."""
        prepared = self.prepared
        chunks = list(self._chunks(changed))
        if len(chunks) < 2:
            for chunk in chunks:
                prepared.pack(chunk)
                yield prepared.take_rows(chunk)
            return
        with ThreadPoolExecutor(1, "docshelf-pack") as ahead:
            coming = ahead.submit(prepared.pack, chunks[0])
            for chunk, following in zip_longest(chunks, chunks[1:], fillvalue=()):
                coming.result()
                rows = prepared.take_rows(chunk)
                coming = ahead.submit(prepared.pack, following)
                yield rows

    def _chunks(self, changed: Sequence[int]) -> Iterator[Sequence[int]]:
        start = size = 0
        dialect, sizes = self.context.dialect, self.prepared.sizes
        for place, position in enumerate(changed):
            if place > start and (place - start >= dialect.chunk_rows or size + sizes[position] > dialect.chunk_bytes):
                yield changed[start:place]
                start, size = place, 0
            size += sizes[position]
        if changed:
            yield changed[start:]


def delete_entries(connection: Connection, context: Context, identities: Sequence[Identity]) -> list[Identity]:
    """Delete entries; returns those that were there."""
    deleted: list[Identity] = []
    for chunk in chunked(identities, context.dialect.chunk_rows):
        deleted += context.dialect.delete(connection, context.collection, chunk)
    return deleted
