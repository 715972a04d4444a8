"""Calls of the vector store are bounded, and what a finished call added is not embedded again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever

import langchain_docshelf
from langchain_docshelf import DocShelfStore
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, rows_of, sentences
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import BlindVectors, RefusingVectors, Vectors

BOOK = page(".".join(f"line {number:06}" for number in range(400)), "book.md")
LEAFLETS = [page(f"leaflet {number:03}", f"{number}.md") for number in range(30)]


def sizes(vectors: RefusingVectors) -> dict[str, int]:
    """The size of the largest call of each method."""
    return {method: max(count for name, count in vectors.calls if name == method) for method, _ in vectors.calls}


@pytest.mark.parametrize(("most", "options"), [(40, {"vector_batch_size": 40}), (250, {})])
def test_no_call_is_larger_than_the_batch_size(
    new_retriever: Callable[..., Twin], most: int, options: dict[str, Any]
) -> None:
    vectors = RefusingVectors(most)
    retriever = new_retriever(vectorstore=vectors, **options)
    assert numbers(retriever.sync([BOOK, *LEAFLETS])) == (31, 0, 0, 0, 430, 0, 0)
    assert numbers(retriever.sync([BOOK, *LEAFLETS], reindex=True)) == (0, 0, 31, 0, 0, 430, 0)
    assert retriever.delete_source("book.md").removed == 400
    assert sizes(vectors) == {"add_documents": most, "get_by_ids": most, "delete": most}
    assert len(vectors.children) == 30


def test_the_limit_that_the_vector_store_tells_is_kept(new_retriever: Callable[..., Twin]) -> None:
    vectors = RefusingVectors(20)
    vectors.max_batch_size = 20  # type: ignore[attr-defined]
    assert new_retriever(vectorstore=vectors).sync([BOOK]).embedded == 400
    assert sizes(vectors)["add_documents"] == 20


def test_sync_parent_documents_takes_the_same_options(docstore: DocShelfStore, twin: Callable[[Any], Twin]) -> None:
    vectors = RefusingVectors(40)
    classic = ClassicRetriever(vectorstore=vectors, docstore=docstore, child_splitter=sentences())
    package = twin(langchain_docshelf)
    options = {"batch_size": 1, "vector_batch_size": 40, "verify_seconds": 0.0}
    assert numbers(package.sync_parent_documents(classic, [BOOK, *LEAFLETS], **options)) == (31, 0, 0, 0, 430, 0, 0)
    assert package.sync_parent_documents(classic, [BOOK], scope="collection", max_delete=1.0, **options).removed == 30
    assert sizes(vectors)["add_documents"] == 40


@pytest.mark.parametrize("kind", [Vectors, BlindVectors])
@pytest.mark.parametrize("documents", [[BOOK], [*LEAFLETS, BOOK], [BOOK, *LEAFLETS]], ids=["book", "last", "first"])
def test_calls_before_one_that_failed_are_not_made_again(
    new_retriever: Callable[..., Twin], monkeypatch: pytest.MonkeyPatch, kind: Callable[[], Vectors], documents: Any
) -> None:
    vectors = kind()
    retriever = new_retriever(vectorstore=vectors, vector_batch_size=50)
    embed = vectors.counting.embed_documents
    left = [3]

    def fail_at_last(texts: list[str]) -> list[list[float]]:
        if not left[0]:
            raise ConnectionError("the model is gone")
        left[0] -= 1
        return embed(texts)

    monkeypatch.setattr(vectors.counting, "embed_documents", fail_at_last)
    for calls in (3, 2, 0):
        left[0] = calls
        with pytest.raises(ConnectionError, match="the model is gone"):
            retriever.sync(documents)
        assert vectors.counting.take() == 50 * calls
    left[0] = 100
    total = 400 + 30 * (len(documents) > 1)
    assert retriever.sync(documents).embedded == vectors.counting.take() == total - 250
    assert numbers(retriever.sync(documents))[4:] == (0, total, 0)
    assert sorted(found for found, _ in vectors.children.values()) == sorted(
        line for document in documents for line in document.page_content.split(".")
    )


def test_what_a_vector_store_that_cannot_be_asked_has_is_doubted_once_its_row_is_obsolete(
    new_retriever: Callable[..., Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = BlindVectors()
    retriever = new_retriever(vectorstore=vectors, vector_batch_size=2)
    one, two = (given("k", name, n=number) for number, name in enumerate(("one", "two")))
    delete = BlindVectors.delete

    def fail(self: Any, *args: Any, **options: Any) -> None:
        raise ConnectionError("the vector store is gone")

    with monkeypatch.context() as patch:
        patch.setattr(vectors.counting, "embed_documents", lambda texts: fail(None) if len(texts) == 1 else [[1.0]] * 2)
        with pytest.raises(ConnectionError):
            retriever.sync([one])
    [row] = rows_of(retriever.of)
    assert str(row.version).startswith("pending:2 ")
    with monkeypatch.context() as patch:
        patch.setattr(BlindVectors, "delete", fail)
        patch.setattr(BlindVectors, "adelete", fail)
        with pytest.raises(ConnectionError):
            retriever.sync([two])
    assert {str(row.version).split(" ")[0] for row in rows_of(retriever.of)} == {"pending:0", "replacing:3"}
    assert BlindVectors.delete is delete
    vectors.counting.take()
    assert numbers(retriever.sync([one])) == (0, 1, 0, 0, 3, 0, 3)
    assert numbers(retriever.sync([one], reindex=True))[4:] == (3, 0, 0)
    assert len(vectors.children) == 3
    assert {str(row.version).split(" ")[0] for row in ledger_of(retriever.of).yield_entries() if "/" in row.key} == {
        "live:3"
    }
