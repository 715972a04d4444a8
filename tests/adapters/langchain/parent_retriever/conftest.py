"""Retrievers on fresh stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from langchain_docshelf import DocShelfStore, ParentDocumentRetriever
from tests.adapters.langchain.retrievers import sentences
from tests.adapters.langchain.twins import Twin
from tests.adapters.langchain.vectors import Vectors
from tests.conftest import Location


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture
def docstore(place: Location, opened: Callable[[Any], Any]) -> DocShelfStore:
    store: DocShelfStore = opened(DocShelfStore(place.url))
    return store


@pytest.fixture
def new_retriever(docstore: DocShelfStore, vectors: Vectors, twin: Callable[[Any], Twin]) -> Callable[..., Twin]:
    """Makes retrievers with options on one document store and one vector store."""

    def make(**options: Any) -> Twin:
        given = {"vectorstore": vectors, "docstore": docstore, "child_splitter": sentences(), **options}
        return twin(ParentDocumentRetriever(**given))

    return make


@pytest.fixture
def retriever(new_retriever: Callable[..., Twin]) -> Twin:
    return new_retriever()
