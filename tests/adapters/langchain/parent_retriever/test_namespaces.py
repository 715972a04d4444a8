"""Each ledger has a namespace: children of equal documents have different ids in different ledgers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import DocShelf
from langchain_docshelf import DocShelfStore, ParentDocumentRetriever
from langchain_docshelf.parent_retriever import batch
from langchain_docshelf.parent_retriever.child_ids import former_child_id, is_in_namespace
from langchain_docshelf.vector_access.stores.in_memory import InMemory
from tests.adapters.langchain.parent_retriever.test_crashes import AFTER, BEFORE, KilledError, Killer
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, retriever_of, rows_of, state, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import BlindVectors, StrictVectors, Vectors
from tests.conftest import Location

DOCUMENTS = [page(text(name), f"{name}.md") for name in "abc"]


def namespace_of(retriever: ParentDocumentRetriever) -> str:
    entry = ledger_of(retriever).get_entry("namespace")
    assert entry is not None
    assert entry.version is not None
    return entry.version


def children_of(retriever: ParentDocumentRetriever) -> list[str]:
    return sorted(child for row in rows_of(retriever) for child in row.value["children"])


class TestOneVectorStore:
    def test_takes_the_children_of_equal_documents_of_two_databases(
        self, tmp_path: Path, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]
    ) -> None:
        vectors = Vectors()
        stores = [opened(DocShelfStore(tmp_path / name)) for name in ("one.db", "two.db")]
        first, second = (twin(retriever_of(store.shelf, "documents", vectors)) for store in stores)
        assert first.sync(DOCUMENTS).embedded == 9
        assert second.sync(DOCUMENTS, allow_unknown=True).embedded == 9
        for retriever in (first, second):
            assert numbers(retriever.sync(DOCUMENTS)) == (0, 0, 3, 0, 0, 9, 0)
        assert second.delete_source("a.md").removed == 3
        assert numbers(first.sync(DOCUMENTS)) == (0, 0, 3, 0, 0, 9, 0)
        assert len(vectors.children) == 9 + 6

    def test_takes_the_children_of_two_indexes(self, new_retriever: Callable[..., Twin], vectors: Vectors) -> None:
        for turn in range(2):
            for index in ("children", "v2"):
                report = new_retriever(index=index).sync(DOCUMENTS)
                assert (report.embedded, report.reused) == ((0, 9) if turn else (9, 0))
        assert len(vectors.children) == 18
        changed = [*DOCUMENTS[:2], page(text("other"), "c.md")]
        assert new_retriever(index="v2").sync(changed).removed == 3
        assert len(vectors.children) == 18


def test_a_renamed_collection_keeps_its_namespace(
    retriever: Twin, new_retriever: Callable[..., Twin], vectors: Vectors
) -> None:
    retriever.sync(DOCUMENTS)
    namespace = namespace_of(retriever.of)
    Twin(retriever.of.docstore, retriever.mode, retriever.loop).rename_collection("papers")
    renamed = new_retriever(docstore=retriever.of.docstore)
    assert renamed.sync([page(text("new"), "d.md")]).embedded == 3
    assert namespace_of(renamed.of) == namespace
    assert all(is_in_namespace(child, namespace) for child in vectors.children)


def test_runs_that_are_all_the_first_use_one_namespace(place: Location) -> None:
    with DocShelf(place.url) as shelf:
        shelf.setup()
        vectors = Vectors()

        def sync(number: int) -> int:
            retriever = retriever_of(shelf, "c", vectors)
            return retriever.sync([page(text(f"d{number}"), f"{number}.md")]).embedded

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(sync, range(8))) == 24
        retriever = retriever_of(shelf, "c", vectors)
        assert all(is_in_namespace(child, namespace_of(retriever)) for child in vectors.children)
        assert sorted(vectors.children) == children_of(retriever)


class TestFormerLedgers:
    """Ledgers from before there were namespaces: what is live in them is not embedded again."""

    FIXED = page("fixed text.of two", "s", n=1)
    # What such ledgers hold: a change here embeds the children of users anew.
    FIXED_CHILDREN = ("0e7d4c48-ed16-5c63-b122-39afa7fa3fa6", "e1985770-e76b-5624-b16a-a823034c1547")

    @pytest.fixture
    def former(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[ParentDocumentRetriever, list[Document]], None]:
        """Syncs documents as versions without namespaces did."""

        def sync(retriever: ParentDocumentRetriever, documents: list[Document]) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(batch, "child_id", lambda _, content, ordinal: former_child_id(content, ordinal))
                retriever.sync(documents)
            ledger_of(retriever).mdelete(["namespace"])

        return sync

    def test_their_ids_stay_and_only_new_children_get_others(
        self, retriever: Twin, vectors: Vectors, former: Callable[..., None]
    ) -> None:
        former(retriever.of, [self.FIXED, *DOCUMENTS])
        before = set(vectors.children)
        assert before >= set(self.FIXED_CHILDREN)
        assert numbers(retriever.sync([self.FIXED, *DOCUMENTS])) == (0, 0, 4, 0, 0, 11, 0)
        assert retriever.of.docstore.shelf.view("documents/children").count() == 4, "nothing was written"
        edited = [self.FIXED, *DOCUMENTS[1:], given("a", "a", "a.md"), given("k", "k", "k.md")]
        assert retriever.sync(edited, scope="collection").embedded == 3 + 3
        namespace = namespace_of(retriever.of)
        assert {child for child in vectors.children if not is_in_namespace(child, namespace)} <= before
        assert sorted(vectors.children) == children_of(retriever.of)

    def test_an_edit_reuses_the_children_that_are_as_they_were(
        self, retriever: Twin, vectors: Vectors, former: Callable[..., None]
    ) -> None:
        def document(*parts: str) -> Document:
            return Document(id="k", page_content=".".join(parts), metadata={"source": "s"})

        parts = [f"part {number:05}" for number in range(20)]
        former(retriever.of, [document(*parts)])
        before = set(vectors.children)
        assert numbers(retriever.sync([document(*parts[:7], "another one", *parts[8:])])) == (0, 1, 0, 0, 1, 19, 1)
        assert len(before & set(vectors.children)) == 19
        assert numbers(retriever.sync([document("first of all", *parts[8:])])) == (0, 1, 0, 0, 1, 12, 8)
        assert numbers(retriever.sync([document("first of all", *parts[8:])], reindex=True)) == (0, 0, 1, 0, 0, 13, 0)

    @pytest.mark.parametrize("kind", [Vectors, StrictVectors, BlindVectors])
    def test_children_that_the_vector_store_lost_come_back(
        self, new_retriever: Callable[..., Twin], former: Callable[..., None], kind: Callable[[], Vectors]
    ) -> None:
        vectors = kind()
        retriever = new_retriever(vectorstore=vectors)
        former(retriever.of, DOCUMENTS)
        before = set(vectors.children)
        for child in list(vectors.store)[::2]:
            del vectors.store[child]
        blind = isinstance(vectors, BlindVectors)
        assert numbers(retriever.sync(DOCUMENTS, reindex=True))[4:] == ((9, 0, 0) if blind else (5, 4, 0))
        assert numbers(retriever.sync(DOCUMENTS))[4:] == (0, 9, 0)
        # Another collection of one database may own the ids that are not there, so these are not used again.
        assert len(before & set(vectors.children)) == (9 if blind else 4)
        assert sorted(vectors.children) == children_of(retriever.of)

    def test_all_ids_are_looked_for_once_where_another_collection_may_own_them(
        self, retriever: Twin, vectors: Vectors, former: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(InMemory, "shares_ids", True)
        assert numbers(retriever.sync([]))[4:] == (0, 0, 0)
        assert ledger_of(retriever.of).count() == 0, "a ledger that no run has used stays new"
        documents = [given(f"d{number}", f"w{number}", f"{number}.md") for number in range(20)]
        former(retriever.of, documents)
        # No sample of first children shows it, and neither does the source of the first sync.
        for child, stored in list(vectors.store.items()):
            if stored["text"] in ("w3 part 002", "w8 part 001"):
                del vectors.store[child]
        before = set(vectors.children)
        assert retriever.sync(documents, dry_run=True).embedded > 0
        assert retriever.changed_sources({"0.md": "1"}) == ["0.md"]
        assert ledger_of(retriever.of).get_entry("namespace") is None
        assert retriever.sync(documents[:1]).embedded == 0
        assert numbers(retriever.sync(documents))[4:] == (2, 58, 0)
        assert before < set(vectors.children)
        assert numbers(retriever.sync(documents))[4:] == (0, 60, 0)

    def test_a_ledger_that_is_right_is_looked_through_once(
        self, retriever: Twin, vectors: Vectors, former: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(InMemory, "shares_ids", True)
        former(retriever.of, DOCUMENTS)
        assert numbers(retriever.sync(DOCUMENTS)) == (0, 0, 3, 0, 0, 9, 0)
        assert namespace_of(retriever.of)
        assert children_of(retriever.of) == sorted(vectors.children)

    @pytest.mark.parametrize(
        ("kind", "reindex"), [(Vectors, False), (Vectors, True), (StrictVectors, True), (BlindVectors, True)]
    )
    def test_a_sync_after_a_kill_at_any_step_ends_as_a_clean_one(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        former: Callable[..., None],
        kind: Callable[[], Vectors],
        reindex: bool,
    ) -> None:
        with DocShelf(tmp_path / "x.db") as shelf:
            clean = retriever_of(shelf, "clean", kind())
            clean.sync(BEFORE)
            clean.sync(AFTER)
            at, killed = 0, True
            while killed:
                at += 1
                retriever = retriever_of(shelf, f"killed at {at}", kind())
                former(retriever, BEFORE)
                with monkeypatch.context() as patch:
                    Killer(patch, at, "halfway", lambda: None)
                    try:
                        retriever.sync(AFTER, reindex=reindex)
                    except KilledError:
                        pass
                    else:
                        killed = False
                retriever.sync(AFTER)
                assert state(retriever) == state(clean)
            assert at > 20
