"""The values that go into a store and come out of it. All are immutable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, overload

from docshelf.display import html

if TYPE_CHECKING:
    from datetime import datetime

Op = Literal["INS", "UPD", "SKIP", "DEL"]
INS: Final = "INS"
UPD: Final = "UPD"
SKIP: Final = "SKIP"
DEL: Final = "DEL"
OPS: Final[tuple[Op, ...]] = (INS, UPD, SKIP, DEL)


class Item(NamedTuple):
    """One thing to write. Any `(key, value)`, `(key, value, source)` or longer tuple is taken as one.

    Args:
        key: text, 1 to 1,024 bytes of UTF-8, no NUL.
        value: bytes, a JSON-like object, or a document of a registered content type.
        source: where it came from; None takes the source of the call.
        version: the caller's own label of the value's content; None says nothing about it.
    """

    key: str
    value: Any
    source: str | None = None
    version: str | None = None


class Change(NamedTuple):
    """What one key went through. `op` is "INS", "UPD", "SKIP" or "DEL"."""

    key: str
    op: Op
    source: str = ""


def _printed(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # Python does not print an int of thousands of digits
        return f"a {type(value).__name__} that cannot be printed"


@dataclass(frozen=True)
class Document:
    """A document of no framework, which the adapters of all frameworks read as theirs.

    Prints as a reader reads it: the text, and the metadata below it.

    Attributes:
        text: the text; `hash_on="text"` looks at nothing else.
        metadata: what is known of the document, by name; `hash_exclude` leaves names of it out.
        id: the document's own id, or None; adapters then take the key of its entry.
    """

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None

    def __str__(self) -> str:
        lines = [f"{name}: {_printed(value)}" for name, value in self.metadata.items()]
        return "\n".join([self.text, "", *lines]) if lines else self.text

    def _repr_html_(self) -> str:
        return html.document(self)


@dataclass(frozen=True)
class Diff:
    """The text of an updated entry before and after. Prints as a unified diff, shows as one by words in a notebook.

    The text of a document is its own text and below it, where they differ, its metadata; that of any other value is
    the value itself, or how Python prints it.
    """

    key: str
    source: str
    old: str
    new: str

    def __str__(self) -> str:
        old, new = self.old.splitlines(), self.new.splitlines()
        lines = unified_diff(old, new, f"{self.key} before", f"{self.key} after", lineterm="", n=2)
        return "\n".join(map(html.visible, lines))

    def _repr_html_(self) -> str:
        return html.diffs([self])


class Diffs(tuple[Diff, ...]):
    """The diffs of a report, in the order of its changes. Print as one text, show as a list in a notebook."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    def _repr_html_(self) -> str:
        return html.diffs(self)


@dataclass(frozen=True, repr=False)
class Report(Sequence[Change]):
    """What a write did: one `Change` per key, in input order, deletions last.

    Attributes:
        changes: all of them.
        dry_run: True when nothing was written.
        diffs: where the call asked for them, the texts of the updated entries before and after.
        refused: in a dry run, why the same call would be refused as a mass deletion; None where it would not.
    """

    changes: tuple[Change, ...] = ()
    dry_run: bool = False
    diffs: Diffs = field(default=Diffs(), compare=False)
    refused: str | None = field(default=None, compare=False)
    _counts: Counter[str] = field(init=False, compare=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self._counts.update([change[1] for change in self.changes])

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Change, ...]: ...
    def __getitem__(self, index: int | slice) -> Change | tuple[Change, ...]:
        return self.changes[index]

    def __len__(self) -> int:
        return len(self.changes)

    def _of(self, op: Op) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.op == op)

    @property
    def inserted(self) -> tuple[Change, ...]:
        """The changes with op "INS"."""
        return self._of(INS)

    @property
    def updated(self) -> tuple[Change, ...]:
        """The changes with op "UPD"."""
        return self._of(UPD)

    @property
    def skipped(self) -> tuple[Change, ...]:
        """The changes with op "SKIP"."""
        return self._of(SKIP)

    @property
    def deleted(self) -> tuple[Change, ...]:
        """The changes with op "DEL"."""
        return self._of(DEL)

    @property
    def counts(self) -> dict[Op, int]:
        """How many of each op, all four always there."""
        return {op: self._counts[op] for op in OPS}

    @property
    def changed(self) -> bool:
        """True when anything was, or in a dry run would be, written."""
        return self._counts[SKIP] != len(self.changes)

    def __repr__(self) -> str:
        counts = " ".join(f"{op}={count}" for op, count in self.counts.items())
        return f"<Report {counts}{' dry_run' if self.dry_run else ''}>"

    def __str__(self) -> str:
        head = "would be" if self.dry_run else "done"
        lines = [f"{'op':<4}  {head:>8}"]
        lines += [f"{op:<4}  {count:>8,}" for op, count in self.counts.items()]
        if self.refused is not None:
            lines.append(f"refused: {html.visible(self.refused)}")
        return "\n".join(lines)

    @property
    def _further(self) -> dict[str, int]:
        """What else a subclass counts, by name."""
        return {}

    def _repr_html_(self) -> str:
        return html.report(self, self._further)


