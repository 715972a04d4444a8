"""Adoption of children in LangChain's vector store in memory: what is matched, what is not, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_text_splitters import CharacterTextSplitter

from docshelf import ArgumentTypeError, ConfigurationError, MoveError
from langchain_docshelf import (
    AdoptionReport,
    ParentDocumentRetriever,
    aadopt,
    adopt,
    parent_ids,
    sync_parent_documents,
)
from langchain_docshelf.adoption.matching import Digester
from langchain_docshelf.vector_access import Child
from tests.adapters.langchain.twins import Twin
from tests.adapters.langchain.vectors import Vectors
from tests.support.face import Loop

Adopt = Callable[..., AdoptionReport]
PARAGRAPHS = CharacterTextSplitter(separator="\n\n", chunk_size=12, chunk_overlap=0)


def page(number: int, source: str = "a.md", *lines: str) -> Document:
    text = "\n\n".join(lines or (f"page {number}", f"words of {number}", f"end of {number}"))
    return Document(page_content=text, metadata={"source": source, "number": number})


def classic(vectors: Any, docstore: Any) -> ClassicRetriever:
    return ClassicRetriever(vectorstore=vectors, docstore=docstore, child_splitter=PARAGRAPHS)


@pytest.fixture
def call(mode: str, loop: Loop) -> Adopt:
    """`adopt`, sync and async."""
    if mode == "sync":
        return adopt
    return lambda *args, **options: loop.run(aadopt(*args, **options))


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture
def old(vectors: Vectors) -> InMemoryStore:
    """Ten parents that langchain-classic put into the vector store."""
    store = InMemoryStore()
    classic(vectors, store).add_documents([page(number, f"{number % 2}.md") for number in range(10)])
    vectors.counting.take()
    return store


def test_nothing_is_embedded_and_an_edit_costs_its_chunk(
    new_store: Callable[..., Twin], call: Adopt, vectors: Vectors, old: InMemoryStore
) -> None:
    docstore = new_store().of
    retriever = classic(vectors, docstore)
    planned = call(retriever, old)
    assert planned.moved is not None
    assert (planned.adopted, planned.moved.counts["INS"], docstore.shelf.count()) == (30, 10, 0)
    report = call(retriever, old, dry_run=False)
    assert (report.parents, report.adopted, report.missing, report.orphaned) == (10, 30, 0, 0)
    assert report.counts == {"INS": 30, "UPD": 0, "SKIP": 0, "DEL": 0}
    assert call(retriever, dry_run=False).known == 30
    pages = [page(number, f"{number % 2}.md") for number in range(10)]
    sync_parent_documents(retriever, pages, ids=parent_ids(retriever, pages))
    assert vectors.counting.take() == 0
    pages[3] = page(3, "1.md", "page 3", "an edit", "end of 3")
    report_of_edit = sync_parent_documents(retriever, pages, ids=parent_ids(retriever, pages))
    assert (report_of_edit.embedded, report_of_edit.removed, vectors.counting.take()) == (1, 1, 1)
    assert len(vectors.children) == 30


def test_a_child_of_one_of_several_sources_is_ambiguous_and_stays(
    new_store: Callable[..., Twin], call: Adopt, vectors: Vectors
) -> None:
    docstore = new_store().of
    own = ParentDocumentRetriever(vectorstore=vectors, docstore=docstore, child_splitter=PARAGRAPHS)
    # One key in two files, with one paragraph in common. Children of classic retrievers do not say their source.
    metadata = {"number": 1}
    for source, last in (("a.md", "only a"), ("b.md", "only b")):
        docstore.shelf.set("k", Document(page_content=f"shared\n\n{last}", metadata=metadata), source=source)
    texts = ("shared", "only a", "only b", "of nobody")
    vectors.add_documents(
        [Document(id=text, page_content=text, metadata={"doc_id": "k", **metadata}) for text in texts]
    )
    report = call(own, dry_run=False, delete_orphaned=True)
    assert (report.adopted, report.missing, report.ambiguous) == (2, 2, 1)
    assert (report.orphaned, report.without_parent, report.removed) == (1, 0, 1)
    assert set(report.examples) == {("ambiguous", "shared"), ("orphaned", "of nobody"), ("missing of", "k")}
    assert set(vectors.children) == {"shared", "only a", "only b"}
    assert "ambiguous: shared" in str(report)
    assert "ambiguous=1" in repr(report)


def test_orphaned_children_go_only_on_request(
    new_store: Callable[..., Twin], call: Adopt, vectors: Vectors, old: InMemoryStore
) -> None:
    docstore = new_store().of
    retriever = classic(vectors, docstore)
    old.mdelete(list(old.yield_keys())[:2])
    for options in ({}, {"dry_run": False}, {"delete_orphaned": True}):
        report = call(retriever, old, **options)
        assert (report.orphaned, report.without_parent, report.removed) == (6, 6, 0)
        assert len(vectors.children) == 30
    assert call(retriever, dry_run=False, delete_orphaned=True).removed == 6
    assert len(vectors.children) == 24


def test_nothing_is_adopted_where_parents_could_not_be_moved(
    new_store: Callable[..., Twin], call: Adopt, vectors: Vectors, old: InMemoryStore
) -> None:
    docstore = new_store().of
    old.mset([("bad", object())])
    with pytest.raises(MoveError, match=r"'bad' .* cannot be stored"):
        call(classic(vectors, docstore), old, dry_run=False)
    assert call(classic(vectors, docstore)).known == 0


class TestWhatIsCompared:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"n": 1}, {"n": 1.0}),
            ({"last digit": 90.28571428571429}, {"last digit": 90.28571428571428}),
            ({"almost": 3.0000000000000004}, {"almost": 3}),
            ({"t": (1, 2)}, {"t": [1, 2]}),
            ({"none": None}, {}),
            ({1: "a"}, {"1": "a"}),
            ({"deep": {"t": (None, {"a": None})}}, {"deep": {"t": [None, {}]}}),
            ({"big": 2**70}, {"big": float(2**70)}),
            ({"ignored": 1, "doc_id": "a", "where": "x"}, {}),
        ],
        ids=str,
    )
    def test_metadata_are_equal_as_stores_give_them_back(self, one: Any, other: Any) -> None:
        digester = Digester("doc_id", "where", ["ignored"])
        assert digester.of("text", one) == digester.of("text", other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"n": 1}, {"n": "1"}),
            ({"n": 1.5}, {"n": 1}),
            ({"n": 1.5}, {"n": 1.500001}),
            ({"n": 1_700_000_000.5}, {"n": 1_700_000_001.5}),
            ({"n": 2**62}, {"n": 2**62 + 1}),
            ({"n": True}, {"n": 1}),
            ({"n": math.inf}, {"n": math.nan}),
        ],
        ids=str,
    )
    def test_other_metadata_are_another_child(self, one: Any, other: Any) -> None:
        digester = Digester("doc_id", "", [])
        assert digester.of("text", one) != digester.of("text", other)
        assert digester.of("text", one) != digester.of("other", one)

    def test_a_number_of_any_size_is_compared(self) -> None:
        digester = Digester("doc_id", "", [])
        assert digester.of("text", {"n": 10**9_999}) != digester.of("text", {"n": 10**9_999 + 1})

    def test_a_child_that_names_no_parent_is_nobodys(self) -> None:
        digester = Digester("doc_id", "where", [])
        assert digester.found(Child("c", "text", {})) is None
        assert digester.found(Child("c", "text", {"doc_id": 7})) is None
        found = digester.found(Child(7, "text", {"doc_id": "k", "where": "a.md"}))
        assert found is not None
        assert (found.source, found.says_source, type(found).read(found.spooled())) == ("a.md", True, found)


def test_what_cannot_be_adopted_is_told(
    new_store: Callable[..., Twin], call: Adopt, vectors: Vectors, old: InMemoryStore
) -> None:
    docstore = new_store().of
    own = ParentDocumentRetriever(vectorstore=vectors, docstore=docstore, child_splitter=PARAGRAPHS)
    with pytest.raises(ConfigurationError, match="are for retrievers of langchain-classic; this one has them"):
        call(own, child_splitter=PARAGRAPHS)
    with pytest.raises(ArgumentTypeError, match="ignore_metadata='title': give a tuple of names"):
        call(own, ignore_metadata="title")
    with pytest.raises(ConfigurationError, match="is a InMemoryStore"):
        call(classic(vectors, old))
