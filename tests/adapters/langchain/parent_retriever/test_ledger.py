"""The record of what a vector store holds: rows that cannot be read, work that is left, and what a run costs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from sqlalchemy import text as sql

from docshelf import CorruptEntryWarning
from docshelf.adapters import Call
from langchain_docshelf.vector_access.stores.in_memory import InMemory
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, rows_of, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import Vectors
from tests.conftest import Location
from tests.support.markup import Seen

ONE, TWO = ([given("k", words, "s.md"), given("l", "other", "t.md")] for words in ("one", "two"))


@pytest.fixture
def spoil(place: Location, new_engine: Callable[..., Any]) -> Callable[[str], None]:
    """Makes the values of the rows of a source unreadable."""

    def run(source: str) -> None:
        statement = (
            f"UPDATE docshelf_entries SET encoding = 'evil' WHERE collection = 'documents/children' "
            f"AND source = '{source}' AND key <> 'namespace' AND key NOT LIKE 'note/%'"
        )
        with new_engine(place).begin() as connection:
            assert connection.execute(sql(statement)).rowcount > 0

    return run


class TestUnreadableRows:
    pytestmark = pytest.mark.filterwarnings("ignore:left out the entry:docshelf.CorruptEntryWarning")

    def test_the_children_of_an_older_version_are_found_by_listing(
        self, retriever: Twin, vectors: Vectors, spoil: Callable[[str], None]
    ) -> None:
        retriever.sync(ONE)
        spoil("s.md")
        report = retriever.sync(TWO)
        assert (numbers(report), report.unfinished) == ((0, 1, 1, 0, 3, 3, 3), False)
        assert sorted(found for found, _ in vectors.children.values()) == sorted(
            [*text("two").split("."), *text("other").split(".")]
        )
        assert len(rows_of(retriever.of)) == 2
        assert numbers(retriever.sync(TWO)) == (0, 0, 2, 0, 0, 6, 0)

    def test_children_that_both_versions_have_stay(
        self, retriever: Twin, vectors: Vectors, spoil: Callable[[str], None]
    ) -> None:
        def document(*parts: str) -> Document:
            return Document(
                id="k", page_content=".".join(f"part {part}" for part in parts), metadata={"source": "s.md"}
            )

        retriever.sync([document("aaaaa", "bbbbb", "ccccc")])
        spoil("s.md")
        assert numbers(retriever.sync([document("aaaaa", "ddddd", "ccccc")]))[4:] == (1, 2, 1)
        assert sorted(found for found, _ in vectors.children.values()) == ["part aaaaa", "part ccccc", "part ddddd"]

    @pytest.mark.parametrize("listed", [True, False])
    def test_those_of_a_document_as_it_is_are_not_embedded_again(
        self,
        retriever: Twin,
        vectors: Vectors,
        spoil: Callable[[str], None],
        monkeypatch: pytest.MonkeyPatch,
        listed: bool,
    ) -> None:
        monkeypatch.setattr(InMemory, "can_list", listed)
        retriever.sync(ONE)
        spoil("s.md")
        assert numbers(retriever.sync(ONE, reindex=True)) == (0, 0, 2, 0, 0, 6, 0)
        assert len(vectors.children) == 6
        assert all(row.value is not None for row in rows_of(retriever.of))

    def test_those_of_a_document_that_is_gone_are_removed(
        self, retriever: Twin, vectors: Vectors, spoil: Callable[[str], None]
    ) -> None:
        retriever.sync(ONE)
        spoil("s.md")
        assert retriever.delete_source("s.md").removed == 3
        assert len(vectors.children) == 3
        assert {row.source for row in rows_of(retriever.of)} == {"t.md"}

    def test_children_of_others_are_left_alone(
        self, retriever: Twin, new_retriever: Callable[..., Twin], vectors: Vectors, spoil: Callable[[str], None]
    ) -> None:
        new_retriever(index="other").sync(ONE)
        stranger = Document(id="x", page_content="stranger", metadata={"doc_id": "k", "doc_source": "s.md"})
        vectors.add_documents([stranger], ids=["x"])
        retriever.sync(ONE, allow_unknown=True)
        spoil("s.md")
        assert retriever.sync(TWO).removed == 3
        assert len(vectors.children) == 6 + 1 + 6
        assert numbers(new_retriever(index="other").sync(TWO, reindex=True))[4:] == (3, 3, 3)

    def test_where_the_vector_store_cannot_be_listed_the_rows_stay_and_a_run_says_so(
        self,
        retriever: Twin,
        vectors: Vectors,
        spoil: Callable[[str], None],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        retriever.sync(ONE)
        spoil("s.md")
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "docshelf"):
            patch.setattr(InMemory, "can_list", False)
            report = retriever.sync(TWO)
            assert (numbers(report), report.unfinished) == ((0, 1, 1, 0, 3, 3, 0), True)
        [record] = [record for record in caplog.records if record.name == "docshelf"]
        assert "1 rows of the retriever's ledger of 'documents' cannot be read" in record.getMessage()
        assert "give a Vectors a method list_children(id_key)" in record.getMessage()
        assert len(vectors.children) == 9
        assert retriever.sync(TWO).removed == 3
        assert len(vectors.children) == 6


class Meddling(Vectors):
    """Another run changes the labels of all rows at each addition, so many times."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], object] = lambda: None
        self.left = 0

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **options: Any) -> list[str]:
        added = super().add_documents(documents, ids, **options)
        if self.left:
            self.left -= 1
            self.meddle()
            self.store.clear()
        return added

    async def aadd_documents(
        self, documents: list[Document], ids: list[str] | None = None, **options: Any
    ) -> list[str]:
        return self.add_documents(documents, ids, **options)


