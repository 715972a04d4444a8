"""One collection, read and written from LangChain and from LlamaIndex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import Document, TextNode

import docshelf
from docshelf import ContentType, CorruptEntryError, DocShelf, Item, UnknownDocument
from langchain_docshelf import DocShelfByteStore, DocShelfStore, PostgresByteStore
from llama_index_docshelf import DocShelfDocumentStore
from tests.adapters.langchain.twins import Twin as LangChainTwin
from tests.adapters.llama_index.twins import Twin, ids, piece
from tests.conftest import Location
from tests.support.face import Loop

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


# What a plain shelf wrote


PLAIN: dict[str, Any] = {
    "text": "a plain text",
    "fields": {"text": "a text", "metadata": METADATA},
    "document": docshelf.Document("the text", METADATA),
    "with id": docshelf.Document("the text", {"source": "g.txt"}, "own id"),
}


@pytest.fixture
def plain(place: Location) -> dict[str, Any]:
    with DocShelf(place.url, "kb") as shelf:
        shelf.mset(PLAIN, source="f.txt")
    return PLAIN


def test_langchain_reads_what_a_plain_shelf_wrote(plain: dict[str, Any], place: Location, langchain: Any) -> None:
    found = dict(zip(plain, langchain.mget(list(plain)), strict=True))
    filed = {**METADATA, "source": "f.txt"}
    assert found == {
        "text": LangChainDocument(id="text", page_content="a plain text", metadata={"source": "f.txt"}),
        "fields": LangChainDocument(id="fields", page_content="a text", metadata=filed),
        "document": LangChainDocument(id="document", page_content="the text", metadata=filed),
        "with id": LangChainDocument(id="own id", page_content="the text", metadata={"source": "g.txt"}),
    }
    assert langchain.shelf.verify() == []


def test_what_langchain_read_and_wrote_again_stays_in_its_source(plain: dict[str, Any], langchain: Any) -> None:
    keys = ["text", "fields", "document"]
    before = langchain.mget(keys)
    langchain.mset(list(zip(keys, before, strict=True)))
    assert langchain.mget(keys) == before
    assert [(source.source, source.entries) for source in langchain.sources()] == [("f.txt", 4)]


async def test_langchain_reads_them_in_async_too(plain: dict[str, Any], place: Location) -> None:
    async with DocShelfStore(place.url, "kb") as store:
        [document] = await store.amget(["text"])
    assert document is not None
    assert (document.page_content, document.metadata) == ("a plain text", {"source": "f.txt"})


def test_llama_index_reads_what_a_plain_shelf_wrote(plain: dict[str, Any], llama: Twin) -> None:
    nodes = llama.get_nodes(list(plain))
    assert [(type(node), node.node_id, node.get_content(), node.metadata, node.ref_doc_id) for node in nodes] == [
        (TextNode, "text", "a plain text", {}, "f.txt"),
        (TextNode, "fields", "a text", METADATA, "f.txt"),
        (TextNode, "document", "the text", METADATA, "f.txt"),
        (TextNode, "own id", "the text", {"source": "g.txt"}, "f.txt"),
    ]
    assert llama.get_ref_doc_info("f.txt").node_ids == list(plain)
    assert set(llama.docs) == set(plain)
    assert all(llama.document_exists(key) for key in plain)
    llama.add_documents(nodes[:3])
    assert llama.get_nodes(list(plain)[:3]) == nodes[:3]
    with pytest.raises(ValueError, match="node_id text already exists"):
        llama.add_documents([piece("text")], allow_update=False)
    llama.delete_ref_doc("f.txt")
    assert llama.docs == {}


def test_what_is_no_text_is_no_document_of_either(place: Location, langchain: Any, llama: Twin) -> None:
    values = {"number": 1, "fields": {"a": 1}, "none": None, "unknown": UnknownDocument("other/page", {"text": "t"})}
    with DocShelf(place.url, "kb") as shelf:
        shelf.mset(values)
    for key in ("number", "fields", "unknown"):
        assert not llama.document_exists(key)
        with pytest.raises(ValueError, match=f"{key} is not a Node"):
            llama.get_node(key)
        with pytest.raises(CorruptEntryError, match="where a DocShelfStore reads a Document") as caught:
            langchain.mget([key])
        assert "Delete it" not in str(caught.value), "the row is healthy"
    assert not llama.document_exists("none")
    assert langchain.mget(["none"]) == [None]


def test_a_row_that_holds_only_a_hash_is_an_entry_and_no_document(place: Location, langchain: Any, llama: Twin) -> None:
    llama.add_documents([piece("chunk", "f.txt")], store_text=False)
    llama.set_document_hash("hash", "h")
    with DocShelf(place.url, "kb") as shelf:
        assert (shelf.count(), list(shelf.yield_keys()), shelf.mget(["chunk", "hash"])) == (
            2,
            ["chunk", "hash"],
            [None] * 2,
        )
        entries = shelf.mget_entries(["chunk", "hash"])
        assert [(entry.content_type, entry.value_hash, entry.source) for entry in entries if entry] == [
            (None, None, "f.txt"),
            (None, None, ""),
        ]
    assert langchain.mget(["chunk", "hash"]) == [None, None]
    assert llama.docs == {}
    assert not llama.document_exists("chunk")
    assert llama.get_ref_doc_info("f.txt").node_ids == ["chunk"]
    llama.delete_document("hash")
    llama.delete_ref_doc("f.txt")
    assert langchain.sources() == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [(DocShelfStore, LangChainDocument(page_content="t")), (DocShelfByteStore, b"t"), (PostgresByteStore, 5)],
)
def test_langchain_lists_no_key_whose_row_holds_only_a_hash(
    place: Location, opened: Callable[[Any], Any], mode: str, loop: Loop, kind: Callable[..., Any], value: Any
) -> None:
    store = LangChainTwin(opened(kind(place.url, "kb")), mode, loop)
    store.mset([("a", value), ("b", value)])
    shelf = store.of.shelf
    shelf.set_versions({"b": "h", "hash": "h"})
    assert store.mget(["a", "b", "hash"])[2] is None
    assert list(store.yield_keys()) == ["a", "b"]
    assert list(store.yield_keys(prefix="h")) == []
    assert list(shelf.yield_keys()) == ["a", "b", "hash"]
    assert [source.entries for source in store.sources()] == [3]
    store.mdelete(["hash"])
    assert shelf.count() == 2
