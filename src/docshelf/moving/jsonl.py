"""`export_jsonl` and `import_jsonl`: collections and whole shelves as JSON Lines."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from docshelf.display.progress import progress_bar
from docshelf.errors import ArgumentTypeError, BadFileError
from docshelf.moving.files import Destination, Reader, Writer, is_export_name, opened
from docshelf.moving.lines import (
    COLLECTION,
    END,
    ENTRY,
    HEADER,
    SOURCE,
    Parser,
    collection_line,
    end_line,
    entry_line,
    header_line,
    source_line,
)
from docshelf.moving.report import MoveReport, Tally
from docshelf.moving.shelves import ShelfSource, read_sources
from docshelf.operations.transfer import collections as all_collections
from docshelf.operations.transfer import put_raw_collection, put_raw_entries, put_raw_sources
from docshelf.sql.transfer import Outline, RawCollection, RawSource
from docshelf.steps import Compute, Flow, aperform, perform
from docshelf.store import DocShelf, OnShelf
from docshelf.validation import check_collection, check_iterable, check_optional_source, check_prefix
from docshelf.values.stored import RawEntry

_PAGE_ENTRIES: Final = 500
_PAGE_BYTES: Final = 8 * 1024 * 1024
# Lines that are checked before the next step. A step is what an event loop leaves to a thread.
_CHECKED_LINES: Final = 5_000
# What a line has besides the value, whose bytes base64 and escapes can make this many times as long.
_LINE_ROOM: Final = 1024 * 1024
_LINE_FACTOR: Final = 2


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        entries, sources, collections: how many of each are in the file.
        sha256: SHA-256 of all lines but the last, which states it, in hexadecimal digits.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.set("a", 1)
        ...     report = export_jsonl(shelf, "report.jsonl")
        >>> report.entries, report.sources, report.collections, len(report.sha256)
        (1, 0, 1, 64)
    """

    entries: int
    sources: int
    collections: int
    sha256: str


def export_jsonl(
    shelf: Any,
    path: Destination,
    *,
    prefix: str | None = None,
    source: str | None = None,
    everything: bool = False,
    collections: Collection[str] | None = None,
    resume: bool = True,
    show_progress: bool = False,
) -> ExportReport:
    """Write the entries of a collection, or a whole shelf, as JSON Lines: one line an entry, in the order of insertion.

    The file has its name only once it is whole; until then it ends with `.part`, and an export that was interrupted
    goes on from there. docs/export-format.md describes the format for other programs.

    Args:
        shelf: a shelf or a store of an adapter.
        path: a path that ends with .jsonl, or .jsonl.zst to compress it; or a binary file.
        prefix: only entries whose keys start with this literal text.
        source: only entries of this source.
        everything: every collection of the shelf, with its sources, their fingerprints and metadata, its settings, and
            whom it belongs to.
        collections: with `everything`, only these collections.
        resume: False begins anew, whatever an interrupted export left.
        show_progress: show a progress bar.

    Raises:
        ArgumentTypeError: filters of entries beside `everything`.
        CorruptEntryError: a row cannot be read, under `on_corrupt="raise"`.
        DocShelfError: the file cannot be written.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.mset({"a": "Hello.", "b": b"bytes"})
        ...     export_jsonl(shelf, "guide.jsonl.zst").entries
        2
    """
    return perform(
        _export(
            shelf,
            path,
            prefix=prefix,
            source=source,
            everything=everything,
            collections=collections,
            resume=resume,
            show_progress=show_progress,
        )
    )


async def aexport_jsonl(
    shelf: Any,
    path: Destination,
    *,
    prefix: str | None = None,
    source: str | None = None,
    everything: bool = False,
    collections: Collection[str] | None = None,
    resume: bool = True,
    show_progress: bool = False,
) -> ExportReport:
    """As `export_jsonl`."""
    return await aperform(
        _export(
            shelf,
            path,
            prefix=prefix,
            source=source,
            everything=everything,
            collections=collections,
            resume=resume,
            show_progress=show_progress,
        )
    )


