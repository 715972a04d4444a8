"""Stores of LlamaIndex and of docshelf, made in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.index_store import SimpleIndexStore
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore
from tests.adapters.llama_index.twins import Twin
from tests.conftest import Location
from tests.support.face import Loop

OURS = ["sqlite", "pg18"]
_SIMPLE: dict[Any, Any] = {
    DocShelfDocumentStore: SimpleDocumentStore,
    DocShelfIndexStore: SimpleIndexStore,
    DocShelfKVStore: SimpleKVStore,
}


@pytest.fixture(params=OURS)
def place(request: pytest.FixtureRequest, new_empty_location: Callable[[str], Location]) -> Location:
    """A place without entries on SQLite and PostgreSQL."""
    return new_empty_location(request.param)


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Takes and returns a store, and closes it when the test ends."""
    stores: list[Any] = []

    def register(store: Any) -> Any:
        stores.append(store)
        return store

    yield register
    for store in stores:
        store.close()


@pytest.fixture
def new_store(place: Location, mode: str, loop: Loop, opened: Callable[[Any], Any]) -> Callable[..., Twin]:
    """Makes docshelf's stores, sync or async as the test asks."""

    def make(kind: type = DocShelfDocumentStore, **options: Any) -> Twin:
        return Twin(opened(kind(place.url, **options)), mode, loop)

    return make


@pytest.fixture
def docstore(new_store: Callable[..., Twin]) -> Twin:
    """docshelf's document store, on SQLite and PostgreSQL, sync and async."""
    return new_store()


@pytest.fixture(params=["simple", *OURS])
def any_store(
    request: pytest.FixtureRequest,
    new_location: Callable[[str], Location],
    mode: str,
    loop: Loop,
    opened: Callable[[Any], Any],
) -> Callable[[type], Twin]:
    """Makes a store of a class: LlamaIndex's own in memory, or docshelf's, sync and async."""

    def make(kind: type) -> Twin:
        if request.param == "simple":
            return Twin(_SIMPLE[kind](), mode, loop)
        return Twin(opened(kind(new_location(request.param).url)), mode, loop)

    return make
