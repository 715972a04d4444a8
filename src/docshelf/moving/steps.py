"""Steps of moves: items of an iterator, in sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any


class Pull:
    """A step that takes the next items of an iterator, sync or async. An empty list means the end.

    Args:
        iterator: what to take from. An async iterator can only be read by an async move.
        count: how many items to take at most.
    """

    def __init__(self, iterator: Iterator[Any] | AsyncIterator[Any], count: int) -> None:
        self._iterator = iterator
        self._count = count

    def run(self) -> list[Any]:
        """Take the items."""
        assert not isinstance(self._iterator, AsyncIterator)
        return list(islice(self._iterator, self._count))

    async def arun(self) -> list[Any]:
        """As `run`. A sync iterator is read in a thread."""
        if not isinstance(self._iterator, AsyncIterator):
            return await asyncio.to_thread(self.run)
        items: list[Any] = []
        async for item in self._iterator:
            items.append(item)
            if len(items) == self._count:
                break
        return items


class Open:
    """A step that calls a method that returns an iterator, or its asynchronous twin, and does not read it yet.

    Args:
        target: a store.
        method: the name of the sync method. Its twin has an `a` in front.
        args, options: the method's arguments.
    """

    def __init__(self, target: Any, method: str, *args: Any, **options: Any) -> None:
        self._target = target
        self._method = method
        self._args = args
        self._options = options

    def run(self) -> Iterator[Any]:
        """Call the method."""
        return iter(getattr(self._target, self._method)(*self._args, **self._options))

    async def arun(self) -> Any:
        """Call its twin."""
        found = getattr(self._target, f"a{self._method}")(*self._args, **self._options)
        return aiter(found) if hasattr(found, "__aiter__") else iter(await found)
