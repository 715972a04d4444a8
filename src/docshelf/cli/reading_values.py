"""A value as a person reads it: a document's text and its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from docshelf.display.html import preview, size, visible
from docshelf.display.readable import readable as readable_parts
from docshelf.types import Document, Entry
from docshelf.values.content_types import canonical_bytes
from docshelf.values.documents import UnknownDocument


class Readable(NamedTuple):
    """A value as text and named facts.

    Attributes:
        text: the text, or None for a value that is none.
        metadata: what is known of it.
    """

    text: str | None
    metadata: Mapping[Any, Any]


def readable(value: Any) -> Readable:
    """The text and the metadata of a value, whatever wrote it."""
    text, fields, _ = readable_parts(value)
    if text is not None or fields or value is None:
        return Readable(text, fields)
    return Readable(visible(preview(value)) if isinstance(value, bytes) else _printed(value), {})


def excerpt(entry: Entry) -> str:
    """The beginning of a value, on one line."""
    if entry.value_hash is None and entry.value is None and entry.content_type is None:
        return "(only a version)"
    text, metadata = readable(entry.value)
    shown = text if text is not None else _printed(dict(metadata))
    return " ".join(shown[:400].split())


def raw(value: Any) -> bytes:
    """A value and nothing else: the text of a document or a text, bytes as they are, anything else as JSON."""
    if isinstance(value, bytes):
        return value
    text = readable(value).text if not isinstance(value, int | float | list | tuple | set | frozenset) else None
    if text is not None:
        return text.encode("utf-8", "surrogatepass")
    return canonical_bytes(dict(value) if isinstance(value, UnknownDocument) else value)


def as_json(value: Any) -> Any:
    """A value for a line of JSON, without loss: what JSON lacks is tagged, as `{"$date": "2024-01-01"}`."""
    if isinstance(value, Document):
        value = {"id": value.id, "metadata": dict(value.metadata), "text": value.text}
    elif isinstance(value, UnknownDocument):
        value = dict(value)
    return orjson.Fragment(canonical_bytes(value))


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry for a line of JSON."""
    return {
        "key": entry.key,
        "source": entry.source,
        "content_type": entry.content_type,
        "value": as_json(entry.value),
        "version": entry.version,
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
        "value_hash": None if entry.value_hash is None else entry.value_hash.hex(),
    }


def cell(value: Any) -> str:
    """A value of metadata in a table."""
    return value if isinstance(value, str) else _printed(value)


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"{size(len(value))} of bytes"
    return preview(value) if not isinstance(value, int | float | bool) else str(value)
