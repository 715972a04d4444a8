"""Retrievers to test, texts that split into a known number of children, and the state of a retriever."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import CharacterTextSplitter

from docshelf import DocShelf, Entry
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
    """The whole state of a retriever: parents, ledger and children, without ids and marks, which differ by ledger."""
    shelf = retriever.docstore.shelf
    assert isinstance(retriever.vectorstore, Vectors)
    children = retriever.vectorstore.children
    return (
        sorted((e.key, e.source, str(e.value)) for e in shelf.yield_entries()),
        sorted(
            (
                row.key,
                row.source,
                str(row.version).split()[0],
                row.value["parent"],
                str([children.get(child, child) for child in row.value["children"]]),
            )
            for row in rows_of(retriever)
        ),
        sorted(map(str, children.values())),
    )


def rows_of(retriever: ParentDocumentRetriever) -> list[Entry]:
    """The rows of a retriever's ledger that are about one parent."""
    return [entry for entry in ledger_of(retriever).yield_entries() if entry.key.count("-") == 4]


def ledger_of(retriever: ParentDocumentRetriever, index: str = "children") -> DocShelf:
    shelf = retriever.docstore.shelf
    return shelf.view(f"{shelf.collection}/{index}", content_types=())
