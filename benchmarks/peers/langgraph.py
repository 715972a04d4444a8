"""LangGraph's store of dictionaries on PostgreSQL."""

from __future__ import annotations

from typing import Any

from langgraph.store.base import GetOp, PutOp
from langgraph.store.postgres import PostgresStore
from sqlalchemy import text

from benchmarks.corpus import Documents
from benchmarks.peers.base import Peer
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

    def find(self, author: str) -> list[Any]:
        found = self._store.search(_NAMESPACE, filter={"author": author}, limit=100, refresh_ttl=False)
        return [item.value for item in found]

    def documents(self, values: list[Any]) -> list[Any]:
        return [item.value for item in values]