def import_jsonl(
    path: Destination,
    shelf: Any,
    *,
    prefix: str | None = None,
    source: str | None = None,
    collections: Collection[str] | None = None,
    dry_run: bool = False,
    show_progress: bool = False,
) -> MoveReport:
    """Write the entries of an export into a shelf. Entries whose hash is there are skipped, so it may be run again.

    The file is read twice: one that is cut short or was altered is refused before anything is written. Hashes, versions
    and times come from the file. The export of one collection goes into the shelf's collection; that of everything
    restores each collection under its own name.

    Args:
        path: the path of an export, compressed or not; or a binary file or a pipe, which is copied to a temporary file.
        shelf: a shelf or a store of an adapter.
        prefix: only entries whose keys start with this literal text.
        source: only entries of this source.
        collections: of an export of everything, only these collections.
        dry_run: return the same report and write nothing.
        show_progress: show a progress bar.

    Raises:
        BadFileError: the file is no export, is cut short, or was altered. Nothing was written.

    Example:
        >>> with DocShelf(":memory:") as shelf, DocShelf(":memory:") as copy:
        ...     shelf.mset({"a": "Hello.", "b": b"bytes"})
        ...     _ = export_jsonl(shelf, "copy.jsonl")
        ...     _ = import_jsonl("copy.jsonl", copy)
        ...     copy.mget(["a", "b"])
        ['Hello.', b'bytes']
    """
    return perform(
        import_flow(
            path,
            shelf_of(shelf),
            prefix=prefix,
            only=source,
            collections=collections,
            dry_run=dry_run,
            show_progress=show_progress,
        )
    )


async def aimport_jsonl(
    path: Destination,
    shelf: Any,
    *,
    prefix: str | None = None,
    source: str | None = None,
    collections: Collection[str] | None = None,
    dry_run: bool = False,
    show_progress: bool = False,
) -> MoveReport:
    """As `import_jsonl`."""
    return await aperform(
        import_flow(
            path,
            shelf_of(shelf),
            prefix=prefix,
            only=source,
            collections=collections,
            dry_run=dry_run,
            show_progress=show_progress,
        )
    )


def is_export(origin: Any) -> bool:
    """True for the path of an export."""
    return is_export_name(origin)


def shelf_of(store: Any) -> DocShelf:
    """The shelf of a store of an adapter, or the shelf itself.

    Raises:
        ArgumentTypeError: it is neither.
    """
    shelf = store if isinstance(store, DocShelf) else getattr(store, "shelf", None)
    if not isinstance(shelf, DocShelf):
        raise ArgumentTypeError(f"a {type(store).__name__} is no shelf; give a DocShelf or an adapter's store")
    return shelf


def _names(collections: Collection[str] | None) -> frozenset[str] | None:
    if collections is None:
        return None
    return frozenset(map(check_collection, check_iterable(collections, "collections", "names")))


# Exporting


def _export(
    store: Any,
    path: Destination,
    *,
    prefix: str | None,
    source: str | None,
    everything: bool,
    collections: Collection[str] | None,
    resume: bool,
    show_progress: bool,
) -> Flow[ExportReport]:
    shelf = shelf_of(store)
    prefix, source = check_prefix(prefix), check_optional_source(source)
    if everything and (prefix is not None or source is not None):
        raise ArgumentTypeError("prefix and source filter the entries of one collection; leave out everything=True")
    if collections is not None and not everything:
        raise ArgumentTypeError("collections= is for everything=True; a shelf exports its own collection")
    wanted = _names(collections)
    filters = {"prefix": prefix, "source": source, "collections": None if wanted is None else sorted(wanted)}
    header = header_line(shelf._context.codec, shelf.collection, filters, everything=everything)
    writer: Writer = yield Compute(lambda: Writer(path, header, resume=resume))
    with ExitStack() as stack:
        stack.callback(writer.close)
        export = _Export(writer)
        export.resume()
        rows = [RawCollection(shelf.collection)]
        if everything:
            found: list[RawCollection] = yield OnShelf(shelf, all_collections)
            rows = [row for row in found if wanted is None or row.collection in wanted]
        total = 0
        if show_progress:
            for row in rows:
                total += yield from ShelfSource(shelf.view(row.collection), prefix=prefix, source=source).count()
        on_progress = stack.enter_context(progress_bar(total, "exporting", show=show_progress))
        for row in rows:
            if not export.is_done(row.collection):
                origin = ShelfSource(shelf.view(row.collection), prefix=prefix, source=source)
                yield from export.collection(origin, row, everything, on_progress)
        return (yield from export.finish(len(rows)))