@pytest.mark.parametrize("meetings", [1, 4, 5, 9])
def test_a_run_that_meets_others_again_and_again_says_that_work_is_left(
    new_retriever: Callable[..., Twin], caplog: pytest.LogCaptureFixture, meetings: int
) -> None:
    vectors = Meddling()
    retriever = new_retriever(vectorstore=vectors)
    ledger = ledger_of(retriever.of)
    vectors.meddle = lambda: ledger.set_versions(
        {row.key: f"pending:0 by run {vectors.left}" for row in rows_of(retriever.of)}
    )
    vectors.left = meetings
    with caplog.at_level(logging.WARNING, "docshelf"):
        report = retriever.sync(ONE)
    left = meetings >= 5
    assert report.unfinished is left
    assert ("unfinished" in repr(report), "unfinished: work is left" in str(report)) == (left, left)
    assert ("unfinished: work is left" in Seen(report._repr_html_()).text) == left
    messages = [record.getMessage() for record in caplog.records if record.name == "docshelf"]
    assert [("after 5 turns other runs still change" in message) for message in messages] == [True] * left
    vectors.left = 0
    assert not retriever.sync(ONE).unfinished
    assert len(vectors.children) == 6
    assert numbers(retriever.sync(ONE)) == (0, 0, 2, 0, 0, 6, 0)


class Counted:
    """Counts the steps of a run, by method and target."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps: Counter[str] = Counter()
        run, arun = Call.run, Call.arun

        def counted_run(call: Call) -> Any:
            self.steps[f"{type(call.target).__name__}.{call.method}"] += 1
            return run(call)

        async def counted_arun(call: Call) -> Any:
            self.steps[f"{type(call.target).__name__}.{call.method}"] += 1
            return await arun(call)

        patch.setattr(Call, "run", counted_run)
        patch.setattr(Call, "arun", counted_arun)

    @property
    def statements(self) -> int:
        return sum(count for name, count in self.steps.items() if name.startswith("DocShelf."))


def test_the_statements_of_a_sync_do_not_grow_with_the_sources_of_a_key(
    new_retriever: Callable[..., Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for number, files in enumerate((10, 90)):
        retriever = new_retriever(index=f"i{number}", vectorstore=Vectors())
        documents = [given("page 0", f"word{file}", f"{number}/{file}.md") for file in range(files)]
        again = [given("page 0", f"edited{file}", f"{number}/{file}.md") for file in range(files)]
        for run in (documents, documents, again):
            with monkeypatch.context() as patch:
                counted = Counted(patch)
                retriever.sync(run)
            counts.append(counted.statements)
        with monkeypatch.context() as patch:
            counted = Counted(patch)
            assert len(retriever.invoke("edited3 part", k=40)) > 5
        counts.append(counted.statements)
    assert counts[:4] == counts[4:]
    assert max(counts) < 20


def test_a_sync_of_what_is_unchanged_writes_nothing(retriever: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [page(text(f"d{number}"), f"{number}.md") for number in range(50)]
    retriever.sync(documents)
    with monkeypatch.context() as patch:
        counted = Counted(patch)
        retriever.sync(documents)
    written = {"DocShelf.conditional_mset", "DocShelf.set_versions", "DocShelf.mdelete", "Vectors.add_documents"}
    assert not counted.steps.keys() & written
    assert counted.statements == 5, counted.steps


def test_a_warning_names_the_row_that_cannot_be_read(retriever: Twin, spoil: Callable[[str], None]) -> None:
    retriever.sync(ONE)
    spoil("s.md")
    with pytest.warns(CorruptEntryWarning, match="unknown encoding 'evil'"):
        retriever.sync(TWO)
