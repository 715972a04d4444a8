"""Pages of what LlamaIndex's vector stores hold, which their own interface does not list.

They are recognized by their attributes, so that none of their packages has to be installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from docshelf import ArgumentTypeError, ConfigurationError
from docshelf.moving import OldDatabase

_PAGE: Final = 500
_CONTENT: Final = "_node_content"


class Held(NamedTuple):
    """A node in a vector store: its text and its metadata as the store keeps them, or the node itself."""

    metadata: Mapping[str, Any]
    text: str | None = None
    node: BaseNode | None = None

    def origin(self) -> tuple[str | None, str | None]:
        """The document that the node was made of and the hash that it had then; None for what is not known."""
        if self.node is not None:
            source = self.node.source_node
            return (None, None) if source is None else (source.node_id, source.hash)
        content: Any = self.metadata.get(_CONTENT)
        try:
            # "1" stands for NodeRelationship.SOURCE.
            source = json.loads(content)["relationships"]["1"]
            document, doc_hash = source["node_id"], source.get("hash")
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
            return None, None
        is_known = isinstance(document, str) and isinstance(doc_hash, str)
        return (document, doc_hash) if is_known else (document if isinstance(document, str) else None, None)

    def as_node(self) -> BaseNode | None:
        """The node; None if the store did not keep it."""
        if self.node is not None:
            return self.node
        try:
            return metadata_dict_to_node(dict(self.metadata), text=self.text)
        except (TypeError, ValueError, LookupError):
            return None


def pages_of(
    vector_store: Any, nodes: Iterable[BaseNode] | Callable[[], Iterable[BaseNode]] | None
) -> Iterator[list[Held]]:
    """All nodes, some hundred at a time.

    Args:
        vector_store: the vector store.
        nodes: the nodes, or a function that gives them, for a vector store that is not known.

    Raises:
        ConfigurationError: the vector store is not known, and no nodes are given.
    """
    if nodes is not None:
        yield from _given(nodes() if callable(nodes) else nodes)
    elif hasattr(vector_store, "_collection") and hasattr(vector_store._collection, "get"):
        yield from _chroma(vector_store._collection)
    elif hasattr(vector_store, "_client") and hasattr(vector_store, "collection_name"):
        yield from _qdrant(vector_store._client, vector_store.collection_name)
    elif all(hasattr(vector_store, name) for name in ("table_name", "schema_name", "connection_string")):
        yield from _postgres(vector_store)
    else:
        raise ConfigurationError(
            f"a {type(vector_store).__name__} cannot be listed; give nodes=, its nodes or a function that gives them"
        )


def _given(nodes: Iterable[BaseNode]) -> Iterator[list[Held]]:
    left = iter(nodes)
    while page := list(islice(left, _PAGE)):
        for node in page:
            if not isinstance(node, BaseNode):
                raise ArgumentTypeError(f"nodes holds a {type(node).__name__}; give nodes")
        yield [Held({}, node=node) for node in page]


def _chroma(collection: Any) -> Iterator[list[Held]]:
    offset = 0
    while True:
        found = collection.get(limit=_PAGE, offset=offset, include=["documents", "metadatas"])
        if not found["ids"]:
            return
        offset += len(found["ids"])
        yield [
            Held(metadata or {}, text) for metadata, text in zip(found["metadatas"], found["documents"], strict=True)
        ]


def _qdrant(client: Any, collection: str) -> Iterator[list[Held]]:
    if client is None:
        raise ConfigurationError("the Qdrant vector store has no sync client; make it with client=, or give nodes=")
    offset: Any = None
    while True:
        points, offset = client.scroll(collection, limit=_PAGE, offset=offset, with_payload=True, with_vectors=False)
        if points:
            yield [Held(point.payload or {}) for point in points]
        if offset is None:
            return


def _postgres(store: Any) -> Iterator[list[Held]]:
    engine = getattr(store, "_engine", None) or store.connection_string
    with OldDatabase(engine, schema=store.schema_name) as database:
        table = f"data_{store.table_name}"
        if not database.columns(table):
            return
        for rows in database.pages(table, ["metadata_", "text"], {}, ["id"], ["metadata_"]):
            yield [Held(_parsed(metadata), text) for metadata, text in rows]


def _parsed(text: Any) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
