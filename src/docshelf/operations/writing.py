"""Operations that write."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from docshelf.errors import CorruptEntryError, DocShelfError, MassDeleteError
from docshelf.operations.context import Context
from docshelf.operations.encoded_batch import ABSENT, DIFFERENT, Comparison, EncodedBatch
from docshelf.operations.plan import WritePlan
from docshelf.operations.repeatable import repeatable_write
from docshelf.operations.upsert import ConditionalUpsert, Outcome, merged_outcome
from docshelf.sql.chunks import bounded
from docshelf.sql.rows import Identity, PackedRow, checked_identity
from docshelf.steps import Compute, Flow, Maintenance, Read
from docshelf.types import INS, SKIP, UPD, Change, Diff, Op, Report
from docshelf.validation import check_iterable
from docshelf.values.stored import Stored

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Up to these limits values are encoded on the event loop. A thread costs about 60 µs.
_LIGHT_ITEMS: Final = 8
_LIGHT_BYTES: Final = 65_536


def encode_items(context: Context, items: Any, source: str) -> Flow[EncodedBatch]:
    """Check, serialize and hash the items of a call, without a database. The caller must close the result.

    Args:
        items: a mapping of keys to values, or an iterable of what `check_items` takes. A collection is encoded in one
            step. An iterator is read in windows, so that few items are in memory at a time.
        source: the source of items that name none.
    """
    whole = isinstance(items, Collection)
    pairs = iter(items.items() if isinstance(items, Mapping) else check_iterable(items, "items", "(key, value) pairs"))
    encoded = EncodedBatch(context.codec, source)
    try:
        while window := list(islice(pairs, None if whole else encoded.next_window)):
            yield Compute(partial(encoded.add, window), heavy=_is_heavy(window))
            window.clear()  # else these items would stay in memory while the next are read
    except BaseException:
        encoded.close()
        raise
    return encoded


def write(context: Context, encoded: EncodedBatch, plan: WritePlan) -> Flow[Report]:
    """Write the items that changed; with a scope, delete the entries that no item names."""
    dialect, batch = context.dialect, ConditionalUpsert(context, plan, encoded)
    if not encoded and plan.scope is None and not plan.notes:
        return Report(dry_run=plan.dry_run)

    def probe(connection: Connection) -> tuple[Comparison, list[int], list[Identity], bool, str | None]:
        if context.known_fields.is_due:
            context.learn(connection)
        comparison = batch.read_existing(connection)
        changed, stale = encoded.changed(comparison), batch.stale(comparison)
        differs = bool(changed or stale or batch.notes_to_write(connection, changed, stale))
        return comparison, changed, stale, differs, batch.refusal(connection, comparison)

    comparison, changed, stale, differs, refused = yield Read(probe)
    states = comparison.states
    if refused is not None and not plan.dry_run:
        raise MassDeleteError(refused)
    diffs: list[Diff] = []
    if plan.diff:
        diffs = yield from _diffs(context, encoded, [p for p in changed if states[p] == DIFFERENT])
    if plan.dry_run or not differs:
        context.on_progress(len(encoded))
        ops: dict[int, Op] = {position: INS if states[position] == ABSENT else UPD for position in changed}
        return batch.report(Outcome(ops, stale), diffs, refused)
    context.on_progress(len(encoded) - len(changed))
    encoded.search_by(context.known_fields.of(context.collection))
    light = len(changed) <= _LIGHT_ITEMS and sum(encoded.sizes[position] for position in changed) <= _LIGHT_BYTES
    yield Compute(partial(batch.pack_first, changed), heavy=not light)
    del comparison  # the list of unlisted entries may be large
    outcome: Outcome = yield repeatable_write(lambda connection: batch.apply(connection, states), merged_outcome)
    added = sum(op == INS for op in outcome.ops.values())
    if added:
        with suppress(DocShelfError):  # the write is committed; a failure here must not look like its failure
            yield Maintenance(added, dialect.refresh_statistics)
    return batch.report(outcome, diffs)


def _diffs(context: Context, encoded: EncodedBatch, updated: Sequence[int]) -> Flow[list[Diff]]:
    """The texts of entries before and after their update, in input order."""
    if not updated:
        return []
    wanted = {encoded.identities[position]: position for position in sorted(updated)}
    keys = list({key: None for key, _ in wanted})
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch(connection, context.collection, keys, None)
    )

    def compare() -> list[Diff]:
        old_rows = {(row.key, row.source): row for row in rows if (row.key, row.source) in wanted}
        diffs = []
        for identity, position in wanted.items():
            if identity not in old_rows:
                continue
            new = encoded.value(position)
            try:
                texts = context.codec.readable(context.codec.decode(old_rows[identity]), new)
            except CorruptEntryError as exc:  # the write will repair the row
                texts = (f"({exc.problems[0].reason})", context.codec.readable(None, new)[1])
            if texts[0] != texts[1]:
                diffs.append(Diff(*identity, *texts))
        return diffs

    diffs: list[Diff] = yield Compute(compare, heavy=True)
    return diffs


def set_versions(
    context: Context,
    versions: Mapping[str, str],
    source: str | None,
    expected: Mapping[str, str | None] | None,
    new_sources: Mapping[str, str],
) -> Flow[Report]:
    """Set the versions of the entries of some keys. A key without an entry gets one without a value.

    Args:
        source: change entries of this source only; None changes them in all sources.
        expected: change only entries that have these versions. None stands for an entry without a version, and for a
            missing entry, which is then created.
        new_sources: the sources of entries that are created, by key; by default `source`, or "".
    """
    if not versions:
        return Report()
    queries, dialect, collection = context.queries, context.dialect, context.collection
    keys = list(versions)
    sources = None if source is None else {source}

    def created(key: str) -> Identity:
        return key, new_sources.get(key, source or "")

    def must_write(existing: Mapping[Identity, str | None]) -> dict[Identity, bool]:
        """Whether each entry needs a write, in the order of `versions`. Includes entries that are to be created.

        Args:
            existing: the versions of the existing entries.
        """
        by_key: dict[str, list[Identity]] = {}
        for identity in sorted(existing):
            by_key.setdefault(identity[0], []).append(identity)
        if expected is not None:
            new = {key: [created(key)] for key in keys if expected[key] is None}
            pairs = [pair for key in keys for pair in by_key.get(key) or new.get(key) or ()]
            matching = [pair for pair in pairs if existing.get(pair) == expected[pair[0]]]
            return {identity: existing.get(identity) != versions[identity[0]] for identity in matching}
        identities = [identity for key in keys for identity in by_key.get(key) or [created(key)]]
        return {(key, of): (key, of) not in existing or existing[key, of] != versions[key] for key, of in identities}

    def probe(connection: Connection) -> dict[Identity, bool]:
        return must_write(read_versions(connection))

    def read_versions(connection: Connection) -> dict[Identity, str | None]:
        rows = queries.existing(connection, collection, keys=keys, sources=sources)
        return {checked_identity((key, of)): version for key, of, _, version in rows}

    def apply(connection: Connection) -> dict[Identity, Op]:
        stamp = dialect.begin_write(connection, collection, sources, exclusive=True)
        existing = read_versions(connection)
        changed = [identity for identity, differs in must_write(existing).items() if differs]
        ops: dict[Identity, Op] = {}
        labelled = sorted(identity for identity in changed if identity in existing)
        for pairs in bounded(labelled, lambda pair: len(versions[pair[0]]), dialect):
            ops |= dict.fromkeys(dialect.set_versions(connection, collection, pairs, versions), UPD)
        created = [
            PackedRow(*identity, None, None, None, None, None, versions[identity[0]], position)
            for position, identity in enumerate(changed)
            if identity not in existing
        ]
        created.sort(key=lambda row: (row.key, row.source))
        absent = bytes(len(changed))
        for rows in bounded(created, lambda row: len(row.version or ""), dialect):
            written = dialect.upsert(connection, dialect.upsert_batch(collection, rows, stamp, absent))
            ops.update((changed[position], op) for position, op in written.items())
        return {identity: ops[identity] for identity in changed if identity in ops}

    entries: dict[Identity, bool] = yield Read(probe)
    ops: dict[Identity, Op] = {}
    if any(entries.values()):
        ops = yield repeatable_write(apply, operator.or_)
        if expected is not None:  # entries whose version has changed since the probe were not written
            entries = {identity: differs for identity, differs in entries.items() if not differs}
        entries |= dict.fromkeys(ops, True)
    return Report(tuple(Change(key, ops.get((key, of), SKIP), of) for key, of in entries))


def _is_heavy(items: Sequence[Any]) -> bool:
    """True when items take long enough to encode that a thread pays."""
    if len(items) > _LIGHT_ITEMS:
        return True
    # The size of text and bytes is known. For so few documents or dicts it is not worth finding out.
    parts = chain.from_iterable(item for item in items if isinstance(item, tuple | list))
    return any(isinstance(part, str | bytes) and len(part) > _LIGHT_BYTES for part in parts)