class _Export:
    """An export that is under way. Where it was interrupted, it goes on after the last line that was written."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._entries = 0
        self._sources = 0
        # Where an interrupted export stopped.
        self._collection: str | None = None
        self._outline: Outline | None = None
        self._source: str | None = None

    def resume(self) -> None:
        """Look at the lines that an interrupted export left."""
        self._entries, self._sources = self._writer.resumed_counts
        for line in self._writer.resumed_last:
            fields = orjson.loads(line)
            if fields["kind"] == COLLECTION:
                self._outline = self._source = None
            if fields["kind"] in (COLLECTION, ENTRY, SOURCE):
                self._collection = fields["collection"]
            if fields["kind"] == ENTRY:
                self._outline = Outline(fields["seq"] or 0, fields["key"], fields["source"], 0)
            elif fields["kind"] == SOURCE:
                self._source = fields["source"]

    def is_done(self, collection: str) -> bool:
        """True for a collection whose lines are in the file."""
        return self._collection is not None and collection < self._collection

    def collection(self, origin: ShelfSource, row: RawCollection, everything: bool, on_progress: Any) -> Flow[None]:
        """Write a collection, or the rest of it."""
        resumed = self._collection == row.collection
        outline, source = (self._outline, self._source) if resumed else (None, None)
        if everything and not resumed:
            yield Compute(self._writer.write, [collection_line(row)])

        def take(page: Sequence[RawEntry]) -> Flow[None]:
            yield Compute(lambda: self._writer.write([entry_line(row.collection, entry) for entry in page]))
            self._entries += len(page)
            on_progress(len(page))

        def take_sources(page: Sequence[RawSource]) -> Flow[None]:
            yield Compute(lambda: self._writer.write([source_line(row.collection, one) for one in page]))
            self._sources += len(page)

        if source is None:
            yield from origin.read_entries(take, after=outline)
        if everything:
            yield from read_sources(origin.shelf, take_sources, source)

    def finish(self, collections: int) -> Flow[ExportReport]:
        """Write the last line."""
        writer, digest = self._writer, self._writer.sha256
        last = end_line(writer.lines, self._entries, self._sources, digest)
        yield Compute(writer.finish, last)
        return ExportReport(self._entries, self._sources, collections, digest)


# Importing


def import_flow(
    path: Destination,
    shelf: DocShelf,
    *,
    prefix: str | None = None,
    only: str | None = None,
    collections: Collection[str] | None = None,
    dry_run: bool = False,
    show_progress: bool = False,
) -> Flow[MoveReport]:
    """Check an export, then write what it holds."""
    prefix, only, wanted = check_prefix(prefix), check_optional_source(only), _names(collections)
    codec = shelf._context.codec
    with ExitStack() as stack:
        reader = stack.enter_context(opened(path, _LINE_FACTOR * codec.max_value_bytes + _LINE_ROOM))
        parser = Parser(codec)
        checked = _Lines(reader, parser)
        checking = iter(checked)
        while (yield Compute(_advance, checking, _CHECKED_LINES)):
            pass
        into = _Import(shelf, everything=checked.everything, dry_run=dry_run)
        on_progress = stack.enter_context(progress_bar(checked.entries, "importing", show=show_progress))
        pages = _pages(_Lines(reader, parser), wanted if checked.everything else None, prefix, only)
        while (page := (yield Compute(next, pages, None))) is not None:
            yield from into.write(page)
            on_progress(len(page.entries))
        return into.tally.report(dry_run=dry_run)


class _Lines:
    """The contents of an export, line by line. At the end it is known whether the file is whole."""

    def __init__(self, reader: Reader, parser: Parser) -> None:
        self.everything = False
        self.entries = 0
        self._reader = reader
        self._parser = parser

    def __iter__(self) -> Iterator[tuple[str, Any, int]]:
        """For each line the collection, what it holds, and its length in bytes.

        Raises:
            BadFileError: the file is no export, is cut short, or was altered.
        """
        digest, number, entries, sources = hashlib.sha256(), 0, 0, 0
        ended = False
        for number, line in enumerate(self._reader.lines(), 1):
            if ended:
                raise BadFileError(f"{self._reader.name}: there are lines after the last one; the file was altered")
            if not line.endswith(b"\n"):
                raise self._cut_short()
            fields = self._parser.parse(line, number)
            kind = fields["kind"]
            if number == 1 or kind == HEADER:
                self.everything = bool(self._parser.header(fields, number).get("everything"))
            elif kind == END:
                found = {"lines": number - 1, "entries": entries, "sources": sources, "sha256": digest.hexdigest()}
                self._check_end(fields, found)
                self.entries, ended = entries, True
            elif kind == COLLECTION:
                row = self._parser.collection(fields, number)
                yield row.collection, row, len(line)
            else:
                holds = self._parser.entry(fields, number) if kind == ENTRY else self._parser.source(fields, number)
                entries, sources = entries + (kind == ENTRY), sources + (kind == SOURCE)
                name = fields.get("collection", "")
                yield check_collection(name) if self.everything else "", holds, len(line)
            digest.update(line)
        if not number:
            raise BadFileError(f"{self._reader.name}: the file is empty")
        if not ended:
            raise self._cut_short()

    def _cut_short(self) -> BadFileError:
        return BadFileError(
            f"{self._reader.name}: the file is cut short: its last line is missing; make the export again"
        )

    def _check_end(self, fields: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        for name, value in found.items():
            if fields.get(name) != value:
                raise BadFileError(
                    f"{self._reader.name}: the file was altered: its last line says {name} {fields.get(name)!r:.80}, "
                    f"and there are {value!r:.80}; make the export again"
                )


@dataclass
class _Page:
    """What is written together: entries and sources of one collection, and what is stored about it."""

    collection: str
    entries: list[RawEntry]
    sources: list[RawSource]
    row: RawCollection | None = None


def _pages(lines: _Lines, wanted: frozenset[str] | None, prefix: str | None, only: str | None) -> Iterator[_Page]:
    """The contents of an export in pages that fit in memory."""
    page, held = _Page("", [], []), 0
    for collection, holds, size in lines:
        if wanted is not None and collection not in wanted:
            continue
        full = len(page.entries) + len(page.sources) >= _PAGE_ENTRIES or held + size > _PAGE_BYTES
        if collection != page.collection or full:
            yield page
            page, held = _Page(collection, [], []), 0
        if isinstance(holds, RawCollection):
            page.row = holds
        elif isinstance(holds, RawSource):
            page.sources.append(holds)
        elif (prefix is None or holds.key.startswith(prefix)) and only in (None, holds.source):
            page.entries.append(holds)
            held += size
    yield page


class _Import:
    """An import that is under way."""

    def __init__(self, shelf: DocShelf, *, everything: bool, dry_run: bool) -> None:
        self.tally = Tally()
        self._shelf = shelf
        self._everything = everything
        self._dry_run = dry_run
        self._seen: str | None = None

    def write(self, page: _Page) -> Flow[None]:
        """Write a page."""
        if not (page.entries or page.sources or page.row):
            return
        shelf = self._shelf.view(page.collection) if self._everything else self._shelf
        if self._seen != page.collection:
            self._seen = page.collection
            self.tally.collections += 1
        if page.row is not None:
            yield OnShelf(shelf, put_raw_collection, page.row, dry_run=self._dry_run)
        if page.entries:
            report = yield OnShelf(shelf, put_raw_entries, page.entries, dry_run=self._dry_run)
            self.tally.add(report.counts)
        if page.sources:
            self.tally.sources += yield OnShelf(shelf, put_raw_sources, page.sources, dry_run=self._dry_run)


def _advance(items: Iterator[Any], count: int) -> bool:
    """Go through the next items; False at the end."""
    return sum(1 for _ in islice(items, count)) == count
