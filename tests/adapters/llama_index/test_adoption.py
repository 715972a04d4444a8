"""Adoption of nodes that a caller gives: hashes come back, and the next run embeds nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import BaseNode, Document, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.utils import node_to_metadata_dict

from docshelf import ArgumentTypeError, ConfigurationError
from llama_index_docshelf import AdoptedNodesReport, aadopt_nodes, adopt_nodes
from llama_index_docshelf.adoption.listing import Held
from tests.adapters.llama_index.twins import Twin, piece

Adopted = Callable[..., AdoptedNodesReport]


class Lines(TransformComponent):
    """A splitter that needs no data of its own."""

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        return [made for node in nodes for made in build_nodes_from_splits(node.get_content().splitlines(), node)]


class Counting(MockEmbedding):
    embedded: int = 0

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self.embedded += len(texts)
        return super()._get_text_embeddings(texts)


def document(number: int, text: str = "") -> Document:
    return Document(text=text or f"document {number}\nline\nend", id_=f"{number}.md", metadata={"z": number, "a": 1})


def split(*documents: Document) -> list[BaseNode]:
    nodes: list[BaseNode] = Lines()(list(documents))
    return nodes


@pytest.fixture
def adopted(mode: str) -> Adopted:
    """`adopt_nodes`, sync and async."""
    if mode == "sync":
        return adopt_nodes
    return lambda *args, **options: asyncio.run(aadopt_nodes(*args, **options))


def test_the_next_run_embeds_nothing_and_an_edit_its_document(
    new_store: Callable[..., Twin], adopted: Adopted, mode: str
) -> None:
    embedding, vectors, store = Counting(embed_dim=4), SimpleVectorStore(), new_store()

    def run(docstore: Any, documents: list[Document]) -> int:
        """Run the pipeline; returns how many texts were embedded."""
        embedding.embedded = 0
        pipeline = IngestionPipeline(
            transformations=[Lines(), embedding],
            docstore=docstore,
            vector_store=vectors,
            docstore_strategy=DocstoreStrategy.UPSERTS,
            disable_cache=True,
        )
        kept.extend(pipeline.run(documents=documents))
        return embedding.embedded

    kept: list[BaseNode] = []
    documents = [document(number) for number in range(20)]
    assert run(SimpleDocumentStore(), documents) == 60
    planned = adopted(vectors, store.store, nodes=kept)
    assert (planned.nodes, planned.restored, planned.dry_run) == (60, 20, True)
    assert store.get_all_document_hashes() == {}
    assert adopted(vectors, store.store, nodes=lambda: iter(kept), dry_run=False).restored == 20
    assert adopted(vectors, store.store, nodes=kept, dry_run=False).known == 20
    assert run(store.store, documents) == 0
    documents[5] = document(5, "edited")
    assert run(store.store, documents) == 1


def test_what_the_vector_store_does_not_say_is_left_alone(new_store: Callable[..., Twin], adopted: Adopted) -> None:
    store = new_store()
    store.set_document_hash("2.md", "another hash")
    orphan = piece("no document", "")
    nodes = [*split(document(0), document(1), document(2)), *split(document(1, "a new version")), orphan]
    report = adopted(None, store.store, nodes=nodes, dry_run=False)
    assert (report.nodes, report.restored, report.known) == (11, 1, 0)
    assert (report.differing, report.ambiguous, report.without_hash) == (1, 1, 1)
    assert set(report.examples) == {("ambiguous", "1.md"), ("differing", "2.md")}
    assert store.get_document_hash("0.md") == document(0).hash
    assert (store.get_document_hash("1.md"), store.get_document_hash("2.md")) == (None, "another hash")
    assert "without hash" in str(report)


def test_nodes_are_kept_on_request(new_store: Callable[..., Twin], adopted: Adopted) -> None:
    store, nodes = new_store(), split(document(0), document(1))
    assert adopted(None, store.store, nodes=nodes, keep_nodes=True).stored_nodes == 6
    assert store.docs == {}
    assert adopted(None, store.store, nodes=nodes, keep_nodes=True, dry_run=False).stored_nodes == 6
    assert {key: node.to_dict() for key, node in store.docs.items()} == {node.node_id: node.to_dict() for node in nodes}
    assert store.get_document_hash("0.md") == document(0).hash


def test_a_node_is_known_by_what_a_vector_store_keeps_of_it() -> None:
    [node, *_] = split(document(0))
    metadata = node_to_metadata_dict(node)
    assert Held(metadata, node.get_content()).origin() == ("0.md", document(0).hash)
    found = Held(metadata, node.get_content()).as_node()
    assert found is not None
    assert found.to_dict() == node.to_dict()
    content = {"_node_content": '{"relationships": {"1": {"node_id": "0.md"}}}'}
    assert Held(content).origin() == ("0.md", None)
    for odd in ({}, {"_node_content": None}, {"_node_content": "["}, {"_node_content": '{"relationships": []}'}):
        assert Held(odd).origin() == (None, None)
        assert Held(odd).as_node() is None


def test_what_cannot_be_adopted_is_told(new_store: Callable[..., Twin], adopted: Adopted) -> None:
    store = new_store()
    with pytest.raises(ConfigurationError, match="a SimpleVectorStore cannot be listed; give nodes="):
        adopted(SimpleVectorStore(), store.store)
    with pytest.raises(ArgumentTypeError, match="nodes holds a int"):
        adopted(None, store.store, nodes=[1])
    with pytest.raises(ConfigurationError, match="the docstore is a SimpleDocumentStore"):
        adopted(None, SimpleDocumentStore(), nodes=[])
