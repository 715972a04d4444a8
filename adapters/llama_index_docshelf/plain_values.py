"""LlamaIndex's pydantic objects within metadata, as plain values: dicts of their fields.

Extractors of property graphs put `EntityNode` and `Relation` objects into the metadata of nodes. LlamaIndex's own
stores write such objects as their fields and read them as dicts, and so do docshelf's. No row names their class.
"""

from __future__ import annotations

from typing import Any, Final

from llama_index.core.bridge.pydantic import BaseModel

# docshelf refuses values that are nested deeper.
_MAX_DEPTH: Final = 250
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))


class _TooDeepError(Exception):
    """The value is nested deeper than docshelf stores, or contains itself."""


def plain(value: Any) -> Any:
    """The value, with the fields of each pydantic object of llama-index-core in its place.

    Objects of other classes stay, and docshelf refuses them: they would come back as something else unnoticed. A value
    without objects of llama-index-core is returned as it is, not as a copy.
    """
    try:
        return _plain(value, 0)
    except _TooDeepError:
        return value  # docshelf refuses it, and says so


def _plain(value: Any, depth: int) -> Any:
    if type(value) in _SCALARS:
        return value
    if depth > _MAX_DEPTH:
        raise _TooDeepError
    if isinstance(value, BaseModel):
        of_framework = type(value).__module__.startswith("llama_index.core.")
        return _plain(value.model_dump(), depth + 1) if of_framework else value
    if isinstance(value, dict):
        changed = {key: new for key, item in value.items() if (new := _plain(item, depth + 1)) is not item}
        return {**value, **changed} if changed else value
    if isinstance(value, list | tuple):
        items = [_plain(item, depth + 1) for item in value]
        if all(new is item for new, item in zip(items, value, strict=True)):
            return value
        return items if isinstance(value, list) else tuple(items)
    return value
