"""A store of dictionaries on PostgreSQL that no framework brings: py-key-value's."""

from __future__ import annotations

from typing import Any

from key_value.aio.stores.postgresql import PostgreSQLStore
from sqlalchemy import text

from benchmarks.corpus import Documents
from benchmarks.peers.base import AsyncPeer
from benchmarks.peers.place import Place


class KeyValueStorePeer(AsyncPeer):
    name = "py-key-value"
    remark = "`put_many`, `get_many` and `get` of its `PostgreSQLStore`"

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def _table(self) -> str:
        return f"kv_{self._place.prefix}"

    async def aopen(self) -> None:
        self._store = PostgreSQLStore(url=self._place.dsn, table_name=self._table)
        await self._store.__aenter__()
        await self._store.get("warm", collection="bench")

    def reset(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"TRUNCATE {self._table}"))

    async def aclose(self) -> None:
        await self._store.__aexit__(None, None, None)
        with self._place.connection() as connection:
            connection.execute(text(f"DROP TABLE {self._table}"))

    def analyze(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"ANALYZE {self._table}"))

    async def load(self, documents: Documents) -> None:
        await self._store.put_many(list(documents), list(documents.values()), collection="bench")

    async def sync(self, documents: Documents) -> None:
        await self.load(documents)

    async def mget(self, keys: list[str]) -> list[Any]:
        return await self._store.get_many(keys, collection="bench")

    async def get(self, key: str) -> Any:
        return await self._store.get(key, collection="bench")
