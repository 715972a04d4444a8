"""The content types of nodes, and the node classes that they know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, NoReturn

from llama_index.core.schema import BaseNode, Document, ImageDocument, ImageNode, IndexNode, Node, TextNode

from docshelf import ConfigurationError, ContentType
from llama_index_docshelf.nodes.dumping import dump_node
from llama_index_docshelf.nodes.loading import load_langchain_document, load_node
from llama_index_docshelf.nodes.stored_names import LANGCHAIN, NODE, RESERVED

_CLASSES: Final[tuple[type[BaseNode], ...]] = (Document, ImageDocument, ImageNode, IndexNode, Node, TextNode)


def node_content_types(node_classes: Iterable[type[BaseNode]] = ()) -> tuple[ContentType, ...]:
    """Content types for `DocShelf(content_types=...)`: they write and read nodes, and read LangChain's documents.

    A row holds the fields of a node and a short name of its class. Only LlamaIndex's node classes and those given here
    are ever built from a row.

    Args:
        node_classes: your own subclasses of LlamaIndex's node classes. The short name of a class is what `class_name()`
            returns or, where that is the name of another class, the name of the class itself.

    Raises:
        ConfigurationError: one is not a node class, two have the same name, or a field has a reserved name.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> with DocShelf(":memory:", content_types=node_content_types()) as shelf:
        ...     shelf.set("a", TextNode(text="Hello."))
        ...     shelf.get("a").text
        'Hello.'
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
            partial(dump_node, names=names, fields=fields),
            partial(load_node, classes=classes),
            text_field="text",
            metadata_field="metadata",
        ),
        ContentType(
            LANGCHAIN, (), _refuse, load_langchain_document, text_field="page_content", metadata_field="metadata"
        ),
    )


def _name_of(cls: Any, classes: Mapping[str, type[BaseNode]]) -> str:
    if not (isinstance(cls, type) and issubclass(cls, BaseNode)):
        raise ConfigurationError(f"{cls!r} is not a node class; give subclasses of BaseNode")
    name = cls.class_name()
    if name in classes and classes[name] is not cls:
        name = cls.__name__
    if name in classes and classes[name] is not cls:
        raise ConfigurationError(f"there are two node classes of the name {name!r}; rename one")
    taken = RESERVED & set(cls.model_fields)
    if issubclass(cls, Node):
        taken |= {"text"} & set(cls.model_fields)
    if taken:
        raise ConfigurationError(f"{cls.__name__} has a field {min(taken)!r}, a name that the stored form needs")
    return name


def _refuse(_document: Any) -> NoReturn:
    raise AssertionError("this content type is only read")
