"""Operations of moves and exports: entries as they are stored, with their hashes, times and order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from docshelf.errors import DocShelfError
from docshelf.operations.context import Context
from docshelf.operations.repeatable import repeatable_write
from docshelf.sql.chunks import chunked
from docshelf.sql.collections import imported_settings
from docshelf.sql.rows import Identity, PackedRow
from docshelf.sql.transfer import Outline, RawCollection, RawSource, TransferQueries
from docshelf.steps import Compute, Flow, Maintenance, Read
from docshelf.types import INS, SKIP, UPD, Change, Op, Report
from docshelf.values.stored import RawEntry, Stored, raw_bytes

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PAGE_ROWS: Final = 5_000


def outline_page(
    context: Context, after: Identity | None, prefix: str | None, source: str | None
) -> Flow[list[Outline]]:
    """The next entries after an identity, in the order of their identities. An empty page means the end."""
    queries = TransferQueries(context.dialect)
    found: list[Outline]
    found, problems = yield Read(
        lambda connection: queries.outlines(
            connection, context.collection, after=after, prefix=prefix, source=source, limit=_PAGE_ROWS
        )
    )
    context.codec.report_problems(problems)
    return found


def raw_entries(context: Context, identities: Sequence[Identity]) -> Flow[list[RawEntry]]:
    """The entries of some identities, in their order; those that were deleted meanwhile are left out."""
    queries = TransferQueries(context.dialect)
    rows: list[Stored] = yield Read(lambda connection: queries.rows(connection, context.collection, identities))
    entries: list[RawEntry] = yield Compute(context.codec.raw_entries, rows)
    found = {(entry.key, entry.source): entry for entry in entries}
    return [found[identity] for identity in identities if identity in found]


def put_raw_entries(context: Context, entries: Sequence[RawEntry], *, dry_run: bool) -> Flow[Report]:
    """Write entries as they are stored elsewhere, where hash or version differ. Of equal identities the last one wins.

    A new entry gets the times that it had. An entry that is updated keeps its own creation time.
    """
    queries, dialect, collection = context.queries, context.dialect, context.collection
    unique = {(entry.key, entry.source): entry for entry in entries}
    identities = list(unique)
    if not identities:
        return Report(dry_run=dry_run)

    def compare(connection: Connection) -> dict[Identity, Op]:
        ops: dict[Identity, Op] = dict.fromkeys(identities, INS)
        for key, source, value_hash, version in queries.existing_pairs(connection, collection, identities):
            entry = unique.get((key, source))
            if entry is not None:
                same = raw_bytes(value_hash) == entry.value_hash and entry.version in (None, version)
                ops[key, source] = SKIP if same else UPD
        return ops

    def pack() -> dict[Identity, PackedRow]:
        valued = [entry for entry in unique.values() if entry.data is not None]
        packed = dict(zip(valued, context.codec.pack_all([entry.data or b"" for entry in valued]), strict=True))
        return {
            identity: _packed_row(entry, packed.get(entry), position)
            for position, (identity, entry) in enumerate(unique.items())
        }

    ops: Mapping[Identity, Op] = yield Read(compare)
    if not dry_run and any(op != SKIP for op in ops.values()):
        rows: dict[Identity, PackedRow] = yield Compute(pack)

        def apply(connection: Connection) -> dict[Identity, Op]:
            stamp = dialect.begin_write(connection, collection, {source for _, source in identities}, exclusive=False)
            fields = context.known_fields.confirm(connection, dialect, collection).fields
            found = compare(connection)
            changed = [rows[identity] for identity in sorted(found) if found[identity] != SKIP]
            if fields:
                changed = [_with_search_fields(context, row, unique[row.key, row.source], fields) for row in changed]
            existing = [found[identity] == UPD for identity in identities]
            times = {row.position: _times(unique[row.key, row.source], stamp.now) for row in changed}
            for chunk in chunked(changed, dialect.chunk_rows):
                batch = dialect.upsert_batch(collection, chunk, stamp, existing, times)
                written = dialect.upsert(connection, batch)
                # Whatever the upsert left out, another writer wrote it just now.
                found.update({(row.key, row.source): written.get(row.position, SKIP) for row in chunk})
            return found

        ops = yield repeatable_write(apply, _merged)
        added = sum(op == INS for op in ops.values())
        if added:
            with suppress(DocShelfError):  # the entries are written
                yield Maintenance(added, dialect.refresh_statistics)
    context.on_progress(len(identities))
    return Report(tuple(Change(key, ops[key, source], source) for key, source in identities), dry_run=dry_run)


def source_page(context: Context, after: str | None) -> Flow[list[RawSource]]:
    """What is stored about the next sources after a name, in order. An empty page means the end."""
    queries = TransferQueries(context.dialect)
    found: list[RawSource]
    found, problems = yield Read(
        lambda connection: queries.sources(connection, context.collection, after=after, limit=_PAGE_ROWS)
    )
    context.codec.report_problems(problems)
    return found


def put_raw_sources(context: Context, sources: Sequence[RawSource], *, dry_run: bool) -> Flow[int]:
    """Store what is known about sources, as it is stored elsewhere. Returns how many of them differed."""
    queries, collection = TransferQueries(context.dialect), context.collection
    unique = {source.source: source for source in sources}

    def differing(connection: Connection) -> list[RawSource]:
        known = queries.get_sources(connection, collection, list(unique))
        return [source for name, source in unique.items() if known.get(name) != source]

    def apply(connection: Connection) -> int:
        context.dialect.begin_write(connection, collection, set(unique), exclusive=True)
        changed = differing(connection)
        if changed:
            queries.put_sources(connection, collection, changed)
        return len(changed)

    count = len((yield Read(differing))) if unique else 0
    if count and not dry_run:
        count = yield repeatable_write(apply, max)
    return count


def collections(context: Context) -> Flow[list[RawCollection]]:
    """Every collection of the tables, by name."""
    queries = TransferQueries(context.dialect)
    found: list[RawCollection] = yield Read(queries.collections)
    return found


def put_raw_collection(context: Context, row: RawCollection, *, dry_run: bool) -> Flow[None]:
    """Store whom the context's collection belongs to, and its settings."""
    queries = TransferQueries(context.dialect)

    def wanted(known: RawCollection | None) -> RawCollection:
        # Search fields of rows that are here already are those of the settings here.
        return row._replace(settings=imported_settings(row.settings, None if known is None else known.settings))

    def apply(connection: Connection) -> None:
        context.dialect.begin_write(connection, row.collection, None, exclusive=True)
        queries.put_collection(connection, wanted(queries.collection(connection, row.collection)))

    known = yield Read(lambda connection: queries.collection(connection, row.collection))
    if known != wanted(known) and not dry_run:
        yield repeatable_write(apply, lambda _, last: last)


def _with_search_fields(context: Context, row: PackedRow, entry: RawEntry, fields: Sequence[str]) -> PackedRow:
    if entry.data is None or entry.content_type is None:
        return row
    return row._replace(search_fields=context.codec.search_fields(entry.content_type, entry.data, fields))


def _packed_row(entry: RawEntry, packed: tuple[str, bytes] | None, position: int) -> PackedRow:
    encoding, value = packed or (None, None)
    return PackedRow(
        entry.key,
        entry.source,
        value,
        entry.value_hash,
        entry.checksum,
        entry.content_type,
        encoding,
        entry.version,
        position,
    )


def _times(entry: RawEntry, now: datetime) -> tuple[datetime, datetime]:
    created_at = entry.created_at or entry.updated_at or now
    return created_at, entry.updated_at or created_at


def _merged(earlier: Mapping[Identity, Op], last: Mapping[Identity, Op]) -> dict[Identity, Op]:
    """What all attempts did: one that found an entry as it should be may have been preceded by one that wrote it."""
    return {identity: earlier[identity] if op == SKIP else op for identity, op in last.items()}
