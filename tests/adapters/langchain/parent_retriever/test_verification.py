"""After it added children, a run looks for some of them, and claims only what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import DocShelfError
from langchain_docshelf.vector_access.steps import _SystemClock
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, rows_of
from tests.adapters.langchain.twins import Twin
from tests.adapters.langchain.vectors import LateVectors, Vectors

DOCUMENTS = [given(f"d{number}", f"word{number}", f"{number}.md") for number in range(10)]
Clock = Callable[..., list[float]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Makes time pass without waiting, and calls something instead of each wait. Returns what was waited."""

    def install(on_sleep: Callable[[], object] = lambda: None) -> list[float]:
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

    return install


def test_a_vector_store_that_shows_additions_late_is_waited_for(
    new_retriever: Callable[..., Twin], clock: Clock
) -> None:
    vectors = LateVectors()
    slept = clock(vectors.catch_up)
    retriever = new_retriever(vectorstore=vectors, batch_size=5)
    assert numbers(retriever.sync(DOCUMENTS)) == (10, 0, 0, 0, 30, 0, 0)
    assert len(slept) == 2, "once for each batch"
    assert numbers(retriever.sync(DOCUMENTS)) == (0, 0, 10, 0, 0, 30, 0)
    assert (len(slept), vectors.counting.take()) == (2, 30)


@pytest.mark.parametrize("seconds", [0.0, 3.0, 10.0])
def test_one_that_does_not_show_them_in_time_is_an_error_and_rows_stay_pending(
    new_retriever: Callable[..., Twin], clock: Clock, seconds: float
) -> None:
    vectors = LateVectors()
    slept = clock()
    options = {} if seconds == 10 else {"verify_seconds": seconds}
    retriever = new_retriever(vectorstore=vectors, batch_size=5, **options)
    with pytest.raises(DocShelfError, match=rf"are not in the LateVectors after {seconds:g} s.*raise verify_seconds"):
        retriever.sync(DOCUMENTS)
    assert sum(slept) == pytest.approx(seconds)
    assert {str(row.version).partition(":")[0] for row in rows_of(retriever.of)} == {"pending"}
    assert vectors.counting.take() == 15, "only the first batch was added"
    vectors.catch_up()
    clock(vectors.catch_up)
    retriever = new_retriever(vectorstore=vectors, batch_size=5)
    assert numbers(retriever.sync(DOCUMENTS)) == (0, 0, 10, 0, 15, 15, 0)
    assert vectors.counting.take() == 15


class Forgetful(Vectors):
    """Loses the children of one document."""

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **options: Any) -> list[str]:
        kept = [document for document in documents if document.metadata["doc_id"] != "d7"]
        return super().add_documents(kept, [str(document.id) for document in kept], **options)

    async def aadd_documents(
        self, documents: list[Document], ids: list[str] | None = None, **options: Any
    ) -> list[str]:
        return self.add_documents(documents, ids, **options)


def test_finished_batches_stay_live_when_a_later_one_is_not_found(
    new_retriever: Callable[..., Twin], clock: Clock
) -> None:
    clock()
    vectors = Forgetful()
    retriever = new_retriever(vectorstore=vectors, batch_size=3)
    with pytest.raises(DocShelfError, match="of 9 children that were looked for after they were added, 3 are not in"):
        retriever.sync(DOCUMENTS)
    states = {row.value["parent"]: str(row.version).partition(":")[0] for row in rows_of(retriever.of)}
    assert states == {f"d{number}": "live" if number < 6 else "pending" for number in range(9)}


class Meeting(Vectors):
    """Another run takes the rows of what was just added, and removes the children."""

    def __init__(self) -> None:
        super().__init__()
        self.meet: Callable[[], object] | None = None

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **options: Any) -> list[str]:
        added = super().add_documents(documents, ids, **options)
        if self.meet is not None:
            self.meet()
            self.delete(ids)
            self.meet = None
        return added

    async def aadd_documents(
        self, documents: list[Document], ids: list[str] | None = None, **options: Any
    ) -> list[str]:
        return self.add_documents(documents, ids, **options)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return super().get_by_ids(ids)


def test_children_that_another_run_removed_meanwhile_are_no_error(
    new_retriever: Callable[..., Twin], clock: Clock
) -> None:
    slept = clock()
    vectors = Meeting()
    retriever = new_retriever(vectorstore=vectors)
    ledger = ledger_of(retriever.of)
    vectors.meet = lambda: ledger.set_versions({row.key: "pending:0 by another" for row in rows_of(retriever.of)})
    report = retriever.sync(DOCUMENTS[:2])
    assert (numbers(report), report.unfinished) == ((2, 0, 0, 0, 12, 0, 0), False)
    assert slept == []
    assert len(vectors.children) == 6
    assert numbers(retriever.sync(DOCUMENTS[:2])) == (0, 0, 2, 0, 0, 6, 0)