@dataclass(frozen=True)
class Entry:
    """One stored row.

    Attributes:
        key, source: its identity within the collection.
        value: the value, or None where the row carries only a version (then `value_hash` is None too).
        version: the caller's label, or None.
        value_hash: SHA-256, 32 bytes, of what counts as change.
        content_type: what the value is: "json", "bytes", or a name that an adapter registered.
        created_at, updated_at: when the entry was made and when its value was last written, aware datetimes in UTC, by
            the database's clock. A new version alone does not count.
        seq: grows in the order of insertion; not without gaps, and kept by updates.
    """

    key: str
    source: str
    value: Any
    version: str | None
    value_hash: bytes | None
    content_type: str | None
    created_at: datetime
    updated_at: datetime
    seq: int

    def _repr_html_(self) -> str:
        return html.entry(self)


@dataclass(frozen=True)
class Source:
    """A file or other origin of entries.

    Attributes:
        source: its name.
        entries: how many entries came from it.
        fingerprint: the caller's hash of the raw file at its last sync, or None.
        metadata: what the caller keeps with it, or None.
        synced_at: when a sync last changed its entries, fingerprint or metadata; None if it was never synced.
    """

    source: str
    entries: int
    fingerprint: str | None = None
    metadata: Mapping[str, Any] | None = None
    synced_at: datetime | None = None

    def _repr_html_(self) -> str:
        return html.sources([self])


class Sources(list[Source]):
    """The list of sources that a store gives, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return html.sources(self)


@dataclass(frozen=True)
class Collection:
    """A collection of the table that a store works on.

    Attributes:
        name: its name.
        entries: how many it has; an estimate where `collections(exact=False)` was asked.
        sources: from how many sources they come, or None where nobody counted.
        stored_bytes: sum of the values as packed, in bytes, or None where nobody counted.
    """

    name: str
    entries: int
    sources: int | None = None
    stored_bytes: int | None = None

    def _repr_html_(self) -> str:
        return html.collections([self])


class Collections(list[Collection]):
    """The list of collections that a store gives, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return html.collections(self)


@dataclass(frozen=True)
class Health:
    """What a store's `health()` found. True in a condition when the store can be used.

    Attributes:
        ok: the database answered, and the tables can be used.
        problem: what is wrong, in a sentence; "" when nothing is.
        database: the database and its version, "PostgreSQL 18.4" for example; "" when it did not answer.
        schema_version: the version of the tables; None when they could not be read.
        milliseconds: how long the question took.
    """

    ok: bool
    problem: str
    database: str
    schema_version: int | None
    milliseconds: float

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class SourceNote:
    """What to write down about a source.

    Attributes:
        fingerprint: the caller's hash of the raw file; None says that it is not known.
        metadata: what to keep with the source; None keeps what is there.
    """

    fingerprint: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Stats:
    """Sizes of a collection, in bytes.

    Attributes:
        entries, sources: how many.
        stored_bytes: sum of the values as packed.
        disk_bytes: what the whole entries table takes with its indexes (PostgreSQL), or the whole file (SQLite);
            other collections in the same table count too.
    """

    entries: int
    sources: int
    stored_bytes: int
    disk_bytes: int

    def _repr_html_(self) -> str:
        return html.stats(self)


class Problem(NamedTuple):
    """A row that cannot be read, and why."""

    key: str
    source: str
    reason: str
