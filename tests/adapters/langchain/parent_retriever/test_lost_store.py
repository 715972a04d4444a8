"""A vector store that was lost is noticed and filled again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
from langchain_core.documents import Document

from tests.adapters.langchain.retrievers import numbers, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import BlindVectors, StrictVectors, Vectors


class TestALostVectorStore:
    DOCUMENTS: ClassVar = [page(text(f"d{number}"), f"{number}.md") for number in range(20)]

    def test_a_new_vector_store_is_noticed_and_filled(
        self, new_retriever: Callable[..., Twin], retriever: Twin, vectors: Vectors
    ) -> None:
        retriever.sync(self.DOCUMENTS)
        anew = Vectors()
        again = new_retriever(vectorstore=anew)
        assert numbers(again.sync(self.DOCUMENTS, dry_run=True)) == (0, 0, 20, 0, 60, 0, 0)
        assert numbers(again.sync(self.DOCUMENTS)) == (0, 0, 20, 0, 60, 0, 0)
        assert anew.children == vectors.children
        assert numbers(again.sync(self.DOCUMENTS)) == (0, 0, 20, 0, 0, 60, 0)

    def test_add_documents_fills_a_new_vector_store(self, new_retriever: Callable[..., Twin], retriever: Twin) -> None:
        retriever.add_documents(self.DOCUMENTS)
        anew = Vectors()
        assert new_retriever(vectorstore=anew).add_documents(self.DOCUMENTS).embedded == 60
        assert len(anew.children) == 60

    @pytest.mark.parametrize("kind", [Vectors, StrictVectors])
    def test_a_new_vector_store_has_nothing_to_remove(
        self, new_retriever: Callable[..., Twin], retriever: Twin, kind: Callable[[], Vectors]
    ) -> None:
        retriever.sync(self.DOCUMENTS)
        anew = kind()
        again = new_retriever(vectorstore=anew)
        changed = [page(text("changed", 2), "0.md"), *self.DOCUMENTS[1:10]]
        assert numbers(again.sync(changed, scope="collection")) == (1, 0, 9, 11, 29, 0, 0)
        assert len(anew.children) == 29

    @pytest.mark.parametrize("kind", [Vectors, StrictVectors])
    def test_reindex_adds_what_a_vector_store_lost(
        self, new_retriever: Callable[..., Twin], kind: Callable[[], Vectors]
    ) -> None:
        vectors = kind()
        retriever = new_retriever(vectorstore=vectors)
        retriever.sync(self.DOCUMENTS)
        whole = vectors.children
        for child in list(vectors.store)[::3]:
            del vectors.store[child]
        vectors.counting.take()
        assert numbers(retriever.sync(self.DOCUMENTS, reindex=True)) == (0, 0, 20, 0, 20, 40, 0)
        assert vectors.counting.take() == 20
        assert vectors.children == whole

    def test_a_new_vector_store_that_cannot_be_asked_is_filled_by_reindex(
        self, new_retriever: Callable[..., Twin]
    ) -> None:
        new_retriever(vectorstore=BlindVectors()).sync(self.DOCUMENTS)
        anew = BlindVectors()
        again = new_retriever(vectorstore=anew)
        assert numbers(again.sync(self.DOCUMENTS)) == (0, 0, 20, 0, 0, 60, 0)
        assert numbers(again.sync(self.DOCUMENTS, reindex=True)) == (0, 0, 20, 0, 60, 0, 0)
        assert len(anew.children) == 60


def test_a_vector_store_with_ids_in_metadata_can_be_asked(new_retriever: Callable[..., Twin]) -> None:
    class LikeQdrant(Vectors):
        def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
            found = super().get_by_ids(ids)
            return [Document(page_content=one.page_content, metadata={**one.metadata, "_id": one.id}) for one in found]

    vectors = LikeQdrant()
    retriever = new_retriever(vectorstore=vectors)
    documents = [page(text(name), "s") for name in "abc"]
    retriever.sync(documents)
    assert numbers(retriever.sync(documents, reindex=True)) == (0, 0, 3, 0, 0, 9, 0)
    vectors.delete(list(vectors.children)[:4])
    assert numbers(retriever.sync(documents, reindex=True)) == (0, 0, 3, 0, 4, 5, 0)
