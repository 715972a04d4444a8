"""Functions that make children: one that fails loses nothing that was paid, and it may be asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import ArgumentTypeError, ConfigurationError
from langchain_docshelf import DocShelfStore
from tests.adapters.langchain.retrievers import given, numbers, text
from tests.adapters.langchain.twins import Twin
from tests.adapters.langchain.vectors import Vectors

DOCUMENTS = [given(f"d{number:03}", f"word{number}", f"{number}.md") for number in range(150)]


class Summaries:
    """Makes a child of a parent, and counts its calls; fails at some of them.

    A retriever takes its methods: the attributes of an object would count as settings, and these change.
    """

    def __init__(self, *failing: int) -> None:
        self.calls = 0
        self.failing = failing
        self.threads: set[threading.Thread] = set()

    def make(self, parent: Document) -> list[Document]:
        self.calls += 1
        self.threads.add(threading.current_thread())
        if self.calls in self.failing:
            raise ConnectionError("the model is gone")
        return [Document(page_content=f"summary of {parent.id}")]

    async def amake(self, parent: Document) -> list[Document]:
        await asyncio.sleep(0)
        return self.make(parent)


@pytest.mark.parametrize("batch_size", [1, 40, 100, 1000])
def test_what_a_splitter_made_before_it_failed_is_not_made_again(
    new_retriever: Callable[..., Twin], vectors: Vectors, batch_size: int
) -> None:
    summaries = Summaries(95, 120)
    retriever = new_retriever(child_splitter=summaries.make, batch_size=batch_size)
    for embedded in (94, 24):
        with pytest.raises(ConnectionError, match="the model is gone"):
            retriever.sync(DOCUMENTS)
        assert vectors.counting.take() == embedded
        assert len({metadata["doc_id"] for _, metadata in vectors.children.values()}) == len(vectors.children)
    assert numbers(retriever.sync(DOCUMENTS)) == (0, 0, 150, 0, 32, 118, 0)
    assert summaries.calls == 150 + 2
    assert len(vectors.children) == 150


def test_a_splitter_that_fails_at_once_leaves_the_documents_for_the_next_run(
    new_retriever: Callable[..., Twin], vectors: Vectors
) -> None:
    retriever = new_retriever(child_splitter=Summaries(1).make)
    with pytest.raises(ConnectionError):
        retriever.sync(DOCUMENTS[:5])
    assert vectors.children == {}
    assert numbers(retriever.sync(DOCUMENTS[:5])) == (0, 0, 5, 0, 5, 0, 0)


class TestAsynchronous:
    """`async def` splitters."""

    @pytest.mark.parametrize("failing", [(), (95,)])
    def test_they_work_in_async_calls(self, new_retriever: Callable[..., Twin], vectors: Vectors, failing: Any) -> None:
        summaries = Summaries(*failing)
        retriever = new_retriever(child_splitter=summaries.amake)
        if retriever.mode == "sync":
            with pytest.raises(
                ConfigurationError, match=r"the child_splitter is asynchronous.*use async_, aadd_documents"
            ):
                retriever.sync(DOCUMENTS)
            assert (summaries.calls, list(retriever.of.docstore.yield_keys())) == (0, [])
            return
        if failing:
            with pytest.raises(ConnectionError):
                retriever.sync(DOCUMENTS)
        assert retriever.sync(DOCUMENTS, dry_run=True).embedded == 150 - (94 if failing else 0)
        calls = summaries.calls
        assert retriever.sync(DOCUMENTS).embedded == 150 - (94 if failing else 0)
        assert (calls, summaries.calls) == ((151, 207) if failing else (150, 300)), "a dry run calls it too"
        assert summaries.threads == {threading.main_thread()}
        assert len(vectors.children) == 150

    @pytest.mark.parametrize("kind", ["function", "partial", "function that returns an awaitable"])
    def test_they_may_be_of_any_kind(
        self, new_retriever: Callable[..., Twin], docstore: DocShelfStore, kind: str
    ) -> None:
        async def split(parent: Document, suffix: str = "") -> list[Document]:
            return [Document(page_content=f"summary of {parent.id}{suffix}")]

        kinds: dict[str, Any] = {
            "function": split,
            "partial": partial(split, suffix="!"),
            "function that returns an awaitable": lambda parent: split(parent),
        }
        retriever = new_retriever(child_splitter=kinds[kind])
        if retriever.mode == "async":
            assert retriever.add_documents(DOCUMENTS[:3]).embedded == 3
            return
        with pytest.raises(ConfigurationError, match="the child_splitter is asynchronous"):
            retriever.add_documents(DOCUMENTS[:3])
        # That a function returns an awaitable shows only when it is called.
        assert len(list(docstore.yield_keys())) == (3 if kind.startswith("function that") else 0)

    def test_they_have_to_return_documents(self, new_retriever: Callable[..., Twin]) -> None:
        async def split(parent: Document) -> Any:
            return "text"

        retriever = new_retriever(child_splitter=split)
        with pytest.raises((ArgumentTypeError, ConfigurationError), match=r"gave a str|is asynchronous"):
            retriever.sync(DOCUMENTS[:1])


@pytest.mark.parametrize("returned", ["text", None, 5, ["text"]])
def test_a_splitter_has_to_return_documents(new_retriever: Callable[..., Twin], returned: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"the child_splitter gave a .*; it has to give"):
        new_retriever(child_splitter=lambda parent: returned).sync(DOCUMENTS[:1])


def test_a_plain_function_runs_in_a_thread_beside_the_event_loop(new_retriever: Callable[..., Twin]) -> None:
    summaries = Summaries()
    retriever = new_retriever(child_splitter=summaries.make)
    retriever.sync(DOCUMENTS[:3])
    assert (threading.main_thread() in summaries.threads) == (retriever.mode == "sync")


def test_a_text_splitter_makes_the_same_children_in_sync_and_async(
    new_retriever: Callable[..., Twin], vectors: Vectors
) -> None:
    new_retriever().sync([given("k", "word", "s")])
    assert sorted(found for found, _ in vectors.children.values()) == text("word").split(".")
