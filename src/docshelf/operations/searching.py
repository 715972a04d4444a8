"""Operations that search by field: find, count, delete."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from docshelf.errors import MassDeleteError
from docshelf.operations.context import Context
from docshelf.operations.guard import entries_refusal, sources_refusal
from docshelf.operations.reading import entry_of
from docshelf.operations.repeatable import repeatable_write
from docshelf.operations.report import deletions
from docshelf.operations.upsert import delete_entries
from docshelf.sql.rows import Identity
from docshelf.sql.search import Bounds, Page
from docshelf.steps import Compute, Flow, Read
from docshelf.types import Entry, Report
from docshelf.values.search import narrowing
from docshelf.values.stored import Stored, raw_bytes
from docshelf.values.where import All, Condition

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Entries of one page, and the packed bytes and entries of one batch of values.
_PAGE: Final = 5_000
_BATCH_BYTES: Final = 8 * 1024 * 1024
_BATCH_ENTRIES: Final = 500
# The first batch is small where few entries are wanted: most of them may match.
_FIRST_ENTRIES: Final = 32


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes:
        condition: what the fields of an entry have to be.
        bounds: which entries are looked at.
        limit: how many are wanted at most; None for all.
    """

    condition: Condition
    bounds: Bounds
    limit: int | None = None

    def after(self, page: Page) -> Search:
        """The same from the entry after this page on."""
        last = page.candidates[-1]
        return replace(self, bounds=self.bounds._replace(after=(last.key, last.source)))

    def batches(self, page: Page) -> Iterator[list[Identity]]:
        """The entries of a page in batches whose values can be held in memory together."""
        most = _BATCH_ENTRIES if self.limit is None else min(_BATCH_ENTRIES, max(_FIRST_ENTRIES, self.limit))
        batch: list[Identity] = []
        held = 0
        for key, source, size in page.candidates:
            if batch and (held + size > _BATCH_BYTES or len(batch) >= most):
                yield batch
                batch, held, most = [], 0, min(_BATCH_ENTRIES, 4 * most)
            batch.append((key, source))
            held += size
        if batch:
            yield batch


def page(context: Context, search: Search) -> Flow[Page]:
    """The next entries to look at; which they are, an index says where it can."""
    collection, dialect = context.collection, context.dialect

    def read(connection: Connection) -> Page:
        fields = context.known_fields
        if fields.is_due:
            fields.read(connection, dialect)
        used = fields.settled(collection)
        while True:
            asked = narrowing(search.condition, used.fields) if used.filled else None
            found = context.queries.search.candidates(connection, collection, search.bounds, asked, _PAGE)
            # Asked afterwards: where other fields were settled meanwhile, the index may have missed rows.
            settled = used if asked is None else fields.confirm(connection, dialect, collection)
            if settled == used:
                return found
            used = settled

    found: Page = yield Read(read)
    context.codec.report_problems(found.problems)
    return found


def matching(
    context: Context, search: Search, batch: Sequence[Identity], *, values: bool
) -> Flow[list[tuple[Stored, Any]]]:
    """The rows of a batch that match, in order, with their values."""
    # Without a condition nothing looks at the values.
    unread = not values and search.condition == All(())
    rows: list[Stored] = yield Read(
        lambda connection: context.queries.fetch_pairs(connection, context.collection, batch, values=not unread)
    )
    rows.sort(key=lambda row: (row.key, row.source))
    if unread:
        return context.codec.decode_all(rows, values=False)
    found: list[tuple[Stored, Any]] = yield Compute(
        lambda: context.codec.matching(rows, search.condition, values=values), heavy=len(rows) > _FIRST_ENTRIES
    )
    return found


def found_entries(context: Context, search: Search, batch: Sequence[Identity], *, values: bool) -> Flow[list[Entry]]:
    """The entries of a batch that match, in order."""
    rows = yield from matching(context, search, batch, values=values)
    return [entry_of(row, value) for row, value in rows]


def _all_matching(context: Context, search: Search) -> Flow[list[tuple[Identity, bytes | None]]]:
    """Every entry that matches, with the hash of its value."""
    found: list[tuple[Identity, bytes | None]] = []
    while True:
        current = yield from page(context, search)
        for batch in search.batches(current):
            rows = yield from matching(context, search, batch, values=False)
            found += [((row.key, row.source), raw_bytes(row.value_hash)) for row, _ in rows]
        if current.is_last:
            return found
        search = search.after(current)


