"""A retriever goes to another process with its stores, or names what keeps it."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_docshelf import DocShelfStore, ParentDocumentRetriever
from tests.adapters.langchain.retrievers import given, sentences
from tests.conftest import Location

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}
ways = pytest.mark.parametrize("way", COPIES)


class Locked(InMemoryVectorStore):
    """A vector store with a connection that belongs to its process."""

    def __init__(self) -> None:
        super().__init__(DeterministicFakeEmbedding(size=4))
        self.client = {"connection": [threading.Lock()]}


@ways
def test_a_retriever_goes_with_its_vectors(place: Location, opened: Callable[[Any], Any], way: str) -> None:
    retriever = ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=4)),
        docstore=opened(DocShelfStore(place.url)),
        child_splitter=sentences(),
    )
    retriever.sync([given("a", "a"), given("b", "b")])
    copied = COPIES[way](retriever)
    opened(copied.docstore)
    assert sorted(str(one.id) for one in copied.invoke("a part 001")) == ["a", "b"]
    assert copied.sync([given("a", "a"), given("b", "b")]).counts["SKIP"] == 2


@ways
def test_a_retriever_names_the_vector_store_that_stays(place: Location, opened: Callable[[Any], Any], way: str) -> None:
    retriever = ParentDocumentRetriever(
        vectorstore=Locked(), docstore=opened(DocShelfStore(place.url)), child_splitter=sentences()
    )
    with pytest.raises(TypeError, match="its vector store does: a Locked with a lock") as caught:
        COPIES[way](retriever)
    assert "_thread.lock" in str(caught.value)


def test_a_retriever_in_memory_says_why_it_stays() -> None:
    with DocShelfStore(":memory:") as store:
        vectors = InMemoryVectorStore(DeterministicFakeEmbedding(size=4))
        retriever = ParentDocumentRetriever(vectorstore=vectors, docstore=store, child_splitter=None)
        with pytest.raises(TypeError, match="in memory stays in its process"):
            pickle.dumps(retriever)
