"""Stores in fresh places on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_classic.indexes import SQLRecordManager

from langchain_docshelf import DocShelfByteStore, DocShelfRecordManager, DocShelfStore, PostgresByteStore
from tests.adapters.langchain.indexing import Indexing, Vectors
from tests.adapters.langchain.twins import Twin
from tests.conftest import Location
from tests.support.face import Loop


def pytest_configure(config: pytest.Config) -> None:
    # langchain-tests marks some of its tests for plugins that this suite does not load.
    for name in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{name}: of langchain-tests")


@pytest.fixture(params=["sqlite", "pg18"])
def place(request: pytest.FixtureRequest, new_empty_location: Callable[[str], Location]) -> Location:
    """A place without entries on SQLite and PostgreSQL."""
    return new_empty_location(request.param)


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Returns the store that it is given, and closes it when the test ends."""
    stores: list[Any] = []

    def open_store(store: Any) -> Any:
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def twin(mode: str, loop: Loop) -> Callable[[Any], Twin]:
    """Wraps an object for this test's mode."""
    return lambda of: Twin(of, mode, loop)


@pytest.fixture
def new_store(place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]) -> Callable[..., Twin]:
    """Makes document stores, with options, under this test's mode."""
    return lambda *args, **options: twin(opened(DocShelfStore(place.url, *args, **options)))


@pytest.fixture
def store(new_store: Callable[..., Twin]) -> Twin:
    return new_store()


@pytest.fixture
def byte_store(place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]) -> Twin:
    return twin(opened(DocShelfByteStore(place.url)))


@pytest.fixture
def spec_store(place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]) -> Twin:
    return twin(opened(PostgresByteStore(place.url, "spec")))


@pytest.fixture
def ours(place: Location, mode: str, loop: Loop) -> Iterator[Callable[..., Indexing]]:
    """Makes record managers of ours, each with a vector store."""
    managers: list[DocShelfRecordManager] = []

    def make(namespace: str = "docs", vectors: Vectors | None = None, **options: Any) -> Indexing:
        vectors = vectors or Vectors()
        if options.pop("asks", False):
            options["vectorstore"] = vectors
        managers.append(DocShelfRecordManager(namespace, url=place.url, **options))
        return Indexing(managers[-1], vectors, mode, loop)

    yield make
    for manager in managers:
        loop.run(manager.aclose())
        manager.close()


@pytest.fixture
def theirs(new_location: Callable[[str], Location], mode: str, loop: Loop) -> Iterator[Callable[[], Indexing]]:
    """Makes record managers of langchain-classic, each with a vector store."""
    made: list[Any] = []

    def make() -> Indexing:
        place = new_location("sqlite")
        if mode == "sync":
            manager = SQLRecordManager("docs", db_url=place.sync_url)
            manager.create_schema()
        else:
            manager = SQLRecordManager("docs", db_url=place.async_url, async_mode=True)
            loop.run(manager.acreate_schema())
        made.append(manager)
        return Indexing(manager, Vectors(), mode, loop)

    yield make
    for manager in made:
        if mode == "sync":
            manager.engine.dispose()
        else:
            loop.run(manager.engine.dispose())
