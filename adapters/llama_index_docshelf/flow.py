"""Each operation is written once: a generator of calls on a shelf, which sync and async methods both perform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from docshelf import DocShelf

T = TypeVar("T")


class Call:
    """A step: a method of the shelf, or its asynchronous twin. An iterator that it returns is read to its end."""

    def __init__(self, method: str, *args: Any, **options: Any) -> None:
        self.method = method
        self.args = args
        self.options = options

    def run(self, shelf: DocShelf) -> Any:
        result = getattr(shelf, self.method)(*self.args, **self.options)
        return list(result) if isinstance(result, Iterator) else result

    async def arun(self, shelf: DocShelf) -> Any:
        twin = "async_" if self.method == "sync" else f"a{self.method}"
        result = getattr(shelf, twin)(*self.args, **self.options)
        return [item async for item in result] if isinstance(result, AsyncIterator) else await result


class Compute:
    """A step without I/O, long enough that the event loop leaves it to a thread."""

    def __init__(self, run: Callable[..., Any], *args: Any) -> None:
        self._run = run
        self._args = args

    def run(self, _shelf: DocShelf) -> Any:
        return self._run(*self._args)

    async def arun(self, _shelf: DocShelf) -> Any:
        return await asyncio.to_thread(self._run, *self._args)


class InFlight:
    """Coroutines that have begun and not ended, by the name of what they are about."""

    def __init__(self) -> None:
        self._futures: dict[str, set[asyncio.Future[None]]] = {}

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Around what is waited for."""
        future = asyncio.get_running_loop().create_future()
        self._futures.setdefault(name, set()).add(future)
        try:
            yield
        finally:
            future.set_result(None)
            self._futures[name].discard(future)
            if not self._futures[name]:
                del self._futures[name]

    async def wait_for(self, name: str) -> None:
        """Wait for those of this event loop that have begun."""
        loop = asyncio.get_running_loop()
        begun = [future for future in tuple(self._futures.get(name, ())) if future.get_loop() is loop]
        if begun:
            await asyncio.wait(begun)


Flow = Generator["Call | Compute", Any, T]


def perform(shelf: DocShelf, flow: Flow[T]) -> T:
    """Perform a flow to its end and return what it returns."""
    answer = None
    while True:
        try:
            step = flow.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer = step.run(shelf)


async def aperform(shelf: DocShelf, flow: Flow[T]) -> T:
    """As `perform`, without blocking the event loop."""
    answer = None
    while True:
        try:
            step = flow.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer = await step.arun(shelf)
