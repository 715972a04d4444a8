"""What a sync of a folder did: an outcome for each file, and the changes of entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from docshelf.display import html
from docshelf.types import DEL, INS, UPD, Report

FileOp = Literal["INS", "UPD", "MOVE", "SKIP", "DEL", "FAIL"]
FILE_OPS: Final[tuple[FileOp, ...]] = ("INS", "UPD", "MOVE", "SKIP", "DEL", "FAIL")
# How many failures a report prints.
_PRINTED: Final = 20


class FileOutcome(NamedTuple):
    """What happened to one file.

    Attributes:
        name: its path below the folder, with forward slashes. A folder that could not be listed ends with a slash.
        op: "INS" for a new file, "UPD" for one whose entries changed, "MOVE" for one that has the content of a file
            that is gone, "SKIP" for one without a change, "DEL" for one that is gone, "FAIL" for one that could not be
            read: its entries stay as they are.
        source: the source of its entries.
        reason: why it could not be read.
        moved_from: the path that a moved file had.

    Example:
        >>> outcome = FileOutcome("faq/pay.md", "MOVE", "handbook:faq/pay.md", moved_from="pay.md")
        >>> print(outcome.name, outcome.op, outcome.moved_from)
        faq/pay.md MOVE pay.md
    """

    name: str
    op: FileOp
    source: str
    reason: str = ""
    moved_from: str = ""


@dataclass(frozen=True)
class FolderReport:
    """What a sync of a folder did, or in a dry run would do.

    Attributes:
        files: one outcome for each file, by name.
        changes: the changes of entries in files that were read or are gone; `changes.diffs` with `diff=True`.
        dry_run: True if nothing was written.
        refused: in a dry run, why the same sync would be refused; None if it would not.
        without_reader: how many files have no reader, by suffix.
        links: how many symbolic links were not followed.
        further: further counts of the target, as a retriever's "embedded", by name.
        unfinished: True if a retriever left work for the next sync.

    Example:
        >>> from pathlib import Path
        >>> Path("manual").mkdir()
        >>> _ = Path("manual", "guide.md").write_text("# Guide", encoding="utf-8")
        >>> with DocShelf(":memory:") as shelf:
        ...     report = sync_folder("manual", shelf)
        >>> [(file.name, file.op) for file in report.files]
        [('guide.md', 'INS')]
        >>> report.keys_to_embed
        ['manual:guide.md']
    """

    files: tuple[FileOutcome, ...] = ()
    changes: Report = field(default_factory=Report)
    dry_run: bool = False
    refused: str | None = None
    without_reader: Mapping[str, int] = field(default_factory=dict)
    links: int = 0
    further: Mapping[str, int] = field(default_factory=dict)
    unfinished: bool = False

    @property
    def counts(self) -> dict[FileOp, int]:
        """How many files had each outcome. Always contains all six."""
        counts = Counter(outcome.op for outcome in self.files)
        return {op: counts[op] for op in FILE_OPS}

    @property
    def changed(self) -> bool:
        """True if entries were written or deleted, or would be."""
        return self.changes.changed

    @property
    def failed(self) -> tuple[FileOutcome, ...]:
        """The files and folders that could not be read."""
        return tuple(outcome for outcome in self.files if outcome.op == "FAIL")

    @property
    def moved(self) -> tuple[FileOutcome, ...]:
        """The files that have the content of a file that is gone."""
        return tuple(outcome for outcome in self.files if outcome.op == "MOVE")

    @property
    def keys_to_embed(self) -> list[str]:
        """The keys of entries whose content is new, for a vector store of your own. A file that moved has none."""
        deleted = {change.key for change in self.changes if change.op == DEL}
        added = (
            change for change in self.changes if change.op == UPD or (change.op == INS and change.key not in deleted)
        )
        return list(dict.fromkeys(change.key for change in added))

    @property
    def keys_to_remove(self) -> list[str]:
        """The keys of entries that are gone, for a vector store of your own."""
        written = {change.key for change in self.changes if change.op != DEL}
        gone = (change.key for change in self.changes if change.op == DEL and change.key not in written)
        return list(dict.fromkeys(gone))

    @property
    def extra_counts(self) -> dict[str, int]:
        """Further counts for a table: of files without a reader, of links, and of the target."""
        more = {"without a reader": sum(self.without_reader.values()), "links not followed": self.links}
        return {**{name: count for name, count in more.items() if count}, **self.further}

    def __str__(self) -> str:
        head = "would be" if self.dry_run else "done"
        entries = self.changes.counts
        lines = [f"{'op':<5} {'files':>9} {'entries':>9}   ({head})"]
        for op, count in self.counts.items():
            of_entries = f"{entries[op]:,}" if op in ("INS", "UPD", "DEL") else ""
            lines.append(f"{op:<5} {count:>9,} {of_entries:>9}".rstrip())
        lines += [f"{name}: {count:,}" for name, count in self.extra_counts.items()]
        lines += [f"moved: {html.visible(one.moved_from)} -> {html.visible(one.name)}" for one in self.moved[:_PRINTED]]
        lines += [f"failed: {html.visible(one.name)}: {html.visible(one.reason)}" for one in self.failed[:_PRINTED]]
        if self.unfinished:
            lines.append("unfinished: work is left for the next sync")
        if self.refused is not None:
            lines.append(f"refused: {html.visible(self.refused)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        counts = " ".join(f"{op}={count}" for op, count in self.counts.items())
        return f"<FolderReport {counts}{' dry_run' if self.dry_run else ''}>"

    def _repr_html_(self) -> str:
        return html.folder(self, self.extra_counts)


def in_order(outcomes: Iterable[FileOutcome]) -> tuple[FileOutcome, ...]:
    """Outcomes by name."""
    return tuple(sorted(outcomes, key=lambda outcome: outcome.name))


def refusal(name: str, known: int, vanished: Sequence[str], left: int, max_delete: float) -> str | None:
    """Why a sync may not delete the files that vanished; None if it may.

    One file may always vanish, unless `max_delete` is 0 or nothing would be left.

    Args:
        name: the folder's name.
        known: how many files the last sync left.
        vanished: those that are not found any more.
        left: how many files the folder has now.
        max_delete: the share of the known files that may vanish.
    """
    if not vanished:
        return None
    allowed = max_delete * known
    if left and len(vanished) <= (max(1.0, allowed) if max_delete else 0.0):
        return None
    first = ", ".join(map(repr, vanished[:3]))
    more = ", ..." if len(vanished) > 3 else ""
    what = "has no files any more" if not left else f"has lost {len(vanished):,} of {known:,} files"
    return (
        f"the folder {name!r} {what} ({first}{more}), and max_delete={max_delete:g}; check that the whole folder is "
        "there, and that no other folder has this name; to delete them on purpose, pass allow_mass_delete=True"
    )
