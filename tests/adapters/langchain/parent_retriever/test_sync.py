"""What a sync and an addition write, embed and remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    DocShelfError,
    MassDeleteError,
    UnsupportedValueError,
)
from langchain_docshelf import DocShelfStore, ParentDocumentRetriever
from tests.adapters.langchain.retrievers import ledger_of, numbers, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import Vectors
from tests.conftest import Location

CHILDREN_OF_A_NAMESPACE = ["d36e4291-e69c-5974-afa8-e035e822be65", "d36e4291-f730-57a2-978c-d604a1e3b8d6"]


class TestSync:
    def test_only_the_children_of_changed_documents_are_embedded(self, retriever: Twin, vectors: Vectors) -> None:
        documents = [page(text(f"d{number}"), f"{number}.md") for number in range(1000)]
        assert numbers(retriever.sync(documents)) == (1000, 0, 0, 0, 3000, 0, 0)
        assert vectors.counting.take() == 3000
        for number in range(0, 1000, 100):
            documents[number] = page(text(f"changed{number}", 2), f"{number}.md")
        report = retriever.sync(documents)
        assert (report.embedded, report.reused, report.removed) == (20, 2970, 30)
        assert vectors.counting.take() == 20
        assert len(vectors.children) == 2990
        assert numbers(retriever.sync(documents)) == (0, 0, 1000, 0, 0, 2990, 0)
        assert vectors.counting.take() == 0

    def test_a_document_with_an_id_keeps_it_when_its_text_changes(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([Document(id="a", page_content=text("old"), metadata={"source": "s"})])
        report = retriever.sync([Document(id="a", page_content=text("new", 2), metadata={"source": "s"})])
        assert numbers(report) == (0, 1, 0, 0, 2, 0, 3)
        assert {of["doc_id"] for _, of in vectors.children.values()} == {"a"}
        assert sorted(found for found, _ in vectors.children.values()) == ["new part 000", "new part 001"]

    def test_metadata_that_changes_reaches_the_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s", n=1)])
        assert numbers(retriever.sync([page(text("a"), "s", n=2)])) == (0, 1, 0, 0, 3, 0, 3)
        assert {of["n"] for _, of in vectors.children.values()} == {2}

    def test_metadata_in_hash_exclude_embed_nothing(
        self, place: Location, opened: Callable[[Any], Any], new_retriever: Callable[..., Twin]
    ) -> None:
        retriever = new_retriever(docstore=opened(DocShelfStore(place.url, hash_exclude=("mtime",))))
        retriever.sync([page(text("a"), "s", mtime=1)])
        assert numbers(retriever.sync([page(text("a"), "s", mtime=2)])) == (0, 0, 1, 0, 0, 3, 0)

    def test_a_document_that_is_gone_loses_its_row_and_its_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "s"), page(text("c"), "t")])
        report = retriever.sync([page(text("b"), "s")])
        assert numbers(report) == (0, 0, 1, 1, 0, 3, 3)
        assert {of["source"] for _, of in vectors.children.values()} == {"s", "t"}
        assert not any("a part" in found for found, _ in vectors.children.values())
        assert len(list(retriever.of.docstore.yield_keys())) == 2

    def test_emptying_a_source_removes_its_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "t")])
        with pytest.raises(MassDeleteError, match="source 's' would delete 1 of 1 entries and leave 0"):
            retriever.sync([], source="s")
        assert len(vectors.children) == 6
        assert numbers(retriever.sync([], source="s", allow_mass_delete=True)) == (0, 0, 0, 1, 0, 0, 3)
        assert {of["source"] for _, of in vectors.children.values()} == {"t"}

    def test_an_inserted_document_leaves_the_ids_of_others(self, retriever: Twin, vectors: Vectors) -> None:
        rows = [page(text(f"row{number}"), "table.csv") for number in range(5)]
        retriever.sync(rows)
        vectors.counting.take()
        assert numbers(retriever.sync([page(text("first"), "table.csv"), *rows])) == (1, 0, 5, 0, 3, 15, 0)
        assert vectors.counting.take() == 3

    def test_equal_documents_of_one_source_are_all_stored(self, retriever: Twin, vectors: Vectors) -> None:
        assert numbers(retriever.sync([page("blank", "s", page=3), page("blank", "s", page=7)]))[0] == 2
        assert sorted(of["page"] for _, of in vectors.children.values()) == [3, 7]

    def test_one_id_in_two_sources_is_two_documents(self, retriever: Twin, vectors: Vectors) -> None:
        for source in ("s", "t"):
            retriever.sync([Document(id="a", page_content=text(source), metadata={"source": source})])
        assert len(vectors.children) == 6
        assert numbers(retriever.delete_source("t"))[3:] == (1, 0, 0, 3)
        assert [found.metadata["source"] for found in retriever.invoke("s part")] == ["s"]

    def test_source_argument_takes_all_documents(self, retriever: Twin) -> None:
        retriever.sync([page(text("a"), "x"), page(text("b"))], source="s")
        assert [(source.source, source.entries) for source in retriever.of.docstore.sources()] == [("s", 2)]
        assert numbers(retriever.sync([page(text("b"))], source="s")) == (0, 0, 1, 1, 0, 3, 3)

    def test_scope_collection_deletes_the_documents_of_other_sources(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "t")])
        assert numbers(retriever.sync([page(text("a"), "s")]))[3] == 0
        assert numbers(retriever.sync([page(text("a"), "s")], scope="collection")) == (0, 0, 1, 1, 0, 3, 3)
        assert len(vectors.children) == 3

    def test_a_dry_run_reports_what_a_sync_would_do_and_writes_nothing(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "s")])
        vectors.counting.take()
        before = vectors.children
        changed = [page(text("a"), "s"), page(text("c", 2), "s")]
        report = retriever.sync(changed, dry_run=True)
        assert (report.dry_run, vectors.children, vectors.counting.take()) == (True, before, 0)
        done = retriever.sync(changed)
        assert numbers(report) == numbers(done) == (1, 0, 1, 1, 2, 3, 3)
        assert [change.key for change in report] == [change.key for change in done]

    @pytest.mark.parametrize("documents", [[], iter(()), {}])
    def test_a_sync_of_nothing_does_nothing(self, docstore: DocShelfStore, documents: Any) -> None:
        retriever = ParentDocumentRetriever(vectorstore=Vectors(), docstore=docstore, child_splitter=None)
        assert numbers(retriever.sync(documents)) == (0,) * 7

    def test_a_document_that_cannot_be_stored_is_refused_before_anything_is_written(
        self, retriever: Twin, vectors: Vectors
    ) -> None:
        with pytest.raises(UnsupportedValueError, match=r"metadata\.o: cannot store a object"):
            retriever.sync([page(text("a"), "s"), page(text("b"), "s", o=object())])
        with pytest.raises(ArgumentTypeError, match="document 1"):
            retriever.sync([page(text("a"), "s"), "text"])
        assert (vectors.children, retriever.of.docstore.sources()) == ({}, [])

    def test_documents_deleted_from_the_docstore_are_restored_by_a_sync(
        self, retriever: Twin, vectors: Vectors
    ) -> None:
        retriever.sync([page(text("a"), "s")])
        retriever.of.docstore.delete_source("s")
        assert retriever.invoke("a part") == []
        assert numbers(retriever.sync([page(text("a"), "s")])) == (1, 0, 0, 0, 0, 3, 0)
        assert retriever.invoke("a part") == [page(text("a"), "s")]

    def test_children_that_were_not_deleted_are_an_error_and_the_next_sync_deletes_them(
        self, retriever: Twin, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "s")])

        async def refuse(self: Vectors, ids: list[str]) -> bool:
            return False

        with monkeypatch.context() as patched:
            patched.setattr(Vectors, "delete", lambda self, ids: False)
            patched.setattr(Vectors, "adelete", refuse)
            with pytest.raises(DocShelfError, match="did not delete 3 stale children"):
                retriever.sync([page(text("a"), "s")])
        assert numbers(retriever.sync([page(text("a"), "s")]))[4:] == (0, 3, 3)
        assert len(vectors.children) == 3

    def test_ids_are_the_same_in_every_process(
        self, retriever: Twin, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        documents = [page("fixed text.of two", "s", n=1)]
        # What the first run of another process would draw.
        ledger_of(retriever.of).set_versions({"namespace": "a namespace"})
        retriever.sync(documents)
        assert list(retriever.of.docstore.yield_keys()) == ["124ed4e3-7453-5545-8b5f-77e92d320a05"]
        assert sorted(vectors.children) == CHILDREN_OF_A_NAMESPACE


class TestAdd:
    def test_add_documents_deletes_no_other_document(self, retriever: Twin, vectors: Vectors) -> None:
        assert numbers(retriever.add_documents([page(text("a"), "s")])) == (1, 0, 0, 0, 3, 0, 0)
        assert numbers(retriever.add_documents([page(text("b"), "s")])) == (1, 0, 0, 0, 3, 0, 0)
        assert numbers(retriever.add_documents([page(text("b"), "s")])) == (0, 0, 1, 0, 0, 3, 0)
        assert len(vectors.children) == 6

    def test_adding_a_changed_document_removes_its_old_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.add_documents([page(text("a"), "s"), page(text("b"), "s")], ids=["a", "b"])
        report = retriever.add_documents([page(text("c", 2), "s")], ids=["a"])
        assert numbers(report) == (0, 1, 0, 0, 2, 0, 3)
        assert len(vectors.children) == 5

    def test_a_sync_reuses_the_children_of_add_documents(self, retriever: Twin) -> None:
        retriever.add_documents([page(text("a"), "s"), page(text("b"), "s")])
        assert numbers(retriever.sync([page(text("a"), "s")])) == (0, 0, 1, 1, 0, 3, 3)

    def test_add_documents_needs_one_id_for_each_parent(self, retriever: Twin) -> None:
        with pytest.raises(ArgumentValueError, match="1 parent documents and 2 ids"):
            retriever.add_documents([page("a")], ids=["a", "b"])

    def test_ids_are_the_keys_of_the_parents(self, retriever: Twin) -> None:
        retriever.add_documents([page("a"), page("b")], ids=["x", "y"])
        assert retriever.of.docstore.mget(["y", "x"]) == [page("b"), page("a")]

    def test_delete_source_deletes_documents_and_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.add_documents([page(text("a"), "s"), page(text("b"), "t")])
        assert numbers(retriever.delete_source("s")) == (0, 0, 0, 1, 0, 0, 3)
        assert [source.source for source in retriever.of.docstore.sources()] == ["t"]
        assert numbers(retriever.delete_source("s")) == (0,) * 7


def test_show_progress_counts_the_parents_that_are_embedded(
    retriever: Twin, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [page(text(name), "s") for name in "abcdefg"]
    retriever.sync(documents)
    assert "embedding" not in capsys.readouterr().err
    retriever.sync([*documents, page("new", "s"), page("newer", "s")], show_progress=True)
    assert "2/2" in capsys.readouterr().err
    retriever.add_documents([page("newest", "s")], show_progress=True)
    assert "1/1" in capsys.readouterr().err


def test_a_renamed_collection_takes_its_ledger_along(
    retriever: Twin, new_retriever: Callable[..., Twin], vectors: Vectors
) -> None:
    documents = [page(text(name), "s") for name in "abc"]
    retriever.sync(documents)
    store = retriever.of.docstore
    renamed = new_retriever(docstore=store)
    assert Twin(store, retriever.mode, retriever.loop).rename_collection("papers") == 3
    assert numbers(renamed.sync(documents)) == (0, 0, 3, 0, 0, 9, 0)
    assert len(vectors.children) == 9
