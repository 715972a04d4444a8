"""The two ends of a move: where entries come from, and where they go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from docshelf.errors import ConfigurationError, DocShelfError
from docshelf.operations.transfer import put_raw_entries
from docshelf.steps import Call, Flow
from docshelf.store import DocShelf, OnShelf
from docshelf.types import Item, Op, SourceNote
from docshelf.validation import check_items
from docshelf.values.stored import RawEntry

T = TypeVar("T")


class Refused(NamedTuple):
    """An entry of a source that cannot be stored, and why."""

    key: str
    source: str
    reason: str


class Note(NamedTuple):
    """What is stored about a source: its metadata, and the fingerprint of its file."""

    source: str
    note: SourceNote


Record = Item | RawEntry | Note | Refused
"""What a source reads: an item, an entry with the hashes and times of its row, a note, or what cannot be stored."""
Take = Callable[[Sequence[Record]], Flow[None]]
"""What a source hands a page of records to: `yield from take(page)`."""


class Source(ABC):
    """Where entries come from. A subclass reads pages of them and never changes what it reads.

    An adapter's source gives values that every shelf can store: `docshelf.Document`, `docshelf.UnknownDocument`, bytes,
    and JSON-like values. A target may turn them into documents of its framework.
    """

    @abstractmethod
    def read(self, take: Take) -> Flow[None]:
        """Read every entry once, in the order of insertion or, where several have one key, of their last update.

        The order must be the same each time: a move reads twice, and one that was interrupted is run again.

        Args:
            take: takes the next page, of some hundred records that fit in memory together.
        """

    def count(self) -> Flow[int]:
        """How many entries there are, for a progress bar; 0 if that is not known."""
        yield from ()
        return 0


class Target:
    """Where entries go: a shelf. An adapter's target knows how its stores write what others stored.

    Args:
        shelf: the shelf that is written to.

    Attributes:
        moves: True if a key lives in one source only, so that an item deletes the entries of its key in others.
    """

    moves: bool = False

    def __init__(self, shelf: DocShelf) -> None:
        self.shelf = shelf

    def open(self, origin: Any, name: str | None) -> Source | None:
        """The source that an object, a path or a URL is to this target; None if it knows none.

        Args:
            origin: what the caller wants to move from.
            name: the collection or namespace of the origin, where it keeps several.
        """
        return None

    def item(self, item: Item) -> Item:
        """An item as this target's store would have written it.

        Raises:
            DocShelfError: this store has no such items.
        """
        return item

    def refusal(self, record: Item | RawEntry) -> str | None:
        """Why a record cannot be stored; None if it can."""
        if isinstance(record, RawEntry):
            return None
        try:
            [(identity, value, _)] = check_items([self.item(record)], "")
            self.shelf._context.codec.encode(value, identity[0])
        except DocShelfError as exc:
            return str(exc)
        return None

    def write(self, records: Sequence[Item | RawEntry | Note], *, dry_run: bool) -> Flow[dict[Op, int]]:
        """Write a page of records; returns counts by op.

        Raises:
            DocShelfError: one of them cannot be stored. Nothing of the page was written.
        """
        raw = [record for record in records if isinstance(record, RawEntry)]
        items = [self.item(record) for record in records if isinstance(record, Item)]
        notes = {record.source: record.note for record in records if isinstance(record, Note)}
        counts: Counter[Op] = Counter()
        if items or notes:
            report = yield Call(self.shelf, "conditional_mset", items, move=self.moves, notes=notes, dry_run=dry_run)
            counts.update(report.counts)
        if raw:
            counts.update((yield OnShelf(self.shelf, put_raw_entries, raw, dry_run=dry_run)).counts)
        return dict(counts)


class HasMoveTarget(Protocol):
    """A store of an adapter that can be moved into."""

    def move_target(self) -> Target:
        """How this store takes the entries of other stores."""


def find_target(into: Any, kind: type[T], method: str, refusal: str) -> T:
    """How a shelf, or a store of an adapter, takes what comes.

    Args:
        into: a target, a shelf, or an object with a method that gives its target.
        kind: the class of targets. It takes a shelf.
        method: the name of that method.
        refusal: the text of the error.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(into, kind):
        return into
    if isinstance(into, DocShelf):
        return kind(into)  # type: ignore[call-arg]
    own = getattr(into, method, None)
    if not callable(own):
        raise ConfigurationError(refusal)
    target: T = own()
    return target
