"""Operations that write."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from docshelf.errors import CorruptEntryError, DocShelfError
from docshelf.operations.context import Context
from docshelf.operations.encoded_batch import ABSENT, DIFFERENT, Comparison, EncodedBatch
from docshelf.operations.plan import WritePlan
from docshelf.operations.upsert import ConditionalUpsert, Outcome
from docshelf.sql.queries import chunked
from docshelf.sql.rows import Identity, PackedRow
from docshelf.steps import Compute, Flow, Maintenance, Read, Write
from docshelf.types import INS, SKIP, UPD, Change, Diff, Op, Report
from docshelf.validation import check_iterable
from docshelf.values.stored import Stored, raw_bytes

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Values this small are encoded and decoded on the event loop: a thread costs more (some 60 µs).
_LIGHT_ITEMS: Final = 8
_LIGHT_BYTES: Final = 65_536


def encode_items(context: Context, items: Any, source: str) -> Flow[EncodedBatch]:
    """Check, serialize and hash what a call writes, without a database. Whoever gets it closes it.

    Args:
        items: a mapping of keys to values, or an iterable of what `check_items` takes. What its caller holds as a whole
            is looked at once, before the first step; of an iterator a few are held at a time.
        source: of the items that name none.
    """
    whole = isinstance(items, Collection)
    pairs = iter(items.items() if isinstance(items, Mapping) else check_iterable(items, "items", "(key, value) pairs"))
    encoded = EncodedBatch(context.codec, source)
    try:
        while window := list(islice(pairs, None if whole else encoded.room)):
            yield Compute(partial(encoded.add, window), heavy=_is_heavy(window))
            window.clear()  # or the items would live until the next ones are there
    except BaseException:
        encoded.close()
        raise
    return encoded


def write(context: Context, encoded: EncodedBatch, plan: WritePlan) -> Flow[Report]:
    """Make the database hold the items, and under a scope nothing else; the report says what that took."""
    dialect, batch = context.dialect, ConditionalUpsert(context, plan, encoded)
    if not encoded and plan.scope is None and not plan.notes:
        return Report(dry_run=plan.dry_run)

    def probe(connection: Connection) -> tuple[Comparison, list[int], list[Identity], bool]:
        found = batch.read_existing(connection)
        changed, stale = encoded.changed(found), batch.stale(found)
        differs = bool(changed or stale or batch.notes_to_write(connection, changed, stale))
        return found, changed, stale, differs

    found, changed, stale, differs = yield Read(probe)
    batch.check_mass_delete(found)
    diffs: list[Diff] = []
    if plan.diff:
        diffs = yield from _diffs(context, encoded, [p for p in changed if found.states[p] == DIFFERENT])
    if plan.dry_run or not differs:
        context.on_progress(len(encoded))
        ops: dict[int, Op] = {position: INS if found.states[position] == ABSENT else UPD for position in changed}
        return batch.report(Outcome(ops, stale), diffs)
    context.on_progress(len(encoded) - len(changed))
    light = len(changed) <= _LIGHT_ITEMS and sum(encoded.sizes[position] for position in changed) <= _LIGHT_BYTES
    yield Compute(partial(batch.pack_first, changed), heavy=not light)
    states = found.states
    del found  # what a sync would delete may be much
    outcome: Outcome = yield Write(lambda connection: batch.apply(connection, states))
    added = sum(op == INS for op in outcome.ops.values())
    if added:
        with suppress(DocShelfError):  # what was asked for is done
            yield Maintenance(added, dialect.refresh_statistics)
    return batch.report(outcome, diffs)


def _diffs(context: Context, encoded: EncodedBatch, updated: Sequence[int]) -> Flow[list[Diff]]:
    """The texts of entries before and after they are updated, in input order."""
    if not updated:
        return []
    wanted = {encoded.identities[position]: position for position in sorted(updated)}
    keys = list({key: None for key, _ in wanted})
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch(connection, context.collection, keys, None)
    )

    def compare() -> list[Diff]:
        before = {(row.key, row.source): row for row in rows if (row.key, row.source) in wanted}
        found = []
        for identity, position in wanted.items():
            if identity not in before:
                continue
            new = encoded.value(position)
            try:
                texts = context.codec.readable(context.codec.decode(before[identity]), new)
            except CorruptEntryError as exc:  # the write will mend it
                texts = (f"({exc.problems[0].reason})", context.codec.readable(None, new)[1])
            if texts[0] != texts[1]:
                found.append(Diff(*identity, *texts))
        return found

    found: list[Diff] = yield Compute(compare, heavy=True)
    return found


def set_versions(
    context: Context, versions: Mapping[str, str], source: str | None, expected: Mapping[str, str] | None
) -> Flow[Report]:
    """Label the entries of some keys, in one source or in all; a key without an entry gets one without a value.

    Args:
        expected: label only entries that have these versions, and make none.
    """
    if not versions:
        return Report()
    queries, dialect, collection = context.queries, context.dialect, context.collection
    keys = list(versions)
    sources = None if source is None else {source}
    # What an attempt did whose commit was not answered: the next finds it done.
    attempted: dict[Identity, Op] = {}

    def judge(existing: Mapping[Identity, str | None]) -> dict[Identity, bool]:
        """The entries that are or will be there, in the order of `versions`, and whether each is to be written.

        Args:
            existing: the versions of those that are.
        """
        found: dict[str, list[Identity]] = {}
        for identity in sorted(existing):
            found.setdefault(identity[0], []).append(identity)
        if expected is not None:
            there = [identity for key in keys for identity in found.get(key, ()) if existing[identity] == expected[key]]
            return {identity: existing[identity] != versions[identity[0]] for identity in there}
        identities = [identity for key in keys for identity in found.get(key) or [(key, source or "")]]
        return {(key, of): (key, of) not in existing or existing[key, of] != versions[key] for key, of in identities}

    def read_existing(connection: Connection) -> dict[Identity, bool]:
        rows = queries.existing(connection, collection, keys=keys, sources=sources)
        return judge({(key, of): version for key, of, _, version in rows})

    def apply(connection: Connection) -> dict[Identity, Op]:
        stamp = dialect.begin_write(connection, collection, sources, exclusive=True)
        there = {(row.key, row.source): row for row in queries.fetch(connection, collection, keys, source)}
        existing = judge({identity: row.version for identity, row in there.items()})
        differing = [identity for identity, differs in existing.items() if differs]
        rows = [
            _labelled(there.get(identity), identity, versions[identity[0]], position)
            for position, identity in enumerate(differing)
        ]
        rows.sort(key=lambda row: (row.key, row.source))
        stood = [identity in there for identity in differing]
        for chunk in chunked(rows, dialect.chunk_rows):
            written = dialect.upsert(connection, dialect.upsert_batch(collection, chunk, stamp, stood))
            attempted.update((differing[position], op) for position, op in written.items())
        return attempted

    identities: dict[Identity, bool] = yield Read(read_existing)
    ops: dict[Identity, Op] = {}
    if any(identities.values()):
        ops = yield Write(apply)
        if expected is not None:  # what has another version by now was passed over
            identities = {identity: differs for identity, differs in identities.items() if not differs}
        identities |= dict.fromkeys(ops, True)
    return Report(tuple(Change(key, ops.get((key, of), SKIP), of) for key, of in identities))


def _labelled(row: Stored | None, identity: Identity, version: str, position: int) -> PackedRow:
    """A row with another version and the value that it has."""
    if row is None:
        return PackedRow(*identity, None, None, None, None, None, version, position)
    value, value_hash, checksum = map(raw_bytes, (row.value, row.value_hash, row.checksum))
    return PackedRow(*identity, value, value_hash, checksum, row.content_type, row.encoding, version, position)


def _is_heavy(items: Sequence[Any]) -> bool:
    if len(items) > _LIGHT_ITEMS:
        return True
    # Text and bytes tell their size; what a document or a dict holds is not worth the look for so few.
    parts = chain.from_iterable(item for item in items if isinstance(item, tuple | list))
    return any(isinstance(part, str | bytes) and len(part) > _LIGHT_BYTES for part in parts)
