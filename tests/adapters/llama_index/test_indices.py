"""Indexes, retrievers and postprocessors of LlamaIndex on docshelf's storage context, here and in a new process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    DocumentSummaryIndex,
    StorageContext,
    SummaryIndex,
    VectorStoreIndex,
    load_index_from_storage,
    load_indices_from_storage,
)
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceSplitter, get_leaf_nodes
from llama_index.core.postprocessor import PrevNextNodePostprocessor
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.schema import Document, NodeWithScore, QueryBundle
from llama_index.core.vector_stores import SimpleVectorStore

from docshelf import DocShelf
from llama_index_docshelf import DocShelfIndexStore, storage_context
from tests.adapters.llama_index.twins import Twin, piece
from tests.conftest import Location
from tests.support.face import Loop
from tests.support.statements import recorded_statements

SPLITTER = SentenceSplitter(chunk_size=30, chunk_overlap=0)
EMBED = MockEmbedding(embed_dim=3)
LLM = MockLLM()


def document(name: str, text: str = "") -> Document:
    sentences = " ".join(f"Sentence {number} of {name} {text} is here." for number in range(8))
    return Document(id_=name, text=sentences, metadata={"title": f"About {name}", "author": "A"})


GROUPS = ("plain", "summaries", "leaves")  # indexes in one vector store see each other's vectors


def build(url: str, folder: Path) -> dict[str, Any]:
    """Build an index of each kind, persist the stores in memory, and return the answers of the indexes."""
    contexts = {name: storage_context(url) for name in GROUPS}
    plain, summaries, leaves = contexts.values()
    common: dict[str, Any] = {"transformations": [SPLITTER], "embed_model": EMBED}
    documents = [document("a"), document("b")]
    vector = VectorStoreIndex.from_documents(documents, storage_context=plain, **common)
    vector.set_index_id("vector")
    SummaryIndex.from_documents(documents, storage_context=plain, **common).set_index_id("summary")
    DocumentSummaryIndex.from_documents(documents, llm=LLM, storage_context=summaries, **common).set_index_id("by doc")
    vector.insert(document("c"))
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[80, 20], chunk_overlap=0)
    nodes = parser.get_nodes_from_documents([document("tree")])
    leaves.docstore.add_documents(nodes)
    VectorStoreIndex(get_leaf_nodes(nodes), storage_context=leaves, embed_model=EMBED).set_index_id("leaves")
    for name, context in contexts.items():
        context.persist(str(folder / name))
    return answers_of(contexts)


def reopen(url: str, folder: Path) -> dict[str, Any]:
    """The answers of the indexes in a new process."""
    return answers_of({name: storage_context(url, persist_dir=str(folder / name)) for name in GROUPS})


def answers_of(contexts: Mapping[str, StorageContext]) -> dict[str, Any]:
    """The answers of the indexes on some storage contexts."""

    def index(group: str, name: str) -> Any:
        return load_index_from_storage(contexts[group], index_id=name, embed_model=EMBED, llm=LLM)

    answers: dict[str, Any] = {}
    every = {"similarity_top_k": 100, "embed_model": EMBED}
    answers["vector"] = texts(index("plain", "vector").as_retriever(**every).retrieve("Sentence"))
    in_order = index("plain", "summary").as_retriever().retrieve("Sentence")
    answers["summary"] = texts(in_order)
    by_document = index("summaries", "by doc")
    answers["by doc"] = texts(by_document.as_retriever(similarity_top_k=2).retrieve("Sentence"))
    answers["summaries"] = [by_document.get_document_summary(name) for name in ("a", "b")]
    leaves = index("leaves", "leaves").as_retriever(**every)
    answers["leaves"] = texts(leaves.retrieve("Sentence"))
    answers["merged"] = texts(AutoMergingRetriever(leaves, contexts["leaves"]).retrieve("Sentence"))
    docstore = contexts["plain"].docstore
    around = PrevNextNodePostprocessor(docstore=docstore, num_nodes=1, mode="both")
    answers["around"] = texts(around.postprocess_nodes([in_order[1]]))
    answers["hashes"] = docstore.get_all_document_hashes()
    for context in contexts.values():
        context.docstore.close()  # type: ignore[attr-defined]
    return answers


def texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.get_content() for node in nodes]


def test_indexes_answer_alike_after_a_restart(place: Location, tmp_path: Path) -> None:
    before = build(place.url, tmp_path)
    assert len(before["vector"]) > len(before["summary"]) > 4
    assert sorted(before["by doc"]) == sorted(before["summary"])  # equal scores come in the order of random ids
    assert len(before["merged"]) < len(before["leaves"])
    assert len(before["around"]) == 3
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.adapters.llama_index.test_indices",
        place.url,
        str(tmp_path),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(output.splitlines()[-1]) == before


@pytest.fixture
def context(place: Location) -> Iterator[StorageContext]:
    context = storage_context(place.url)
    yield context
    context.docstore.close()


@pytest.fixture
def index(context: StorageContext, mode: str, loop: Loop) -> Twin:
    documents = [document(name) for name in ("a", "b", "c")]
    index = VectorStoreIndex.from_documents(
        documents, storage_context=context, transformations=[SPLITTER], embed_model=EMBED
    )
    return Twin(index, mode, loop)


def assert_stores_agree(context: StorageContext, index: Twin) -> None:
    """The three stores of a context list the same nodes and documents."""
    infos = context.docstore.get_all_ref_doc_info() or {}
    nodes = [name for info in infos.values() for name in info.node_ids]
    vectors = context.vector_store.data.embedding_dict  # type: ignore[attr-defined]
    assert sorted(nodes) == sorted(vectors) == sorted(index.store.index_struct.nodes_dict)
    assert context.index_store.get_index_struct(index.store.index_id) == index.store.index_struct
    assert set(index.store.ref_doc_info) == set(infos)


def test_refreshing_writes_what_changed(context: StorageContext, index: Twin) -> None:
    refreshed = index.refresh_ref_docs([document("a"), document("b", "changed"), document("new")])
    assert refreshed == [False, True, True]
    assert set(context.docstore.get_all_ref_doc_info() or {}) == {"a", "b", "c", "new"}
    assert_stores_agree(context, index)
    assert index.refresh_ref_docs([document("b", "changed")]) == [False]


def test_inserting_adds_nodes_and_the_hash_of_the_document(context: StorageContext, index: Twin) -> None:
    index.insert(document("d"))
    assert context.docstore.get_document_hash("d") == document("d").hash
    assert_stores_agree(context, index)


def test_deleting_a_document_takes_its_nodes_from_the_docstore(context: StorageContext, index: Twin) -> None:
    index.delete_ref_doc("b", delete_from_docstore=True)
    assert set(context.docstore.get_all_ref_doc_info() or {}) == {"a", "c"}
    assert context.docstore.get_document_hash("b") is None
    assert_stores_agree(context, index)


def test_a_deletion_waits_for_those_who_list_the_nodes_of_the_document(
    context: StorageContext, index: Twin, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    docstore: Any = context.docstore
    source_entries = DocShelf.asource_entries

    async def slow(self: DocShelf, *args: Any, **options: Any) -> Any:
        for _ in range(20_000):  # more turns of the loop than a deletion takes
            await asyncio.sleep(0)
        return await source_entries(self, *args, **options)

    monkeypatch.setattr(DocShelf, "asource_entries", slow)

    async def both() -> Any:
        return await asyncio.gather(docstore.aget_ref_doc_info("b"), docstore.adelete_ref_doc("b"))

    info, _ = loop.run(both())
    assert info is not None
    assert len(info.node_ids) > 1
    assert docstore.get_ref_doc_info("b") is None
    loop.run(docstore.adelete_ref_doc("b", raise_error=False))


def test_retrieving_reads_the_docstore_once(index: Twin) -> None:
    retriever = Twin(index.store.as_retriever(similarity_top_k=100), index.mode, index.loop)
    retriever.retrieve("warm up")
    with recorded_statements() as statements:
        assert len(retriever.retrieve(QueryBundle("Sentence"))) > 6
    assert len(statements) == 1


def test_a_context_takes_any_vector_store_and_shares_connections(place: Location) -> None:
    mine = SimpleVectorStore()
    with DocShelf(place.url) as shelf:
        context = storage_context(shelf=shelf, collection="nodes", index_collection="indexes", vector_store=mine)
        VectorStoreIndex([piece("a", "d")], storage_context=context, embed_model=EMBED)
        assert context.vector_store is mine
        assert shelf.view("nodes").count() == shelf.view("indexes").count() == 1


def test_the_only_index_is_loaded_without_its_id(context: StorageContext, index: Twin) -> None:
    assert load_index_from_storage(context, embed_model=EMBED).index_id == index.store.index_id
    SummaryIndex([piece("x")], storage_context=context)
    assert len(load_indices_from_storage(context, embed_model=EMBED)) == 2
    with pytest.raises(ValueError, match="Please specify index_id"):
        load_index_from_storage(context, embed_model=EMBED)


def test_an_index_store_without_id_lists_its_structs_in_the_error(new_store: Callable[..., Twin]) -> None:
    store = new_store(DocShelfIndexStore)
    with pytest.raises(ValueError, match=r"there are 0 \(none\)"):
        store.get_index_struct()
    store.add_index_struct(SummaryIndex([]).index_struct)
    store.add_index_struct(SummaryIndex([]).index_struct)
    with pytest.raises(ValueError, match="there are 2"):
        store.get_index_struct()


if __name__ == "__main__":
    print(json.dumps(reopen(sys.argv[1], Path(sys.argv[2]))))
