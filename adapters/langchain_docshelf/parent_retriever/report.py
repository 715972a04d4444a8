"""The report of a retriever's write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from docshelf import Report

_UNFINISHED: Final = "unfinished: work is left for the next sync"


@dataclass(frozen=True, repr=False)
class RetrieverReport(Report):
    """One `Change` per parent document, in input order, deletions last; and what was done in the vector store.

    Attributes:
        embedded: number of children that were embedded.
        reused: number of children that the vector store had already, and that were not embedded again.
        removed: number of obsolete children that were deleted from the vector store.
        unfinished: True if work is left, which the next sync does: other runs kept changing the same documents, or
            rows of the retriever's record cannot be read. The log of the logger "docshelf" says which.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> retriever = ParentDocumentRetriever(
        ...     vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=8)),
        ...     docstore=DocShelfStore(":memory:"),
        ...     child_splitter=None,
        ... )
        >>> pages = [Document(id="a", page_content="Hello.", metadata={"source": "guide.md"})]
        >>> report = retriever.sync(pages)
        >>> report.counts, report.embedded, report.reused, report.removed
        ({'INS': 1, 'UPD': 0, 'SKIP': 0, 'DEL': 0}, 1, 0, 0)
        >>> retriever.sync(pages).reused
        1
        >>> retriever.docstore.close()
    """

    embedded: int = 0
    reused: int = 0
    removed: int = 0
    unfinished: bool = False

    @property
    def spared(self) -> int:
        """The same as `reused`: its former name."""
        return self.reused

    @property
    def _further(self) -> dict[str, int]:
        return {"embedded": self.embedded, "reused": self.reused, "removed": self.removed}

    def __repr__(self) -> str:
        numbers = [*self.counts.items(), *self._further.items()]
        counts = " ".join(f"{name}={count}" for name, count in numbers)
        marks = f"{' dry_run' if self.dry_run else ''}{' unfinished' if self.unfinished else ''}"
        return f"<{type(self).__name__} {counts}{marks}>"

    def __str__(self) -> str:
        rows = [*self.counts.items(), *self._further.items()]
        head = "would be" if self.dry_run else "done"
        lines = [f"{'op':<8}  {head:>8}", *(f"{name:<8}  {count:>8,}" for name, count in rows)]
        lines += [] if self.refused is None else [f"refused: {self.refused}"]
        return "\n".join([*lines, *([_UNFINISHED] if self.unfinished else [])])

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}{f'<div>{_UNFINISHED}</div>' if self.unfinished else ''}"
