"""A collection as a table of pandas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from docshelf.display.looks import shelf_in
from docshelf.display.readable import readable

if TYPE_CHECKING:
    from pandas import DataFrame

_FIRST: Final = ("key", "source", "text")
_LAST: Final = ("value", "version", "content_type", "created_at", "updated_at")


def to_pandas(
    shelf: Any,
    where: Mapping[str, Any] | None = None,
    *,
    prefix: str | None = None,
    source: str | None = None,
    limit: int | None = None,
) -> DataFrame:
    """The entries of a collection as a `pandas.DataFrame`, one row each, in the order of key and source.

    The columns are `key`, `source`, `text`, one for each field of metadata, `value` (where an entry is no document, no
    text and no dict), `version`, `content_type`, `created_at` and `updated_at`. A field that has one of these names is
    `metadata.NAME`. The whole table is in memory: for a large collection give `where` or `limit`, or take
    `docshelf.moving.to_arrow`.

    Args:
        shelf: a `DocShelf`, or a store of an adapter.
        where: only entries whose fields match: see `DocShelf.find`.
        prefix: only keys that begin with this text.
        source: only entries of this source.
        limit: at most so many rows.

    Raises:
        ImportError: pandas is missing: pip install 'docshelf[pandas]'.
        DocShelfError: an argument is invalid, or the database cannot be read.
    """
    try:
        import pandas
    except ImportError as exc:
        raise ImportError("to_pandas needs pandas: pip install 'docshelf[pandas]'") from exc
    rows: list[dict[str, Any]] = []
    fields: dict[str, None] = {}
    has_values = False
    for entry in shelf_in(shelf).find(where, prefix=prefix, source=source, limit=limit):
        text, named, _ = readable(entry.value)
        row = {"key": entry.key, "source": entry.source, "text": text}
        for name, value in named.items():
            column = str(name) if str(name) not in (*_FIRST, *_LAST) else f"metadata.{name}"
            row[column] = value
            fields[column] = None
        if text is None and not named and entry.value is not None:
            row["value"] = entry.value
            has_values = True
        row |= {name: getattr(entry, name) for name in _LAST[1:]}
        rows.append(row)
    last = _LAST if has_values else _LAST[1:]
    return pandas.DataFrame(rows, columns=[*_FIRST, *fields, *last])
