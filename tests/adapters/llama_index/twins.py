"""Calls of the sync or the async methods of a LlamaIndex store under one name, and nodes to put into it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Sequence
from typing import Any

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from tests.support.face import Loop

_TWINS = {
    "sync": "async_",
    "add_documents": "async_add_documents",
    "add_index_struct": "async_add_index_struct",
    "index_structs": "async_index_structs",
}


class Twin:
    """A store whose methods are called by their sync names. In mode "async" their async twins run."""

    def __init__(self, store: Any, mode: str, loop: Loop) -> None:
        self.store = store
        self.mode = mode
        self.loop = loop

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.store, name)
        if self.mode == "sync" or not inspect.ismethod(attribute):
            return attribute
        twin = getattr(self.store, _TWINS.get(name, f"a{name}"))

        def call(*args: Any, **options: Any) -> Any:
            result = twin(*args, **options)
            return self.loop.run(_drained(result) if isinstance(result, AsyncIterator) else result)

        return call


async def _drained(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def piece(node_id: str, document: str | None = None, text: str | None = None, **fields: Any) -> TextNode:
    """A TextNode, of a document if one is named."""
    relationships = {} if document is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(
        id_=node_id, text=f"text of {node_id}" if text is None else text, relationships=relationships, **fields
    )


def pieces(document: str, count: int, size: int = 0) -> list[TextNode]:
    """Nodes of one document."""
    return [
        piece(f"{document}-{number}", document, f"{number} of {document} ".ljust(size, "x")) for number in range(count)
    ]


def ids(nodes: Sequence[Any]) -> list[str]:
    return [node.node_id for node in nodes]
