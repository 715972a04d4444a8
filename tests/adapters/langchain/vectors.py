"""Embeddings that count what they embed, and vector stores that behave as different products do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore


class CountingEmbeddings(Embeddings):
    """Makes vectors of the words of a text, and records the texts that it embeds."""

    def __init__(self, size: int = 512) -> None:
        self.texts: list[str] = []
        self.size = size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = [0.01] * self.size
        for word in text.lower().split():
            vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "big") % self.size] += 1.0
        return vector

    def take(self) -> int:
        """The number of texts that were embedded since the last call."""
        count = len(self.texts)
        self.texts.clear()
        return count


class Vectors(InMemoryVectorStore):
    """LangChain's vector store in memory, with relevance scores."""

    def __init__(self) -> None:
        self.counting = CountingEmbeddings()
        super().__init__(self.counting)

    def _select_relevance_score_fn(self) -> Any:
        return lambda score: score

    @property
    def children(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Text and metadata by id."""
        return {child: (stored["text"], stored["metadata"]) for child, stored in self.store.items()}


class StrictVectors(Vectors):
    """Refuses to add what it holds and to delete what it does not, as FAISS does."""

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        assert not self.store.keys() & set(ids or ()), "ids that are there already"
        return super().add_documents(documents, ids, **kwargs)

    async def aadd_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        assert not self.store.keys() & set(ids or ()), "ids that are there already"
        return await super().aadd_documents(documents, ids, **kwargs)

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        assert self.store.keys() >= set(ids or ()), "ids that are not there"
        super().delete(ids, **kwargs)


class BlindVectors(Vectors):
    """Cannot be asked what it holds."""

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        raise NotImplementedError("does not yet support get_by_ids")


class FileVectors(Vectors):
    """Saves its content to a file after each call."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.exists():
            self.store = json.loads(path.read_text())

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        added = super().add_documents(documents, ids, **kwargs)
        self.path.write_text(json.dumps(self.store))
        return added

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().delete(ids, **kwargs)
        self.path.write_text(json.dumps(self.store))


class FakeClock:
    """Does not wait: time passes as it is slept. Each sleep is remembered, and calls `on_sleep`."""

    def __init__(self, on_sleep: Callable[[], object] = lambda: None) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.on_sleep = on_sleep

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        self.on_sleep()

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class LateVectors(Vectors):
    """Shows what was added only after `catch_up`, as stores do that are eventually consistent."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()

    def catch_up(self) -> None:
        self.shown = set(self.store)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return super().get_by_ids([child for child in ids if child in self.shown])

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return self.get_by_ids(ids)


class TooLargeError(Exception):
    """A call of a vector store with more than it takes."""


class RefusingVectors(Vectors):
    """Refuses calls with more than `most` children or ids, without telling the number; remembers their sizes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.calls: list[tuple[str, int]] = []

    def _check(self, method: str, items: Sequence[Any] | None) -> None:
        count = len(items or ())
        if count > self.most:
            raise TooLargeError(f"{count} in one call of {method}")
        self.calls.append((method, count))

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        self._check("add_documents", documents)
        return super().add_documents(documents, ids, **kwargs)

    async def aadd_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        self._check("add_documents", documents)
        return await super().aadd_documents(documents, ids, **kwargs)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        self._check("get_by_ids", ids)
        return super().get_by_ids(ids)

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        self._check("delete", ids)
        super().delete(ids, **kwargs)


class AsyncVectors(Vectors):
    """Has only the asynchronous methods."""

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        raise NotImplementedError("use aadd_documents")

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        raise NotImplementedError("use adelete")

    async def adelete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().delete(ids)
