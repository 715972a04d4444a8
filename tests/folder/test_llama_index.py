"""Folders into a document store of LlamaIndex: nodes whose document is the file."""

from __future__ import annotations

import pytest
from langchain_text_splitters import RecursiveCharacterTextSplitter
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.node_parser import MarkdownNodeParser, SentenceSplitter
from llama_index.core.schema import MetadataMode

from docshelf import ConfigurationError, DocShelf
from docshelf.folder.pieces import Making
from docshelf.folder.readers import read_text
from llama_index_docshelf import DocShelfDocumentStore, storage_context
from tests.folder.conftest import Syncing, Tree


@pytest.fixture
def docstore(shelf: DocShelf) -> DocShelfDocumentStore:
    return DocShelfDocumentStore(shelf=shelf, collection="nodes")


def words(count: int) -> str:
    return " ".join(f"Sentence number {number} has a few words." for number in range(count))


def test_a_document_store_gets_nodes_of_its_own(docstore: DocShelfDocumentStore, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", words(12))
    splitter = SentenceSplitter(chunk_size=40, chunk_overlap=0)
    report = sync(docstore, splitter=splitter)
    info = docstore.get_ref_doc_info("docs:a.md")
    assert info is not None
    assert info.node_ids == report.keys_to_embed
    assert len(info.node_ids) > 1
    nodes = docstore.get_nodes(info.node_ids)
    assert "".join(node.get_content(MetadataMode.NONE) for node in nodes).startswith("Sentence number 0")
    assert nodes[0].ref_doc_id == "docs:a.md"
    assert docstore.get_document_hash(info.node_ids[0]) == nodes[0].hash
    assert "docs:" not in nodes[0].get_content(MetadataMode.EMBED)
    assert not sync(docstore, splitter=splitter).changed


def test_a_move_keeps_the_ids_of_nodes_and_so_their_vectors(
    docstore: DocShelfDocumentStore, tree: Tree, sync: Syncing
) -> None:
    splitter = SentenceSplitter(chunk_size=40, chunk_overlap=0)
    tree.write("a.md", words(8))
    tree.write("b.md", "Another text.")
    embedding = MockEmbedding(embed_dim=4)
    index = VectorStoreIndex(docstore.get_nodes(sync(docstore, splitter=splitter).keys_to_embed), embed_model=embedding)
    tree.move("a.md", "sub/a.md")
    report = sync(docstore, splitter=splitter)
    assert report.counts["MOVE"] == 1
    assert report.keys_to_embed == report.keys_to_remove == []
    found = index.as_retriever(similarity_top_k=50).retrieve("text")
    nodes = docstore.get_nodes([one.node.node_id for one in found])
    assert {node.ref_doc_id for node in nodes} == {"docs:sub/a.md", "docs:b.md"}
    tree.write("b.md", "A third text.")
    report = sync(docstore, splitter=splitter)
    index.insert_nodes(docstore.get_nodes(report.keys_to_embed))
    index.delete_nodes(report.keys_to_remove)
    texts = [one.text for one in index.as_retriever(similarity_top_k=50).retrieve("text")]
    assert "A third text." in texts
    assert "Another text." not in texts


def test_nodes_that_an_index_puts_back_stay_the_folder_s(
    docstore: DocShelfDocumentStore, tree: Tree, sync: Syncing
) -> None:
    for number in range(10):
        tree.write(f"{number}.md", f"Text {number}.")
    report = sync(docstore)
    # So does an index whose vector store keeps no text. It writes the nodes' metadata to their documents.
    docstore.add_documents(docstore.get_nodes(report.keys_to_embed))
    tree.remove("3.md")
    tree.write("4.md", "Another text.")
    report = sync(docstore)
    assert (report.counts["INS"], report.counts["UPD"], report.counts["SKIP"]) == (0, 1, 8)
    assert (report.counts["DEL"], report.keys_to_remove) == (1, ["docs:3.md"])
    assert sorted(docstore.get_all_ref_doc_info() or {}) == [f"docs:{n}.md" for n in range(10) if n != 3]
    assert not sync(docstore).changed


def test_the_document_store_of_a_context_is_a_target(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "text")
    context = storage_context(shelf=shelf)
    sync_once(context.docstore)
    assert list(context.docstore.get_all_ref_doc_info() or {}) == ["docs:a.md"]


def test_a_parser_that_takes_only_nodes_is_refused(docstore: DocShelfDocumentStore, tree: Tree, sync: Syncing) -> None:
    with pytest.raises(ConfigurationError, match="takes nodes, not text"):
        sync(docstore, splitter=MarkdownNodeParser())


def test_equal_settings_of_splitters_are_equal_and_others_are_not() -> None:
    def settings(size: int) -> list[str]:
        splitters = SentenceSplitter(chunk_size=size), RecursiveCharacterTextSplitter(chunk_size=size)
        return [Making({".md": read_text}, one, "utf-8", "", None, str).settings(".md") for one in splitters]

    assert settings(300) == settings(300)
    assert not set(settings(300)) & set(settings(250))
