"""From what an old store kept to a value that every shelf stores. Nothing in it is called, imported or instantiated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from langchain_core.documents import Document

import docshelf
from docshelf import Item, UnknownDocument
from docshelf.adapters import as_document
from docshelf.moving import Refused, RefusedPickleError, read_pickle
from langchain_docshelf.documents import DOCUMENT, dump_document

Kind = Literal["documents", "bytes", "values"]
"""What a store keeps: documents, which may be written as JSON; bytes as they are; or any value."""

Read = Callable[[Any], Any]
"""Makes a value of what a store returns; raises `Unreadable` if it cannot."""

_PICKLE: Final = b"\x80"
_MAX_DEPTH: Final = 250


class Unreadable(Exception):  # noqa: N818
    """A value of an old store is nothing that can be moved; the text says why."""


def record(key: str, value: Any, read: Read, source: str | None = None) -> Item | Refused:
    """The record of a key and what a store keeps under it."""
    try:
        return Item(key, read(value), source)
    except Unreadable as exc:
        return Refused(key, source or "", str(exc))


def reader_of(kind: Kind) -> Read:
    """How to read what a store keeps."""
    return {"documents": read_document, "bytes": read_bytes, "values": read_value}[kind]


def neutral(document: Document) -> docshelf.Document | UnknownDocument:
    """A document as every shelf stores it: of no framework if it is nothing but text, metadata and id."""
    if type(document) is Document and str(document.type) == "Document" and not document.model_extra:
        return docshelf.Document(document.page_content, document.metadata, document.id)
    return UnknownDocument(DOCUMENT, dict(dump_document(document)))


def read_document(value: Any) -> docshelf.Document | UnknownDocument:
    """A document: an object, the JSON of `create_kv_docstore`, a pickle, or a plain text."""
    if isinstance(value, Document):
        return neutral(value)
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        value = read_pickled(data) if data.startswith(_PICKLE) else _read_json(data)
        if isinstance(value, docshelf.Document | UnknownDocument):
            return value
    plain = as_document(value)
    if plain is None:
        raise Unreadable(f"a {type(value).__name__} where a document belongs")
    return plain


def read_bytes(value: Any) -> bytes:
    """Bytes as they are."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise Unreadable(f"a {type(value).__name__} where bytes belong")
    return bytes(value)


def read_value(value: Any) -> Any:
    """Any value; a document in its neutral form."""
    return neutral(value) if isinstance(value, Document) else value


def read_pickled(data: bytes) -> Any:
    """The value of a pickle; a document in its neutral form."""
    try:
        return read_pickle(data, _document_of_state)
    except RefusedPickleError as exc:
        raise Unreadable(str(exc)) from exc


def _document_of_state(module: str, name: str, state: Mapping[str, Any]) -> Any:
    """The document of the state of an instance of LangChain's class; None for any other."""
    fields = state.get("__dict__")
    if module.partition(".")[0].partition("_")[0] != "langchain" or name != "Document" or not isinstance(fields, dict):
        return None
    try:
        return _document(fields, name)
    except Unreadable as exc:
        raise RefusedPickleError(str(exc)) from exc


def _read_json(data: bytes) -> Any:
    """What LangChain's `dumps` wrote of a document."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"neither JSON nor a pickle ({exc!s:.100})") from exc
    if not _is_constructed(value):
        return value
    name, kwargs = value["id"][-1], value.get("kwargs")
    if not isinstance(kwargs, dict) or "page_content" not in kwargs:
        raise Unreadable(f"JSON of {'.'.join(map(str, value['id'])):.100}, which is no document")
    return _document({field: _unescaped(item, field, _MAX_DEPTH) for field, item in kwargs.items()}, str(name))


def _document(fields: dict[str, Any], class_name: str) -> docshelf.Document | UnknownDocument:
    """The document of the fields of LangChain's class, or of a class of that name."""
    text, metadata, name = fields.get("page_content"), fields.get("metadata", {}), fields.get("id")
    if not isinstance(text, str) or not isinstance(metadata, dict) or not isinstance(name, str | None):
        raise Unreadable("a document whose text, metadata or id is of another type")
    rest = {field: value for field, value in fields.items() if field not in ("page_content", "metadata", "id", "type")}
    kind = fields.get("type", "Document")
    if class_name == "Document" and not rest and kind == "Document":
        return docshelf.Document(text, metadata, name)
    content = {"id": name, "metadata": metadata, "page_content": text, "type": kind}
    return UnknownDocument(DOCUMENT, {**content, "class_name": class_name, "fields": rest})


def _is_constructed(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("lc") == 1
        and value.get("type") == "constructor"
        and isinstance(value.get("id"), list)
        and bool(value["id"])
    )


def _unescaped(value: Any, path: str, depth: int) -> Any:
    """A part of what `dumps` wrote, without its marks; anything that stands for an object is refused."""
    if depth <= 0:
        raise Unreadable("nested too deep")
    if isinstance(value, list):
        return [_unescaped(item, f"{path}[{position}]", depth - 1) for position, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__lc_escaped__"} and isinstance(value["__lc_escaped__"], dict):
        # What was a dict of the user's that looks like a mark, whose own parts are as they were.
        return value["__lc_escaped__"]
    if value.get("lc") == 1 and "type" in value and "id" in value:
        written = value.get("repr") or value["id"]
        raise Unreadable(f"{path} holds no value but what LangChain wrote of an object ({written!s:.100})")
    return {key: _unescaped(item, f"{path}.{key}", depth - 1) for key, item in value.items()}
