"""What langchain-core promises of `index`, on our record manager and on SQLRecordManager: each does the same."""

from __future__ import annotations

import random
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core._api import LangChainBetaWarning
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.indexing import aindex, index
from langchain_core.indexing.in_memory import InMemoryDocumentIndex

from tests.adapters.langchain.indexing import MODES, Indexing, doc


class Pages(BaseLoader):
    """A loader, as most callers of `index` give."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents

    def lazy_load(self) -> Iterator[Document]:
        yield from self.documents


async def arriving(documents: list[Document]) -> AsyncIterator[Document]:
    for document in documents:
        yield document


class TestTheCasesOfIndex:
    """What langchain-core promises of `index`, on both record managers. Each must report and leave the same."""

    @pytest.fixture
    def both(self, ours: Callable[..., Indexing], theirs: Callable[[], Indexing]) -> tuple[Indexing, Indexing]:
        return ours(), theirs()

    def check_same(self, both: tuple[Indexing, Indexing], documents: Any, **options: Any) -> Any:
        """Run both on the documents, or on what a function gives. Returns the report."""
        mine, other = both
        reports = [one.run(documents() if callable(documents) else documents, **options) for one in both]
        assert reports[0] == reports[1]
        assert mine.vectors.texts() == other.vectors.texts()
        assert mine.call("list_keys") == sorted(other.call("list_keys"))
        return reports[0]

    def test_documents_come_from_a_loader_or_one_by_one(self, both: tuple[Indexing, Indexing]) -> None:
        documents = [doc(f"{n}", f"{n % 2}.md") for n in range(5)]
        assert self.check_same(both, Pages(documents), cleanup="full")["num_added"] == 5
        one_by_one = (lambda: iter(documents)) if both[0].mode == "sync" else (lambda: arriving(documents))
        assert self.check_same(both, one_by_one, cleanup="full", batch_size=2)["num_skipped"] == 5

    @pytest.mark.parametrize("cleanup", ["incremental", "scoped_full"])
    def test_a_document_without_source_is_refused_and_nothing_is_written(
        self, both: tuple[Indexing, Indexing], cleanup: str
    ) -> None:
        for one in both:
            with pytest.raises(ValueError, match=r"[Ss]ource"):
                one.run([doc("one"), Document(page_content="two", metadata={"source": None})], cleanup=cleanup)
            with pytest.raises(ValueError, match=r"[Ss]ource"):
                one.run([doc("one")], cleanup=cleanup, source_id_key=None)
            assert (one.call("list_keys"), one.vectors.texts()) == ([], [])

    def test_documents_without_source_are_indexed_where_nothing_asks_for_it(
        self, both: tuple[Indexing, Indexing]
    ) -> None:
        documents = [Document(page_content=f"{n}") for n in range(3)]
        assert self.check_same(both, documents, source_id_key=None)["num_added"] == 3
        assert self.check_same(both, documents[:2], source_id_key=None, cleanup="full")["num_deleted"] == 1

    @pytest.mark.parametrize("cleanup", ["incremental", "full", "scoped_full"])
    def test_a_deletion_that_failed_is_made_up_for(self, both: tuple[Indexing, Indexing], cleanup: str) -> None:
        self.check_same(both, [doc("one"), doc("two"), doc("three", "b.md")], cleanup=cleanup)
        for one in both:
            one.vectors.keeps = True
            with pytest.raises(Exception, match="delete"):
                one.run([doc("one")], cleanup=cleanup)
            assert one.vectors.texts() == ["one", "three", "two"]
            one.vectors.keeps = False
        assert self.check_same(both, [doc("one")], cleanup=cleanup)["num_deleted"] == (2 if cleanup == "full" else 1)

    def test_repeated_documents_count_once(self, both: tuple[Indexing, Indexing]) -> None:
        documents = [doc("one"), doc("one"), doc("one", "b.md"), doc("two")]
        for size, skipped in ((100, 1), (1, 4)):
            assert self.check_same(both, documents, batch_size=size)["num_skipped"] >= skipped

    def test_the_source_may_be_a_function(self, both: tuple[Indexing, Indexing]) -> None:
        options = {"cleanup": "incremental", "source_id_key": lambda document: document.metadata["source"][0]}
        self.check_same(both, [doc("one", "a1"), doc("two", "a2"), doc("three", "b1")], **options)
        assert self.check_same(both, [doc("new", "a1")], **options)["num_deleted"] == 2

    def test_a_document_index_is_filled_as_a_vector_store(self, both: tuple[Indexing, Indexing]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LangChainBetaWarning)
            indices = [InMemoryDocumentIndex(), InMemoryDocumentIndex()]
        story = [[doc("one"), doc("two")], [doc("one"), doc("new")], []]
        for documents in story:
            reports = []
            for one, target in zip(both, indices, strict=True):
                options: Any = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
                if one.mode == "sync":
                    reports.append(index(documents, one.manager, target, **options))
                else:
                    reports.append(one.loop.run(aindex(documents, one.manager, target, **options)))
            assert reports[0] == reports[1]
            assert sorted(page.page_content for page in indices[0].store.values()) == sorted(
                page.page_content for page in documents
            )

    def test_any_story_ends_the_same(self, both: tuple[Indexing, Indexing]) -> None:
        chosen = random.Random(7)
        for _ in range(12):
            documents = [
                doc(f"{chosen.randrange(12)}", f"{chosen.randrange(3)}.md") for _ in range(chosen.randrange(9))
            ]
            options = {"batch_size": chosen.choice([1, 2, 100]), "cleanup_batch_size": chosen.choice([1, 3, 1_000])}
            self.check_same(both, documents, cleanup=chosen.choice(MODES), **options)
