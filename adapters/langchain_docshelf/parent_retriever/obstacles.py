"""Why an object cannot go to another process."""

from __future__ import annotations

import copyreg
from itertools import islice
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

# Parts that have no parts of their own, or that pickle finds by name.
_WHOLE: Final = (str, bytes, int, float, type(None), type, FunctionType, BuiltinFunctionType, ModuleType)
# How many items of one container, and how many parts at all, are looked at: a vector store may hold millions.
_ITEMS: Final = 100
_PARTS: Final = 10_000


def pickling_obstacle(value: Any) -> str | None:
    """What in an object refuses to be pickled: a lock, a connection, a client. None if nothing was found.

    It asks each part what pickle asks it, and pickles nothing.
    """
    pending, seen = [value], dict[int, Any]()
    while pending and len(seen) < _PARTS:
        part = pending.pop()
        if isinstance(part, _WHOLE) or id(part) in seen:
            continue
        seen[id(part)] = part  # kept, so that no other object gets its id
        if isinstance(part, dict):
            pending += islice(part.values(), _ITEMS)
        elif isinstance(part, list | tuple | set | frozenset):
            pending += islice(part, _ITEMS)
        else:
            reducer = copyreg.dispatch_table.get(type(part))
            try:
                reduced = reducer(part) if reducer else part.__reduce_ex__(2)
            except Exception as exc:  # any class may refuse with any error
                return f"a {type(part).__name__} ({exc!s:.200})"
            if isinstance(reduced, tuple):
                pending += reduced[1:3]  # arguments and state
    return None
