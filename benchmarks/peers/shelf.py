"""docshelf itself, as it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from benchmarks.corpus import Documents
from benchmarks.peers.base import AsyncPeer, Peer
from benchmarks.peers.place import Place
from benchmarks.peers.raw import encode
from docshelf import DocShelf

SOURCE = "bench"


class ShelfPeer(Peer):
    """Its sync methods."""

    name = "docshelf"
    remark = (
        "`sync`, `mget` and `get` with default options: checks, hashes, packs, locks, reports, verifies what it reads"
    )

    def __init__(self, place: Place, *, driver: str = "") -> None:
        self._place = place
        self._driver = driver

    def open(self) -> None:
        place = self._place
        self._shelf = DocShelf(place.shelf_url(self._driver), SOURCE, schema=place.schema, table_prefix=place.prefix)
        self._shelf.setup()

    def reset(self) -> None:
        if self._place.schema is not None:
            self._place.truncate()
            return
        self._shelf.close()
        self._place.remove_file()
        self.open()

    def close(self) -> None:
        self._shelf.close()

    def analyze(self) -> None:
        self._place.analyze()

    def load(self, documents: Documents) -> None:
        self._shelf.sync(documents, source=SOURCE)

    def sync(self, documents: Documents) -> None:
        self._shelf.sync(documents, source=SOURCE)

    def prune(self, documents: Documents) -> None:
        self.sync(documents)

    def count(self, source: str) -> int:
        return self._shelf.count(source=source)

    def drop(self, source: str) -> None:
        self._shelf.delete_source(source)

    def mget(self, keys: list[str]) -> list[Any]:
        return self._shelf.mget(keys)

    def get(self, key: str) -> Any:
        return self._shelf.get(key)


class SearchingShelfPeer(ShelfPeer):
    """With an index for a field."""

    remark = "`find` by a field of `setup(searchable=...)`, which the write fills"

    def open(self) -> None:
        super().open()
        self._shelf.setup(searchable=["author"])

    def find(self, author: str) -> list[Any]:
        return [entry.value for entry in self._shelf.find({"author": author}, limit=100)]


class AsyncShelfPeer(AsyncPeer):
    """Its async methods."""

    name = ShelfPeer.name
    remark = ShelfPeer.remark

    def __init__(self, place: Place, *, driver: str = "") -> None:
        self._place = place
        self._driver = driver

    async def aopen(self) -> None:
        place = self._place
        self._shelf = DocShelf(place.shelf_url(self._driver), SOURCE, schema=place.schema, table_prefix=place.prefix)
        await self._shelf.asetup()

    def reset(self) -> None:
        if self._place.schema is not None:
            self._place.truncate()
            return
        self.close()
        self._place.remove_file()
        self.open()

    async def aclose(self) -> None:
        await self._shelf.aclose()

    def analyze(self) -> None:
        self._place.analyze()

    async def load(self, documents: Documents) -> None:
        await self._shelf.async_(documents, source=SOURCE)

    async def sync(self, documents: Documents) -> None:
        await self._shelf.async_(documents, source=SOURCE)

    async def prune(self, documents: Documents) -> None:
        await self.sync(documents)

    async def count(self, source: str) -> int:
        return await self._shelf.acount(source=source)

    async def drop(self, source: str) -> None:
        await self._shelf.adelete_source(source)

    async def mget(self, keys: list[str]) -> list[Any]:
        return await self._shelf.amget(keys)

    async def get(self, key: str) -> Any:
        return await self._shelf.aget(key)

    async def gets(self, keys: list[str]) -> list[Any]:
        return await asyncio.gather(*map(self._shelf.aget, keys))


class AsyncShelfBytesPeer(AsyncShelfPeer):
    """Bytes values, such as vectors and files."""

    name = "docshelf, bytes"
    remark = "its async methods with values of bytes: checks, hashes, locks, reports, verifies what it reads"

    def prepare(self, documents: Documents) -> dict[str, bytes]:
        return {key: value for key, value, *_ in encode(documents)}

    def documents(self, values: Any) -> list[Any]:
        return [orjson.loads(value) for value in values]
