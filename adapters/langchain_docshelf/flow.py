"""Each operation on several stores is written once: a generator of steps, which sync and async methods both perform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Call:
    """A step: a method of a shelf or a vector store, or its asynchronous twin. An iterator that it returns is read."""

    def __init__(self, target: Any, method: str, *args: Any, **options: Any) -> None:
        self.target = target
        self.method = method
        self.args = args
        self.options = options

    def run(self) -> Any:
        result = getattr(self.target, self.method)(*self.args, **self.options)
        return list(result) if isinstance(result, Iterator) else result

    async def arun(self) -> Any:
        twin = "async_" if self.method == "sync" else f"a{self.method}"
        result = getattr(self.target, twin)(*self.args, **self.options)
        return [item async for item in result] if isinstance(result, AsyncIterator) else await result


class Compute:
    """A step without I/O, long enough that the event loop leaves it to a thread."""

    def __init__(self, run: Callable[..., Any], *args: Any) -> None:
        self._run = run
        self._args = args

    def run(self) -> Any:
        return self._run(*self._args)

    async def arun(self) -> Any:
        return await asyncio.to_thread(self._run, *self._args)


Flow = Generator["Call | Compute", Any, T]


def perform(flow: Flow[T]) -> T:
    """Perform a flow to its end and return what it returns; what a step raises is raised in the flow."""
    try:
        step = next(flow)
        while True:
            try:
                result = step.run()
            except BaseException as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def aperform(flow: Flow[T]) -> T:
    """As `perform`, without blocking the event loop."""
    try:
        step = next(flow)
        while True:
            try:
                result = await step.arun()
            except BaseException as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
