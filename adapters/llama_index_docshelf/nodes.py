"""How nodes are stored, and read again as they were.

Only fields are stored, and a class by a name of ours. Reading builds the classes of this list and those that the
caller adds, and never one that a row names by its import path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from llama_index.core.bridge.pydantic import AnyUrl, BaseModel
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)

from docshelf import ConfigurationError, ContentType, Entry, UnsupportedValueError
from docshelf.adapters import as_document
from llama_index_docshelf.ordering import orders_in, put_in_order

T = TypeVar("T")

NODE: Final = "llama-index/node"
LANGCHAIN: Final = "langchain/document"
# Written by no framework: a document of docshelf's own, and a plain value that may be a text.
PLAIN_DOCUMENT: Final = "document"
PLAIN_VALUE: Final = "json"

_CLASSES: Final[tuple[type[BaseNode], ...]] = (Document, ImageDocument, ImageNode, IndexNode, Node, TextNode)
_ORDER: Final = "metadata_order"
_RESERVED: Final = frozenset(("id", "class_name", _ORDER))
_RESOURCES: Final = ("image_resource", "audio_resource", "video_resource")
_NODE_TYPES: Final = {kind.value: kind for kind in ObjectType}

Classes = Mapping[str, type[BaseNode]]


def node_content_types(node_classes: Iterable[type[BaseNode]] = ()) -> tuple[ContentType, ...]:
    """What `DocShelf(content_types=...)` takes to write and read nodes, and to read LangChain's documents as nodes.

    Args:
        node_classes: your own subclasses of LlamaIndex's node classes. Their fields are stored; a class is known by
            the name that `class_name()` gives or, where that is the name of a base, by its own.

    Raises:
        ConfigurationError: what is given is no node class, or its name or a field's name is taken.
    """
    classes: dict[str, type[BaseNode]] = {cls.class_name(): cls for cls in _CLASSES}
    for cls in node_classes:
        classes[_name_of(cls, classes)] = cls
    names = {cls: name for name, cls in classes.items()}
    fields = {cls: tuple(cls.model_fields) for cls in names}
    return (
        ContentType(
            NODE,
            (BaseNode,),
            partial(_dump, names=names, fields=fields),
            partial(_load, classes=classes),
            text_field="text",
            metadata_field="metadata",
        ),
        ContentType(LANGCHAIN, (), _refuse, _load_langchain, text_field="page_content", metadata_field="metadata"),
    )


def _name_of(cls: Any, classes: Classes) -> str:
    if not (isinstance(cls, type) and issubclass(cls, BaseNode)):
        raise ConfigurationError(f"{cls!r} is not a node class; give subclasses of BaseNode")
    name = cls.class_name()
    if name in classes and classes[name] is not cls:
        name = cls.__name__
    if name in classes and classes[name] is not cls:
        raise ConfigurationError(f"there are two node classes of the name {name!r}; rename one")
    taken = _RESERVED & set(cls.model_fields)
    if issubclass(cls, Node):
        taken |= {"text"} & set(cls.model_fields)
    if taken:
        raise ConfigurationError(f"{cls.__name__} has a field {min(taken)!r}, a name that the stored form needs")
    return name


def version_of(node: BaseNode) -> str:
    """The node's hash, which is the version of its row."""
    try:
        return node.hash
    except UnicodeEncodeError:
        # LlamaIndex itself cannot hash a Document with a lone surrogate.
        return sha256(f"{node.get_content()}{node.metadata}".encode("utf-8", "surrogatepass")).hexdigest()


def node_of(entry: Entry | None) -> BaseNode | None:
    """The node of an entry; None where the entry is missing or holds only a hash.

    Raises:
        ValueError: it holds something that is no node.
    """
    if entry is None or entry.value is None:
        return None
    plain = as_document(entry.value)
    if plain is not None:
        return _at_home(TextNode(id_=plain.id or "", text=plain.text, metadata=dict(plain.metadata)), entry)
    if not isinstance(entry.value, BaseNode):
        raise ValueError(f"Document {entry.key} is not a Node but a {type(entry.value).__name__}.")
    return _at_home(entry.value, entry) if entry.content_type == LANGCHAIN else entry.value


def is_at_home(value: Any) -> bool:
    """True for a node of LlamaIndex's own, and for none; False where only the entry says what node it is."""
    # Of a row that LangChain wrote, only these fields are set.
    return value is None or (isinstance(value, BaseNode) and "relationships" in value.model_fields_set)


