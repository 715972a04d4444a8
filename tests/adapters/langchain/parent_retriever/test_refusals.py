"""What a retriever refuses, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from docshelf import (
    ArgumentTypeError,
    ConfigurationError,
)
from langchain_docshelf import DocShelfStore
from tests.adapters.langchain.twins import Twin, page


class TestRefusals:
    def test_one_document_is_refused_as_a_list(self, retriever: Twin, docstore: DocShelfStore) -> None:
        with pytest.raises(ArgumentTypeError, match="documents is a Document; give an iterable of documents"):
            retriever.sync(page("text", "s"))
        assert list(docstore.yield_keys()) == []

    def test_a_splitter_that_returns_no_documents_is_an_error(self, new_retriever: Callable[..., Twin]) -> None:
        with pytest.raises(ArgumentTypeError, match="the child_splitter gave a str; it has to give Documents"):
            new_retriever(child_splitter=lambda parent: ["text"]).sync([page("text", "s")])

    def test_a_vector_store_that_cannot_delete_is_refused_before_anything_is_written(
        self, new_retriever: Callable[..., Twin], docstore: DocShelfStore
    ) -> None:
        class Keeper(VectorStore):
            @classmethod
            def from_texts(cls, texts: Any, embedding: Any, metadatas: Any = None, **kwargs: Any) -> Any:
                raise NotImplementedError

            def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
                raise NotImplementedError

        for write in (new_retriever(vectorstore=Keeper()).sync, new_retriever(vectorstore=Keeper()).add_documents):
            with pytest.raises(ConfigurationError, match="a Keeper cannot delete"):
                write([page("text", "s")])
        assert list(docstore.yield_keys()) == []
