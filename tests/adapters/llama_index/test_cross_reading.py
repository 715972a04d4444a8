"""One collection, read and written from LangChain and from LlamaIndex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import Document, TextNode

from docshelf import ContentType, DocShelf, Item
from langchain_docshelf import DocShelfStore
from llama_index_docshelf import DocShelfDocumentStore
from tests.adapters.llama_index.twins import Twin, ids, piece
from tests.conftest import Location

METADATA = {"title": "T", "page": 1}


@pytest.fixture
def langchain(place: Location, opened: Callable[[Any], Any]) -> Any:
    return opened(DocShelfStore(place.url, "kb"))


@pytest.fixture
def llama(new_store: Callable[..., Twin]) -> Twin:
    return new_store(DocShelfDocumentStore, collection="kb")


def test_langchain_reads_what_llama_index_wrote(langchain: Any, llama: Twin) -> None:
    llama.add_documents([piece("a", "f.txt", "text of a", metadata=METADATA), Document(id_="d", text="whole")])
    a, d = langchain.mget(["a", "d"])
    assert (a.id, a.page_content, a.metadata) == ("a", "text of a", METADATA)
    assert (d.id, d.page_content, d.metadata) == ("d", "whole", {})


def test_llama_index_reads_what_langchain_wrote(langchain: Any, llama: Twin) -> None:
    written = LangChainDocument(id="a", page_content="text", metadata={**METADATA, "source": "f.txt"})
    langchain.mset([("a", written)])
    node = llama.get_node("a")
    assert (node.node_id, node.get_content(), node.metadata) == ("a", "text", written.metadata)
    assert llama.docs == {"a": node}
    assert llama.document_exists("a")


def test_both_list_the_same_sources(langchain: Any, llama: Twin) -> None:
    llama.add_documents([piece("a", "f.txt"), piece("b", "f.txt"), piece("c")])
    langchain.mset([("x", LangChainDocument(id="x", page_content="t", metadata={"source": "g.txt"}))])
    listed = [(source.source, source.entries) for source in llama.sources()]
    assert listed == [(source.source, source.entries) for source in langchain.sources()]
    assert ("f.txt", 2) in listed


class Parcel:
    """Takes the place of LangChain's document class, which a reader does not need."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content


def write_rows(place: Location, *items: Item) -> None:
    """Write rows as LangChain's adapter writes them."""
    content_type = ContentType("langchain/document", (Parcel,), lambda parcel: parcel.content, Parcel)
    with DocShelf(place.url, "kb", content_types=[content_type]) as shelf:
        shelf.mset([item._replace(value=Parcel(item.value)) for item in items])


def content(name: str | None, text: str = "t") -> dict[str, Any]:
    return {"id": name, "page_content": text, "metadata": dict(METADATA), "type": "Document"}


def test_a_langchain_document_of_a_source_is_a_node_of_it_and_stays_there(place: Location, llama: Twin) -> None:
    write_rows(place, Item("k1", content("a"), "f.txt"), Item("k2", content(None), "f.txt"))
    nodes = llama.get_nodes(["k1", "k2"])
    assert [type(node) for node in nodes] == [TextNode, TextNode]
    assert ids(nodes) == ["a", "k2"]
    assert [node.ref_doc_id for node in nodes] == ["f.txt", "f.txt"]
    assert llama.get_ref_doc_info("f.txt").node_ids == ["k1", "k2"]
    llama.add_documents([nodes[1]])
    assert llama.get_ref_doc_info("f.txt").node_ids == ["k1", "k2"]
    assert llama.get_node("k2") == nodes[1]
    llama.delete_ref_doc("f.txt")
    assert llama.docs == {}


def test_a_langchain_document_without_a_source_is_a_document(place: Location, llama: Twin) -> None:
    write_rows(place, Item("k", content("a", "text")))
    assert llama.get_node("k") == Document(id_="a", text="text", metadata=METADATA)


async def test_async_methods_read_langchain_documents(place: Location) -> None:
    write_rows(place, Item("k", content("a"), "f.txt"))
    async with DocShelfDocumentStore(place.url, "kb") as store:
        assert (await store.aget_node("k")).ref_doc_id == "f.txt"
