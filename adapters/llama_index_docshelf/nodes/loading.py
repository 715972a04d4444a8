"""From the fields of a row to the node. A row never names a class by its import path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from llama_index.core.bridge.pydantic import AnyUrl, BaseModel
from llama_index.core.schema import (
    BaseNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_docshelf.key_order import put_in_order
from llama_index_docshelf.nodes.stored_names import METADATA_ORDER, RESOURCES

T = TypeVar("T")

_NODE_TYPES: Final = {kind.value: kind for kind in ObjectType}


def load_node(content: dict[str, Any], *, classes: Mapping[str, type[BaseNode]]) -> BaseNode:
    """The node of a stored form.

    Args:
        content: the stored form.
        classes: the known classes by their short names.

    Raises:
        ValueError, TypeError, LookupError: the content is not the stored form of a node of these classes.
    """
    fields = dict(content)
    cls = classes.get(fields.pop("class_name"))
    if cls is None:
        raise ValueError(f"the class {content['class_name']!r:.60} is not among those that this store reads")
    metadata = _dict(fields.pop("metadata"))
    put_in_order(metadata, fields.pop(METADATA_ORDER, []))
    fields["id_"] = fields.pop("id")
    fields["relationships"] = {
        NodeRelationship[name]: [_load_related(info) for info in related]
        if isinstance(related, list)
        else _load_related(related)
        for name, related in _dict(fields["relationships"]).items()
    }
    refers_to = fields.pop("obj", None)
    if issubclass(cls, Node):
        text = fields.pop("text")
        for name in ("text_resource", *RESOURCES):
            if fields[name] is not None:
                fields[name] = _load_resource({"text": text, **_dict(fields[name])})
    node = cls.__new__(cls)
    # The __init__ of the classes converts arguments and guesses missing ones; the stored fields are complete.
    BaseModel.__init__(node, **fields)
    # Metadata is not validated: what could be written can be read.
    node.__dict__["metadata"] = metadata
    if refers_to is not None:
        node.__dict__["obj"] = _load_object(_dict(refers_to), classes=classes)
    return node


def load_langchain_document(content: dict[str, Any]) -> BaseNode:
    """The node of a document that LangChain's adapter wrote; its source is known from the entry only."""
    return TextNode(
        id_="" if content["id"] is None else _text(content["id"]),
        text=_text(content["page_content"]),
        metadata=_dict(content["metadata"]),
    )


def _load_related(info: dict[str, Any]) -> RelatedNodeInfo:
    kind = info["node_type"]
    return RelatedNodeInfo.model_construct(
        node_id=_text(info["node_id"]),
        node_type=_NODE_TYPES.get(kind, kind),
        metadata=_dict(info["metadata"]),
        hash=info["hash"],
    )


def _load_resource(content: dict[str, Any]) -> MediaResource:
    data, path, url = content["data"], content["path"], content["url"]
    # Validation would guess a missing mimetype and encode the data again.
    return MediaResource.model_construct(
        text=content["text"],
        data=data.encode("ascii") if isinstance(data, str) else data,
        embeddings=content["embeddings"],
        mimetype=content["mimetype"],
        path=None if path is None else Path(path),
        url=None if url is None else AnyUrl(url),
    )


def _load_object(content: dict[str, Any], *, classes: Mapping[str, type[BaseNode]]) -> Any:
    if "node" in content:
        return load_node(_dict(content["node"]), classes=classes)
    # LlamaIndex's own stores return the data of a model as text, too.
    return TextNode(text=str(content["model"])) if "model" in content else content["value"]


def _dict(value: Any) -> dict[Any, Any]:
    return _checked(value, dict)


def _text(value: Any) -> str:
    return _checked(value, str)


def _checked(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value
