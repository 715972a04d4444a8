"""From a node to the fields that its row holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import BaseNode, IndexNode, MediaResource, Node, ObjectType, RelatedNodeInfo

from docshelf import UnsupportedValueError
from llama_index_docshelf.key_order import orders_in
from llama_index_docshelf.nodes.stored_names import METADATA_ORDER, RESOURCES
from llama_index_docshelf.plain_values import plain


def dump_node(
    node: BaseNode, *, names: Mapping[type, str], fields: Mapping[type[BaseNode], tuple[str, ...]]
) -> dict[str, Any]:
    """The stored form of a node.

    Args:
        node: the node.
        names: the short name of each known class.
        fields: the names of the fields of each known class.

    Raises:
        UnsupportedValueError: the class of the node is not known.
    """
    cls = type(node)
    if cls not in names:
        raise UnsupportedValueError(
            f"node {node.node_id!r}: the class {cls.__qualname__} is not known to this store, and as a base class it "
            f"would lose fields; give it node_classes=[{cls.__name__}]"
        )
    values = node.__dict__
    content = {name: values[name] for name in fields[cls]}
    content["id"] = content.pop("id_")
    content["class_name"] = names[cls]
    content["metadata"] = plain(node.metadata)
    orders = orders_in(content["metadata"])
    if orders:
        content[METADATA_ORDER] = orders
    content["relationships"] = {
        kind.name: [_dump_related(info) for info in related] if isinstance(related, list) else _dump_related(related)
        for kind, related in node.relationships.items()
    }
    if isinstance(node, Node):
        resource = node.text_resource
        content["text"] = None if resource is None else resource.text
        content["text_resource"] = None if resource is None else _dump_resource(resource)
        for name in RESOURCES:
            content[name] = (
                None if values[name] is None else {"text": values[name].text, **_dump_resource(values[name])}
            )
    elif isinstance(node, IndexNode):
        content["obj"] = _dump_object(node.obj, names=names, fields=fields)
    return content


def _dump_related(info: RelatedNodeInfo) -> dict[str, Any]:
    kind = info.node_type
    return {
        "node_id": info.node_id,
        "node_type": kind.value if isinstance(kind, ObjectType) else kind,
        "metadata": plain(info.metadata),
        "hash": info.hash,
    }


def _dump_resource(resource: MediaResource) -> dict[str, Any]:
    data = resource.data
    return {
        # Validation has made it base64, so it is text.
        "data": data.decode("ascii") if data is not None and data.isascii() else data,
        "embeddings": resource.embeddings,
        "mimetype": resource.mimetype,
        "path": None if resource.path is None else str(resource.path),
        "url": None if resource.url is None else str(resource.url),
    }


def _dump_object(value: Any, **known: Any) -> dict[str, Any] | None:
    """The object of an IndexNode: a node, or a plain value. Of other models only the data is stored."""
    if value is None:
        return None
    if isinstance(value, BaseNode):
        return {"node": dump_node(value, **known)}
    if isinstance(value, BaseModel):
        return {"model": value.model_dump(mode="json")}
    return {"value": value}
