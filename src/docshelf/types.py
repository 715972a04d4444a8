"""The values that a store takes and returns. All are immutable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, overload

from docshelf.display import html

if TYPE_CHECKING:
    from datetime import datetime

Op = Literal["INS", "UPD", "SKIP", "DEL"]
INS: Final = "INS"
UPD: Final = "UPD"
SKIP: Final = "SKIP"
DEL: Final = "DEL"
OPS: Final[tuple[Op, ...]] = (INS, UPD, SKIP, DEL)
ReportKind = Literal["changes", "counts"]
"""What a call reports: a `Change` for each key, or counts alone (`CountsReport`)."""


class Item(NamedTuple):
    """An item to write. A plain tuple (key, value[, source[, version]]) works too.

    Args:
        key: text, 1 to 1,024 bytes of UTF-8, no NUL.
        value: bytes, a JSON-like object, or a document of a registered content type.
        source: the file or other origin of the item; None means the source of the call.
        version: the caller's own label of the value's content. None does not count as a change; if the value is
            written, the label is removed.

    Example:
        >>> Item("chunk-1", "its text", source="a.md", version="v7")
        Item(key='chunk-1', value='its text', source='a.md', version='v7')
    """

    key: str
    value: Any
    source: str | None = None
    version: str | None = None


class Change(NamedTuple):
    """What a write did to one key. `op` is "INS", "UPD", "SKIP" or "DEL".

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     report = shelf.conditional_mset({"a": 1}, source="f")
        >>> report[0]
        Change(key='a', op='INS', source='f')
    """

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

    Example:
        >>> print(Document("Dear reader, ...", {"author": "Ann"}))
        Dear reader, ...
        <BLANKLINE>
        author: Ann
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
    """The text of an updated entry before and after. Prints as a unified diff; a notebook shows a diff by words.

    For a document, the text is its own text; metadata follow if only they differ. For any other value it is the value
    as Python prints it.

    Example:
        >>> print(Diff("intro", "guide.md", "Hello.", "Hello!"))
        --- intro before
        +++ intro after
        @@ -1 +1 @@
        -Hello.
        +Hello!
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
    """The diffs of a report, in the order of its changes. Prints as one text; a notebook shows a list."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    def _repr_html_(self) -> str:
        return html.diffs(self)


@dataclass(frozen=True, repr=False)
class Report(Sequence[Change]):
    """What a write did: one `Change` per key, in input order, deletions last.

    Attributes:
        changes: all changes, as a tuple.
        dry_run: True if the call only reported what it would do.
        diffs: the texts of updated entries before and after, if the call had `diff=True`.
        refused: in a dry run, why the same call would be refused as a mass deletion; None if it would not.

    Example:
        >>> report = Report((Change("a", "INS"), Change("b", "SKIP")))
        >>> report.counts, report.changed, report.inserted[0].key
        ({'INS': 1, 'UPD': 0, 'SKIP': 1, 'DEL': 0}, True, 'a')
    """

    changes: tuple[Change, ...] = ()
    dry_run: bool = False
    diffs: Diffs = field(default=Diffs(), compare=False)
    refused: str | None = field(default=None, compare=False)
    _names_keys: ClassVar[bool] = True
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
        """The number of changes of each op. Always contains all four."""
        return {op: self._counts[op] for op in OPS}

    @property
    def changed(self) -> bool:
        """True if anything was written, or would be in a dry run."""
        return self._counts[SKIP] != len(self)

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
        """Further counts of a subclass, by name."""
        return {}

    def _repr_html_(self) -> str:
        return html.report(self, self._further, named=self._names_keys)


@dataclass(frozen=True)
class Entry:
    """One stored row.

    Attributes:
        key, source: the identity of the entry within its collection.
        value: the value; None if the row has only a version (then `value_hash` is None too).
        version: the caller's label, or None.
        value_hash: SHA-256, 32 bytes, of the part of the value that counts as a change.
        content_type: "json", "bytes", or a name that an adapter registered.
        created_at: when the entry was inserted: an aware datetime in UTC, by the database's clock.
        updated_at: when its value was last written, likewise. A new version alone does not change it.
        seq: increases in the order of insertion, with gaps. Updates keep it.

    Example:
        >>> shelf = DocShelf(":memory:")
        >>> shelf.mset([Item("a", {"page": 1}, source="a.md")])
        >>> entry = shelf.get_entry("a")
        >>> entry.source, entry.value, entry.content_type
        ('a.md', {'page': 1}, 'json')
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


