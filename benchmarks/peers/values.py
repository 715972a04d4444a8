"""Stores of dictionaries on PostgreSQL that no framework for retrieval brings: LangGraph's and py-key-value's."""

from __future__ import annotations

from typing import Any

from key_value.aio.stores.postgresql import PostgreSQLStore
from langgraph.store.base import GetOp, PutOp
from langgraph.store.postgres import PostgresStore
from sqlalchemy import text

from benchmarks.corpus import Documents
from benchmarks.peers.base import AsyncPeer, Peer
from benchmarks.peers.place import Place

_NAMESPACE = ("bench",)
# Of a PutOp and a GetOp: a statement takes 65,535 parameters, and a statement of them all is slower than several.
_PUTS = 1_000


class LangGraphStorePeer(Peer):
    name = "LangGraph PostgresStore"
    remark = f"`batch` of {_PUTS:,} `PutOp` at a time, and of `GetOp`"

    def __init__(self, place: Place) -> None:
        self._place = place

    def open(self) -> None:
        url = self._place.url.update_query_dict({"options": f"-csearch_path={self._place.schema}"})
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._context = PostgresStore.from_conn_string(dsn)
        self._store = self._context.__enter__()
        self._store.setup()

    def reset(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"TRUNCATE {self._place.schema}.store"))

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def analyze(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"ANALYZE {self._place.schema}.store"))

    def load(self, documents: Documents) -> None:
        puts = [PutOp(_NAMESPACE, key, dict(value)) for key, value in documents.items()]
        for start in range(0, len(puts), _PUTS):
            self._store.batch(puts[start : start + _PUTS])

    def sync(self, documents: Documents) -> None:
        self.load(documents)

    def mget(self, keys: list[str]) -> list[Any]:
        return self._store.batch([GetOp(_NAMESPACE, key, refresh_ttl=False) for key in keys])

    def get(self, key: str) -> Any:
        return self._store.get(_NAMESPACE, key, refresh_ttl=False)

    def documents(self, values: list[Any]) -> list[Any]:
        return [item.value for item in values]


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
