"""Operations on records: which keys were seen, in which groups, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from docshelf.operations.context import Context
from docshelf.operations.repeatable import repeatable_write
from docshelf.sql.chunks import chunked
from docshelf.sql.records import DIGITS, RecordQueries, time_text
from docshelf.sql.rows import Identity, PackedRow, WriteStamp
from docshelf.steps import Flow, Read
from docshelf.types import INS, SKIP, UPD, Op, SourceNote

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_PAGE: Final = 2_000


def now(context: Context) -> Flow[int]:
    """The database's time in microseconds, later than that of every record."""
    queries = RecordQueries(context.dialect)

    def read(connection: Connection) -> int:
        last = queries.last_label(connection, context.collection)[:DIGITS]
        clock = _microseconds(context.dialect.now(connection))
        return max(clock, int(last) + 1) if last.isdigit() else clock

    time: int = yield Read(read)
    return time


def update(
    context: Context, keys: Sequence[str], groups: Sequence[str] | None, at_least: int | None
) -> Flow[Mapping[Identity, Op]]:
    """Write down that keys were seen, and in which groups.

    Args:
        groups: the group of each key. None says only that the keys are there: they stay in the groups that they have.
        at_least: the start of the run, in microseconds: no time that is written is earlier.
    """
    queries, dialect, collection = RecordQueries(context.dialect), context.dialect, context.collection
    given = list(dict.fromkeys(zip(keys, groups, strict=True))) if groups is not None else []
    unique = list(dict.fromkeys(keys))
    if not unique:
        return {}

    def apply(connection: Connection) -> dict[Identity, Op]:
        locked = None if groups is None else set(groups)
        stamp = dialect.begin_write(connection, collection, locked, exclusive=False)
        time = time_text(max(_microseconds(stamp.now), at_least or 0))
        known = {(row.key, row.group): row.label for row in queries.of_keys(connection, collection, unique)}
        labels = _confirmed(given, time) if groups is not None else _refreshed(unique, known, time)
        _write(context, connection, stamp, labels, known)
        if groups is not None and at_least is not None:
            _start_groups(context, connection, set(groups), time_text(at_least), stamp.now)
        return {identity: UPD if identity in known else INS for identity in labels}

    ops: Mapping[Identity, Op] = yield repeatable_write(apply, lambda earlier, last: {**last, **earlier})
    return ops


def restore(context: Context, rows: Sequence[tuple[str, str, int]], *, dry_run: bool) -> Flow[Mapping[Identity, Op]]:
    """Write records of another program: (key, group, microseconds). Records that are there stay as they are."""
    queries, dialect, collection = RecordQueries(context.dialect), context.dialect, context.collection
    labels = {(key, group): 2 * time_text(time) for key, group, time in rows}
    keys = list({key: None for key, _ in labels})
    if not keys:
        return {}

    def missing(connection: Connection) -> dict[Identity, str]:
        known = {(row.key, row.group) for row in queries.of_keys(connection, collection, keys)}
        return {identity: label for identity, label in labels.items() if identity not in known}

    def apply(connection: Connection) -> set[Identity]:
        stamp = dialect.begin_write(connection, collection, {group for _, group in labels}, exclusive=False)
        absent = missing(connection)
        _write(context, connection, stamp, absent, {})
        return set(absent)

    inserted: set[Identity] = set((yield Read(missing)))
    if inserted and not dry_run:
        inserted = yield repeatable_write(apply, lambda earlier, last: earlier | last)
    return {identity: INS if identity in inserted else SKIP for identity in labels}


def list_keys(
    context: Context, *, before: int | None, after: int | None, groups: Sequence[str] | None, limit: int | None
) -> Flow[list[str]]:
    """Keys that were last seen between two times, in order.

    Args:
        groups: only keys that were last seen in these groups then. With `before`, which asks for keys that are to be
            deleted, only those that no other group has.
    """
    queries, collection = RecordQueries(context.dialect), context.collection
    bounds = {name: None if time is None else time_text(time) for name, time in (("before", before), ("after", after))}
    found: list[str]
    if groups is None:
        found = yield Read(lambda connection: queries.keys(connection, collection, **bounds, limit=limit))
        return found
    found = []
    after_key: str | None = None
    while limit is None or len(found) < limit:

        def read(connection: Connection, after_key: str | None = after_key) -> tuple[list[str], list[str]]:
            page = queries.in_groups(connection, collection, groups, **bounds, after_key=after_key, limit=_PAGE)
            keys = list(dict.fromkeys(page))
            start = bounds["before"]
            return page, keys if start is None else _unseen(context, connection, keys, set(groups), start)

        page, alone = yield Read(read)
        found += alone
        if len(page) < _PAGE:
            break
        after_key = page[-1]
    return found if limit is None else found[:limit]


def is_any_since(context: Context, time: int) -> Flow[bool]:
    """True if a key was seen at that time or later."""
    queries = RecordQueries(context.dialect)
    found: bool = yield Read(lambda connection: queries.is_any_since(connection, context.collection, time_text(time)))
    return found


def _confirmed(identities: Sequence[Identity], time: str) -> dict[Identity, str]:
    """Labels of keys that were seen in their groups."""
    return dict.fromkeys(identities, time + time)


def _refreshed(keys: Sequence[str], known: Mapping[Identity, str], time: str) -> dict[Identity, str]:
    """Labels of keys that are there: the time at which they were seen in their groups stays."""
    labels = {identity: time + label[DIGITS:] for identity, label in known.items()}
    there = {key for key, _ in known}
    return labels | {(key, ""): time + time for key in keys if key not in there}


def _write(
    context: Context,
    connection: Connection,
    stamp: WriteStamp,
    labels: Mapping[Identity, str],
    known: Mapping[Identity, str],
) -> None:
    identities = sorted(labels)
    rows = [
        PackedRow(*identity, None, None, None, None, None, labels[identity], position)
        for position, identity in enumerate(identities)
    ]
    existing = [identity in known for identity in identities]
    for chunk in chunked(rows, context.dialect.chunk_rows):
        batch = context.dialect.upsert_batch(context.collection, chunk, stamp, existing)
        context.dialect.upsert(connection, batch)


def _start_groups(context: Context, connection: Connection, groups: set[str], start: str, now: datetime) -> None:
    """Write down when the last run began that went through these groups."""
    known, _ = context.queries.get_notes(connection, context.collection, groups)
    later = {
        group: SourceNote(start) for group in groups if group not in known or (known[group].fingerprint or "") < start
    }
    if later:
        context.queries.put_notes(connection, context.collection, later, now)


def _unseen(context: Context, connection: Connection, keys: Sequence[str], groups: set[str], start: str) -> list[str]:
    """Those of the keys that none of these groups had since `start`, and that no other group has.

    A group has a key if it was seen there since the last run began that went through that group.
    """
    if not keys:
        return []
    rows = RecordQueries(context.dialect).of_keys(connection, context.collection, keys)
    others = {row.group for row in rows} - groups
    notes: Mapping[str, SourceNote] = {}
    if others:
        notes, _ = context.queries.get_notes(connection, context.collection, others)
    starts = {group: note.fingerprint or "" for group, note in notes.items()}
    starts |= dict.fromkeys(groups, start)
    kept = {row.key for row in rows if row.label[DIGITS:] >= starts.get(row.group, "")}
    return [key for key in keys if key not in kept]


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
