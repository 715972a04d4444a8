"""Calls in parts: each part is a transaction of bounded length, so that other writers soon get their turn.

A call that ends half way leaves the parts that were committed. The same call, run again, does the rest.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

import orjson

from docshelf.errors import MassDeleteError
from docshelf.operations.context import Context
from docshelf.operations.deleting import clear, delete_keys, delete_sources
from docshelf.operations.encoded_batch import SAME, Comparison, EncodedBatch
from docshelf.operations.plan import PlanOf, WritePlan
from docshelf.operations.repeatable import repeatable_write
from docshelf.operations.report import CountsReport, ReportSum, deletions
from docshelf.operations.searching import DeleteLimits, Search, allowed_matches, delete_unchanged
from docshelf.operations.spill import Spill
from docshelf.operations.upsert import ConditionalUpsert, delete_entries
from docshelf.operations.writing import is_heavy, pairs_of, write
from docshelf.sql.chunks import bounded, chunked
from docshelf.sql.rows import Identity
from docshelf.sql.sources import SourceQueries
from docshelf.steps import Compute, Flow, Read
from docshelf.types import DEL, SKIP, Change, Op, Report, SourceNote

if TYPE_CHECKING:
    from sqlalchemy import Connection

# How many entries a transaction writes or deletes at most: with values of 2 KB it takes a twentieth of a second.
_CHUNK_ROWS: Final = 2_000
# On a database whose writers wait by polling: after this many seconds of work the lock stays free for a pause.
_WORK_SECONDS: Final = 0.4
# Unlisted entries that a sync keeps in memory.
_MEMORY_BYTES: Final = 8 * 1024 * 1024


class _Turns:
    """Between two transactions: lets writers in that wait by polling. Other databases hold a queue, and need none."""

    def __init__(self, context: Context) -> None:
        self._pause = context.dialect.polling_seconds
        self._since = monotonic()

    def take(self) -> Flow[None]:
        """Pause, if the last pause is long enough ago."""
        if self._pause and monotonic() - self._since >= _WORK_SECONDS:
            yield Compute(sleep, self._pause)
            self._since = monotonic()


class _UnlistedEntries:
    """The entries that a sync will delete, in chunks. Past a budget a temporary file holds them."""

    def __init__(self) -> None:
        self._spill = Spill(_MEMORY_BYTES)
        self._places: list[tuple[int, int]] = []
        self._last: list[Identity] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Identity]:
        for chunk in self.chunks():
            yield from chunk

    def append(self, identity: Identity) -> None:
        """Add one."""
        self._last.append(identity)
        self._count += 1
        if len(self._last) >= _CHUNK_ROWS:
            data = orjson.dumps(self._last)
            self._places.append((self._spill.put(data), len(data)))
            self._last.clear()

    def chunks(self) -> Iterator[list[Identity]]:
        """What the transactions delete."""
        for place in self._places:
            yield [(key, source) for key, source in orjson.loads(self._spill.get(*place))]
        if self._last:
            yield list(self._last)

    def close(self) -> None:
        """Delete the temporary file."""
        self._spill.close()


def write_items(context: Context, items: Any, source: str, plan_of: PlanOf, *, counts: bool) -> Flow[Report]:
    """Write the items that changed, as `write` does without a scope: as many as a transaction takes at a time.

    Of items with equal key and source the last one stays. In different parts, both are in the report.
    """
    total, turns, pairs = ReportSum(counts=counts), _Turns(context), pairs_of(items)
    notes = plan_of(()).notes
    while True:
        with closing(EncodedBatch(context.codec, source)) as encoded:
            yield from _fill(context, encoded, pairs)
            if not encoded:
                break
            sources = frozenset(of for _, of in encoded.identities)
            plan = replace(plan_of(encoded.identities), notes={}, sources=sources)
            total.add((yield from write(context, encoded, plan)))
        yield from turns.take()
    yield from _write_notes(context, notes)
    return total.report()


def _fill(context: Context, encoded: EncodedBatch, pairs: Iterator[Any]) -> Flow[None]:
    """Add the items of the next transaction."""
    while len(encoded) < _CHUNK_ROWS and encoded.size < context.dialect.chunk_bytes:
        window = list(islice(pairs, min(encoded.next_window, _CHUNK_ROWS - len(encoded))))
        if not window:
            return
        yield Compute(partial(encoded.add, window), heavy=is_heavy(window))


def sync(context: Context, encoded: EncodedBatch, plan: WritePlan) -> Flow[Report]:
    """Make a scope hold exactly these items: first the new and the changed ones, then the deletions.

    The guard decides before the first write. Entries that others write meanwhile stay: it has not counted them.
    """
    batch, turns = ConditionalUpsert(context, plan, encoded), _Turns(context)
    attempts: list[_UnlistedEntries] = []

    def probe(connection: Connection) -> tuple[Comparison, str | None]:
        while attempts:
            attempts.pop().close()
        attempts.append(_UnlistedEntries())
        comparison = batch.read_existing(connection, unlisted=attempts[0])
        return comparison, batch.refusal(connection, comparison)

    total = ReportSum(counts=True)
    ops: list[Op] = [] if plan.counts else [SKIP] * len(encoded)
    gone: list[Identity] = []
    try:
        comparison, refused = yield Read(probe)
        if refused is not None:
            raise MassDeleteError(refused)
        changed = [position for position, state in enumerate(comparison.states) if state != SAME]
        total.add(CountsReport({SKIP: len(encoded) - len(changed)}))
        context.on_progress(len(encoded) - len(changed))
        for positions in bounded(changed, encoded.sizes.__getitem__, _Limits(context)):
            part = encoded.part(positions)
            sources = frozenset(of for _, of in part.identities)
            part_plan = WritePlan(sources=sources, diff=plan.diff, counts=plan.counts, of_sync=True)
            report = yield from write(context, part, part_plan)
            total.add(report)
            if not plan.counts:
                for position, change in zip(positions, report, strict=True):
                    ops[position] = change.op
            yield from turns.take()
        for identities in attempts[0].chunks():
            deleted = yield from _delete(context, identities, plan)
            total.add(CountsReport({DEL: len(deleted)}))
            if not plan.counts:
                gone += deleted
            yield from turns.take()
    finally:
        for attempt in attempts:
            attempt.close()
    yield from _write_notes(context, plan.notes)
    added_up = total.report()
    if plan.counts:
        return added_up
    pairs = zip(encoded.identities, ops, strict=True)
    changes = [Change(key, op, source) for (key, source), op in pairs]
    changes += [Change(key, DEL, source) for key, source in sorted(gone)]
    return Report(tuple(changes), diffs=added_up.diffs)


def clear_collection(context: Context) -> Flow[int]:
    """Delete the whole collection, as `clear` does. Returns how many entries were deleted."""
    turns, total = _Turns(context), ReportSum(counts=True)
    yield from _delete_pages(context, None, turns, total)

    def delete_notes(connection: Connection) -> int:
        queries = SourceQueries(context.dialect)
        context.dialect.begin_write(connection, context.collection, None, exclusive=True)
        names = queries.noted(connection, context.collection, _CHUNK_ROWS)
        context.queries.delete_source_rows(connection, context.collection, names)
        return len(names)

    while (yield repeatable_write(delete_notes, max)) == _CHUNK_ROWS:
        yield from turns.take()
    # What others wrote meanwhile, and rows whose names cannot be read.
    return len(total.report()) + (yield from clear(context))


def remove_sources(context: Context, sources: Sequence[str], keys: Sequence[str], *, counts: bool) -> Flow[Report]:
    """Delete some sources with their entries, and the entries of some keys in every source."""
    total, turns = ReportSum(counts=counts), _Turns(context)
    for names in chunked(list(dict.fromkeys(sources)), _CHUNK_ROWS):
        sizes = yield Read(partial(_source_sizes, context, names))
        group: list[str] = []
        rows = 0
        for name in names:
            size = sizes.get(name, 0)
            if size > _CHUNK_ROWS:
                yield from _delete_pages(context, name, turns, total)
                size = 0
            if rows + size > _CHUNK_ROWS:
                total.add((yield from delete_sources(context, group, (), counts=counts)))
                yield from turns.take()
                group, rows = [], 0
            group.append(name)
            rows += size
        total.add((yield from delete_sources(context, group, (), counts=counts)))
        yield from turns.take()
    for some in chunked(list(dict.fromkeys(keys)), _CHUNK_ROWS):
        total.add((yield from delete_sources(context, (), some, counts=counts)))
        yield from turns.take()
    return total.report()


def remove_keys(
    context: Context,
    keys: Sequence[str],
    source: str | None,
    expected: Mapping[str, str | None] | None,
    *,
    counts: bool,
) -> Flow[Report]:
    """Delete the entries of some keys, as `delete_keys` does."""
    total, turns = ReportSum(counts=counts), _Turns(context)
    for some in chunked(list(dict.fromkeys(keys)), _CHUNK_ROWS):
        total.add((yield from delete_keys(context, some, source, expected, counts=counts)))
        yield from turns.take()
    return total.report()


def remove_matching(context: Context, search: Search, limits: DeleteLimits, *, counts: bool) -> Flow[Report]:
    """Delete the entries that match, as `searching.delete` does. The guard decides before the first deletion."""
    turns = _Turns(context)
    found = yield from allowed_matches(context, search, limits)
    total = ReportSum(counts=counts)
    for identities in chunked(sorted(found), _CHUNK_ROWS):
        some = {identity: found[identity] for identity in identities}
        deleted = yield from delete_unchanged(context, search, some)
        total.add(deletions(sorted(deleted), counts=counts))
        yield from turns.take()
    return total.report()


class _Limits:
    """The limits of a transaction."""

    chunk_rows = property(lambda self: _CHUNK_ROWS)

    def __init__(self, context: Context) -> None:
        self.chunk_bytes = context.dialect.chunk_bytes


def _delete_pages(context: Context, source: str | None, turns: _Turns, total: ReportSum) -> Flow[None]:
    """Delete all entries of a source, or of the collection, page by page in the order of their keys.

    Args:
        total: gets the report of each page.
    """
    after: Identity | None = None
    while True:
        rows = yield Read(partial(_page, context, source, after))
        # In SQLite names of another type than text come last.
        identities = [(key, of) for key, of, *_ in rows if type(key) is str and type(of) is str]
        if not identities:
            return
        deleted = yield from _delete(context, identities, WritePlan())
        total.add(deletions(deleted, counts=total.only_counts))
        after = identities[-1]
        yield from turns.take()


def _page(context: Context, source: str | None, after: Identity | None, connection: Connection) -> Sequence[Any]:
    return context.queries.pages.page(connection, context.collection, after=after, source=source, limit=_CHUNK_ROWS)


def _source_sizes(context: Context, names: Sequence[str], connection: Connection) -> Mapping[str, int]:
    return context.queries.search.source_counts(connection, context.collection, names)


def _delete(context: Context, identities: Sequence[Identity], plan: WritePlan) -> Flow[list[Identity]]:
    """Delete some entries. Their sources have no fingerprints from then on. Returns those that existed, sorted."""
    batch = ConditionalUpsert(context, replace(plan, notes={}), EncodedBatch(context.codec, ""))
    names = {source for _, source in identities}

    def apply(connection: Connection) -> set[Identity]:
        stamp = context.dialect.begin_write(connection, context.collection, names, exclusive=True)
        deleted = delete_entries(connection, context, identities)
        batch.store_notes(connection, (), deleted, deleted, stamp)
        return set(deleted)

    deleted: set[Identity] = yield repeatable_write(apply, operator.or_)
    return sorted(deleted)


def _write_notes(context: Context, notes: Mapping[str, SourceNote]) -> Flow[None]:
    """Store the notes of a call, after everything else: a source with a fingerprint is complete."""
    given = [source for source, note in notes.items() if note != SourceNote()]
    for names in chunked(given, _CHUNK_ROWS):
        plan = WritePlan(sources=frozenset(names), notes={source: notes[source] for source in names})
        with closing(EncodedBatch(context.codec, "")) as nothing:
            yield from write(context, nothing, plan)
