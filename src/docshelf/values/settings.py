"""The settings of functions and objects as JSON that is the same in every process."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Final

# How many levels of an object's attributes count. Below, only the class of an object does.
_DEPTH: Final = 4


def fingerprint_of(value: Any, depth: int = _DEPTH) -> Any:
    """JSON that is the same for equal values in every process: their data, never their addresses.

    A function counts by its name alone: a change of its body is not seen. So does an object below `depth`, by its
    class.

    Example:
        >>> class Splitter:
        ...     def __init__(self, size):
        ...         self.size = size
        >>> fingerprint_of(Splitter(100)) == fingerprint_of(Splitter(100))
        True
        >>> fingerprint_of(Splitter(100)) == fingerprint_of(Splitter(200))
        False
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
        return [fingerprint_of(part, depth - 1) for part in (value.func, value.args, value.keywords)]
    if depth <= 0:
        return _name(type(value))
    if isinstance(value, Mapping):
        pairs = [[fingerprint_of(key, depth - 1), fingerprint_of(item, depth - 1)] for key, item in value.items()]
        return sorted(pairs, key=json.dumps)
    if isinstance(value, AbstractSet):
        return sorted((fingerprint_of(item, depth - 1) for item in value), key=json.dumps)
    if isinstance(value, list | tuple):
        return [fingerprint_of(item, depth - 1) for item in value]
    if hasattr(value, "__qualname__"):
        return _name(value)
    return [_name(type(value)), fingerprint_of(getattr(value, "__dict__", {}), depth - 1)]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{value.__qualname__}"
