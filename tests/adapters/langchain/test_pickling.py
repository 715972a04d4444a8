"""Stores and retrievers made from a URL go everywhere; a retriever whose vector store does not says so."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from docshelf import DocShelf
from langchain_docshelf import DocShelfByteStore, DocShelfStore, ParentDocumentRetriever, PostgresByteStore
from tests.adapters.langchain.retrievers import given, sentences
from tests.conftest import Location

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}
ways = pytest.mark.parametrize("way", COPIES)


class Report(Document):
    """A document class of the user's own."""

    pages: int = 0


class Locked(InMemoryVectorStore):
    """A vector store with a connection that belongs to its process."""

    def __init__(self) -> None:
        super().__init__(DeterministicFakeEmbedding(size=4))
        self.client = {"connection": [threading.Lock()]}


def source_of(document: Document) -> Any:
    return document.metadata["file"]


@ways
def test_a_document_store_keeps_its_options(place: Location, opened: Callable[[Any], Any], way: str) -> None:
    options: Any = {"source_key": source_of, "document_types": (Report,), "hash_on": "text"}
    store = opened(DocShelfStore(place.url, "named", **options))
    store.mset([("k", Report(page_content="text", metadata={"file": "f"}, pages=3))])
    copied = opened(COPIES[way](store))
    [read] = copied.mget(["k"])
    assert type(read) is Report and read.pages == 3
    copied.mset([("l", Document(page_content="other", metadata={"file": "g"}))])
    assert [one.source for one in store.sources()] == ["f", "g"]
    store.close()
    assert copied.mget(["k"]) == [read]


@ways
def test_the_other_stores_go_too(place: Location, opened: Callable[[Any], Any], way: str) -> None:
    byte_store, values = opened(DocShelfByteStore(place.url)), opened(PostgresByteStore(place.url, "values"))
    byte_store.mset([("k", b"bytes")])
    values.mset([("k", {"n": 1})], filename="f")
    values.rename_collection("renamed")
    assert opened(COPIES[way](byte_store)).mget(["k"]) == [b"bytes"]
    copied = opened(COPIES[way](values))
    assert (copied.conninfo, copied.collection_name) == (place.url, "renamed")
    assert copied.get("k", filename="f") == {"n": 1}


@ways
def test_a_store_on_a_given_shelf_goes_with_it(place: Location, opened: Callable[[Any], Any], way: str) -> None:
    shelf = opened(DocShelf(place.url))
    one, other = COPIES[way]((DocShelfStore(shelf=shelf, collection="a"), DocShelfStore(shelf=shelf, collection="b")))
    assert one.shelf._backend is other.shelf._backend is not shelf._backend
    one.mset([("k", Document(page_content="text"))])
    assert DocShelfStore(shelf=shelf, collection="a").mget(["k"]) == one.mget(["k"])
    opened(one.shelf)


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


@ways
def test_a_retriever_in_memory_says_why_it_stays(way: str) -> None:
    with DocShelfStore(":memory:") as store:
        vectors = InMemoryVectorStore(DeterministicFakeEmbedding(size=4))
        retriever = ParentDocumentRetriever(vectorstore=vectors, docstore=store, child_splitter=None)
        with pytest.raises(TypeError, match="in memory stays in its process"):
            COPIES[way](retriever)
