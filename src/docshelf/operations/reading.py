"""Operations that read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from docshelf.operations.context import Context
from docshelf.sql.pages import Sized
from docshelf.sql.queries import NoteRow, latest
from docshelf.sql.rows import Identity
from docshelf.sql.sources import SourcePage, SourceQueries
from docshelf.steps import Compute, Flow, Read
from docshelf.types import Entry, Label, Problem, Source, SourceNote
from docshelf.values.stored import Stored, raw_bytes, utc_time

T = TypeVar("T")

# Up to these limits rows are decoded on the event loop: this blocks it for 2 ms at most. For 100 documents of 2 KB a
# thread would add a tenth.
_LIGHT_ROWS: Final = 200
_LIGHT_PACKED: Final = 262_144
# When streaming: the keys of a page, the sources of a page, and the packed bytes and keys of one batch of values.
_PAGE_KEYS: Final = 5_000
_PAGE_SOURCES: Final = 2_000
_PAGE_BYTES: Final = 8 * 1024 * 1024
_PAGE_VALUES: Final = 500


def get_values(context: Context, keys: Sequence[str], source: str | None) -> Flow[list[Any]]:
    """The values of the keys, in their order; None for a key without one."""
    if not keys:
        return []
    unique = list(dict.fromkeys(keys))
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.latest_values(connection, context.collection, unique, source)
    )
    values = {row.key: value for row, value in (yield from _decoded(context, rows, values=True))}
    return [values.get(key) for key in keys]


def get_entries(context: Context, keys: Sequence[str], source: str | None, *, values: bool) -> Flow[list[Entry | None]]:
    """The entries of the keys, in their order; None for a key without one."""
    entries = yield from _entries(context, keys, source, values=values)
    return [None if (entry := entries.get(key)) is None else entry_of(*entry) for key in keys]


def pair_entries(context: Context, pairs: Sequence[Identity], *, values: bool) -> Flow[list[Entry | None]]:
    """The entries of pairs of key and source, in their order; None for a pair without one."""
    if not pairs:
        return []
    unique = list(dict.fromkeys(pairs))
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch_pairs(connection, context.collection, unique, values=values)
    )
    decoded = yield from _decoded(context, rows, values=values)
    entries = {(row.key, row.source): entry_of(row, value) for row, value in decoded}
    return [entries.get(pair) for pair in pairs]


def source_entries(context: Context, sources: Sequence[str], *, values: bool) -> Flow[list[list[Entry]]]:
    """The entries of each source, in insertion order."""
    if not sources:
        return []
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.of_sources(
            connection, context.collection, list(dict.fromkeys(sources)), values=values
        )
    )
    pairs = yield from _decoded(context, rows, values=values)
    by_source: dict[str, list[Entry]] = {source: [] for source in sources}
    for row, value in pairs:
        by_source[row.source].append(entry_of(row, value))
    return [by_source[source] for source in sources]


def labels(context: Context, sources: Sequence[str], fold: Callable[[Iterable[Label]], T]) -> Flow[T]:
    """What a function makes of key, source, hash and version of each entry of some sources, in no order.

    The function gets them while they are read, and once more if reading fails and is tried again.
    """
    if not sources:
        return fold(())
    problems: list[Problem] = []

    def read(connection: Connection) -> T:
        problems.clear()
        return fold(labels_in(connection))

    def labels_in(connection: Connection) -> Iterator[Label]:
        rows = context.queries.existing(connection, context.collection, keys=None, sources=set(sources))
        for key, source, value_hash, version in rows:
            if type(key) is str and type(source) is str and (version is None or type(version) is str):
                yield Label(key, source, raw_bytes(value_hash), version)
            else:
                problems.append(Problem(key, source, "a key, source or version that is not text"))

    found: T = yield Read(read)
    context.codec.report_problems(problems)
    return found


def note_page(
    context: Context, after: str | None, take: Callable[[Iterable[NoteRow]], T]
) -> Flow[tuple[T, str | None]]:
    """What a function makes of the next sources' notes after a name, in order, and the last name; None at the end.

    The function gets them while they are read, and once more if reading fails and is tried again. A note's parts are as
    they are stored, of any type.
    """
    last: str | None = None

    def read(connection: Connection) -> T:
        nonlocal last
        last = None
        return take(rows_in(connection))

    def rows_in(connection: Connection) -> Iterator[NoteRow]:
        nonlocal last
        for row in context.queries.note_page(connection, context.collection, after=after, limit=_PAGE_KEYS):
            if type(row[0]) is str:
                last = row[0]
                yield row

    found: T = yield Read(read)
    return found, last


def existing_keys(context: Context, keys: Sequence[str], source: str | None) -> Flow[set[str]]:
    """Those of the keys that have an entry."""
    if not keys:
        return set()
    existing: set[str] = yield Read(
        lambda connection: context.queries.existing_keys(connection, context.collection, keys, source)
    )
    return existing


def key_page(
    context: Context, after: str | None, prefix: str | None, source: str | None, *, with_value: bool = False
) -> Flow[list[str]]:
    """The next page of keys, without duplicates. An empty page is the end. `with_value` as for `Queries.page`."""
    keys: list[str] = yield Read(
        lambda connection: context.queries.page(
            connection,
            context.collection,
            after=after,
            prefix=prefix,
            source=source,
            limit=_PAGE_KEYS,
            with_value=with_value,
        )
    )
    return list(dict.fromkeys(keys))


class Batch(NamedTuple):
    """Keys that follow each other and whose values fit in memory together, and how many rows they had."""

    keys: list[str]
    rows: int


def value_batches(context: Context, after: str | None, prefix: str | None, source: str | None) -> Flow[list[Batch]]:
    """The next page of keys, in batches. No batch is the end."""
    sized: list[Sized] = yield Read(
        lambda connection: context.queries.sized_page(
            connection, context.collection, after=after, prefix=prefix, source=source, limit=_PAGE_KEYS
        )
    )
    batches: list[Batch] = []
    keys: list[str] = []
    rows = size = 0
    for key, of_key in groupby(sized, itemgetter(0)):
        sizes = [one.size for one in of_key]
        if keys and (size + sum(sizes) > _PAGE_BYTES or len(keys) >= _PAGE_VALUES):
            batches.append(Batch(keys, rows))
            keys, rows, size = [], 0, 0
        keys.append(key)
        rows += len(sizes)
        size += sum(sizes)
    return [*batches, Batch(keys, rows)] if keys else batches


def listed_entries(context: Context, batch: Batch, source: str | None) -> Flow[list[Entry]]:
    """The entries of a batch that still exist, in the order of their keys."""
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch_listed(connection, context.collection, batch.keys, source, batch.rows)
    )
    newest = latest(rows)
    decoded = yield from _decoded(context, [newest[key] for key in batch.keys if key in newest], values=True)
    return [entry_of(row, value) for row, value in decoded]


def present_entries(context: Context, keys: Sequence[str], source: str | None) -> Flow[list[Entry]]:
    """The entries of the keys that still exist, in the order of the keys, without their values."""
    entries = yield from _entries(context, keys, source, values=False)
    return [entry_of(*entries[key]) for key in keys if key in entries]


def count(context: Context, prefix: str | None, source: str | None, at_most: int | None) -> Flow[int]:
    """The number of entries, narrowed by a prefix of the key and by a source; no more than `at_most`."""
    number: int = yield Read(
        lambda connection: context.queries.count(
            connection, context.collection, prefix=prefix, source=source, at_most=at_most
        )
    )
    return number


def estimated_count(context: Context) -> Flow[int]:
    """About how many entries the collection has."""
    number: int = yield Read(lambda connection: context.dialect.estimated_entries(connection, context.collection))
    return number


def source_page(context: Context, after: str | None, prefix: str | None) -> Flow[SourcePage]:
    """The next sources after a name, in order."""
    page = yield from _source_page(context, after, prefix)
    context.codec.report_problems(page.problems)
    return page


def sources(context: Context) -> Flow[list[Source]]:
    """Every source that has entries or was synced."""
    page = yield from _source_page(context, None, None)
    found, problems = page.sources, page.problems
    while page.last is not None:
        page = yield from _source_page(context, page.last, None)
        found += page.sources
        problems += page.problems
    context.codec.report_problems(problems)
    return found


def _source_page(context: Context, after: str | None, prefix: str | None) -> Flow[SourcePage]:
    page: SourcePage = yield Read(
        lambda connection: SourceQueries(context.dialect).page(
            connection, context.collection, after=after, prefix=prefix, limit=_PAGE_SOURCES
        )
    )
    return page


def source_notes(context: Context, sources: Sequence[str]) -> Flow[dict[str, SourceNote]]:
    """The notes of some sources, in input order, without those that were never synced."""
    if not sources:
        return {}
    notes: dict[str, SourceNote]
    notes, problems = yield Read(
        lambda connection: context.queries.get_notes(connection, context.collection, list(dict.fromkeys(sources)))
    )
    context.codec.report_problems(problems)
    return {source: notes[source] for source in sources if source in notes}


def changed_sources(context: Context, fingerprints: Mapping[str, str]) -> Flow[list[str]]:
    """The sources whose fingerprint differs from that of their last sync, in input order."""
    if not fingerprints:
        return []
    # Metadata is not read: it does not matter here, also where it cannot be decoded.
    known: dict[str, Any] = yield Read(
        lambda connection: context.queries.fingerprints(connection, context.collection, fingerprints)
    )
    return [source for source, fingerprint in fingerprints.items() if known.get(source) != fingerprint]


def _entries(
    context: Context, keys: Sequence[str], source: str | None, *, values: bool
) -> Flow[dict[str, tuple[Stored, Any]]]:
    """For each key the row written last, with its value."""
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


def entry_of(row: Stored, value: Any) -> Entry:
    """The entry of a row and its value."""
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