class Label(NamedTuple):
    """What tells one stored state of an entry from another: see `Entry`."""

    key: str
    source: str
    value_hash: bytes | None
    version: str | None


@dataclass(frozen=True)
class Source:
    """A file or other origin of entries.

    Attributes:
        source: its name.
        entries: how many entries it has.
        fingerprint: the caller's hash of the raw file at the last sync, or None.
        metadata: the caller's own data about the source, or None.
        synced_at: when a sync last changed its entries, fingerprint or metadata; None if it was never synced.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     _ = shelf.sync({"a": 1}, source="guide.md", fingerprint="v1", metadata={"title": "Guide"})
        ...     [source] = shelf.sources()
        >>> source.source, source.entries, source.fingerprint, source.metadata
        ('guide.md', 1, 'v1', {'title': 'Guide'})
    """

    source: str
    entries: int
    fingerprint: str | None = None
    metadata: Mapping[str, Any] | None = None
    synced_at: datetime | None = None

    def _repr_html_(self) -> str:
        return html.sources([self])


class Sources(list[Source]):
    """A list of sources. A notebook shows it as a table."""

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

    Example:
        >>> with DocShelf(":memory:", "guide") as shelf:
        ...     shelf.set("a", "Hello.")
        ...     [collection] = shelf.collections()
        >>> collection.name, collection.entries, collection.sources, collection.stored_bytes
        ('guide', 1, 1, 8)
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

    Example:
        >>> health = DocShelf(":memory:").health()
        >>> health.ok, health.problem
        (True, '')
    """

    ok: bool
    problem: str
    database: str
    schema_version: int | None
    milliseconds: float

    def __bool__(self) -> bool:
        return self.ok


class Finding(NamedTuple):
    """One thing that `diagnose()` examined.

    Attributes:
        subject: what was examined.
        state: "ok", "advice" for what could be better, or "problem" for what does not work.
        seen: what was found.
        advice: what to do about it; "" if nothing.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.setup()
        ...     found = shelf.diagnose()
        >>> {finding.state for finding in found}
        {'ok'}
    """

    subject: str
    state: Literal["ok", "advice", "problem"]
    seen: str
    advice: str = ""


@dataclass(frozen=True)
class SourceNote:
    """What to store about a source.

    Attributes:
        fingerprint: the caller's hash of the raw file; None if it is unknown.
        metadata: the caller's own data about the source; None keeps the stored metadata.

    Example:
        >>> shelf = DocShelf(":memory:")
        >>> notes = {"a.md": SourceNote("f1", {"title": "A"})}
        >>> report = shelf.sync([Item("a", 1, "a.md")], scope="sources", notes=notes)
        >>> shelf.source_notes(["a.md"])["a.md"].metadata
        {'title': 'A'}
    """

    fingerprint: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Stats:
    """Numbers and sizes of a collection.

    Attributes:
        entries, sources: how many there are.
        stored_bytes: the sum of the packed values, in bytes.
        disk_bytes: the size of the entries table with its indexes (PostgreSQL) or of the file (SQLite), in bytes. It
            includes the other collections in the same table.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.mset({"a": "Hello.", "b": "Hello."})
        ...     stats = shelf.stats()
        >>> stats.entries, stats.sources, stats.stored_bytes
        (2, 1, 16)
    """

    entries: int
    sources: int
    stored_bytes: int
    disk_bytes: int

    def _repr_html_(self) -> str:
        return html.stats(self)


@dataclass(frozen=True)
class EstimatedStats:
    """What `stats(exact=False)` tells without reading the entries.

    Attributes:
        entries: about how many there are: see `DocShelf.count`.
        disk_bytes: as in `Stats`.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.mset({"a": 1, "b": 2})
        ...     shelf.stats(exact=False).entries
        2
    """

    entries: int
    disk_bytes: int

    def _repr_html_(self) -> str:
        return html.estimated_stats(self)


class Problem(NamedTuple):
    """A row that cannot be read, and why.

    Example:
        >>> import sqlite3
        >>> with DocShelf("broken.db") as shelf:
        ...     shelf.set("a", "Hello.")
        ...     with sqlite3.connect("broken.db") as other:
        ...         _ = other.execute("UPDATE docshelf_entries SET value = x'00'")
        ...     other.close()
        ...     [problem] = shelf.verify()
        >>> problem.key, problem.reason
        ('a', 'its bytes do not match its hash')
    """

    key: str
    source: str
    reason: str
