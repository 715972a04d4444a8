"""Operations that delete."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from docshelf.operations.context import Context
from docshelf.operations.repeatable import repeatable_write
from docshelf.operations.report import deletions
from docshelf.operations.upsert import delete_entries
from docshelf.sql.chunks import KEYS_PER_STATEMENT, chunked
from docshelf.sql.queries import identities_of
from docshelf.sql.rows import Identity
from docshelf.steps import Flow, Read
from docshelf.types import Report

if TYPE_CHECKING:
    from sqlalchemy import Connection


def delete_keys(
    context: Context,
    keys: Sequence[str],
    source: str | None,
    expected: Mapping[str, str | None] | None,
    *,
    dry_run: bool = False,
    counts: bool = False,
) -> Flow[Report]:
    """Delete the entries of some keys.

    Args:
        source: delete in this source only; None deletes in all sources.
        expected: delete only entries that have these versions; None stands for no version.
        dry_run: report what would be deleted, and delete nothing.
        counts: report counts alone.
    """
    if not keys:
        return deletions((), counts=counts, dry_run=dry_run)
    queries, dialect, collection = context.queries, context.dialect, context.collection
    unique = list(dict.fromkeys(keys))

    sources = None if source is None else {source}

    def matching(connection: Connection) -> set[Identity]:
        rows = queries.existing(connection, collection, keys=unique, sources=sources)
        if expected is not None:
            rows = (row for row in rows if row[3] == expected[row[0]])
        return set(identities_of(rows))

    def apply(connection: Connection) -> set[Identity]:
        dialect.begin_write(connection, collection, sources, exclusive=True)
        if expected is None:
            deleted = _delete_where(connection, context, unique, sources)
        else:
            deleted = delete_entries(connection, context, sorted(matching(connection)))
        if deleted:
            queries.forget_fingerprints(connection, collection, {of for _, of in deleted})
        return set(deleted)

    deleted: set[Identity] = yield Read(matching) if dry_run else repeatable_write(apply, operator.or_)
    order = {key: position for position, key in enumerate(unique)}
    in_order = sorted(deleted, key=lambda identity: (order[identity[0]], identity[1]))
    return deletions(in_order, counts=counts, dry_run=dry_run)


def delete_sources(
    context: Context, sources: Sequence[str], keys: Sequence[str], *, counts: bool = False
) -> Flow[Report]:
    """Delete some sources with their entries, and the entries of some keys in every source, in one transaction."""
    if not sources and not keys:
        return deletions((), counts=counts)
    queries, collection = context.queries, context.collection
    names, unique = set(sources), list(dict.fromkeys(keys))

    def apply(connection: Connection) -> set[Identity]:
        context.dialect.begin_write(connection, collection, None if keys else names, exclusive=True)
        deleted: list[Identity] = []
        if names:
            queries.delete_source_rows(connection, collection, names)
            deleted += context.dialect.delete_where(connection, collection, sources=names)
        if unique:
            deleted += _delete_where(connection, context, unique, None)
        other_sources = {of for _, of in deleted} - names
        if other_sources:
            queries.forget_fingerprints(connection, collection, other_sources)
        return set(deleted)

    deleted: set[Identity] = yield repeatable_write(apply, operator.or_)
    return deletions(sorted(deleted), counts=counts)


def _delete_where(
    connection: Connection, context: Context, keys: Sequence[str], sources: Collection[str] | None
) -> list[Identity]:
    """Delete the entries of any number of keys, in some sources or in all (None)."""
    deleted: list[Identity] = []
    for chunk in chunked(keys, KEYS_PER_STATEMENT):
        deleted += context.dialect.delete_where(connection, context.collection, keys=chunk, sources=sources)
    return deleted


def clear(context: Context) -> Flow[int]:
    """Delete the whole collection. Returns how many entries it had."""
    queries, collection = context.queries, context.collection

    def apply(connection: Connection) -> int:
        context.dialect.begin_write(connection, collection, None, exclusive=True)
        queries.delete_source_rows(connection, collection, None)
        return queries.delete_all(connection, collection)

    count: int = yield repeatable_write(apply, max)
    return count
