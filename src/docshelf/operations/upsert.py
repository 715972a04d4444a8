"""The conditional upsert: what a write decides and does under its locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from docshelf.errors import MassDeleteError
from docshelf.operations.context import Context
from docshelf.operations.encoded_batch import ABSENT, Comparison, EncodedBatch, Unlisted
from docshelf.operations.guard import entries_refusal, sources_refusal
from docshelf.operations.plan import WritePlan
from docshelf.operations.report import CountsReport
from docshelf.sql.chunks import bounded, chunked
from docshelf.sql.queries import ExistingRow
from docshelf.sql.rows import Identity, UpsertBatch, WriteStamp
from docshelf.types import DEL, INS, SKIP, UPD, Change, Diff, Diffs, Op, Report, SourceNote

if TYPE_CHECKING:
    from sqlalchemy import Connection


# What was done to an item, one byte each; 0 is nothing.
_INSERTED: Final = 1
_UPDATED: Final = 2
_OPS: Final[tuple[Op, ...]] = (SKIP, INS, UPD)


class Outcome(NamedTuple):
    """What a write did.

    Attributes:
        written: by the position of an item, whether it was inserted or updated.
        deleted: the entries that were deleted.
    """

    written: bytearray
    deleted: Collection[Identity]

    @property
    def inserted(self) -> int:
        """How many items were inserted."""
        return self.written.count(_INSERTED)


def merged_outcome(earlier: Outcome, last: Outcome) -> Outcome:
    """The outcome of attempts of one call: see `repeatable_write`."""
    written = bytearray(new or old for old, new in zip(earlier.written, last.written, strict=True))
    return Outcome(written, {*earlier.deleted, *last.deleted})


@dataclass
class ConditionalUpsert:
    """Writes the items of one call that differ from the database."""

    context: Context
    plan: WritePlan
    encoded: EncodedBatch
    # How many rows `on_progress` has heard of, over all attempts.
    _reported: int = field(init=False, default=0)

    def read_existing(
        self, connection: Connection, known_states: bytearray | None = None, unlisted: Unlisted | None = None
    ) -> Comparison:
        """Compare the items with every entry that the call may delete, or else with their own entries.

        Args:
            known_states: the states that were read without locks. Rows that were absent are not queried again where
                nothing is deleted and the upsert itself detects rows that were inserted since.
            unlisted: as for `EncodedBatch.compare`.
        """
        context, plan = self.context, self.plan
        identities: Sequence[Identity] = self.encoded.identities
        rows: Iterable[ExistingRow]
        if plan.scope is None and not plan.move:
            if known_states is not None and context.dialect.upsert_compares:
                identities = [one for one, state in zip(identities, known_states, strict=True) if state != ABSENT]
            rows = context.queries.existing_pairs(connection, context.collection, identities)
        elif plan.move:
            keys = list(dict.fromkeys(key for key, _ in identities))
            rows = context.queries.existing(connection, context.collection, keys=keys, sources=None)
        elif plan.scope != "collection" and len(plan.sources) != 1:
            rows = context.queries.existing(connection, context.collection, keys=None, sources=plan.sources)
        else:
            source = None if plan.scope == "collection" else next(iter(plan.sources))
            rows = context.queries.pages.all(connection, context.collection, source)
        return self.encoded.compare(rows, unlisted)

    def stale(self, comparison: Comparison) -> list[Identity]:
        """The entries to delete, sorted."""
        return [] if self.plan.scope is None and not self.plan.move else sorted(comparison.unlisted)

    def refusal(self, connection: Connection, comparison: Comparison) -> str | None:
        """Why the sync is refused as a mass deletion; None if it is not."""
        plan, collection, encoded = self.plan, self.context.collection, self.encoded
        if plan.scope is None or plan.allow_mass_delete or not comparison.unlisted:
            return None
        names = sorted(plan.sources)
        where = f"source {names[0]!r}" if len(names) == 1 else f"collection {collection!r}"
        counts = len(comparison.unlisted), comparison.entries, len(encoded)
        refused = entries_refusal(where, *counts, plan.max_delete)
        if refused is not None or plan.max_delete is not None or plan.scope == "source":
            return refused
        shrunk = {source for _, source in comparison.unlisted}
        vanished = shrunk.difference(source for _, source in encoded.identities)

        def count_sources() -> int:
            if plan.scope == "sources":  # only the named ones were read
                return self.context.queries.count_sources(connection, collection)
            pairs = zip(encoded.identities, comparison.states, strict=True)
            return len(shrunk.union(source for (_, source), state in pairs if state != ABSENT))

        return sources_refusal(collection, vanished, count_sources)

    def check_mass_delete(self, connection: Connection, comparison: Comparison) -> None:
        """Raise a MassDeleteError if a sync would delete more than its caller allows."""
        refused = self.refusal(connection, comparison)
        if refused is not None:
            raise MassDeleteError(refused)

    def apply(self, connection: Connection, known_states: bytearray) -> Outcome:
        """Take the locks, compare again, write and delete. Runs in an open transaction.

        Args:
            known_states: the states that were read without locks.
        """
        context, plan = self.context, self.plan
        dialect, collection = context.dialect, context.collection
        # With `move`, a key may also leave sources that the call does not name: lock the whole collection.
        locked = None if plan.scope == "collection" or plan.move else plan.sources
        stamp = dialect.begin_write(connection, collection, locked, exclusive=plan.move or plan.scope is not None)
        self.encoded.search_by(context.known_fields.confirm(connection, dialect, collection).fields)
        comparison = self.read_existing(connection, known_states)
        self.check_mass_delete(connection, comparison)
        changed, stale = self.encoded.changed(comparison), self.stale(comparison)
        written = bytearray(len(self.encoded))
        done = 0
        for batch in self._packed_batches(changed, stamp, comparison.states):
            for position, op in dialect.upsert(connection, batch).items():
                written[position] = _INSERTED if op == INS else _UPDATED
            done += len(batch)
            if done > self._reported:  # an earlier attempt may have reported more
                context.on_progress(done - self._reported)
                self._reported = done
        deleted = delete_entries(connection, context, stale)
        self.store_notes(connection, changed, stale, deleted, stamp)
        return Outcome(written, deleted)

    def store_notes(
        self,
        connection: Connection,
        changed: Sequence[int],
        stale: Sequence[Identity],
        deleted: Collection[Identity],
        stamp: WriteStamp,
    ) -> None:
        """Store what the call says of the sources that it changed, and forget the fingerprints of the others."""
        queries, collection = self.context.queries, self.context.collection
        notes = self.notes_to_write(connection, changed, stale)
        if notes:
            queries.put_notes(connection, collection, notes, stamp.now)
        without_note = {source for _, source in deleted} - notes.keys()
        if without_note:
            queries.forget_fingerprints(connection, collection, without_note)

    def planned(self, comparison: Comparison, changed: Sequence[int], stale: Collection[Identity]) -> Outcome:
        """What a call would do."""
        written = bytearray(len(self.encoded))
        for position in changed:
            written[position] = _INSERTED if comparison.states[position] == ABSENT else _UPDATED
        return Outcome(written, stale)

    def notes_to_write(
        self, connection: Connection, changed: Sequence[int], stale: Sequence[Identity]
    ) -> dict[str, SourceNote]:
        """The notes that differ from the stored ones; with a scope, also those of all changed sources."""
        plan = self.plan
        given = {source for source, note in plan.notes.items() if note != SourceNote()}
        touched = set()
        if plan.scope is not None or plan.of_sync:
            shrunk = {source for _, source in stale}
            touched = {self.encoded.identities[position][1] for position in changed}
            # A sync of the collection may only delete from a source. Such a source was not synced: it gets no note,
            # and `apply` removes its fingerprint.
            touched |= shrunk & given if plan.scope == "collection" else shrunk
        if not (touched or given):
            return {}
        stored, problems = self.context.queries.get_notes(connection, self.context.collection, touched | given)
        # New metadata replaces what cannot be read.
        replaced = {source for source, note in plan.notes.items() if note.metadata is not None}
        self.context.codec.report_problems([problem for problem in problems if problem.source not in replaced])
        notes = {}
        for source in touched | given:
            old, new = stored.get(source), plan.notes.get(source, SourceNote())
            metadata = new.metadata if new.metadata is not None or old is None else old.metadata
            fingerprint = new.fingerprint
            if fingerprint is None and old is not None and source not in touched:
                fingerprint = old.fingerprint  # the entries still come from that file
            note = SourceNote(fingerprint, metadata)
            if source in touched or note != old:
                notes[source] = note
        return notes

    def report(self, outcome: Outcome, diffs: Sequence[Diff] = (), refused: str | None = None) -> Report:
        """The report of the call. Diffs of entries that were not updated in the end are left out."""
        position, written = self.encoded.position, outcome.written
        updated = Diffs(diff for diff in diffs if written[position((diff.key, diff.source))] == _UPDATED)
        dry_run = self.plan.dry_run
        if self.plan.counts:
            counts: dict[Op, int] = {op: written.count(code) for code, op in enumerate(_OPS)}
            counts[DEL] = len(outcome.deleted)
            return CountsReport(counts, dry_run=dry_run, diffs=updated, refused=refused)
        new = tuple.__new__  # takes two thirds of the time of Change()
        changes = [
            new(Change, (key, _OPS[code], source))
            for (key, source), code in zip(self.encoded.identities, written, strict=True)
        ]
        changes += [Change(key, DEL, source) for key, source in sorted(outcome.deleted)]
        return Report(tuple(changes), dry_run=dry_run, diffs=updated, refused=refused)

    def pack_first(self, changed: Sequence[int]) -> None:
        """Pack the rows of the first statement before a connection is taken."""
        for chunk in self._chunks(changed):
            self.encoded.pack(chunk)
            return

    def _packed_batches(self, changed: Sequence[int], stamp: WriteStamp, states: bytearray) -> Iterator[UpsertBatch]:
        """The batches to write, one for each statement. A thread packs the next while one is written."""
        encoded, context = self.encoded, self.context

        def pack(chunk: Sequence[int]) -> UpsertBatch:
            encoded.pack(chunk)
            return context.dialect.upsert_batch(context.collection, encoded.take_rows(chunk), stamp, states)

        chunks = list(self._chunks(changed))
        if len(chunks) < 2:
            yield from map(pack, chunks)
            return
        with ThreadPoolExecutor(1, "docshelf-pack") as thread:

            def start_packing(chunk: Sequence[int]) -> Callable[[], UpsertBatch]:
                try:
                    return thread.submit(pack, chunk).result
                except RuntimeError:  # the interpreter is shutting down and starts no more threads
                    return partial(pack, chunk)

            next_batch = start_packing(chunks[0])
            for chunk in chunks[1:]:
                batch = next_batch()
                next_batch = start_packing(chunk)
                yield batch
            yield next_batch()

    def _chunks(self, changed: Sequence[int]) -> Iterator[Sequence[int]]:
        """The positions of `changed`, split by the limits of one statement."""
        return bounded(changed, self.encoded.sizes.__getitem__, self.context.dialect)


def delete_entries(connection: Connection, context: Context, identities: Sequence[Identity]) -> list[Identity]:
    """Delete entries. Returns those that existed."""
    deleted: list[Identity] = []
    for chunk in chunked(identities, context.dialect.chunk_rows):
        deleted += context.dialect.delete(connection, context.collection, chunk)
    return deleted
