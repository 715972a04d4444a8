"""How documents are stored, and how the same documents are read back.

A row holds the fields of a document and the name of its subclass. Reading builds a `Document`, a `StoredDocument` or a
class that the caller registered, and never a class because a row names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from langchain_core.documents import Document
from pydantic import ConfigDict, PrivateAttr

from docshelf import ArgumentTypeError, ConfigurationError, ContentType, Entry, UnsupportedValueError
from docshelf.adapters import as_document, plain_value

T = TypeVar("T")

DOCUMENT: Final = "langchain/document"
LLAMA_INDEX: Final = "llama-index/node"
_BASE_FIELDS: Final = frozenset(Document.model_fields)
_STATE: Final = Document.model_construct(page_content="").__getstate__()
_GIVEN: Final = ("id", "metadata", "page_content")
_DEFAULTS: Final[Mapping[str, Any]] = _STATE["__dict__"]

SourceKey = str | Callable[[Document], Any]


class StoredDocument(Document):
    """A document of a subclass that the reader did not register. All its data are attributes.

    If it is written again, it is stored as a document of its original class.
    """

    model_config = ConfigDict(extra="allow")

    type: str = "Document"  # type: ignore[assignment]
    _class_name: str = PrivateAttr("StoredDocument")

    @property
    def class_name(self) -> str:
        """The name of the class of the document that was written."""
        return self._class_name


def document_content_types(document_types: Iterable[type[Document]] = ()) -> tuple[ContentType, ...]:
    """Content types for `DocShelf(content_types=...)`: it writes and reads documents, and reads LlamaIndex's nodes too.

    Args:
        document_types: your own subclasses of Document, whose documents are read as instances of them. The name
            identifies the class.

    Raises:
        ConfigurationError: one of them is no subclass of Document, or two of them have one name.

    Example:
        >>> from langchain_core.documents import Document
        >>> with DocShelf(":memory:", content_types=document_content_types()) as shelf:
        ...     shelf.set("a", Document(page_content="Hello."))
        ...     shelf.get("a").page_content
        'Hello.'
    """
    classes: dict[str, type[Document]] = {}
    for cls in document_types:
        _check_class(cls)
        if classes.setdefault(cls.__name__, cls) is not cls:
            raise ConfigurationError(f"there are two document classes of the name {cls.__name__!r}; rename one")
    return (
        ContentType(
            DOCUMENT,
            (Document,),
            dump_document,
            partial(_load, classes=classes),
            text_field="page_content",
            metadata_field="metadata",
        ),
        ContentType(LLAMA_INDEX, (), _refuse, _load_node, text_field="text", metadata_field="metadata"),
    )


def source_of(document: Document, source_key: SourceKey, key: str) -> str:
    """The source of a document, from its metadata or the caller's function; "" if it has none.

    Raises:
        ArgumentTypeError: the source is neither text nor a path.
    """
    found = source_key(document) if callable(source_key) else document.metadata.get(source_key)
    if type(found) is str:
        return found
    if found is None:
        return ""
    found = plain_value(found)
    if isinstance(found, os.PathLike):
        found = os.fspath(found)
    if not isinstance(found, str):
        origin = "source_key" if callable(source_key) else f"metadata[{source_key!r}]"
        raise ArgumentTypeError(
            f"key {key!r:.60}: {origin} gives a {type(found).__name__} as the source of the document; give text or a "
            "path, or pass source_key= to take the source from elsewhere"
        )
    return found


def document_in(entry: Entry, source_key: SourceKey) -> Any:
    """The value of an entry; a plain text, or a document of no framework, as a document of LangChain.

    It is a document of its entry's source, so that writing it again leaves it there.
    """
    plain = as_document(entry.value)
    if plain is None:
        return entry.value
    metadata = dict(plain.metadata)
    if entry.source and isinstance(source_key, str):
        metadata.setdefault(source_key, entry.source)
    return _made(
        {
            **_DEFAULTS,
            "id": entry.key if plain.id is None else plain.id,
            "metadata": metadata,
            "page_content": plain.text,
        }
    )


def check_document(document: Any, key: str) -> Document:
    """Return the document.

    Raises:
        ArgumentTypeError: it is no document.
    """
    if not isinstance(document, Document):
        raise ArgumentTypeError(f"key {key!r:.60}: the value is a {type(document).__name__}; give a Document")
    return document


def _check_class(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Document)):
        raise ConfigurationError(f"{cls!r} is not a document class; give subclasses of Document")
    for name, field in cls.model_fields.items():
        if field.validation_alias is not None and not isinstance(field.validation_alias, str):
            raise ConfigurationError(f"{cls.__name__}.{name} has a validation_alias that is no text; give it one name")


def dump_document(document: Document) -> dict[str, Any]:
    """The data of a document that are stored. The caller must not change them: they may be the document's own fields.

    Raises:
        UnsupportedValueError: the document's `type`, which a subclass may redefine, is no text.
    """
    if not isinstance(document.type, str):
        raise UnsupportedValueError(f"type: cannot store a {type(document.type).__name__} as a document's type")
    cls = type(document)
    if cls is Document and document.__dict__.keys() == _BASE_FIELDS:
        return document.__dict__
    content: dict[str, Any] = {name: getattr(document, name) for name in _BASE_FIELDS}
    if cls is not Document:
        values = {**document.__dict__, **(document.model_extra or {})}
        content["class_name"] = document.class_name if isinstance(document, StoredDocument) else cls.__name__
        content["fields"] = {name: value for name, value in values.items() if name not in _BASE_FIELDS}
    return content


def _load(content: dict[str, Any], *, classes: Mapping[str, type[Document]]) -> Document:
    name = content.get("class_name")
    if name is None:
        if content.keys() == _BASE_FIELDS and content["type"] == _DEFAULTS["type"]:
            return _made(content)
        _text(content["type"])
        return _made({**_DEFAULTS, **{field: content[field] for field in _GIVEN}})
    base = {field: content[field] for field in _BASE_FIELDS}
    fields = {**_dict(content["fields"]), **base}
    cls = classes.get(_text(name))
    if cls is not None:
        return cls.model_validate({_input_name(cls, field): value for field, value in fields.items()})
    document = StoredDocument(**fields)
    document._class_name = name
    return document


def _input_name(cls: type[Document], field: str) -> str:
    """The name by which a class takes the value of a field."""
    known = cls.model_fields.get(field)
    alias = None if known is None else known.validation_alias
    return alias if isinstance(alias, str) else field


def _load_node(content: dict[str, Any]) -> Document:
    """A node of LlamaIndex as a document. A node without text, an image for example, has an empty page."""
    text = content["text"]
    given = {"id": content["id"], "metadata": content["metadata"], "page_content": "" if text is None else text}
    return _made({**_DEFAULTS, **given})


def _made(fields: dict[str, Any]) -> Document:
    """A document with these fields. It takes the mapping as its own."""
    if fields["id"] is not None:
        _text(fields["id"])
    _text(fields["page_content"])
    _dict(fields["metadata"])
    # Unpickling makes documents in this way too. It takes a third of the time of `model_construct`. Validation would
    # refuse lone surrogates, which can be written and must be readable.
    document = Document.__new__(Document)
    document.__setstate__({**_STATE, "__dict__": fields, "__pydantic_fields_set__": set(_GIVEN)})
    return document


def _refuse(_document: Any) -> NoReturn:
    raise AssertionError("this content type is for reading only")


def _dict(value: Any) -> dict[Any, Any]:
    return _checked(value, dict)


def _text(value: Any) -> str:
    return _checked(value, str)


def _checked(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value
