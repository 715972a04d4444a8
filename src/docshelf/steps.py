"""The steps that an operation is made of, and the one runner that performs them.

An operation is a flow: a generator that yields steps and is sent their results. It does no I/O itself, so one flow
serves sync and async calls. The core's flows yield `Read`, `Write`, `Maintenance` and `Compute`, which an engine
performs. The adapters' flows yield `Call` and `Compute`, which perform themselves: see `perform` and `aperform`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
StepT = TypeVar("StepT")


@dataclass(frozen=True)
class Read:
    """A step that only reads, outside any transaction: one round trip a statement.

    Attributes:
        retry: False tries once only, for who asks whether the database answers now.
    """

    run: Callable[[Connection], Any]
    retry: bool = True


@dataclass(frozen=True)
class Write:
    """A step that is one transaction. It may run again after a transient failure."""

    run: Callable[[Connection], Any]


@dataclass(frozen=True)
class Maintenance:
    """A step after rows were added. Now and then it does something for the database, such as ANALYZE.

    Attributes:
        rows: how many rows were added.
        run: takes a connection and the number of rows that were added since it last did anything. It does what is due
            and returns None, or returns the number of rows from which on something will be due.
    """

    rows: int
    run: Callable[[Connection, int], int | None]


class Compute:
    """A step without I/O.

    Args:
        function, args: what to call.
        heavy: True runs it in a thread where an event loop would wait for it.

    Example:
        >>> def total(numbers):
        ...     return (yield Compute(sum, numbers))
        >>> perform(total([1, 2, 3]))
        6
    """

    __slots__ = ("_args", "_function", "heavy")

    def __init__(self, function: Callable[..., Any], *args: Any, heavy: bool = True) -> None:
        self._function = function
        self._args = args
        self.heavy = heavy

    def run(self) -> Any:
        """Call the function."""
        return self._function(*self._args)

    async def arun(self) -> Any:
        """As `run`; a heavy step runs in a thread."""
        return await asyncio.to_thread(self.run) if self.heavy else self.run()


class Call:
    """A step that calls a method of a store, or in async code the method's asynchronous twin.

    An iterator that the method returns is read to its end: the result is a list.

    Args:
        target: a shelf, a store or a vector store.
        method: the name of the sync method.
        args, options: the method's arguments.

    Example:
        >>> def latest(shelf):  # a flow: written once, for sync and async
        ...     keys = yield Call(shelf, "yield_keys")
        ...     return keys[-1]
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.mset({"a": 1, "b": 2})
        ...     perform(latest(shelf))
        'b'
    """

    __slots__ = ("args", "method", "options", "target")

    def __init__(self, target: Any, method: str, *args: Any, **options: Any) -> None:
        self.target = target
        self.method = method
        self.args = args
        self.options = options

    def run(self) -> Any:
        """Call the method."""
        result = getattr(self.target, self.method)(*self.args, **self.options)
        return list(result) if isinstance(result, Iterator) else result

    async def arun(self) -> Any:
        """Call the method's twin."""
        result = getattr(self.target, async_name(self.method))(*self.args, **self.options)
        return [item async for item in result] if isinstance(result, AsyncIterator) else await result


Step = Read | Write | Maintenance | Compute
Flow = Generator[Any, Any, T]
"""An operation: it yields steps, is sent their results, and returns its own result."""


def async_name(method: str) -> str:
    """The name of a method's asynchronous twin: `aget` of `get`. That of `sync` is `async_`: `async` is a keyword.

    Example:
        >>> async_name("get"), async_name("sync")
        ('aget', 'async_')
    """
    return "async_" if method == "sync" else f"a{method}"


def run_flow(flow: Generator[StepT, Any, T], perform_step: Callable[[StepT], Any]) -> T:
    """Perform a flow to its end and return its result.

    Args:
        perform_step: performs one step. What it raises is raised in the flow, at the step.
    """
    try:
        step = next(flow)
        while True:
            try:
                result = perform_step(step)
            except BaseException as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def arun_flow(flow: Generator[StepT, Any, T], perform_step: Callable[[StepT], Awaitable[Any]]) -> T:
    """As `run_flow`, without blocking the event loop."""
    try:
        step = next(flow)
        while True:
            try:
                result = await perform_step(step)
            except BaseException as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def perform(flow: Flow[T]) -> T:
    """Perform an adapter's flow, whose steps are `Call` and `Compute`, and return its result.

    Example:
        >>> def first(shelf):
        ...     return (yield Call(shelf, "get", "a"))
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.set("a", 1)
        ...     perform(first(shelf))
        1
    """
    return run_flow(flow, lambda step: step.run())


async def aperform(flow: Flow[T]) -> T:
    """As `perform`, without blocking the event loop."""
    return await arun_flow(flow, lambda step: step.arun())
