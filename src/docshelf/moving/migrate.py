"""`migrate`: everything that one store keeps, into another. Run again, it skips what is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy.engine import URL

from docshelf.display.progress import progress_bar
from docshelf.engines.url import parse_url
from docshelf.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigurationError,
    MoveError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from docshelf.moving.ends import Note, Record, Refused, Source, Target, find_target
from docshelf.moving.jsonl import import_flow, is_export
from docshelf.moving.report import MoveReport, Tally
from docshelf.moving.shelves import ShelfSource, read_sources
from docshelf.moving.tables import OldDatabase
from docshelf.operations.transfer import collections, put_raw_collection, put_raw_sources
from docshelf.schema import define_tables
from docshelf.sql.transfer import RawSource
from docshelf.steps import Call, Compute, Flow, aperform, perform
from docshelf.store import DocShelf, OnShelf
from docshelf.types import SKIP, Item, Problem
from docshelf.values.stored import RawEntry

OnRefused = Literal["raise", "skip"]
# What a target raises of items that are not for it, or that no shelf can store.
_CANNOT_BE_STORED: Final = (ArgumentTypeError, ArgumentValueError, UnsupportedValueError, ValueTooLargeError)


def migrate(
    source: Any,
    target: Any,
    *,
    collection: str | None = None,
    everything: bool = False,
    dry_run: bool = False,
    compare: bool = True,
    on_refused: OnRefused = "raise",
    show_progress: bool = False,
) -> MoveReport:
    """Copy what a store keeps into another. The source is only read. Run again, it skips what is there by its hash.

    Entries go page by page, each page in one transaction, so a move that was interrupted is simply run again. A copy
    between shelves keeps hashes, versions, times and the order of insertion; every other move keeps the order in which
    its source lists entries.

    Args:
        source: a `Source`, a shelf, a store of an adapter, the path of an export (`.jsonl`, `.jsonl.zst`), what the
            target's adapter knows (stores, folders and tables of its framework), or the URL or SQLite file of a shelf.
        target: a shelf or a store of an adapter.
        collection: the collection or namespace to copy, where the source keeps several; of a URL or a file of a shelf
            it is by default the target's.
        everything: between shelves, copy every collection with its sources, settings and owner.
        dry_run: return the same report and write nothing. Entries that cannot be stored are counted and never raised.
        compare: read the source again at the end, and compare every entry with the target by its hash.
        on_refused: what happens to an entry that cannot be stored: "raise" stops the move, "skip" leaves it out.
        show_progress: show a progress bar.

    Raises:
        ConfigurationError: `source` is nothing that the target can be filled from.
        MoveError: an entry was refused, or source and target differ at the end. Pages that were written stay.

    Example:
        >>> old, new = DocShelf(":memory:"), DocShelf(":memory:")
        >>> old.mset({"a": 1, "b": 2})
        >>> migrate(old, new).counts["INS"], new.get("b")
        (2, 2)
    """
    return perform(
        migrate_flow(
            source,
            target,
            collection=collection,
            everything=everything,
            dry_run=dry_run,
            compare=compare,
            on_refused=on_refused,
            show_progress=show_progress,
        )
    )


async def amigrate(
    source: Any,
    target: Any,
    *,
    collection: str | None = None,
    everything: bool = False,
    dry_run: bool = False,
    compare: bool = True,
    on_refused: OnRefused = "raise",
    show_progress: bool = False,
) -> MoveReport:
    """As `migrate`."""
    return await aperform(
        migrate_flow(
            source,
            target,
            collection=collection,
            everything=everything,
            dry_run=dry_run,
            compare=compare,
            on_refused=on_refused,
            show_progress=show_progress,
        )
    )


def migrate_flow(
    source: Any,
    target: Any,
    *,
    collection: str | None = None,
    everything: bool = False,
    dry_run: bool = False,
    compare: bool = True,
    on_refused: OnRefused = "raise",
    show_progress: bool = False,
) -> Flow[MoveReport]:
    """`migrate` as a flow, for what moves and does more."""
    if on_refused not in ("raise", "skip"):
        raise ConfigurationError(f"on_refused={on_refused!r}: give 'raise' or 'skip'")
    into = target_of(target)
    if is_export(source):
        return (yield from import_flow(source, into.shelf, dry_run=dry_run, show_progress=show_progress))
    origin, opened = yield Compute(_source_of, source, into, collection)
    try:
        move = _Move(dry_run, compare, on_refused, show_progress)
        if everything:
            if not isinstance(origin, ShelfSource):
                raise ConfigurationError("everything=True copies one shelf to another; this source is no shelf")
            yield from move.whole_shelf(origin.shelf, into.shelf)
        else:
            yield from move.entries(origin, into)
    finally:
        if opened is not None:
            yield Call(opened, "close")
    return move.tally.report(dry_run=dry_run, compared=compare and not dry_run)


class _Move:
    """A move that is under way."""

    def __init__(self, dry_run: bool, compare: bool, on_refused: OnRefused, show_progress: bool) -> None:
        self.tally = Tally()
        self._dry_run = dry_run
        self._compare = compare and not dry_run
        self._on_refused = on_refused
        self._show_progress = show_progress

    def whole_shelf(self, source: DocShelf, target: DocShelf) -> Flow[None]:
        """Copy every collection of a shelf."""
        for row in (yield OnShelf(source, collections)):
            there = target.view(row.collection)
            yield OnShelf(there, put_raw_collection, row, dry_run=self._dry_run)
            yield from self.entries(ShelfSource(source.view(row.collection)), Target(there))
            yield from read_sources(source.view(row.collection), self._put_sources(there), None)

    def _put_sources(self, target: DocShelf) -> Any:
        def take(page: Sequence[RawSource]) -> Flow[None]:
            self.tally.sources += yield OnShelf(target, put_raw_sources, page, dry_run=self._dry_run)

        return take

    def entries(self, source: Source, target: Target) -> Flow[None]:
        """Copy the entries of a source, and compare them."""
        self.tally.collections += 1
        total = (yield from source.count()) if self._show_progress else 0
        passes = 2 if self._compare else 1
        with progress_bar(passes * total, "moving", show=self._show_progress) as on_progress:

            def write(page: Sequence[Record]) -> Flow[None]:
                records = self._accepted(page)
                try:
                    counts = yield from target.write(records, dry_run=self._dry_run)
                except _CANNOT_BE_STORED:
                    records = self._accepted([_judged(target, record) for record in records])
                    counts = yield from target.write(records, dry_run=self._dry_run)
                self.tally.add(counts)
                on_progress(len(page))

            differing: list[str] = []
            count = 0

            def check(page: Sequence[Record]) -> Flow[None]:
                nonlocal count
                records = [record for record in page if not isinstance(record, Refused | Note)]
                try:
                    counts = yield from target.write(records, dry_run=True)
                except _CANNOT_BE_STORED:
                    records = [record for record in records if target.refusal(record) is None]
                    counts = yield from target.write(records, dry_run=True)
                differ = sum(counts.values()) - counts.get(SKIP, 0)
                if differ:
                    differing.extend(record.key for record in records[:1])
                    count += differ
                on_progress(len(page))

            yield from source.read(write)
            if self._compare:
                yield from source.read(check)
        if count:
            raise MoveError(
                f"{count:,} entries of the source differ from the target, the first of them on the page that begins "
                f"with the key {differing[0]!r:.60}: the source was written to meanwhile; run the move again"
            )

    def _accepted(self, page: Sequence[Record]) -> list[Item | RawEntry | Note]:
        """The records of a page without those that are refused."""
        problems = [Problem(*record) for record in page if isinstance(record, Refused)]
        self.tally.refuse(problems)
        if problems and self._on_refused == "raise" and not self._dry_run:
            first = problems[0]
            raise MoveError(
                f"the entry with key {first.key!r:.60} and source {first.source!r:.60} cannot be stored: "
                f"{first.reason}; run with dry_run=True to list all such entries, or leave them out with "
                "on_refused='skip'",
                problems,
            )
        return [record for record in page if not isinstance(record, Refused)]


def _judged(target: Target, record: Item | RawEntry | Note) -> Record:
    """A record, or why it cannot be stored."""
    reason = None if isinstance(record, Note) else target.refusal(record)
    if reason is None:
        return record
    assert not isinstance(record, Note)
    return Refused(record.key, record.source or "", reason)


def target_of(into: Any) -> Target:
    """How a shelf or a store of an adapter is moved into.

    Raises:
        ConfigurationError: it is neither.
    """
    refusal = f"a {type(into).__name__} cannot be moved into; give a DocShelf or an adapter's store"
    return find_target(into, Target, "move_target", refusal)


def _source_of(origin: Any, target: Target, collection: str | None) -> tuple[Source, DocShelf | None]:
    """What to read from, and the shelf that the caller must close."""
    if isinstance(origin, Source):
        return origin, None
    shelf = origin if isinstance(origin, DocShelf) else getattr(origin, "shelf", None)
    if isinstance(shelf, DocShelf):
        return ShelfSource(shelf if collection is None else shelf.view(collection)), None
    known = target.open(origin, collection)
    if known is not None:
        return known, None
    opened = _shelf_at(origin, collection or target.shelf.collection)
    return ShelfSource(opened), opened


def _shelf_at(origin: Any, collection: str) -> DocShelf:
    """The shelf at a URL or in a file. Nothing is created where there is none.

    Raises:
        ConfigurationError: there is none.
    """
    if not isinstance(origin, URL | str | os.PathLike):
        raise ConfigurationError(
            f"a {type(origin).__name__} is no source that this target knows; give a shelf, a URL, an export, or a "
            "source of the adapter whose framework wrote it"
        )
    with OldDatabase(origin) as database:
        if not database.columns(define_tables().entries.name):
            raise ConfigurationError(
                f"there are no tables of docshelf in {str(parse_url(origin))!r}; check the URL, or give a DocShelf "
                "with the schema and table_prefix of the source"
            )
    return DocShelf(origin, collection)
