"""The order of the keys of dicts. docshelf's canonical bytes sort them, but LlamaIndex depends on it.

The hash of a node and the prompt for a model both contain its metadata in the order of its keys.
"""

from __future__ import annotations

from typing import Any, Final

Orders = list[list[Any]]
"""`[path, keys]` for each dict whose keys are not sorted. A path is the keys and indexes that lead to the dict."""

# docshelf refuses values that are nested deeper. A value that contains itself ends here, too.
_MAX_DEPTH: Final = 250


def orders_in(value: Any) -> Orders:
    """The orders of those dicts within a value whose keys would come back in another order."""
    found: Orders = []
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if len(path) > _MAX_DEPTH:
            return []
        is_dict = isinstance(item, dict)
        if is_dict and not _comes_back_in_order(keys := list(item)):
            found.append([list(path), keys])
        for step, inner in item.items() if is_dict else enumerate(item):
            if isinstance(inner, dict | list | tuple):
                waiting.append(((*path, step), inner))
    return found


def put_in_order(value: Any, orders: Orders) -> None:
    """Give the dicts within a value their order again. The value is changed in place.

    Raises:
        LookupError, TypeError, ValueError: the orders belong to another value.
    """
    for path, keys in orders:
        item = value
        for step in path:
            item = item[step]
        ordered = {key: item[key] for key in keys}
        if len(ordered) != len(item):
            raise ValueError("an order that leaves keys out")
        item.clear()
        item.update(ordered)


def _comes_back_in_order(keys: list[Any]) -> bool:
    # Other keys than plain ASCII text are sorted by their encoded form.
    return all(type(key) is str and key.isascii() and key[:1] != "$" for key in keys) and keys == sorted(keys)
