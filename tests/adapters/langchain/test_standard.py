"""LangChain's own tests of key-value stores, unmodified; one object serves both modes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import BaseStoreAsyncTests, BaseStoreSyncTests

from langchain_docshelf import DocShelfByteStore, DocShelfStore, PostgresByteStore
from tests.conftest import Location

THREE_DOCUMENTS = (
    Document(id="1", page_content="one", metadata={"source": "a", "n": 1}),
    Document(id="2", page_content="two", metadata={"source": "b", "when": datetime(2024, 1, 2, tzinfo=timezone.utc)}),
    Document(page_content="three"),
)


class Documents:
    @pytest.fixture
    def kv_store(self, place: Location, opened: Callable[[Any], Any]) -> Any:
        return opened(DocShelfStore(place.url))

    @pytest.fixture
    def three_values(self) -> Any:
        return THREE_DOCUMENTS


class Bytes:
    @pytest.fixture
    def kv_store(self, place: Location, opened: Callable[[Any], Any]) -> Any:
        return opened(DocShelfByteStore(place.url))

    @pytest.fixture
    def three_values(self) -> Any:
        return b"foo", b"", b"\0\xff"


class Spec:
    @pytest.fixture
    def kv_store(self, place: Location, opened: Callable[[Any], Any]) -> Any:
        return opened(PostgresByteStore(place.url, "spec"))

    @pytest.fixture
    def three_values(self) -> Any:
        return {"a": [1, (2, 3)]}, b"bytes", THREE_DOCUMENTS[0]


class TestDocumentsSync(Documents, BaseStoreSyncTests[Document]):
    pass


class TestDocumentsAsync(Documents, BaseStoreAsyncTests[Document]):
    pass


class TestBytesSync(Bytes, BaseStoreSyncTests[bytes]):
    pass


class TestBytesAsync(Bytes, BaseStoreAsyncTests[bytes]):
    pass


class TestSpecSync(Spec, BaseStoreSyncTests[Any]):
    pass


class TestSpecAsync(Spec, BaseStoreAsyncTests[Any]):
    pass


async def test_one_object_serves_sync_and_async(place: Location, opened: Callable[[Any], Any]) -> None:
    for store in (DocShelfStore(place.url), PostgresByteStore(place.url, "spec")):
        one: Any = opened(store)
        one.mset([("a", THREE_DOCUMENTS[0])])
        await one.amset([("b", THREE_DOCUMENTS[1])])
        assert await one.amget(["a", "b"]) == one.mget(["a", "b"]) == list(THREE_DOCUMENTS[:2])
