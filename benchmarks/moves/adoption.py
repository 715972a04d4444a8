"""Adoption: the vectors of 2,000 parents, which langchain-classic or LlamaIndex embedded, become ours."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from llama_index.core import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import VectorStoreQuery
from sqlalchemy.engine import make_url

from benchmarks.moves.pages import metadata_of, parts, source_of, text_of
from langchain_docshelf import DocShelfStore, adopt, parent_ids, sync_parent_documents
from llama_index_docshelf import DocShelfDocumentStore, adopt_nodes
from tests.adapters.langchain.vectors import CountingEmbeddings
from tests.stacks.llama import LLAMA_STORES, SIZE, Lines
from tests.support.face import Loop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.stacks.stores import Stack

_CHUNK_CHARACTERS: Final = 500
_QUERIES: Final = 200
# The parent that is edited: the paragraph in its middle.
_EDITED: Final = 7
_NEW_PARAGRAPH: Final = "A paragraph that nobody has written before, about the price of vectors."


def measure(name: str, url: str, count: int) -> str:
    """Adopt the vectors of so many parents; returns the row of the table.

    Args:
        name: a name of `VECTOR_STORES`.
        url: a database with pgvector.
        count: how many parents.
    """
    title = {"pgvector": "PGVector", "pgvectorstore": "PGVectorStore", "postgres": "PGVectorStore", "faiss": "FAISS"}
    kind = name.removeprefix("llama_")
    adopted = _adopted_children if kind == name else _adopted_nodes
    return adopted(kind, title.get(kind, kind.capitalize()), url, count)


def _document(number: int, *, edited: bool = False) -> Document:
    """A parent of several paragraphs, one of which may be edited."""
    text = text_of(number)
    size = len(text) // 6
    paragraphs = [
        f"w{number}p{place} {text[place * size : (place + 1) * size]}".replace("\n\n", "\n") for place in range(6)
    ]
    if edited:
        paragraphs[3] = _NEW_PARAGRAPH
    return Document(page_content="\n\n".join(paragraphs), metadata=metadata_of(number))


# LangChain


def _adopted_children(kind: str, name: str, url: str, count: int) -> str:
    loop = Loop()
    stack = Stack(kind, "sync", loop, make_url(url).set(drivername="postgresql"))
    splitter = RecursiveCharacterTextSplitter(chunk_size=_CHUNK_CHARACTERS, chunk_overlap=0)
    try:
        with TemporaryDirectory(prefix="docshelf-moves-") as folder, DocShelfStore(f"{folder}/docs.db") as docstore:
            old = InMemoryStore()
            before = _classic(stack, old, splitter)
            for part in parts(count):
                before.add_documents([_document(number) for number in part])
            children = stack.embeddings.take()
            asked = [_document(number * count // _QUERIES) for number in range(_QUERIES)]
            queries = [splitter.split_documents([one])[1].page_content for one in asked]
            answers = [_texts(before.invoke(query)) for query in queries]

            after = _classic(stack, docstore, splitter)
            planned, plan_seconds = _timed(lambda: adopt(after, old))
            report, seconds = _timed(lambda: adopt(after, old, dry_run=False))
            _expect(
                name, (planned.adopted, report.adopted, report.missing, report.orphaned), (children, children, 0, 0)
            )
            of_adoption = stack.embeddings.take()
            documents = [_document(number) for number in range(count)]
            ids = parent_ids(after, documents)
            same = sync_parent_documents(after, documents, ids=ids, scope="collection")
            _expect(name, (same.counts["SKIP"], same.removed), (count, 0))
            of_sync = stack.embeddings.take()
            equal = sum(_texts(after.invoke(query)) == answer for query, answer in zip(queries, answers, strict=True))
            documents[_EDITED] = _document(_EDITED, edited=True)
            chunks = {one.page_content for one in splitter.split_documents([documents[_EDITED]])}
            former = {one.page_content for one in splitter.split_documents([_document(_EDITED)])}
            edited = sync_parent_documents(after, documents, ids=ids, scope="collection")
            of_edit = stack.embeddings.take()
            _expect(name, (of_adoption, of_sync, equal), (0, 0, _QUERIES))
            _expect(name, (of_edit, edited.removed), (len(chunks - former), len(former - chunks)))
            [new] = [chunk for chunk in chunks - former if _NEW_PARAGRAPH in chunk]
            _expect(name, _texts(after.invoke(new)), [documents[_EDITED].page_content])
    finally:
        stack.close()
        loop.close()
    return (
        f"| {name} | {children:,} | {plan_seconds:.1f} s | {seconds:.1f} s | {of_adoption} | {of_sync} | "
        f"{of_edit} of {len(chunks)} | {edited.removed} | {equal} of {_QUERIES} |"
    )


def _classic(stack: Any, docstore: Any, splitter: Any) -> ClassicRetriever:
    return ClassicRetriever(
        vectorstore=stack.open(), docstore=docstore, child_splitter=splitter, search_kwargs={"k": 1}
    )


def _texts(documents: list[Document]) -> list[str]:
    return [one.page_content for one in documents]


# LlamaIndex


_VECTORS: Final = CountingEmbeddings(SIZE)


class _Counting(MockEmbedding):
    embedded: int = 0

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self.embedded += len(texts)
        return [_VECTORS.embed_query(text) for text in texts]

    def take(self) -> int:
        count, self.embedded = self.embedded, 0
        return count


def _adopted_nodes(kind: str, name: str, url: str, count: int) -> str:
    vectors = LLAMA_STORES[kind](lambda: make_url(url))
    embedding = _Counting(embed_dim=SIZE)

    def pipeline(docstore: Any, strategy: DocstoreStrategy = DocstoreStrategy.UPSERTS_AND_DELETE) -> IngestionPipeline:
        return IngestionPipeline(
            transformations=[Lines(), embedding],
            docstore=docstore,
            vector_store=vectors,
            docstore_strategy=strategy,
            disable_cache=True,
        )

    documents = [_llama_document(number) for number in range(count)]
    with TemporaryDirectory(prefix="docshelf-moves-") as folder:
        old = pipeline(SimpleDocumentStore(), DocstoreStrategy.UPSERTS)
        for part in parts(count):  # Chroma takes some thousand nodes at once
            old.run(documents=[documents[number] for number in part])
        nodes = embedding.take()
        before = _found(vectors, count)
        with DocShelfDocumentStore(Path(folder, "docs.db")) as docstore:
            planned, plan_seconds = _timed(lambda: adopt_nodes(vectors, docstore))
            report, seconds = _timed(lambda: adopt_nodes(vectors, docstore, dry_run=False))
            _expect(name, (planned.nodes, planned.restored, report.restored), (nodes, count, count))
            of_adoption = embedding.take()
            pipeline(docstore).run(documents=documents)
            of_run = embedding.take()
            equal = sum(one == other for one, other in zip(_found(vectors, count), before, strict=True))
            documents[_EDITED] = _llama_document(_EDITED, edited=True)
            pipeline(docstore).run(documents=documents)
            of_edit = embedding.take()
    if kind == "postgres":
        asyncio.run(vectors.close())
    lines = len(documents[_EDITED].text.splitlines())
    _expect(name, (of_adoption, of_run, of_edit, equal), (0, 0, lines, _QUERIES))
    return (
        f"| {name} | {nodes:,} | {plan_seconds:.1f} s | {seconds:.1f} s | {of_adoption} | {of_run} | "
        f"{of_edit} of {lines} | {equal} of {_QUERIES} |"
    )


def _llama_document(number: int, *, edited: bool = False) -> LlamaDocument:
    text = _document(number, edited=edited).page_content
    paragraphs = "\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return LlamaDocument(text=paragraphs, id_=f"{source_of(number)}#{number}", metadata=metadata_of(number))


def _found(vectors: Any, count: int) -> list[Any]:
    """The texts that searches give."""
    asked = [_llama_document(number * count // _QUERIES) for number in range(_QUERIES)]
    queries = [_VECTORS.embed_query(one.text.splitlines()[1]) for one in asked]
    found = [vectors.query(VectorStoreQuery(query_embedding=query, similarity_top_k=1)) for query in queries]
    return [[node.get_content() for node in one.nodes] for one in found]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _expect(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{name}: {found!r} instead of {expected!r}")