def count(context: Context, search: Search) -> Flow[int]:
    """How many entries match."""
    number = 0
    while True:
        current = yield from page(context, search)
        for batch in search.batches(current):
            number += len((yield from matching(context, search, batch, values=False)))
        if current.is_last:
            return number
        search = search.after(current)


Matches = Mapping[Identity, bytes | None]
"""Entries that match, with the hashes of their values."""


@dataclass(frozen=True)
class DeleteLimits:
    """What a deletion by field may not pass.

    Attributes:
        max_delete: the share of the existing entries that may go; None for the guard of whole sources.
        allow_mass_delete: it may delete whatever matches.
    """

    max_delete: float | None = None
    allow_mass_delete: bool = False


def delete(
    context: Context, search: Search, limits: DeleteLimits, *, dry_run: bool, counts: bool = False
) -> Flow[Report]:
    """Delete the entries that match. One that another call changed meanwhile, so that it may not match, stays.

    Args:
        counts: report counts alone.
    """
    if dry_run:
        found, refused = yield from _judged_matches(context, search, limits)
        return deletions(sorted(found), counts=counts, dry_run=True, refused=refused)
    found = yield from allowed_matches(context, search, limits)
    deleted: set[Identity] = (yield from delete_unchanged(context, search, found)) if found else set()
    return deletions(sorted(deleted), counts=counts)


def allowed_matches(context: Context, search: Search, limits: DeleteLimits) -> Flow[Matches]:
    """The entries that match.

    Raises:
        MassDeleteError: they are more than may be deleted.
    """
    found, refused = yield from _judged_matches(context, search, limits)
    if refused is not None:
        raise MassDeleteError(refused)
    return found


def _judged_matches(context: Context, search: Search, limits: DeleteLimits) -> Flow[tuple[Matches, str | None]]:
    """The entries that match, and why they may not be deleted, or None where they may."""
    found = dict((yield from _all_matching(context, search)))
    refused = None
    if not limits.allow_mass_delete:
        refused = yield Read(lambda connection: _refusal(connection, context, search, list(found), limits))
    return found, refused


def delete_unchanged(context: Context, search: Search, found: Matches) -> Flow[set[Identity]]:
    """Delete entries that matched, in one transaction, where their values are still the same."""
    queries, dialect, collection = context.queries, context.dialect, context.collection
    source = search.bounds.source

    def apply(connection: Connection) -> set[Identity]:
        dialect.begin_write(connection, collection, None if source is None else {source}, exclusive=True)
        rows = queries.existing_pairs(connection, collection, list(found))
        unchanged = {(key, of) for key, of, value_hash, _ in rows if found.get((key, of), b"") == raw_bytes(value_hash)}
        deleted = delete_entries(connection, context, sorted(unchanged))
        if deleted:
            queries.forget_fingerprints(connection, collection, {of for _, of in deleted})
        return set(deleted)

    deleted: set[Identity] = yield repeatable_write(apply, operator.or_)
    return deleted


def _refusal(
    connection: Connection, context: Context, search: Search, found: Sequence[Identity], limits: DeleteLimits
) -> str | None:
    """Why so many entries may not go, or None where they may."""
    if not found:
        return None
    queries, collection, source = context.queries, context.collection, search.bounds.source
    existing = queries.count(connection, collection, prefix=None, source=source)
    where = f"collection {collection!r}" if source is None else f"source {source!r}"
    refused = entries_refusal(where, len(found), existing, 0, limits.max_delete, call="deletion from")
    if refused is not None or limits.max_delete is not None or source is not None:
        return refused
    gone: dict[str, int] = {}
    for _, of in found:
        gone[of] = gone.get(of, 0) + 1
    counts = queries.search.source_counts(connection, collection, sorted(gone))
    vanished = [of for of, number in gone.items() if number >= counts.get(of, 0)]
    return sources_refusal(
        collection, vanished, lambda: queries.count_sources(connection, collection), call="deletion from"
    )
