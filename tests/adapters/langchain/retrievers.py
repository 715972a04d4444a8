"""Retrievers to test, texts that split into a known number of children, and the state of a retriever."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import CharacterTextSplitter

from docshelf import DocShelf
from langchain_docshelf import DocShelfStore, ParentDocumentRetriever, RetrieverReport
from tests.adapters.langchain.vectors import Vectors


def sentences(size: int = 12) -> CharacterTextSplitter:
    """Splits at full stops."""
    return CharacterTextSplitter(separator=".", chunk_size=size, chunk_overlap=0)


def text(name: str, count: int = 3) -> str:
    """A text that `sentences` splits into `count` children."""
    return ".".join(f"{name} part {number:03}" for number in range(count))


def given(name: str, words: str, source: str = "s", **metadata: Any) -> Document:
    """A document with an id."""
    return Document(id=name, page_content=text(words), metadata={"source": source, **metadata})


def numbers(report: RetrieverReport) -> tuple[int, ...]:
    """INS, UPD, SKIP, DEL; embedded, reused, removed."""
    return (*report.counts.values(), report.embedded, report.reused, report.removed)


def retriever_of(
    shelf: DocShelf, collection: str, vectors: Vectors, chunk: int = 12, **options: Any
) -> ParentDocumentRetriever:
    docstore = DocShelfStore(shelf=shelf, collection=collection)
    splitter = sentences(chunk)
    return ParentDocumentRetriever(
        vectorstore=vectors, docstore=docstore, child_splitter=splitter, batch_size=2, **options
    )


def state(retriever: ParentDocumentRetriever) -> Any:
    """The whole state of a retriever: parents, ledger and children."""
    shelf = retriever.docstore.shelf
    assert isinstance(retriever.vectorstore, Vectors)
    return (
        sorted((e.key, e.source, str(e.value)) for e in shelf.yield_entries()),
        # Without the marks of the runs that wrote them.
        sorted(
            (e.key, e.source, str(e.version).split()[0], str(e.value)) for e in ledger_of(retriever).yield_entries()
        ),
        retriever.vectorstore.children,
    )


def ledger_of(retriever: ParentDocumentRetriever) -> DocShelf:
    shelf = retriever.docstore.shelf
    return shelf.view(f"{shelf.collection}/children", content_types=())
