"""Documents without a framework: `Document` of docshelf's own, and those whose content type a store does not know."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType
from typing import Any, Final

from docshelf.display import html
from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.types import Document
from docshelf.values.json import DecodeError, EncodeError

# The names that docshelf itself writes.
JSON: Final = "json"
BYTES: Final = "bytes"
DOCUMENT: Final = "document"
# Characters. A name is shown in errors and views, and is hashed with every value.
MAX_CONTENT_TYPE: Final = 255
DOCUMENT_FIELDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        DOCUMENT: ("text", "metadata"),
        "langchain/document": ("page_content", "metadata"),
        "llama-index/node": ("text", "metadata"),
    }
)
"""The fields that hold text and metadata, by content type: of all documents that docshelf and its adapters write."""
_FIELDS: Final = frozenset(("id", "metadata", "text"))
_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})


class UnknownDocument(dict[str, Any]):
    """A document of a content type that its reader does not know: the fields of the document, in a dict.

    Written again, it is stored under its own content type and, while it is unchanged, with the hash that it had.

    Args:
        content_type: what the document is, "langchain/document" for example; text of 1 to 255 characters.
        fields: the fields, by name.

    Raises:
        ArgumentTypeError: the content type is no text.
        ArgumentValueError: it is empty, too long, or one that docshelf itself writes.

    Example:
        >>> shelf = DocShelf(":memory:")
        >>> shelf.set("a", UnknownDocument("example/note", {"text": "Remember the milk."}))
        >>> found = shelf.get("a")
        >>> found.content_type, found["text"]
        ('example/note', 'Remember the milk.')
    """

    __slots__ = ("_content_type", "_hashes")

    def __init__(self, content_type: str, fields: Mapping[str, Any] = _NO_FIELDS) -> None:
        super().__init__(fields)
        self._content_type = _check_content_type(content_type)
        self._hashes: tuple[bytes, bytes | None] | None = None

    @property
    def content_type(self) -> str:
        """What the document is: the name that its row says."""
        return self._content_type

    @property
    def stored_hashes(self) -> tuple[bytes, bytes | None] | None:
        """The value hash and the checksum of the row that it was read from; None where it was not."""
        return self._hashes

    def copy(self) -> UnknownDocument:
        """A shallow copy, of the same content type."""
        return copy(self)

    def __eq__(self, other: object) -> bool:
        alike = not isinstance(other, UnknownDocument) or self._content_type == other._content_type
        return alike and dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._content_type!r}, {super().__repr__()})"

    def _repr_html_(self) -> str:
        return html.unknown_document(self._content_type, self)


def read_unknown(content_type: str, fields: dict[str, Any], value_hash: bytes, checksum: bytes | None) -> Any:
    """The document of a row whose content type no reader was registered for."""
    document = UnknownDocument(content_type, fields)
    document._hashes = (value_hash, checksum)
    return document


def is_content_type(name: Any) -> bool:
    """True for what the name of a content type may be."""
    return type(name) is str and 0 < len(name) <= MAX_CONTENT_TYPE


def dump_document(document: Document) -> dict[str, Any]:
    """What is stored of a document.

    Raises:
        EncodeError: a field is of another type, or the document is of a subclass, which would lose what it adds.
    """
    if type(document) is not Document:
        raise EncodeError("", f"a {type(document).__name__} would come back as a Document; give a Document")
    if not isinstance(document.text, str):
        raise EncodeError("text", f"a {type(document.text).__name__} where the text of a Document belongs")
    if not isinstance(document.metadata, Mapping):
        raise EncodeError("metadata", f"a {type(document.metadata).__name__}; give a mapping of names to values")
    if document.id is not None and not isinstance(document.id, str):
        raise EncodeError("id", f"a {type(document.id).__name__}; give text or None")
    return {"id": document.id, "metadata": dict(document.metadata), "text": document.text}


def load_document(content: dict[str, Any]) -> Document:
    """The document that was stored.

    Raises:
        DecodeError: it was not written by `dump_document`.
    """
    if content.keys() != _FIELDS:
        raise DecodeError(f"a {DOCUMENT} with other fields than id, metadata and text")
    text, metadata, name = content["text"], content["metadata"], content["id"]
    if type(text) is not str or type(metadata) is not dict or not (name is None or type(name) is str):
        raise DecodeError(f"a {DOCUMENT} with a field of another type")
    return Document(text, metadata, name)


def as_document(value: Any) -> Document | None:
    """A value as a document of no framework, where it is one; else None.

    Args:
        value: a `Document`, a text, or a dict of a `"text"` and maybe `"metadata"`, a dict, and `"id"`, a text. An
            `UnknownDocument` that an adapter of docshelf wrote is one too, without the fields that have no place there.

    Example:
        >>> as_document({"text": "Hello.", "metadata": {"page": 1}})
        Document(text='Hello.', metadata={'page': 1}, id=None)
        >>> as_document(7) is None
        True
    """
    if type(value) is Document:
        return value
    if type(value) is UnknownDocument and value.content_type in DOCUMENT_FIELDS:
        text_field, metadata_field = DOCUMENT_FIELDS[value.content_type]
        value = {"text": value.get(text_field), "metadata": value.get(metadata_field), "id": value.get("id")}
    if type(value) is str:
        return Document(value)
    if type(value) is not dict or "text" not in value or not value.keys() <= _FIELDS:
        return None
    try:
        return load_document({"id": None, "metadata": {}, **value})
    except DecodeError:
        return None


def _check_content_type(name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"the content type {name!r:.60} is a {type(name).__name__}; it has to be a str")
    if not is_content_type(str.__str__(name)):
        raise ArgumentValueError(
            f"the content type {name!r:.60} has {len(name):,} characters; give 1 to {MAX_CONTENT_TYPE}"
        )
    if name in (JSON, BYTES):
        raise ArgumentValueError(f"{name!r} is what docshelf writes of plain values; give the value itself")
    return str.__str__(name)
