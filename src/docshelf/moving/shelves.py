"""Shelves as sources: their entries in the order of insertion, their sources, and whole shelves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from docshelf.moving.ends import Source, Take
from docshelf.moving.pages import pages
from docshelf.moving.sorting import SortedRecords
from docshelf.operations.transfer import outline_page, raw_entries, source_page
from docshelf.sql.rows import Identity
from docshelf.sql.transfer import Outline, RawSource
from docshelf.steps import Call, Compute, Flow
from docshelf.store import DocShelf, OnShelf
from docshelf.values.stored import RawEntry

# What is read and written together. Values may unpack to several times their packed bytes.
_PAGE_ENTRIES: Final = 500
_PAGE_BYTES: Final = 8 * 1024 * 1024
TakeEntries = Callable[[Sequence[RawEntry]], Flow[None]]


class ShelfSource(Source):
    """The entries of a collection of a shelf, with their hashes and times, in the order of insertion.

    Args:
        shelf: the shelf; its `on_corrupt` says what happens to rows that cannot be read.
        prefix: read only entries whose keys start with this literal text.
        source: read only entries of this source.
    """

    def __init__(self, shelf: DocShelf, *, prefix: str | None = None, source: str | None = None) -> None:
        self.shelf = shelf
        self._prefix = prefix
        self._source = source

    def count(self) -> Flow[int]:
        """How many entries there are."""
        count: int = yield Call(self.shelf, "count", self._prefix, source=self._source)
        return count

    def read(self, take: Take) -> Flow[None]:
        """Read every entry."""
        yield from self.read_entries(take)

    def read_entries(self, take: TakeEntries, *, after: Outline | None = None) -> Flow[None]:
        """Read the entries after one, in the order of insertion.

        They are sorted by their identities first, which a temporary file holds if they are many: a database would sort
        them again for each page, or hold a connection for the whole time.
        """
        shelf = self.shelf
        with SortedRecords() as outlines:
            last = None
            while page := (yield OnShelf(shelf, outline_page, last, self._prefix, self._source)):
                last = page[-1].key, page[-1].source
                yield Compute(outlines.add, [one for one in page if after is None or one[:3] > after[:3]])
            pages = value_pages(iter(outlines))
            while identities := (yield Compute(next, pages, [])):
                yield from take((yield OnShelf(shelf, raw_entries, identities)))


def read_sources(shelf: DocShelf, take: Callable[[Sequence[RawSource]], Flow[None]], after: str | None) -> Flow[None]:
    """Read what is stored about the sources of a collection, by name."""
    while page := (yield OnShelf(shelf, source_page, after)):
        after = page[-1].source
        yield from take(page)


def value_pages(outlines: Iterable[Sequence[Any]], entries: int = _PAGE_ENTRIES) -> Iterator[list[Identity]]:
    """The identities of entries whose values can be in memory together, at most so many."""
    for page in pages(outlines, itemgetter(3), most=entries, most_bytes=_PAGE_BYTES):
        yield [(key, source) for _, key, source, _ in page]
