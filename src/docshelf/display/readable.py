"""A value as a reader sees it: its text and its named fields, whatever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

# Where documents of frameworks have their text, and their metadata.
_TEXTS: Final = ("page_content", "text")
_METADATA: Final = "metadata"
_NO_FIELDS: Final[Mapping[Any, Any]] = MappingProxyType({})


class Readable(NamedTuple):
    """A value as text and named fields.

    Attributes:
        text: the text of a document or a text; None for a value that has none.
        fields: the metadata of a document, or the fields of a dict.
        is_document: True for a document, of docshelf or of a framework.
    """

    text: str | None = None
    fields: Mapping[Any, Any] = _NO_FIELDS
    is_document: bool = False


def readable(value: Any) -> Readable:
    """The text and the fields of a value: of a document, also one of an unknown content type, of a text, of a dict."""
    if isinstance(value, str):
        return Readable(value)
    if isinstance(value, Mapping):
        # A plain dict with such names may have others, which a reader wants to see as well.
        is_unknown = hasattr(value, "content_type")
        document = _document(value.get(_METADATA), [value.get(name) for name in _TEXTS]) if is_unknown else None
        return Readable(None, value) if document is None else document
    try:
        document = _document(getattr(value, _METADATA, None), [getattr(value, name, None) for name in _TEXTS])
    except Exception:  # a framework's property may raise anything
        document = None
    return Readable() if document is None else document


def _document(metadata: Any, texts: list[Any]) -> Readable | None:
    text = next((text for text in texts if isinstance(text, str)), None)
    return Readable(text, metadata, True) if isinstance(metadata, Mapping) and text is not None else None
