"""The retriever on real vector stores: sync, edit, vanish, crash, second collection, large books, odd manners."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_core.documents import Document
from langchain_text_splitters import CharacterTextSplitter

from docshelf import ConfigurationError, DocShelfError
from docshelf.adapters import Flow
from langchain_docshelf import (
    DocShelfStore,
    ParentDocumentRetriever,
    RetrieverReport,
    async_parent_documents,
    sync_parent_documents,
)
from langchain_docshelf.parent_retriever import batch
from langchain_docshelf.parent_retriever.child_ids import former_child_id
from langchain_docshelf.vector_access import VectorAccess
from langchain_docshelf.vector_access.steps import _SystemClock
from langchain_docshelf.vector_access.stores.pgvector import PGVector
from tests.adapters.langchain.parent_retriever.test_crashes import KilledError, Killer
from tests.adapters.langchain.twins import Twin
from tests.adapters.langchain.vectors import AsyncVectors, LateVectors, RefusingVectors, Vectors
from tests.stacks.stores import Run, Stack, texts

NewDocstore = Callable[..., DocShelfStore]
Twinned = Callable[[Any], Twin]


def lines(parent: Document) -> list[Document]:
    """A child for each line."""
    return [Document(page_content=line, metadata=parent.metadata) for line in parent.page_content.splitlines()]


def document(name: str, *words: str, source: str | None = None) -> Document:
    """A document of a source of its name, with a line for each word."""
    text = "\n".join(f"{name} {word}" for word in words)
    return Document(id=name, page_content=text, metadata={"source": source or f"{name}.md"})


def folder(count: int, children: int = 3) -> list[Document]:
    return [document(f"d{number}", *(f"line{line}" for line in range(children))) for number in range(count)]


def retriever_of(store: Any, docstore: DocShelfStore, **options: Any) -> ParentDocumentRetriever:
    given = {"child_splitter": lines, "search_kwargs": {"k": 3}, **options}
    return ParentDocumentRetriever(vectorstore=store, docstore=docstore, **given)


def numbers(report: RetrieverReport) -> tuple[int, ...]:
    """INS, UPD, SKIP, DEL; embedded, reused, removed."""
    return (*report.counts.values(), report.embedded, report.reused, report.removed)


def lines_of(documents: list[Document]) -> Counter[str]:
    return Counter(line for one in documents for line in one.page_content.splitlines())


class TestEachStack:
    def test_what_is_edited_or_gone_is_that_in_the_vector_store(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        docstore = new_docstore()
        retriever = twin(retriever_of(stack.open(), docstore))
        documents = folder(20)
        assert numbers(retriever.sync(documents)) == (20, 0, 0, 0, 60, 0, 0)
        assert stack.embeddings.take() == 60
        assert texts(run, stack.open()) == lines_of(documents)
        # One line of one document is edited, one is new; another document vanishes.
        documents[4] = document("d4", "line0", "edited", "line2", "new")
        gone = documents.pop(7)
        again = twin(retriever_of(stack.open(), docstore))
        assert numbers(again.sync(documents, scope="collection")) == (0, 1, 18, 1, 2, 56, 4)
        assert stack.embeddings.take() == 2
        assert texts(run, stack.open()) == lines_of(documents)
        assert [found.id for found in again.invoke("d4 edited", k=1)] == ["d4"]
        assert gone.id not in {found.id for found in again.invoke("d7 line0")}
        stack.embeddings.take()
        assert numbers(again.sync(documents)) == (0, 0, 19, 0, 0, 58, 0)
        assert numbers(again.sync(documents, reindex=True)) == (0, 0, 19, 0, 0, 58, 0)
        assert again.delete_source("d4.md").removed == 4
        assert again.add_documents([document("d4", "line0")]).embedded == 1
        assert stack.embeddings.take() == 1
        assert texts(run, stack.open()) == lines_of([*documents[:4], document("d4", "line0"), *documents[5:]])

    def test_a_store_that_lost_its_children_is_filled_again(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        docstore = new_docstore()
        documents, store = folder(30), stack.open()
        retriever = twin(retriever_of(store, docstore))
        retriever.sync(documents)
        stack.embeddings.take()
        every = run(VectorAccess(store).list_children("doc_id").next())
        run(VectorAccess(store).delete(child.id for child in every))
        assert texts(run, store) == Counter()
        assert numbers(retriever.sync(documents)) == (0, 0, 30, 0, 90, 0, 0)
        assert texts(run, store) == lines_of(documents)
        # Some of them, as somebody deleted these.
        run(VectorAccess(store).delete([child.id for child in every][10:40]))
        assert numbers(retriever.sync(documents, reindex=True)) == (0, 0, 30, 0, 30, 60, 0)
        assert texts(run, store) == lines_of(documents)
        assert stack.embeddings.take() == 120

    def test_two_collections_of_one_place_are_each_filled_once(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        documents = folder(10)
        first = twin(retriever_of(stack.open("a"), new_docstore()))
        second = twin(retriever_of(stack.open("b"), new_docstore()))
        for retriever in (first, second):
            assert numbers(retriever.sync(documents)) == (10, 0, 0, 0, 30, 0, 0)
        for retriever in (first, second):
            assert numbers(retriever.sync(documents)) == (0, 0, 10, 0, 0, 30, 0)
            assert [found.id for found in retriever.invoke("d4 line1", k=1)] == ["d4"]
        second.delete_source("d4.md")
        assert texts(run, stack.open("a")) == lines_of(documents)
        assert texts(run, stack.open("b")) == lines_of([*documents[:4], *documents[5:]])

    def test_two_indexes_on_one_document_store_are_each_filled_once(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        docstore = new_docstore()
        documents = folder(10)
        for turn in range(2):
            for name in ("children", "v2"):
                report = twin(retriever_of(stack.open(name), docstore, index=name)).sync(documents)
                assert (report.embedded, report.reused) == ((0, 30) if turn else (30, 0))
        for name in ("children", "v2"):
            assert texts(run, stack.open(name)) == lines_of(documents)

    def test_a_sync_that_dies_at_any_step_ends_as_a_clean_one_when_it_runs_again(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = [document("same", "a", "b"), document("old", "a", "b"), document("gone", "a"), document("x", "a")]
        after = [document("same", "a", "b"), document("old", "a", "c", "d"), document("new", "a"), document("x", "a")]
        docstore = new_docstore()
        at, died = 0, True
        while died:
            at += 1
            store = stack.open(f"c{at}")
            retriever = retriever_of(store, DocShelfStore(shelf=docstore.shelf, collection=f"c{at}"), batch_size=2)
            twin(retriever).sync(before)
            with monkeypatch.context() as patch:
                Killer(patch, at, "halfway", lambda: None)
                try:
                    twin(retriever).sync(after, scope="collection")
                except KilledError:
                    pass
                else:
                    died = False
            stack.embeddings.take()
            again = twin(retriever).sync(after, scope="collection")
            assert texts(run, store) == lines_of(after), at
            assert stack.embeddings.take() == again.embedded <= 3
            assert numbers(twin(retriever).sync(after, scope="collection")) == (0, 0, 4, 0, 0, 7, 0)
        assert at > 15

    def test_a_book_of_ten_thousand_children(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        book = document("book", *(f"{number:05}" for number in range(10_000)))
        retriever = twin(retriever_of(stack.open(), new_docstore(), batch_size=1))
        assert numbers(retriever.sync([book])) == (1, 0, 0, 0, 10_000, 0, 0)
        assert numbers(retriever.sync([book], reindex=True)) == (0, 0, 1, 0, 0, 10_000, 0)
        assert texts(run, stack.open()) == lines_of([book])
        assert stack.embeddings.take() == 10_000
        assert retriever.delete_source("book.md").removed == 10_000
        assert texts(run, stack.open()) == Counter()

    def test_a_book_whose_sync_died_half_way_keeps_what_was_paid(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book = document("book", *(f"{number:05}" for number in range(1000)))
        retriever = twin(retriever_of(stack.open(), new_docstore()))
        embed = stack.embeddings.embed_documents

        def die(given: list[str]) -> list[list[float]]:
            if len(stack.embeddings.texts) >= 600:
                raise ConnectionError("the model is gone")
            return embed(given)

        with monkeypatch.context() as patch:
            patch.setattr(stack.embeddings, "embed_documents", die)
            with pytest.raises(ConnectionError, match="the model is gone"):
                retriever.sync([book])
        paid = stack.embeddings.take()
        assert paid >= 600
        retriever.sync([book])
        # A store that embeds in small batches of its own may lose those of the chunk that failed.
        assert stack.embeddings.take() <= 1000 - 500
        assert texts(run, stack.open()) == lines_of([book])

    def test_a_retriever_of_langchain_classic_is_synced(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, mode: str
    ) -> None:
        splitter = CharacterTextSplitter(separator="\n", chunk_size=8, chunk_overlap=0)
        classic = ClassicRetriever(vectorstore=stack.open(), docstore=new_docstore(), child_splitter=splitter)

        def sync(documents: list[Document]) -> RetrieverReport:
            if mode == "sync":
                return sync_parent_documents(classic, documents)
            return stack.loop.run(async_parent_documents(classic, documents))

        assert sync(folder(5)).embedded == 15
        report = sync([*folder(4), document("d4", "line0", "other")])
        assert (report.embedded, report.reused, report.removed) == (1, 13, 2)
        assert texts(run, stack.open()) == lines_of([*folder(4), document("d4", "line0", "other")])

    def test_children_that_no_ledger_knows_are_told_before_they_are_doubled(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        documents, store, docstore = folder(10), stack.open(), new_docstore()
        unknown = [
            Document(id=str(uuid.uuid4()), page_content=line, metadata={**one.metadata, "doc_id": one.id})
            for one in documents[5:]
            for line in one.page_content.splitlines()
        ]
        stack.do(store, "add_documents", unknown, ids=[one.id for one in unknown])
        stack.embeddings.take()
        retriever = twin(retriever_of(store, docstore))
        with pytest.raises(DocShelfError, match="allow_unknown=True"):
            retriever.sync(documents)
        assert stack.embeddings.take() == 0
        assert list(docstore.yield_keys()) == []
        assert texts(run, store) == lines_of(documents[5:])
        # Those of other parents are none of its business.
        assert numbers(retriever.sync(documents[:5])) == (5, 0, 0, 0, 15, 0, 0)
        other = twin(retriever_of(store, new_docstore()))
        assert numbers(other.sync(documents, allow_unknown=True)) == (10, 0, 0, 0, 30, 0, 0)

    def test_children_that_another_index_knows_are_not_unknown(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        docstore, documents = new_docstore(), folder(10)
        assert twin(retriever_of(stack.open(), docstore)).sync(documents).embedded == 30
        assert twin(retriever_of(stack.open(), docstore, index="v2")).sync(documents).embedded == 30
        assert texts(run, stack.open()) == lines_of(documents) + lines_of(documents)

    def test_another_embedding_version_embeds_all_anew(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        docstore, documents = new_docstore(), folder(5)
        assert twin(retriever_of(stack.open(), docstore, embedding_version="1")).sync(documents).embedded == 15
        report = twin(retriever_of(stack.open(), docstore, embedding_version="2")).sync(documents)
        assert (report.embedded, report.removed) == (15, 15)
        assert texts(run, stack.open()) == lines_of(documents)


class TestPGVector:
    @pytest.fixture
    def stack(self, new_stack: Callable[[str], Stack]) -> Stack:
        return new_stack("pgvector")

    def test_a_copy_of_the_documents_cannot_take_the_children_of_the_original(
        self, stack: Stack, run: Run, new_docstore: NewDocstore, twin: Twinned, tmp_path: Path
    ) -> None:
        # As with a backup of the documents that is used for a second collection in the same database of vectors.
        original, copy = tmp_path / "original.db", tmp_path / "copy.db"
        documents = folder(10)
        docstore = new_docstore(str(original))
        twin(retriever_of(stack.open("a"), docstore)).sync(documents)
        docstore.close()
        shutil.copy(original, copy)
        stack.embeddings.take()
        retriever = twin(retriever_of(stack.open("b"), new_docstore(str(copy)), verify_seconds=0))
        for _ in range(2):
            with pytest.raises(DocShelfError, match="another collection of this database owns"):
                retriever.sync(documents)
        assert stack.embeddings.take() == 0
        assert texts(run, stack.open("a")) == lines_of(documents)
        assert texts(run, stack.open("b")) == Counter()

    @pytest.mark.parametrize(("own", "shared"), [(0, 10), (40, 1)], ids=["all", "some"])
    def test_a_collection_that_former_versions_left_without_children_gets_them(
        self,
        stack: Stack,
        run: Run,
        new_docstore: NewDocstore,
        twin: Twinned,
        monkeypatch: pytest.MonkeyPatch,
        own: int,
        shared: int,
    ) -> None:
        first = [document("a", "of a"), *folder(shared)]
        second = [*folder(shared), *(document(f"own{number}", "line") for number in range(own))]
        docstores = {"a": new_docstore(), "b": new_docstore()}
        with monkeypatch.context() as patch:
            # Their ids had no namespace, and they did not look for what they had added.
            patch.setattr(batch, "child_id", lambda _, content, ordinal: former_child_id(content, ordinal))
            patch.setattr(PGVector, "shares_ids", False)
            patch.setattr(VectorAccess, "verify", unverified)
            for name, documents in (("a", first), ("b", second)):
                twin(retriever_of(stack.open(name), docstores[name])).sync(documents)
                docstores[name].shelf.view("documents/children", content_types=()).mdelete(["namespace"])
        assert texts(run, stack.open("b")) == lines_of(second[shared:])
        stack.embeddings.take()
        retriever = twin(retriever_of(stack.open("b"), docstores["b"]))
        assert retriever.sync(second, dry_run=True).embedded > 0
        for source in [second[-1].metadata["source"], None]:  # a sync of one source checks the others, too
            some = [one for one in second if source in (None, one.metadata["source"])]
            retriever.sync(some)
        assert stack.embeddings.take() == 3 * shared
        assert texts(run, stack.open("b")) == lines_of(second)
        assert texts(run, stack.open("a")) == lines_of(first)
        for name, documents in (("a", first), ("b", second)):
            assert twin(retriever_of(stack.open(name), docstores[name])).sync(documents).embedded == 0
        assert stack.embeddings.take() == 0

    def test_a_store_made_for_the_other_half_is_refused_before_anything_is_written(
        self, stack: Stack, new_docstore: NewDocstore, twin: Twinned, mode: str
    ) -> None:
        stack.mode = "async" if mode == "sync" else "sync"
        docstore = new_docstore()
        with pytest.raises(ConfigurationError, match=f"{mode} calls need"):
            twin(retriever_of(stack.open(), docstore)).sync(folder(2))
        assert list(docstore.yield_keys()) == []


class TestOddStores:
    """Manners that no store of the stacks shows on one machine."""

    def test_a_store_that_shows_additions_late_is_waited_for(
        self, new_docstore: NewDocstore, twin: Twinned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = LateVectors()
        slept = clock(monkeypatch, store.catch_up)
        retriever = twin(retriever_of(store, new_docstore()))
        assert numbers(retriever.sync(folder(10))) == (10, 0, 0, 0, 30, 0, 0)
        assert slept
        slept.clear()
        assert numbers(retriever.sync(folder(10))) == (0, 0, 10, 0, 0, 30, 0)
        assert slept == []
        assert store.counting.take() == 30

    def test_a_store_that_does_not_show_them_in_time_leaves_the_rows_pending(
        self, new_docstore: NewDocstore, twin: Twinned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = LateVectors()
        slept = clock(monkeypatch)
        retriever = twin(retriever_of(store, new_docstore(), verify_seconds=3))
        with pytest.raises(DocShelfError, match=r"are not in the LateVectors after 3 s.*raise verify_seconds"):
            retriever.sync(folder(10))
        assert sum(slept) == pytest.approx(3)
        assert store.counting.take() == 30
        store.catch_up()
        assert numbers(retriever.sync(folder(10))) == (0, 0, 10, 0, 0, 30, 0)
        assert store.counting.take() == 0

    def test_a_store_that_refuses_large_calls_takes_a_large_book(
        self, new_docstore: NewDocstore, twin: Twinned
    ) -> None:
        store = RefusingVectors(most=250)
        retriever = twin(retriever_of(store, new_docstore()))
        book = document("book", *(f"{number:05}" for number in range(3000)))
        documents = [book, *folder(100, children=10)]
        assert retriever.sync(documents).embedded == 4000
        assert numbers(retriever.sync(documents, reindex=True))[4:] == (0, 4000, 0)
        assert retriever.sync([], allow_mass_delete=True, scope="collection").removed == 4000
        assert store.children == {}

    def test_a_store_with_only_async_methods_is_refused_by_sync_calls_before_anything_is_written(
        self, new_docstore: NewDocstore
    ) -> None:
        docstore = new_docstore()
        retriever = retriever_of(AsyncVectors(), docstore)
        for write in (retriever.sync, retriever.add_documents):
            with pytest.raises(ConfigurationError, match="a AsyncVectors has only `adelete`"):
                write(folder(2))
        with pytest.raises(ConfigurationError, match="a AsyncVectors has only `adelete`"):
            retriever.delete_source("d0.md")
        assert list(docstore.yield_keys()) == []

    def test_a_store_with_only_async_methods_serves_async_calls(
        self, new_docstore: NewDocstore, twin: Twinned, mode: str
    ) -> None:
        if mode == "async":
            store = AsyncVectors()
            retriever = twin(retriever_of(store, new_docstore()))
            assert retriever.sync(folder(5)).embedded == 15
            assert retriever.sync(folder(4), scope="collection").removed == 3

    def test_a_store_that_cannot_be_listed_is_not_scanned(
        self, new_docstore: NewDocstore, twin: Twinned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from langchain_docshelf.vector_access.stores.in_memory import InMemory

        store = Vectors()
        store.add_documents([Document(id="x", page_content="d0 line0", metadata={"doc_id": "d0"})])
        monkeypatch.setattr(InMemory, "can_list", False)
        assert twin(retriever_of(store, new_docstore())).sync(folder(5)).embedded == 15


def unverified(*_: Any) -> Flow[bool]:
    """Takes the place of `VectorAccess.verify`, and looks for nothing."""
    yield from ()
    return True


def clock(monkeypatch: pytest.MonkeyPatch, on_sleep: Callable[[], object] = lambda: None) -> list[float]:
    """Make time pass as it is slept, and call something then; what was slept."""
    slept: list[float] = []

    def sleep(self: _SystemClock, seconds: float) -> None:
        slept.append(seconds)
        on_sleep()

    async def asleep(self: _SystemClock, seconds: float) -> None:
        sleep(self, seconds)

    monkeypatch.setattr(_SystemClock, "now", lambda self: sum(slept))
    monkeypatch.setattr(_SystemClock, "sleep", sleep)
    monkeypatch.setattr(_SystemClock, "asleep", asleep)
    return slept
