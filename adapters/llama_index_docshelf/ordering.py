"""The order of dicts, which docshelf's canonical bytes do not keep and LlamaIndex does not ignore.

A node's hash and the text given to a model both spell out its metadata in the order of its keys.
"""

from __future__ import annotations

from typing import Any, Final

Orders = list[list[Any]]

# docshelf stores nothing deeper; what refers to itself ends here too.
_MAX_DEPTH: Final = 250


def orders_in(value: Any) -> Orders:
    """[path, keys] for each dict within a value whose keys would come back in another order."""
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
    """Give the dicts within a value, which is changed, their order again.

    Raises:
        LookupError, TypeError, ValueError: these are not the orders of this value.
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
    # Keys that are not plain text are sorted by what they are encoded as.
    return all(type(key) is str and key.isascii() and key[:1] != "$" for key in keys) and keys == sorted(keys)
