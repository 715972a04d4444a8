"""What a write of a retriever did."""

from __future__ import annotations

from dataclasses import dataclass

from docshelf import Report


@dataclass(frozen=True, repr=False)
class RetrieverReport(Report):
    """One `Change` per parent document, in input order, deletions last; and what that took in the vector store.

    Attributes:
        embedded: how many children were embedded.
        spared: how many children stood in the vector store already, and were not embedded again.
        removed: how many stale children were removed.
    """

    embedded: int = 0
    spared: int = 0
    removed: int = 0

    @property
    def _further(self) -> dict[str, int]:
        return {"embedded": self.embedded, "spared": self.spared, "removed": self.removed}

    def __repr__(self) -> str:
        numbers = [*self.counts.items(), *self._further.items()]
        counts = " ".join(f"{name}={count}" for name, count in numbers)
        return f"<{type(self).__name__} {counts}{' dry_run' if self.dry_run else ''}>"

    def __str__(self) -> str:
        rows = [*self.counts.items(), *self._further.items()]
        head = "would be" if self.dry_run else "done"
        return "\n".join([f"{'op':<8}  {head:>8}", *(f"{name:<8}  {count:>8,}" for name, count in rows)])
