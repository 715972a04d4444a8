"""What a move did, in bounded memory: counts, and the first entries that were refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from docshelf.display import html
from docshelf.types import OPS, Op, Problem

# A report names so many of the entries that were refused, and counts the others.
_MAX_NAMED: Final = 100


@dataclass(frozen=True)
class MoveReport:
    """What a move, an import or an export did.

    Attributes:
        counts: how many entries were inserted, updated, skipped and deleted, by "INS", "UPD", "SKIP" and "DEL". A move
            never deletes.
        refused: how many entries of the source cannot be stored.
        problems: the first 100 of them, with the reason.
        sources: how many sources got their fingerprint and metadata.
        collections: how many collections were moved.
        dry_run: True if nothing was written.
        compared: True if the source was read again at the end, and every entry had the same hash in the target.

    Example:
        >>> with DocShelf(":memory:") as old, DocShelf(":memory:") as new:
        ...     old.mset({"a": 1, "b": 2})
        ...     report = migrate(old, new)
        >>> report.counts, report.compared
        ({'INS': 2, 'UPD': 0, 'SKIP': 0, 'DEL': 0}, True)
    """

    counts: Mapping[Op, int]
    refused: int = 0
    problems: tuple[Problem, ...] = ()
    sources: int = 0
    collections: int = 1
    dry_run: bool = False
    compared: bool = False

    @property
    def entries(self) -> int:
        """How many entries the source had, without those that were refused."""
        return sum(self.counts.values())

    @property
    def changed(self) -> bool:
        """True if anything was written, or would be without `dry_run`."""
        return bool(self.entries - self.counts["SKIP"] or self.sources)

    @property
    def _extra_counts(self) -> dict[str, int]:
        extra = {"refused": self.refused, "sources": self.sources, "collections": self.collections}
        return {name: count for name, count in extra.items() if count and (name, count) != ("collections", 1)}

    def __str__(self) -> str:
        lines = [f"{'op':<11}  {'would be' if self.dry_run else 'done':>8}"]
        counts = (*self.counts.items(), *self._extra_counts.items())
        lines += [f"{name:<11}  {count:>8,}" for name, count in counts]
        lines += [f"refused {problem.key!r}: {problem.reason}" for problem in self.problems[:10]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html.move(self, self._extra_counts)


@dataclass
class Tally:
    """Counts of a move that is under way."""

    counts: Counter[Op] = field(default_factory=Counter)
    refused: int = 0
    problems: list[Problem] = field(default_factory=list)
    sources: int = 0
    collections: int = 0

    def add(self, counts: Mapping[Op, int]) -> None:
        """Count entries by what happened to them."""
        self.counts.update(counts)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Count entries that cannot be stored, and keep the first."""
        for problem in problems:
            self.refused += 1
            if len(self.problems) < _MAX_NAMED:
                self.problems.append(problem)

    def report(self, *, dry_run: bool, compared: bool = False) -> MoveReport:
        """The report of the move."""
        return MoveReport(
            {op: self.counts[op] for op in OPS},
            self.refused,
            tuple(self.problems),
            self.sources,
            max(1, self.collections),
            dry_run,
            compared,
        )
