"""What a search finds and answers with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from tests.adapters.langchain.retrievers import text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import Vectors


class TestSearch:
    @pytest.fixture
    def filled(self, new_retriever: Callable[..., Twin]) -> Callable[..., Twin]:
        def make(**options: Any) -> Twin:
            retriever = new_retriever(**options)
            retriever.sync([page("apple pie.apple tart", "a"), page("banana split", "b"), page("cherry cake", "c")])
            return retriever

        return make

    def test_search_finds_children_and_returns_each_parent_once(self, filled: Callable[..., Twin]) -> None:
        found = filled().invoke("apple")
        assert found[0] == page("apple pie.apple tart", "a")
        assert len(found) == 3

    def test_search_arguments_reach_the_vector_store(self, filled: Callable[..., Twin]) -> None:
        assert filled(search_kwargs={"k": 1}).invoke("banana") == [page("banana split", "b")]
        assert len(filled(search_kwargs={"k": 1}).invoke("banana", k=4)) == 3

    def test_search_with_a_score_threshold(self, filled: Callable[..., Twin]) -> None:
        retriever = filled(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.6})
        assert retriever.invoke("cherry") == [page("cherry cake", "c")]

    def test_search_by_maximal_marginal_relevance(self, filled: Callable[..., Twin]) -> None:
        retriever = filled(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 0.0})
        assert len(retriever.invoke("apple")) == 2, "the two children of one parent are too much alike"

    def test_another_type_of_search_is_refused(self, new_retriever: Callable[..., Twin]) -> None:
        with pytest.raises(ValueError, match="search_type"):
            new_retriever(search_type="guess")


class TestSources:
    """The same key in two sources is two parents."""

    def test_a_child_leads_to_the_parent_of_its_own_source(self, retriever: Twin) -> None:
        fruit = Document(id="page 0", page_content="Apples are red", metadata={"source": "fruit.md"})
        cars = Document(id="page 0", page_content="Cars have wheels", metadata={"source": "cars.md"})
        for documents in ([fruit], [cars]):
            retriever.sync(documents)
        assert retriever.invoke("Apples are red", k=1) == [fruit]
        assert retriever.invoke("Cars have wheels", k=1) == [cars]
        assert sorted(found.page_content for found in retriever.invoke("Apples", k=4)) == [
            "Apples are red",
            "Cars have wheels",
        ]
        retriever.delete_source("cars.md")
        assert retriever.invoke("Cars have wheels", k=1) == [fruit]

    def test_a_child_without_a_source_leads_to_the_parent_written_last(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        retriever = new_retriever(source_id_key="")
        for source in ("one.md", "two.md"):
            retriever.sync([Document(id="k", page_content=f"Text of {source}", metadata={"source": source})])
        assert {frozenset(metadata) for _, metadata in vectors.children.values()} == {frozenset({"source", "doc_id"})}
        assert [found.page_content for found in retriever.invoke("Text", k=4)] == ["Text of two.md"]

    def test_children_have_the_source_that_the_caller_gave(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a", 1), "in metadata")], source="given")
        [(_, metadata)] = vectors.children.values()
        assert (metadata["source"], metadata["doc_source"]) == ("in metadata", "given")
        assert [found.page_content for found in retriever.invoke("a part")] == [text("a", 1)]
