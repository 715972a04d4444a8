"""Every operation, written once, as a flow of steps that sync and async both perform.

A flow does the work that needs no database (checking, serializing, hashing, packing) before it asks for a connection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from docshelf.batch import ABSENT, DIFFERENT, Batch, Context, Found, Outcome, Prepared, WritePlan, delete_entries
from docshelf.codec import Stored, raw_bytes, utc_time
from docshelf.dialects.base import AS_ONE, Identity, Layout, PackedRow
from docshelf.engine import Compute, Flow, Read, Upkeep, Write
from docshelf.errors import CorruptEntryError, DatabaseError, DocShelfError, SchemaError
from docshelf.migrations import is_current, upgrade
from docshelf.models import DEL, INS, SKIP, UPD, Change, Diff, Entry, Op, Problem, Report, Source, SourceNote, Stats
from docshelf.queries import chunked, identities_of, latest
from docshelf.validation import check_iterable

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Values this small are encoded and decoded on the event loop: a thread costs more (some 60 µs).
_LIGHT_ITEMS: Final = 8
_LIGHT_BYTES: Final = 65_536
# To decode takes less: this much, packed, keeps the loop for 2 ms; beside 100 documents of 2 KB a thread costs a tenth.
_LIGHT_ROWS: Final = 200
_LIGHT_PACKED: Final = 262_144
# A page of keys, and the packed bytes and keys of one batch of values, when streaming.
_PAGE_KEYS: Final = 5_000
_PAGE_BYTES: Final = 16 * 1024 * 1024
_PAGE_VALUES: Final = 500


def setup(context: Context, layout: Layout = AS_ONE) -> Flow[None]:
    """Create or upgrade the tables, and spread the entries, where that is needed."""
    dialect = context.dialect

    def is_done(connection: Connection) -> bool:
        return is_current(connection, dialect) and dialect.is_laid_out(connection, layout)

    if (yield Read(is_done)):
        return
    try:
        yield Write(partial(upgrade, dialect=dialect, layout=layout))
    except DatabaseError as exc:
        if exc.sqlstate not in ("42501", "3F000"):  # insufficient privilege, no schema to create in
            raise
        raise SchemaError(
            f"the table {dialect.tables.entries.fullname} is missing or of an older version, and this role may not "
            f"change that ({exc}); run setup() once as a role that may, and grant this one SELECT, INSERT, UPDATE and "
            "DELETE on the tables and USAGE on the sequence of the entries table"
        ) from exc


def prepare(context: Context, items: Any, source: str) -> Flow[Prepared]:
    """Check, serialize and hash what a call writes, without a database. Whoever gets it closes it.

    Args:
        items: a mapping of keys to values, or an iterable of what `check_items` takes. What its caller holds as a whole
            is looked at once, before the first step; of an iterator a few are held at a time.
        source: of the items that name none.
    """
    whole = isinstance(items, Collection)
    pairs = iter(items.items() if isinstance(items, Mapping) else check_iterable(items, "items", "(key, value) pairs"))
    prepared = Prepared(context.codec, source)
    try:
        while window := list(islice(pairs, None if whole else prepared.room)):
            yield Compute(partial(prepared.add, window), heavy=_is_heavy(window))
            window.clear()  # or the items would live until the next ones are there
    except BaseException:
        prepared.close()
        raise
    return prepared


def write(context: Context, prepared: Prepared, plan: WritePlan) -> Flow[Report]:
    """Make the database hold the items, and under a scope nothing else; the report says what that took."""
    dialect, batch = context.dialect, Batch(context, plan, prepared)
    if not prepared and plan.scope is None and not plan.notes:
        return Report(dry_run=plan.dry_run)

    def probe(connection: Connection) -> tuple[Found, list[int], list[Identity], bool]:
        found = batch.look(connection)
        changed, stale = prepared.changed(found), batch.stale(found)
        differs = bool(changed or stale or batch.notes_to_write(connection, changed, stale))
        return found, changed, stale, differs

    found, changed, stale, differs = yield Read(probe)
    batch.check_mass_delete(found)
    diffs: list[Diff] = []
    if plan.diff:
        diffs = yield from _diffs(context, prepared, [p for p in changed if found.states[p] == DIFFERENT])
    if plan.dry_run or not differs:
        context.tick(len(prepared))
        ops: dict[int, Op] = {position: INS if found.states[position] == ABSENT else UPD for position in changed}
        return batch.report(Outcome(ops, stale), diffs)
    context.tick(len(prepared) - len(changed))
    light = len(changed) <= _LIGHT_ITEMS and sum(prepared.sizes[position] for position in changed) <= _LIGHT_BYTES
    yield Compute(partial(batch.pack_first, changed), heavy=not light)
    states = found.states
    del found  # what a sync would delete may be much
    outcome: Outcome = yield Write(lambda connection: batch.apply(connection, states))
    added = sum(op == INS for op in outcome.ops.values())
    if added:
        with suppress(DocShelfError):  # what was asked for is done
            yield Upkeep(added, dialect.refresh_statistics)
    return batch.report(outcome, diffs)


def _diffs(context: Context, prepared: Prepared, updated: Sequence[int]) -> Flow[list[Diff]]:
    """The texts of entries before and after they are updated, in input order."""
    if not updated:
        return []
    wanted = {prepared.identities[position]: position for position in sorted(updated)}
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
            new = prepared.value(position)
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

    def judge(standing: Mapping[Identity, str | None]) -> dict[Identity, bool]:
        """The entries that are or will be there, in the order of `versions`, and whether each is to be written.

        Args:
            standing: the versions of those that are.
        """
        found: dict[str, list[Identity]] = {}
        for identity in sorted(standing):
            found.setdefault(identity[0], []).append(identity)
        if expected is not None:
            there = [identity for key in keys for identity in found.get(key, ()) if standing[identity] == expected[key]]
            return {identity: standing[identity] != versions[identity[0]] for identity in there}
        identities = [identity for key in keys for identity in found.get(key) or [(key, source or "")]]
        return {(key, of): (key, of) not in standing or standing[key, of] != versions[key] for key, of in identities}

    def look(connection: Connection) -> dict[Identity, bool]:
        rows = queries.standing(connection, collection, keys=keys, sources=sources)
        return judge({(key, of): version for key, of, _, version in rows})

    def apply(connection: Connection) -> dict[Identity, Op]:
        ticket = dialect.begin_write(connection, collection, sources, exclusive=True)
        there = {(row.key, row.source): row for row in queries.fetch(connection, collection, keys, source)}
        standing = judge({identity: row.version for identity, row in there.items()})
        differing = [identity for identity, differs in standing.items() if differs]
        rows = [
            _labelled(there.get(identity), identity, versions[identity[0]], position)
            for position, identity in enumerate(differing)
        ]
        rows.sort(key=lambda row: (row.key, row.source))
        stood = [identity in there for identity in differing]
        for chunk in chunked(rows, dialect.chunk_rows):
            written = dialect.upsert(connection, dialect.bundle(collection, chunk, ticket, stood))
            attempted.update((differing[position], op) for position, op in written.items())
        return attempted

    identities: dict[Identity, bool] = yield Read(look)
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


def get_values(context: Context, keys: Sequence[str], source: str | None) -> Flow[list[Any]]:
    """The values of the keys, in their order, None where there is none."""
    if not keys:
        return []
    unique = list(dict.fromkeys(keys))
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.latest_values(connection, context.collection, unique, source)
    )
    values = {row.key: value for row, value in (yield from _decoded(context, rows, values=True))}
    return [values.get(key) for key in keys]


def get_entries(context: Context, keys: Sequence[str], source: str | None, *, values: bool) -> Flow[list[Entry | None]]:
    """The entries of the keys, in their order, None where there is none."""
    entries = yield from _entries(context, keys, source, values=values)
    return [None if (entry := entries.get(key)) is None else _entry(*entry) for key in keys]


def source_entries(context: Context, sources: Sequence[str], *, values: bool) -> Flow[list[list[Entry]]]:
    """The entries of each source, in the order of their insertion."""
    if not sources:
        return []
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.of_sources(
            connection, context.collection, list(dict.fromkeys(sources)), values=values
        )
    )
    pairs = yield from _decoded(context, rows, values=values)
    found: dict[str, list[Entry]] = {source: [] for source in sources}
    for row, value in pairs:
        found[row.source].append(_entry(row, value))
    return [found[source] for source in sources]


def existing(context: Context, keys: Sequence[str], source: str | None) -> Flow[set[str]]:
    """Those of the keys that have an entry."""
    if not keys:
        return set()
    found: set[str] = yield Read(
        lambda connection: context.queries.existing(connection, context.collection, keys, source)
    )
    return found


def delete_keys(
    context: Context, keys: Sequence[str], source: str | None, expected: Mapping[str, str] | None
) -> Flow[Report]:
    """Delete the entries of some keys, in one source or in all.

    Args:
        expected: delete only entries that have these versions.
    """
    if not keys:
        return Report()
    queries, dialect, collection = context.queries, context.dialect, context.collection
    unique = list(dict.fromkeys(keys))
    # As in `set_versions`.
    attempted: set[Identity] = set()

    def apply(connection: Connection) -> list[Identity]:
        sources = None if source is None else {source}
        dialect.begin_write(connection, collection, sources, exclusive=True)
        rows = queries.standing(connection, collection, keys=unique, sources=sources)
        if expected is not None:
            rows = (row for row in rows if row[3] == expected[row[0]])
        deleted = delete_entries(connection, context, sorted(identities_of(rows)))
        if deleted:
            queries.forget_fingerprints(connection, collection, {of for _, of in deleted})
        attempted.update(deleted)
        return list(attempted)

    deleted = yield Write(apply)
    order = {key: position for position, key in enumerate(unique)}
    deleted.sort(key=lambda identity: (order[identity[0]], identity[1]))
    return Report(tuple(Change(key, DEL, of) for key, of in deleted))


def delete_sources(context: Context, sources: Sequence[str], keys: Sequence[str]) -> Flow[Report]:
    """Delete some sources with their entries, and the entries of some keys in any source, in one transaction."""
    if not sources and not keys:
        return Report()
    queries, collection = context.queries, context.collection
    names, unique = set(sources), list(dict.fromkeys(keys))
    # As in `set_versions`.
    attempted: set[Identity] = set()

    def apply(connection: Connection) -> list[Identity]:
        context.dialect.begin_write(connection, collection, None if keys else names, exclusive=True)
        doomed: set[Identity] = set()
        if names:
            queries.delete_source_rows(connection, collection, names)
            doomed.update(identities_of(queries.standing(connection, collection, keys=None, sources=names)))
        if unique:
            doomed.update(identities_of(queries.standing(connection, collection, keys=unique, sources=None)))
        deleted = delete_entries(connection, context, sorted(doomed))
        others = {of for _, of in deleted} - names
        if others:
            queries.forget_fingerprints(connection, collection, others)
        attempted.update(deleted)
        return list(attempted)

    deleted = yield Write(apply)
    return Report(tuple(Change(key, DEL, of) for key, of in sorted(deleted)))


def clear(context: Context) -> Flow[int]:
    """Delete the whole collection; returns how many entries it had."""
    queries, collection = context.queries, context.collection
    # As in `set_versions`.
    attempted = 0

    def apply(connection: Connection) -> int:
        nonlocal attempted
        context.dialect.begin_write(connection, collection, None, exclusive=True)
        queries.delete_source_rows(connection, collection, None)
        attempted = max(attempted, queries.delete_all(connection, collection))
        return attempted

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


def present_entries(context: Context, keys: Sequence[str], source: str | None, *, values: bool) -> Flow[list[Entry]]:
    """The entries of those keys that are still there, in their order."""
    entries = yield from _entries(context, keys, source, values=values)
    return [_entry(*entries[key]) for key in keys if key in entries]


def problems(context: Context, keys: Sequence[str]) -> Flow[list[Problem]]:
    """The rows of some keys that cannot be read; ticks for each row."""
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
    context.tick(len(rows))
    return found


def count(context: Context, prefix: str | None, source: str | None) -> Flow[int]:
    number: int = yield Read(
        lambda connection: context.queries.count(connection, context.collection, prefix=prefix, source=source)
    )
    return number


def sources(context: Context) -> Flow[list[Source]]:
    found: list[Source]
    found, problems = yield Read(lambda connection: context.queries.sources(connection, context.collection))
    context.codec.tell(problems)
    return found


def changed_sources(context: Context, fingerprints: Mapping[str, str]) -> Flow[list[str]]:
    """The sources whose fingerprint is not the one of their last sync, in input order."""
    if not fingerprints:
        return []
    known: dict[str, SourceNote] = yield Read(
        lambda connection: context.queries.noted(connection, context.collection, list(fingerprints))
    )
    return [
        source
        for source, fingerprint in fingerprints.items()
        if source not in known or known[source].fingerprint != fingerprint
    ]


def stats(context: Context) -> Flow[Stats]:
    found: Stats = yield Read(lambda connection: context.queries.stats(connection, context.collection))
    return found


def _entries(
    context: Context, keys: Sequence[str], source: str | None, *, values: bool
) -> Flow[dict[str, tuple[Stored, Any]]]:
    """By key, the row written last and its value."""
    if not keys:
        return {}
    unique = list(dict.fromkeys(keys))
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch(connection, context.collection, unique, source, values=values)
    )
    decoded = yield from _decoded(context, list(latest(rows).values()), values=values)
    return {row.key: (row, value) for row, value in decoded}


def _decoded(context: Context, rows: Sequence[Stored], *, values: bool) -> Flow[list[tuple[Stored, Any]]]:
    sizes = (len(row.value) for row in rows if isinstance(row.value, bytes | memoryview))
    heavy = len(rows) > _LIGHT_ROWS or sum(sizes) > _LIGHT_PACKED
    decoded: list[tuple[Stored, Any]] = yield Compute(
        lambda: context.codec.decode_all(rows, values=values), heavy=heavy
    )
    return decoded


def _entry(row: Stored, value: Any) -> Entry:
    return Entry(
        row.key,
        row.source,
        value,
        row.version,
        raw_bytes(row.value_hash),
        row.content_type,
        utc_time(row.created_at),
        utc_time(row.updated_at),
        row.seq,
    )


def _is_heavy(items: Sequence[Any]) -> bool:
    if len(items) > _LIGHT_ITEMS:
        return True
    # Text and bytes tell their size; what a document or a dict holds is not worth the look for so few.
    parts = chain.from_iterable(item for item in items if isinstance(item, tuple | list))
    return any(isinstance(part, str | bytes) and len(part) > _LIGHT_BYTES for part in parts)
