"""The note of a source: its columns, and what in a row cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import type_coerce
from sqlalchemy.types import NullType

from docshelf.types import Problem, SourceNote
from docshelf.values.json import DecodeError, loads

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row

    from docshelf.schema import Tables


def note_columns(tables: Tables) -> tuple[ColumnElement[Any], ...]:
    """What is stored of a source's note: its name, fingerprint and metadata.

    As the driver returns them: any SQLite column may hold any type.
    """
    s = tables.sources.c
    return (
        s.source,
        type_coerce(s.fingerprint, NullType()).label("fingerprint"),
        type_coerce(s.metadata, NullType()).label("metadata"),
    )


def note_of(row: Row[Any]) -> tuple[SourceNote, list[Problem]]:
    """The note of a row of the sources table, without the parts that cannot be read, and what is wrong with them."""
    fingerprint = metadata = None
    problems: list[Problem] = []
    try:
        fingerprint = _text_of(row.fingerprint)
    except DecodeError as exc:
        problems.append(Problem("", row.source, f"the source's fingerprint: {exc}"))
    try:
        text = _text_of(row.metadata)
        metadata = None if text is None else loads(text.encode("utf-8", "surrogatepass"))
    except DecodeError as exc:
        problems.append(Problem("", row.source, f"the source's metadata: {exc}"))
    return SourceNote(fingerprint, metadata), problems


def _text_of(content: Any) -> str | None:
    if content is not None and type(content) is not str:
        raise DecodeError("not text")
    return content
