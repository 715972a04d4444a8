"""The calls of the vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from docshelf import ConfigurationError, DocShelfError
from docshelf.adapters import Call, Flow

_IDS_PER_DELETE: Final = 1000


class VectorCalls:
    """Adds, looks up and deletes children."""

    def __init__(self, vectorstore: VectorStore) -> None:
        self._vectorstore = vectorstore

    def check(self) -> None:
        """Refuse a vector store that cannot delete.

        Raises:
            ConfigurationError: it cannot.
        """
        kind = type(self._vectorstore)
        if kind.delete is VectorStore.delete and kind.adelete is VectorStore.adelete:
            raise ConfigurationError(
                f"a {kind.__name__} cannot delete, so stale children would stay in it; use another"
            )

    def held(self, ids: Sequence[str]) -> Flow[set[str] | None]:
        """Those of the ids that the vector store holds; None where it cannot be asked."""
        if not ids:
            return set()
        try:
            documents: list[Document] = yield Call(self._vectorstore, "get_by_ids", list(ids))
        except NotImplementedError:
            return None
        # Qdrant's documents have no id, but its own form of it in their metadata.
        found = {document.id or document.metadata.get("_id") for document in documents}
        if None in found:
            return set(ids) if len(documents) == len(set(ids)) else None
        return {str(child) for child in found}

    def add(self, documents: list[Document]) -> Flow[None]:
        """Add documents under their ids."""
        if documents:
            yield Call(self._vectorstore, "add_documents", documents, ids=[str(document.id) for document in documents])

    def delete(self, ids: Sequence[str], *, sure: bool) -> Flow[int]:
        """Delete children; returns how many.

        Args:
            sure: the vector store holds all of them. Otherwise it is asked first: some refuse ids that they do not
                hold.

        Raises:
            DocShelfError: the vector store said that it did not delete.
        """
        if not sure:
            found = yield from self.held(ids)
            ids = ids if found is None else [child for child in ids if child in found]
        for start in range(0, len(ids), _IDS_PER_DELETE):
            chunk = list(ids[start : start + _IDS_PER_DELETE])
            if (yield Call(self._vectorstore, "delete", ids=chunk)) is False:
                raise DocShelfError(
                    f"the vector store did not delete {len(chunk):,} stale children; mend it, and sync again"
                )
        return len(ids)
