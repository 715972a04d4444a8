"""Names that are the same in every process: of parents, of children, of the settings they were made under."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

# How deep the attributes of a splitter are looked into; what is deeper is told by its class.
_DEPTH = 4


def stable_uuid(*parts: Any) -> str:
    """A UUID made of what the parts say; some vector stores take no other ids."""
    return str(uuid.UUID(bytes=_digest(parts)[:16], version=5))


def stable_digest(*parts: Any) -> str:
    """32 hexadecimal digits of what the parts say."""
    return _digest(parts).hex()[:32]


def described(value: Any, depth: int = _DEPTH) -> Any:
    """What can be told of a value alike in every process, as JSON: its data, never its address.

    Functions are told by their names, and objects deep inside by their classes: what they do is not seen.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, re.Pattern):
        return [value.pattern, value.flags]
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, partial):
        return [described(part, depth - 1) for part in (value.func, value.args, value.keywords)]
    if depth <= 0:
        return _name(type(value))
    if isinstance(value, Mapping):
        pairs = [[described(key, depth - 1), described(item, depth - 1)] for key, item in value.items()]
        return sorted(pairs, key=json.dumps)
    if isinstance(value, AbstractSet):
        return sorted((described(item, depth - 1) for item in value), key=json.dumps)
    if isinstance(value, list | tuple):
        return [described(item, depth - 1) for item in value]
    if hasattr(value, "__qualname__"):
        return _name(value)
    return [_name(type(value)), described(getattr(value, "__dict__", {}), depth - 1)]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{value.__qualname__}"


def _digest(parts: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(json.dumps(parts).encode()).digest()
