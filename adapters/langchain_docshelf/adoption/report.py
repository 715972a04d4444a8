"""What an adoption found and did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from docshelf import Op
from docshelf.moving import MoveReport

# How many ids a report names of each kind.
MAX_NAMED: Final = 20


@dataclass(frozen=True, repr=False)
class AdoptionReport:
    """What an adoption found in a vector store, in numbers of children, and what it wrote down.

    Attributes:
        parents: how many parents the document store has.
        adopted: children that are known now: no sync embeds them again.
        known: children that the retriever's record knew already.
        missing: children that parents have and the vector store has not: the next sync embeds them.
        orphaned: children in the vector store that no parent has: their parent is gone, or is split otherwise now.
        without_parent: those of the orphaned whose parent is gone.
        ambiguous: children of which it is not clear whose they are, as several sources have their parent's key. They
            are left alone.
        removed: orphaned children that were deleted, on request.
        examples: ids of some of the orphaned and ambiguous children, and keys of some parents with missing ones.
        moved: what was moved into the document store first, where parents were given.
        dry_run: True if nothing was written.
    """

    parents: int = 0
    adopted: int = 0
    known: int = 0
    missing: int = 0
    orphaned: int = 0
    without_parent: int = 0
    ambiguous: int = 0
    removed: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    moved: MoveReport | None = None
    dry_run: bool = False

    @property
    def counts(self) -> dict[Op, int]:
        """Rows of the vector store as a report counts: adopted as INS, known as SKIP, removed as DEL."""
        return {"INS": self.adopted, "UPD": 0, "SKIP": self.known, "DEL": self.removed}

    def __repr__(self) -> str:
        numbers = " ".join(f"{name}={count}" for name, count in self._numbers().items())
        return f"<AdoptionReport {numbers}{' dry_run' if self.dry_run else ''}>"

    def __str__(self) -> str:
        head = "would be" if self.dry_run else "done"
        lines = [f"{'children':<14}  {head:>8}"]
        lines += [f"{name:<14}  {count:>8,}" for name, count in self._numbers().items()]
        return "\n".join([*lines, *(f"{kind}: {name}" for kind, name in self.examples)])

    def _numbers(self) -> dict[str, int]:
        return {
            "adopted": self.adopted,
            "known": self.known,
            "missing": self.missing,
            "orphaned": self.orphaned,
            "without parent": self.without_parent,
            "ambiguous": self.ambiguous,
            "removed": self.removed,
        }
