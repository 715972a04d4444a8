"""`index` and `aindex` with a record manager and a vector store that counts, for the tests of record managers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import RecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from docshelf.adapters import async_name
from tests.support.face import Loop

MODES = [None, "incremental", "full", "scoped_full"]


class Vectors(InMemoryVectorStore):
    """A vector store that counts what it embeds, and fails to add or to delete when it is told to."""

    def __init__(self) -> None:
        super().__init__(DeterministicFakeEmbedding(size=4))
        self.embedded: list[str] = []
        self.fails = False
        self.keeps = False

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        if self.keeps:
            raise ConnectionError("the vector store cannot delete")
        super().delete(ids, **kwargs)

    async def adelete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        self.delete(ids, **kwargs)

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        if self.fails:
            raise ConnectionError("the vector store is down")
        self.embedded += [document.page_content for document in documents]
        return super().add_documents(documents, ids, **kwargs)

    async def aadd_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        return self.add_documents(documents, ids, **kwargs)

    def texts(self) -> list[str]:
        return sorted(entry["text"] for entry in self.store.values())


class Indexing:
    """`index` or `aindex` with one record manager and one vector store."""

    def __init__(self, manager: RecordManager, vectors: Vectors, mode: str, loop: Loop) -> None:
        self.manager = manager
        self.vectors = vectors
        self.mode = mode
        self.loop = loop

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        if self.mode == "sync":
            return getattr(self.manager, name)(*args, **options)
        return self.loop.run(getattr(self.manager, async_name(name))(*args, **options))

    def run(self, documents: Sequence[Document], **options: Any) -> Any:
        """What `index` reports."""
        options = {"source_id_key": "source", "key_encoder": "sha256", **options}
        if self.mode == "sync":
            return index(documents, self.manager, self.vectors, **options)
        return self.loop.run(aindex(documents, self.manager, self.vectors, **options))


def doc(text: str, source: str = "a.md") -> Document:
    return Document(page_content=text, metadata={"source": source})
