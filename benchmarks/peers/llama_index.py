"""What users of LlamaIndex keep nodes in: our document store, `PostgresDocumentStore` and `SimpleDocumentStore`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import BaseDocumentStore, SimpleDocumentStore
from llama_index.storage.docstore.postgres import PostgresDocumentStore
from llama_index.storage.kvstore.postgres import PostgresKVStore
from sqlalchemy import create_engine, text

from benchmarks.corpus import Documents
from benchmarks.peers.base import Peer
from benchmarks.peers.place import Place
from llama_index_docshelf import DocShelfDocumentStore

NODES_OF_A_DOCUMENT = 100


class _OfNodes(Peer):
    """Batches of nodes, a hundred of a document."""

    _store: BaseDocumentStore

    @abstractmethod
    def open(self) -> None: ...

    def prepare(self, documents: Documents) -> list[BaseNode]:
        return [
            TextNode(
                id_=key,
                text=document["text"],
                metadata=dict(document["metadata"]),
                relationships={
                    NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{number // NODES_OF_A_DOCUMENT}")
                },
            )
            for number, (key, document) in enumerate(documents.items())
        ]

    def documents(self, values: list[BaseNode]) -> list[Any]:
        return [{"text": value.get_content(), "metadata": value.metadata} for value in values]

    def load(self, nodes: list[BaseNode]) -> None:
        self._store.add_documents(nodes)

    def sync(self, nodes: list[BaseNode]) -> None:
        self._store.add_documents(nodes)

    def mget(self, keys: list[str]) -> list[BaseNode]:
        return self._store.get_nodes(keys)

    def get(self, key: str) -> BaseNode:
        return self._store.get_node(key)

    def delete(self, document: str) -> None:
        self._store.delete_ref_doc(document)


class ShelfDocumentStorePeer(_OfNodes):
    name = "DocShelfDocumentStore"
    remark = "`add_documents`, `get_nodes` and `delete_ref_doc` with default options"

    def __init__(self, place: Place) -> None:
        self._place = place

    def open(self) -> None:
        place = self._place
        self._ours = DocShelfDocumentStore(place.url, schema=place.schema, table_prefix=place.prefix)
        self._ours.shelf.setup()
        self._store = self._ours

    def reset(self) -> None:
        self._place.truncate()

    def close(self) -> None:
        self._ours.close()

    def analyze(self) -> None:
        self._place.analyze()


class PostgresDocumentStorePeer(_OfNodes):
    """Its `PostgresKVStore` is built by hand: `PostgresDocumentStore.from_uri` raises a TypeError in version 0.6.0."""

    def __init__(self, place: Place, *, batch_size: int) -> None:
        self._place = place
        self._batch_size = batch_size
        self.name = f"PostgresDocumentStore, batches of {batch_size:,}"
        self.remark = f"the same methods, `batch_size={batch_size}`" + (", its default" if batch_size == 1 else "")

    def open(self) -> None:
        url = self._place.url.set(drivername="postgresql+psycopg2")
        self._engine = create_engine(url)
        kvstore = PostgresKVStore(
            self._place.prefix,
            schema_name=self._place.schema or "public",
            engine=self._engine,
            async_connection_string=url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False),
        )
        self._store = PostgresDocumentStore(kvstore, batch_size=self._batch_size)
        self._store.docs  # noqa: B018 - the first use makes the table

    @property
    def _table(self) -> str:
        return f"{self._place.schema}.data_{self._place.prefix}"

    def reset(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"TRUNCATE {self._table}"))

    def close(self) -> None:
        self._engine.dispose()

    def analyze(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"ANALYZE {self._table}"))


class SimpleDocumentStorePeer(_OfNodes):
    name = "SimpleDocumentStore"
    remark = "dictionaries in memory, lost with the process unless `persist` writes them all into one file"

    def open(self) -> None:
        self._store = SimpleDocumentStore()

    def reset(self) -> None:
        self.open()

    def close(self) -> None:
        self._store = SimpleDocumentStore()
