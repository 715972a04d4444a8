"""LlamaIndex's vector stores, a splitter and documents for the tests of adoption."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import TransformComponent
from sqlalchemy.engine import URL

SIZE = 64


class Lines(TransformComponent):
    """A splitter that needs no data of its own."""

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        return [made for node in nodes for made in build_nodes_from_splits(node.get_content().splitlines(), node)]


def _chroma(url: Callable[[], URL]) -> Any:
    import chromadb
    from chromadb.config import Settings
    from llama_index.vector_stores.chroma import ChromaVectorStore

    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    return ChromaVectorStore(chroma_collection=client.create_collection(uuid.uuid4().hex))


def _qdrant(url: Callable[[], URL]) -> Any:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return QdrantVectorStore("a", client=QdrantClient(":memory:"), payload_indexes=[], index_doc_id=False)


def _postgres(url: Callable[[], URL]) -> Any:
    from llama_index.vector_stores.postgres import PGVectorStore

    made = url()
    return PGVectorStore(
        connection_string=made.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False),
        async_connection_string=made.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False),
        table_name="pages",
        embed_dim=SIZE,
    )


LLAMA_STORES: dict[str, Callable[[Callable[[], URL]], Any]] = {
    "chroma": _chroma,
    "qdrant": _qdrant,
    "postgres": _postgres,
}
"""Each takes a function that gives the URL of a database with pgvector."""
