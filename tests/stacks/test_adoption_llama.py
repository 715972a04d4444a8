"""Adoption in LlamaIndex: a lost document store is restored from Chroma, Qdrant and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from sqlalchemy.engine import URL

from docshelf import ArgumentTypeError, ConfigurationError
from llama_index_docshelf import AdoptedNodesReport, DocShelfDocumentStore, aadopt_nodes, adopt_nodes
from tests.conftest import Location
from tests.stacks.llama import LLAMA_STORES, SIZE, Lines

DOCUMENTS = 30


class Counting(MockEmbedding):
    embedded: int = 0

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self.embedded += len(texts)
        return super()._get_text_embeddings(texts)


def document(number: int, *lines: str) -> Document:
    text = "\n".join(lines or (f"document {number} line {line}" for line in range(3)))
    return Document(text=text, id_=f"{number}.md", metadata={"z": number, "a": f"T{number}"})


@pytest.fixture(params=LLAMA_STORES)
def vectors(request: pytest.FixtureRequest, new_database: Callable[[], URL]) -> Iterator[Any]:
    store = LLAMA_STORES[request.param](new_database)
    yield store
    if request.param == "postgres":
        asyncio.run(store.close())
    elif request.param == "qdrant":
        store._client.close()


@pytest.fixture
def new_llama(new_location: Callable[[str], Location]) -> Iterator[Callable[[], DocShelfDocumentStore]]:
    stores: list[DocShelfDocumentStore] = []

    def make() -> DocShelfDocumentStore:
        stores.append(DocShelfDocumentStore(new_location("sqlite").url))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def adopted(mode: str) -> Callable[..., AdoptedNodesReport]:
    """`adopt_nodes`, sync and async."""
    if mode == "sync":
        return adopt_nodes
    return lambda *args, **options: asyncio.run(aadopt_nodes(*args, **options))


def pipeline(
    docstore: Any, vectors: Any, embedding: Any, strategy: Any = DocstoreStrategy.UPSERTS
) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[Lines(), embedding],
        docstore=docstore,
        vector_store=vectors,
        docstore_strategy=strategy,
        disable_cache=True,
    )


@pytest.mark.parametrize("strategy", [DocstoreStrategy.UPSERTS, DocstoreStrategy.UPSERTS_AND_DELETE])
def test_the_next_run_embeds_nothing_and_an_edit_its_document(
    vectors: Any,
    new_llama: Callable[[], DocShelfDocumentStore],
    adopted: Callable[..., AdoptedNodesReport],
    strategy: DocstoreStrategy,
) -> None:
    embedding = Counting(embed_dim=SIZE)
    documents = [document(number) for number in range(DOCUMENTS)]
    pipeline(SimpleDocumentStore(), vectors, embedding).run(documents=documents)
    assert embedding.embedded == 3 * DOCUMENTS
    embedding.embedded = 0

    docstore = new_llama()
    planned = adopted(vectors, docstore)
    assert (planned.nodes, planned.restored, planned.dry_run) == (3 * DOCUMENTS, DOCUMENTS, True)
    assert docstore.get_all_document_hashes() == {}
    report = adopted(vectors, docstore, dry_run=False)
    assert (report.restored, report.known, report.ambiguous, report.without_hash) == (DOCUMENTS, 0, 0, 0)
    assert adopted(vectors, docstore, dry_run=False).known == DOCUMENTS

    assert pipeline(docstore, vectors, embedding, strategy).run(documents=documents) == []
    assert embedding.embedded == 0
    documents[5] = document(5, "document 5 line 0", "edited")
    assert len(pipeline(docstore, vectors, embedding, strategy).run(documents=documents)) == 2
    assert embedding.embedded == 2
    assert pipeline(docstore, vectors, embedding, strategy).run(documents=documents) == []


def test_an_index_finds_its_nodes_again(
    vectors: Any, new_llama: Callable[[], DocShelfDocumentStore], adopted: Callable[..., AdoptedNodesReport]
) -> None:
    embedding = Counting(embed_dim=SIZE)
    documents = [document(number) for number in range(4)]
    context = StorageContext.from_defaults(vector_store=vectors)
    old = VectorStoreIndex.from_documents(
        documents, storage_context=context, embed_model=embedding, transformations=[Lines()], store_nodes_override=True
    )
    docstore = new_llama()
    report = adopted(vectors, docstore, dry_run=False, keep_nodes=True)
    assert (report.restored, report.stored_nodes) == (4, 12)
    assert {node.node_id: node.get_content() for node in docstore.docs.values()} == {
        node.node_id: node.get_content() for node in old.docstore.docs.values()
    }
    assert {key: sorted(info.node_ids) for key, info in docstore.get_all_ref_doc_info().items()} == {
        key: sorted(info.node_ids) for key, info in (old.docstore.get_all_ref_doc_info() or {}).items()
    }
    embedding.embedded = 0
    context = StorageContext.from_defaults(vector_store=vectors, docstore=docstore)
    index = VectorStoreIndex([], storage_context=context, embed_model=embedding, transformations=[Lines()])
    documents[1] = document(1, "document 1 line 0", "edited")
    assert index.refresh_ref_docs(documents) == [False, True, False, False]
    assert embedding.embedded == 2


def test_two_versions_of_a_document_are_ambiguous_and_run_again(
    vectors: Any, new_llama: Callable[[], DocShelfDocumentStore], adopted: Callable[..., AdoptedNodesReport]
) -> None:
    embedding = Counting(embed_dim=SIZE)
    documents = [document(0), document(1)]
    pipeline(None, vectors, embedding).run(documents=documents)
    documents[0] = document(0, "another text")
    pipeline(None, vectors, embedding).run(documents=documents[:1])
    docstore = new_llama()
    docstore.set_document_hash("1.md", "another hash")
    report = adopted(vectors, docstore, dry_run=False)
    assert (report.restored, report.ambiguous, report.differing) == (0, 1, 1)
    assert report.examples == (("ambiguous", "0.md"), ("differing", "1.md"))
    assert "ambiguous: 0.md" in str(report)


def test_other_vector_stores_are_read_by_their_nodes(
    new_llama: Callable[[], DocShelfDocumentStore], adopted: Callable[..., AdoptedNodesReport]
) -> None:
    embedding = Counting(embed_dim=SIZE)
    store = SimpleVectorStore()
    nodes = pipeline(None, store, embedding).run(documents=[document(0), document(1)])
    docstore = new_llama()
    with pytest.raises(ConfigurationError, match="a SimpleVectorStore cannot be listed; give nodes="):
        adopted(store, docstore)
    assert adopted(store, docstore, nodes=lambda: iter(nodes), dry_run=False).restored == 2
    assert adopted(store, docstore, nodes=list(nodes)).known == 2
    assert adopted(store, docstore, nodes=[Document(text="t")]).without_hash == 1
    with pytest.raises(ArgumentTypeError, match="nodes holds a int"):
        adopted(store, docstore, nodes=[1])
    with pytest.raises(ConfigurationError, match="the docstore is a SimpleDocumentStore"):
        adopted(store, SimpleDocumentStore())