def holds_node(entry: Entry | None) -> bool:
    """True when the entry holds a node, by what is known without its value; of a plain value nothing is."""
    return entry is not None and entry.content_type in (NODE, LANGCHAIN, PLAIN_DOCUMENT)


def may_hold_node(entry: Entry | None) -> bool:
    """True when only the entry's value tells whether it holds a node."""
    return entry is not None and entry.content_type == PLAIN_VALUE


def _at_home(node: BaseNode, entry: Entry) -> BaseNode:
    """A LangChain document as a node of its source, so that adding it again leaves it there."""
    identity = {"id_": node.id_ or entry.key, "metadata": node.metadata}
    if not entry.source:
        return Document(text=node.get_content(), **identity)
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=entry.source)}
    return TextNode(text=node.get_content(), relationships=source, **identity)


def _dump(
    node: BaseNode, *, names: Mapping[type, str], fields: Mapping[type[BaseNode], tuple[str, ...]]
) -> dict[str, Any]:
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
    orders = orders_in(node.metadata)
    if orders:
        content[_ORDER] = orders
    content["relationships"] = {
        kind.name: [_dump_related(info) for info in related] if isinstance(related, list) else _dump_related(related)
        for kind, related in node.relationships.items()
    }
    if isinstance(node, Node):
        resource = node.text_resource
        content["text"] = None if resource is None else resource.text
        content["text_resource"] = None if resource is None else _dump_resource(resource)
        for name in _RESOURCES:
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
        "metadata": info.metadata,
        "hash": info.hash,
    }


def _dump_resource(resource: MediaResource) -> dict[str, Any]:
    data = resource.data
    return {
        # Validation made it base64, so that it is text.
        "data": data.decode("ascii") if data is not None and data.isascii() else data,
        "embeddings": resource.embeddings,
        "mimetype": resource.mimetype,
        "path": None if resource.path is None else str(resource.path),
        "url": None if resource.url is None else str(resource.url),
    }


def _dump_object(value: Any, **known: Any) -> dict[str, Any] | None:
    """What an IndexNode refers to: a node, or a plain value. Of other models only the data can be kept."""
    if value is None:
        return None
    if isinstance(value, BaseNode):
        return {"node": _dump(value, **known)}
    if isinstance(value, BaseModel):
        return {"model": value.model_dump(mode="json")}
    return {"value": value}


def _load(content: dict[str, Any], *, classes: Classes) -> BaseNode:
    fields = dict(content)
    cls = classes.get(fields.pop("class_name"))
    if cls is None:
        raise ValueError(f"the class {content['class_name']!r:.60} is not among those that this store reads")
    metadata = _dict(fields.pop("metadata"))
    put_in_order(metadata, fields.pop(_ORDER, []))
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
        for name in ("text_resource", *_RESOURCES):
            if fields[name] is not None:
                fields[name] = _load_resource({"text": text, **_dict(fields[name])})
    node = cls.__new__(cls)
    # The classes' own __init__ guess and convert what their fields already say.
    BaseModel.__init__(node, **fields)
    # Metadata is not validated: whatever could be written is read.
    node.__dict__["metadata"] = metadata
    if refers_to is not None:
        node.__dict__["obj"] = _load_object(_dict(refers_to), classes=classes)
    return node


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
    # Validation would guess a mimetype where there is none, and encode data anew.
    return MediaResource.model_construct(
        text=content["text"],
        data=data.encode("ascii") if isinstance(data, str) else data,
        embeddings=content["embeddings"],
        mimetype=content["mimetype"],
        path=None if path is None else Path(path),
        url=None if url is None else AnyUrl(url),
    )


def _load_object(content: dict[str, Any], *, classes: Classes) -> Any:
    if "node" in content:
        return _load(_dict(content["node"]), classes=classes)
    # As LlamaIndex's own stores read it: no class is built by name.
    return TextNode(text=str(content["model"])) if "model" in content else content["value"]


def _load_langchain(content: dict[str, Any]) -> BaseNode:
    return TextNode(
        id_="" if content["id"] is None else _text(content["id"]),
        text=_text(content["page_content"]),
        metadata=_dict(content["metadata"]),
    )


def _refuse(_document: Any) -> NoReturn:
    raise AssertionError("this content type is only read")


def _dict(value: Any) -> dict[Any, Any]:
    return _checked(value, dict)


def _text(value: Any) -> str:
    return _checked(value, str)


def _checked(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value
