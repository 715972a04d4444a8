"""The conditional upsert: what a write decides and does under its locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from docshelf.errors import MassDeleteError
from docshelf.operations.context import Context
from docshelf.operations.encoded_batch import ABSENT, Comparison, EncodedBatch
from docshelf.operations.plan import WritePlan
from docshelf.sql.queries import Compared, chunked
from docshelf.sql.rows import Identity, UpsertBatch, WriteStamp
from docshelf.types import DEL, SKIP, UPD, Change, Diff, Diffs, Op, Report, SourceNote

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Outcome(NamedTuple):
    """What a write did: to the items that it wrote, by position, and the entries that it deleted."""

    ops: Mapping[int, Op]
    deleted: Collection[Identity]


@dataclass
class ConditionalUpsert:
    """The items of a call with what they need in the database."""

    context: Context
    plan: WritePlan
    encoded: EncodedBatch
    # What an attempt did whose commit was not answered: where the next finds it done, it was this call's doing.
    attempted: Outcome = field(init=False, default_factory=lambda: Outcome({}, ()))
    # Rows of which `on_progress` was told.
    reported: int = field(init=False, default=0)

    def read_existing(self, connection: Connection, before: bytearray | None = None) -> Comparison:
        """What stands of all that the call might delete, or else of the entries that its items name.

        Args:
            before: the states that were found without locks. Where nothing is deleted, and an upsert finds out by
                itself what came in since, that which was absent is not asked for again.
        """
        context, plan, identities = self.context, self.plan, self.encoded.identities
        rows: Iterable[Compared]
        if plan.scope is None and not plan.move:
            if before is not None and context.dialect.upsert_compares:
                identities = [one for one, state in zip(identities, before, strict=True) if state != ABSENT]
            rows = context.queries.existing_pairs(connection, context.collection, identities)
        else:
            keys = list(dict.fromkeys(key for key, _ in identities)) if plan.move else None
            sources = plan.sources if plan.scope in ("source", "sources") else None
            rows = context.queries.existing(connection, context.collection, keys=keys, sources=sources)
        return self.encoded.compare(rows)

    def stale(self, found: Comparison) -> list[Identity]:
        """The entries to delete."""
        return [] if self.plan.scope is None and not self.plan.move else sorted(found.unlisted)

    def check_mass_delete(self, found: Comparison) -> None:
        plan, stale, entries = self.plan, len(found.unlisted), found.entries
        if plan.scope is None or plan.allow_mass_delete or plan.dry_run or not stale:
            return
        if stale > plan.max_delete * entries or (stale == entries and not self.encoded):
            names = sorted(plan.sources)
            where = f"source {names[0]!r}" if len(names) == 1 else f"collection {self.context.collection!r}"
            raise MassDeleteError(
                f"this sync of {where} would delete {stale:,} of {entries:,} entries and hold "
                f"{len(self.encoded):,}; if that is meant, pass allow_mass_delete=True"
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
        stamp = dialect.begin_write(connection, collection, locked, exclusive=plan.move or plan.scope is not None)
        found = self.read_existing(connection, before)
        self.check_mass_delete(found)
        changed, stale = self.encoded.changed(found), self.stale(found)
        ops: dict[int, Op] = {}
        done = 0
        for bundle in self._bundles(changed, stamp, found.states):
            ops.update(dialect.upsert(connection, bundle))
            done += len(bundle)
            if done > self.reported:  # an attempt before this one may have come farther
                context.on_progress(done - self.reported)
                self.reported = done
        deleted = delete_entries(connection, context, stale)
        notes = self.notes_to_write(connection, changed, stale)
        if notes:
            context.queries.put_notes(connection, collection, notes, stamp.now)
        vanished = {source for _, source in deleted} - notes.keys()
        if vanished:
            context.queries.forget_fingerprints(connection, collection, vanished)
        gone = set(self.attempted.deleted).difference(found.unlisted)
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
            touched = {self.encoded.identities[position][1] for position in changed}
            # A source that only lost entries to a sync of the collection was not synced; its fingerprint is forgotten.
            touched |= lost & told if plan.scope == "collection" else lost
        if not (touched or told):
            return {}
        known = self.context.queries.get_notes(connection, self.context.collection, touched | told)
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
        position = self.encoded.position
        told = Diffs(diff for diff in diffs if outcome.ops.get(position((diff.key, diff.source))) == UPD)
        ops: list[Op] = [SKIP] * len(self.encoded)
        for written, op in outcome.ops.items():
            ops[written] = op
        new = tuple.__new__  # two thirds of what it takes to call Change itself
        changes = [
            new(Change, (key, op, source)) for (key, source), op in zip(self.encoded.identities, ops, strict=True)
        ]
        changes += [Change(key, DEL, source) for key, source in sorted(outcome.deleted)]
        return Report(tuple(changes), dry_run=self.plan.dry_run, diffs=told)

    def pack_first(self, changed: Sequence[int]) -> None:
        """Pack what the first statement will write, before a connection waits for it."""
        for chunk in self._chunks(changed):
            self.encoded.pack(chunk)
            return

    def _bundles(self, changed: Sequence[int], stamp: WriteStamp, states: bytearray) -> Iterator[UpsertBatch]:
        """What to write, a statement's worth at a time; a thread makes the next while one is written."""
        encoded, context = self.encoded, self.context

        def bundle(chunk: Sequence[int]) -> UpsertBatch:
            encoded.pack(chunk)
            return context.dialect.upsert_batch(context.collection, encoded.take_rows(chunk), stamp, states)

        chunks = list(self._chunks(changed))
        if len(chunks) < 2:
            yield from map(bundle, chunks)
            return
        with ThreadPoolExecutor(1, "docshelf-pack") as ahead:

            def begun(chunk: Sequence[int]) -> Callable[[], UpsertBatch]:
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
        dialect, sizes = self.context.dialect, self.encoded.sizes
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
