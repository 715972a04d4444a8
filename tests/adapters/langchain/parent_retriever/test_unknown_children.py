"""A first run refuses a vector store with children of its documents that no record knows: they would be doubled."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_core.documents import Document

import langchain_docshelf
from docshelf import DocShelfError
from langchain_docshelf import DocShelfStore, UnknownChildrenError
from langchain_docshelf.parent_retriever import batch
from langchain_docshelf.parent_retriever.child_ids import former_child_id
from langchain_docshelf.vector_access.stores.in_memory import InMemory
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, sentences
from tests.adapters.langchain.twins import Twin
from tests.adapters.langchain.vectors import Vectors

DOCUMENTS = [given(name, name, f"{name}.md") for name in "abc"]


def put(vectors: Vectors, *parents: str, **metadata: Any) -> None:
    """Add a child of each of these parents, as another program does."""
    children = [
        Document(id=str(uuid.uuid4()), page_content=f"child of {key}", metadata={"doc_id": key, **metadata})
        for key in parents
    ]
    vectors.add_documents(children, ids=[str(child.id) for child in children])
    vectors.counting.take()


def test_a_first_run_is_refused_and_writes_nothing(retriever: Twin, vectors: Vectors) -> None:
    put(vectors, "b")
    runs: list[Callable[[], object]] = [
        lambda: retriever.sync(DOCUMENTS),
        lambda: retriever.sync(DOCUMENTS, dry_run=True),
        lambda: retriever.add_documents(DOCUMENTS),
    ]
    for run in runs:
        with pytest.raises(
            UnknownChildrenError, match=r"the Vectors has children .* of the document 'b' .*allow_unknown"
        ):
            run()
    assert issubclass(UnknownChildrenError, DocShelfError)
    assert list(retriever.of.docstore.yield_keys()) == []
    assert ledger_of(retriever.of).count() == 0
    assert (len(vectors.children), vectors.counting.take()) == (1, 0)


def test_allow_unknown_adds_all_children_beside_them(retriever: Twin, vectors: Vectors) -> None:
    put(vectors, "a", "b")
    assert retriever.sync(DOCUMENTS[:2], allow_unknown=True).embedded == 6
    assert retriever.add_documents(DOCUMENTS[2:]).embedded == 3, "only a first run is refused"
    assert len(vectors.children) == 2 + 9
    other = Vectors()
    put(other, "a")
    retriever.of.vectorstore = other
    assert retriever.add_documents(DOCUMENTS, allow_unknown=True).embedded == 9


def test_children_of_other_parents_are_not_looked_at(retriever: Twin, vectors: Vectors) -> None:
    put(vectors, "x", "y")
    put(vectors, "a", doc_source="another.md")
    vectors.add_documents([Document(id="z", page_content="no child", metadata={})])
    assert retriever.sync(DOCUMENTS).embedded == 9


def test_children_that_another_index_knows_are_not_unknown(
    new_retriever: Callable[..., Twin], vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_retriever(index="v1").sync(DOCUMENTS)
    # One from before there were namespaces.
    with monkeypatch.context() as patch:
        patch.setattr(batch, "child_id", lambda _, content, ordinal: former_child_id(content, ordinal))
        second = new_retriever(index="v2")
        second.sync(DOCUMENTS)
    ledger_of(second.of, "v2").mdelete(["namespace"])
    assert new_retriever(index="v3").sync(DOCUMENTS).embedded == 9
    put(vectors, "c")
    with pytest.raises(UnknownChildrenError, match="'c'"):
        new_retriever(index="v4").sync(DOCUMENTS)
    assert len(vectors.children) == 28


def test_a_vector_store_that_cannot_be_listed_is_not_scanned(
    retriever: Twin, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(vectors, "a")
    monkeypatch.setattr(InMemory, "can_list", False)
    assert retriever.sync(DOCUMENTS).embedded == 9


def test_only_a_first_run_lists_the_vector_store(retriever: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever.sync(DOCUMENTS)
    monkeypatch.setattr(InMemory, "page", None)
    monkeypatch.setattr(InMemory, "apage", None)
    assert numbers(retriever.sync(DOCUMENTS[:2], scope="collection")) == (0, 0, 2, 1, 0, 6, 3)
    assert retriever.sync([], scope="collection", allow_mass_delete=True).removed == 6
    assert retriever.add_documents(DOCUMENTS).embedded == 9


def test_a_deletion_is_never_refused(retriever: Twin, vectors: Vectors) -> None:
    put(vectors, "a")
    Twin(retriever.of.docstore, retriever.mode, retriever.loop).mset({"a": DOCUMENTS[0]})
    assert numbers(retriever.delete_source("a.md")) == (0, 0, 0, 1, 0, 0, 0)


def test_children_of_add_documents_of_langchain_classic_are_unknown(
    docstore: DocShelfStore, vectors: Vectors, twin: Callable[[Any], Twin]
) -> None:
    classic = ClassicRetriever(vectorstore=vectors, docstore=docstore, child_splitter=sentences())
    ids = [str(document.id) for document in DOCUMENTS]
    classic.add_documents(DOCUMENTS, ids=ids)
    package = twin(langchain_docshelf)
    with pytest.raises(UnknownChildrenError, match="'a'"):
        package.sync_parent_documents(classic, DOCUMENTS, ids=ids)
    assert len(vectors.children) == 9
    assert package.sync_parent_documents(classic, DOCUMENTS, ids=ids, allow_unknown=True).embedded == 9
