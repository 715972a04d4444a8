"""What users of LangChain keep documents in: our document store, `SQLStore` and `LocalFileStore`."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_classic.storage import LocalFileStore, create_kv_docstore
from langchain_community.storage import SQLStore
from langchain_core.documents import Document
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.corpus import Documents
from benchmarks.peers.base import AsyncPeer, Peer
from benchmarks.peers.place import Place
from langchain_docshelf import DocShelfStore

Batch = list[tuple[str, Document]]

_NAME = "DocShelfStore"
_REMARK = "`mset`, `mget`, `yield_keys` and `sync` with default options"
_SQL_REMARK = "`create_kv_docstore(SQLStore(...))`: what `ParentDocumentRetriever` is given to keep its parents"


class _OfDocuments:
    """Batches of LangChain documents."""

    def prepare(self, documents: Documents) -> Batch:
        return [
            (key, Document(page_content=document["text"], metadata=dict(document["metadata"])))
            for key, document in documents.items()
        ]

    def documents(self, values: list[Document]) -> list[Any]:
        return [{"text": value.page_content, "metadata": value.metadata} for value in values]


class _InThreads:
    """A store that several threads read."""

    def gets_in_threads(self, keys: list[str]) -> list[Document | None]:
        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(self.get, keys))

    @abstractmethod
    def get(self, key: str) -> Document | None: ...


class ShelfStorePeer(_InThreads, _OfDocuments, Peer):
    name = _NAME
    remark = _REMARK

    def __init__(self, place: Place) -> None:
        self._place = place

    def open(self) -> None:
        place = self._place
        self._store = DocShelfStore(place.url, schema=place.schema, table_prefix=place.prefix)
        self._store.shelf.setup()

    def reset(self) -> None:
        self._place.truncate()

    def close(self) -> None:
        self._store.close()

    def analyze(self) -> None:
        self._place.analyze()

    def load(self, batch: Batch) -> None:
        self._store.mset(batch)

    def sync(self, batch: Batch) -> None:
        self._store.mset(batch)

    def prune(self, batch: Batch) -> None:
        self._store.sync(batch, scope="collection")

    def mget(self, keys: list[str]) -> list[Document | None]:
        return self._store.mget(keys)

    def get(self, key: str) -> Document | None:
        return self._store.mget([key])[0]

    def keys(self, prefix: str | None) -> int:
        return sum(1 for _ in self._store.yield_keys(prefix=prefix))


class AsyncShelfStorePeer(_OfDocuments, AsyncPeer):
    name = _NAME
    remark = _REMARK

    def __init__(self, place: Place) -> None:
        self._place = place

    async def aopen(self) -> None:
        place = self._place
        self._store = DocShelfStore(place.url, schema=place.schema, table_prefix=place.prefix)
        await self._store.shelf.asetup()

    def reset(self) -> None:
        self._place.truncate()

    async def aclose(self) -> None:
        await self._store.aclose()

    def analyze(self) -> None:
        self._place.analyze()

    async def load(self, batch: Batch) -> None:
        await self._store.amset(batch)

    async def sync(self, batch: Batch) -> None:
        await self._store.amset(batch)

    async def prune(self, batch: Batch) -> None:
        await self._store.async_(batch, scope="collection")

    async def mget(self, keys: list[str]) -> list[Document | None]:
        return await self._store.amget(keys)

    async def get(self, key: str) -> Document | None:
        return (await self._store.amget([key]))[0]

    async def keys(self, prefix: str | None) -> int:
        return len([key async for key in self._store.ayield_keys(prefix=prefix)])


class SQLStorePeer(_InThreads, _OfDocuments, Peer):
    """The table has a fixed name: one such peer a schema."""

    name = "SQLStore"
    remark = _SQL_REMARK

    def __init__(self, place: Place) -> None:
        self._place = place

    def open(self) -> None:
        place = self._place
        url = place.url.set(drivername="postgresql+psycopg2")
        options = {"options": f"-csearch_path={place.schema}"}
        store = SQLStore(namespace="bench", engine=create_engine(url, connect_args=options))
        self._engine = store.engine
        store.create_schema()
        self._store = create_kv_docstore(store)

    def reset(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"TRUNCATE {self._place.schema}.langchain_key_value_stores"))

    def close(self) -> None:
        self._engine.dispose()

    def analyze(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"ANALYZE {self._place.schema}.langchain_key_value_stores"))

    def load(self, batch: Batch) -> None:
        self._store.mset(batch)

    def sync(self, batch: Batch) -> None:
        self._store.mset(batch)

    def prune(self, batch: Batch) -> None:
        gone = _gone(self._store.yield_keys(), batch)
        self._store.mset(batch)
        self._store.mdelete(gone)

    def mget(self, keys: list[str]) -> list[Document | None]:
        return self._store.mget(keys)

    def get(self, key: str) -> Document | None:
        return self._store.mget([key])[0]

    def keys(self, prefix: str | None) -> int:
        return sum(1 for _ in self._store.yield_keys(prefix=prefix))


class AsyncSQLStorePeer(_OfDocuments, AsyncPeer):
    """As `SQLStorePeer`, in a schema that a sync one has set up before."""

    name = SQLStorePeer.name
    remark = SQLStorePeer.remark

    def __init__(self, place: Place) -> None:
        self._sync = SQLStorePeer(place)
        self._place = place

    async def aopen(self) -> None:
        self._sync.open()
        url = self._place.url.set(drivername="postgresql+asyncpg", query={})
        host = self._place.url.query.get("host")
        arguments = {"server_settings": {"search_path": self._place.schema}, **({"host": host} if host else {})}
        self._engine = create_async_engine(url, connect_args=arguments)
        self._store = create_kv_docstore(SQLStore(namespace="bench", engine=self._engine))

    def reset(self) -> None:
        self._sync.reset()

    async def aclose(self) -> None:
        await self._engine.dispose()
        self._sync.close()

    def analyze(self) -> None:
        self._sync.analyze()

    async def load(self, batch: Batch) -> None:
        await self._store.amset(batch)

    async def sync(self, batch: Batch) -> None:
        await self._store.amset(batch)

    async def prune(self, batch: Batch) -> None:
        gone = _gone([key async for key in self._store.ayield_keys()], batch)
        await self._store.amset(batch)
        await self._store.amdelete(gone)

    async def mget(self, keys: list[str]) -> list[Document | None]:
        return await self._store.amget(keys)

    async def get(self, key: str) -> Document | None:
        return (await self._store.amget([key]))[0]

    async def keys(self, prefix: str | None) -> int:
        return len([key async for key in self._store.ayield_keys(prefix=prefix)])


class LocalFileStorePeer(_InThreads, _OfDocuments, Peer):
    name = "LocalFileStore"
    remark = "`create_kv_docstore(LocalFileStore(folder))`: a file for each document, which no commit makes durable"

    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="docshelf-bench-")
        self._store = create_kv_docstore(LocalFileStore(self._folder.name))

    def reset(self) -> None:
        self.close()
        self.open()

    def close(self) -> None:
        self._folder.cleanup()

    def prepare(self, documents: Documents) -> Batch:
        return super().prepare({_path(key): document for key, document in documents.items()})

    def load(self, batch: Batch) -> None:
        self._store.mset(batch)

    def sync(self, batch: Batch) -> None:
        self._store.mset(batch)

    def prune(self, batch: Batch) -> None:
        gone = _gone(self._store.yield_keys(), batch)
        self._store.mset(batch)
        self._store.mdelete(gone)

    def mget(self, keys: list[str]) -> list[Document | None]:
        return self._store.mget([_path(key) for key in keys])

    def get(self, key: str) -> Document | None:
        return self._store.mget([_path(key)])[0]

    def keys(self, prefix: str | None) -> int:
        return sum(1 for _ in self._store.yield_keys(prefix=prefix))


def _path(key: str) -> str:
    """A key of letters that `LocalFileStore` takes."""
    return key.replace("#", ".").replace("+", "-")


def _gone(keys: Iterable[str], batch: Batch) -> list[str]:
    """Those of the keys that a batch does not have: stores that know no sources leave it to the caller."""
    there = {key for key, _ in batch}
    return [key for key in keys if key not in there]
