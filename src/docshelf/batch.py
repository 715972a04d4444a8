"""A call that writes many items: what is prepared before the connection, and what is decided under the locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from docshelf.codec import Codec, raw_bytes
from docshelf.dialects.base import Bundle, Identity, PackedRow, Ticket
from docshelf.errors import MassDeleteError, UnsupportedValueError
from docshelf.models import DEL, SKIP, UPD, Change, Diff, Diffs, Op, Report, SourceNote
from docshelf.queries import Compared, Queries, checked_identity, chunked
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
# Canonical bytes that are kept at once: to keep each document by itself takes twice as long.
_PUT_BYTES: Final = 256 * 1024


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


# What stands of an item: nothing, an entry that differs, or one that needs no write.
ABSENT: Final = 0
DIFFERENT: Final = 1
SAME: Final = 2


class Found(NamedTuple):
    """How what stands compares with the items of a call.

    Attributes:
        states: of each item, by its position: `ABSENT`, `DIFFERENT` or `SAME`.
        others: entries that no item names, of what was asked for.
        entries: how many stand, these included; of no meaning but where all that a scope holds was asked for.
    """

    states: bytearray
    others: list[Identity]
    entries: int


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

    def position(self, identity: Identity) -> int:
        """Where the item of an entry stands in the input."""
        return self._positions[identity]

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
        positions, versions, encode = self._positions, self._versions, self._codec.encode
        identities, hashes, sizes, starts = self.identities, self.hashes, self.sizes, self._starts
        content_types, checksums = self._content_types, self._checksums
        put, start = len(self._spill), len(self._spill)
        pending: list[bytes] = []
        for identity, value, version in check_items(items, self._source, self._taken):
            content_type, data, value_hash, checksum = encode(value, identity[0])
            size = len(data)
            new = len(identities)
            position = positions.setdefault(identity, new)
            if position == new:
                identities.append(identity)
                hashes.append(value_hash)
                sizes.append(size)
                starts.append(start)
                content_types.append(content_type)
                checksums.append(checksum)
            else:
                hashes[position], sizes[position], starts[position] = value_hash, size, start
                content_types[position], checksums[position] = content_type, checksum
            if version is not None:
                versions[identity] = version
            elif versions:
                versions.pop(identity, None)
            pending.append(data)
            start += size
            if start - put >= _PUT_BYTES:
                self._spill.put(b"".join(pending))
                pending.clear()
                put = start
        self._spill.put(b"".join(pending))
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

    def compare(self, rows: Iterable[Compared]) -> Found:
        """What stands beside the items. Row by row: to hold ten thousand costs the garbage collector more than this."""
        position_of, hashes, versions = self._positions.get, self.hashes, self._versions
        states, others, entries = bytearray(len(hashes)), [], 0
        for key, source, value_hash, version in rows:
            entries += 1
            identity = (key, source)
            position = position_of(identity)
            if position is None:
                others.append(checked_identity(identity))
            else:
                same = (value_hash if type(value_hash) is bytes else raw_bytes(value_hash)) == hashes[position]
                if same and versions:
                    same = versions.get(identity, version) == version
                states[position] = SAME if same else DIFFERENT
        return Found(states, others, entries)

    def changed(self, found: Found) -> list[int]:
        """The positions of the items to write, in the order of their identities, which all writers keep."""
        changed = [position for position, state in enumerate(found.states) if state != SAME]
        changed.sort(key=self.identities.__getitem__)
        return changed

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
    """What a write did: to the items that it wrote, by position, and the entries that it deleted."""

    ops: Mapping[int, Op]
    deleted: Collection[Identity]


@dataclass
class Batch:
    """The items of a call with what they need in the database."""

    context: Context
    plan: WritePlan
    prepared: Prepared
    # What an attempt did whose commit was not answered: where the next finds it done, it was this call's doing.
    attempted: Outcome = field(init=False, default_factory=lambda: Outcome({}, ()))
    # Rows of which `tick` was told.
    ticked: int = field(init=False, default=0)

    def look(self, connection: Connection, before: bytearray | None = None) -> Found:
        """What stands of all that the call might delete, or else of the entries that its items name.

        Args:
            before: the states that were found without locks. Where nothing is deleted, and an upsert finds out by
                itself what came in since, that which was absent is not asked for again.
        """
        context, plan, identities = self.context, self.plan, self.prepared.identities
        rows: Iterable[Compared]
        if plan.scope is None and not plan.move:
            if before is not None and context.dialect.upsert_compares:
                identities = [one for one, state in zip(identities, before, strict=True) if state != ABSENT]
            rows = context.queries.standing_of(connection, context.collection, identities)
        else:
            keys = list(dict.fromkeys(key for key, _ in identities)) if plan.move else None
            sources = plan.sources if plan.scope in ("source", "sources") else None
            rows = context.queries.standing(connection, context.collection, keys=keys, sources=sources)
        return self.prepared.compare(rows)

    def stale(self, found: Found) -> list[Identity]:
        """The entries to delete."""
        return [] if self.plan.scope is None and not self.plan.move else sorted(found.others)

    def check_mass_delete(self, found: Found) -> None:
        plan, stale, entries = self.plan, len(found.others), found.entries
        if plan.scope is None or plan.allow_mass_delete or plan.dry_run or not stale:
            return
        if stale > plan.max_delete * entries or (stale == entries and not self.prepared):
            names = sorted(plan.sources)
            where = f"source {names[0]!r}" if len(names) == 1 else f"collection {self.context.collection!r}"
            raise MassDeleteError(
                f"this sync of {where} would delete {stale:,} of {entries:,} entries and hold "
                f"{len(self.prepared):,}; if that is meant, pass allow_mass_delete=True"
            )

    def apply(self, connection: Connection, before: bytearray) -> Outcome:
        """Write and delete, in a transaction that is open; decided by what stands once the locks are held.

        Args:
            before: the states that were found without locks.
        """
        context, plan = self.context, self.plan
        dialect, collection = context.dialect, context.collection
        # Where a key may leave sources that nobody named, the whole collection is locked.
        locked = None if plan.scope == "collection" or plan.move else plan.sources
        ticket = dialect.begin_write(connection, collection, locked, exclusive=plan.move or plan.scope is not None)
        found = self.look(connection, before)
        self.check_mass_delete(found)
        changed, stale = self.prepared.changed(found), self.stale(found)
        ops: dict[int, Op] = {}
        done = 0
        for bundle in self._bundles(changed, ticket, found.states):
            ops.update(dialect.upsert(connection, bundle))
            done += len(bundle)
            if done > self.ticked:  # an attempt before this one may have come farther
                context.tick(done - self.ticked)
                self.ticked = done
        deleted = delete_entries(connection, context, stale)
        notes = self.notes_to_write(connection, changed, stale)
        if notes:
            context.queries.put_notes(connection, collection, notes, ticket.now)
        vanished = {source for _, source in deleted} - notes.keys()
        if vanished:
            context.queries.forget_fingerprints(connection, collection, vanished)
        gone = set(self.attempted.deleted).difference(found.others)
        self.attempted = Outcome({**self.attempted.ops, **ops}, gone.union(deleted))
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
        position = self.prepared.position
        told = Diffs(diff for diff in diffs if outcome.ops.get(position((diff.key, diff.source))) == UPD)
        ops: list[Op] = [SKIP] * len(self.prepared)
        for written, op in outcome.ops.items():
            ops[written] = op
        new = tuple.__new__  # two thirds of what it takes to call Change itself
        changes = [
            new(Change, (key, op, source)) for (key, source), op in zip(self.prepared.identities, ops, strict=True)
        ]
        changes += [Change(key, DEL, source) for key, source in sorted(outcome.deleted)]
        return Report(tuple(changes), dry_run=self.plan.dry_run, diffs=told)

    def pack_first(self, changed: Sequence[int]) -> None:
        """Pack what the first statement will write, before a connection waits for it."""
        for chunk in self._chunks(changed):
            self.prepared.pack(chunk)
            return

    def _bundles(self, changed: Sequence[int], ticket: Ticket, states: bytearray) -> Iterator[Bundle]:
        """What to write, a statement's worth at a time; a thread makes the next while one is written."""
        prepared, context = self.prepared, self.context

        def bundle(chunk: Sequence[int]) -> Bundle:
            prepared.pack(chunk)
            return context.dialect.bundle(context.collection, prepared.take_rows(chunk), ticket, states)

        chunks = list(self._chunks(changed))
        if len(chunks) < 2:
            yield from map(bundle, chunks)
            return
        with ThreadPoolExecutor(1, "docshelf-pack") as ahead:

            def begun(chunk: Sequence[int]) -> Callable[[], Bundle]:
                try:
                    return ahead.submit(bundle, chunk).result
                except RuntimeError:  # the interpreter is about to end, and starts no threads any more
                    return partial(bundle, chunk)

            coming = begun(chunks[0])
            for following in chunks[1:]:
                ready = coming()
                coming = begun(following)
                yield ready
            yield coming()

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
