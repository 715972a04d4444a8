"""One face for sync and async, so that a test is written once and runs over both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from docshelf import DocShelf
from docshelf.adapters import async_name

T = TypeVar("T")


class Loop:
    """An event loop that ends as `asyncio.run` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class Face:
    """A store whose methods are called as sync ones; under mode "async" their twins run in a loop."""

    def __init__(self, shelf: DocShelf, mode: str, loop: Loop) -> None:
        self.shelf = shelf
        self.mode = mode
        self.loop = loop

    def of(self, shelf: DocShelf) -> Face:
        """Another store under the same mode."""
        return Face(shelf, self.mode, self.loop)

    def __getattr__(self, name: str) -> Any:
        if self.mode == "sync" or name in ("view", "bind", "collection"):
            return getattr(self.shelf, name)
        method = getattr(self.shelf, async_name(name))

        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            return self._drained(result) if isinstance(result, AsyncIterator) else self.loop.run(result)

        return call

    def _drained(self, items: AsyncIterator[T]) -> Iterator[T]:
        iterator = aiter(items)
        try:
            while True:
                try:
                    item = self.loop.run(_next(iterator))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                self.loop.run(close())


async def _next(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)
