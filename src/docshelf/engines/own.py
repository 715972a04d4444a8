"""Engines that docshelf makes from a URL: one for sync calls, and one for each event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from docshelf.engines.base import EngineBackend
from docshelf.engines.create import driver_errors, make_async_engine, make_engine
from docshelf.engines.url import Target
from docshelf.steps import Read, Write

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from docshelf.sql.dialects.base import Dialect


class OwnEngines(EngineBackend):
    """Engines made from a URL on first use: one for sync, and one for each event loop that comes along."""

    def __init__(self, target: Target, dialect: Dialect, *, pooler: bool) -> None:
        super().__init__(dialect, pooler=pooler)
        # Our own connections autocommit, as most calls read, and to switch costs. SQLite's do even when they write:
        # there a transaction is what BEGIN IMMEDIATE begins.
        self._reading_isolation = None
        self._target = target
        self._forget()
        _own_engines.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._made: Engine | None = None
        self._made_async: dict[asyncio.AbstractEventLoop, _LoopEngine] = {}

    def after_fork(self) -> None:
        """Begin anew in the child; the parent's connections are left alone, without a word to the server."""
        if self._target.memory:
            self._lock = threading.Lock()  # a database in memory is copied with the process
            return
        engines = [self._made, *(made.engine.sync_engine for made in self._made_async.values())]
        for engine in engines:
            if engine is not None:
                _of_parent.append(engine.pool)
                engine.dispose(close=False)
        _of_parent.extend(self._made_async.values())
        self._forget()

    def _engine(self) -> Engine:
        with self._lock:
            if self._made is None:
                with driver_errors():
                    self._made = make_engine(self._target, pooler=self._pooler)
                # A store that nobody closes leaves no connection open behind it.
                weakref.finalize(self, self._made.dispose)
            return self._made

    def _async_engine(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        with self._lock:
            made = self._made_async.get(loop)
        if made is None:
            with driver_errors():
                engine = make_async_engine(self._target, pooler=self._pooler)
            made = _LoopEngine(engine, at_end=lambda: self._made_async.pop(loop, None))
            with self._lock:
                for other in [other for other in self._made_async if other.is_closed()]:
                    del self._made_async[other]
                self._made_async[loop] = made
        return made.engine

    async def _aconnected(self, step: Read | Write) -> Any:
        if self._target.async_url is None:
            # SQLite's own calls are short: a thread of the loop's executor costs 0.43 ms, aiosqlite 1.09.
            return await asyncio.to_thread(self._connected, step)
        return await super()._aconnected(step)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            engine, self._made = self._made, None
            engines = dict(self._made_async)
            self._made_async.clear()
        if engine is not None:
            engine.dispose()
        for loop, made in engines.items():
            made.close_from_outside(loop)

    async def aclose(self) -> None:
        with self._lock:
            made = self._made_async.pop(asyncio.get_running_loop(), None)
        if made is not None:
            await made.aclose()
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return repr(str(self._target))


class _LoopEngine:
    """An AsyncEngine that belongs to one event loop and is disposed when that loop ends.

    `asyncio.run` and its like end by closing the asynchronous generators that are still open; one of them, waiting
    here, disposes the engine while the loop can still talk to the server.
    """

    def __init__(self, engine: AsyncEngine, at_end: Callable[[], object]) -> None:
        self.engine = engine
        self._at_end = at_end
        self._guard: AsyncGenerator[None, None] = self._wait_for_end()
        # This runs to the `yield` without suspending, and by it the loop learns of the generator.
        with suppress(StopIteration):
            self._guard.__anext__().send(None)

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._at_end()
            await self.engine.dispose()

    async def aclose(self) -> None:
        await self._guard.aclose()

    def close_from_outside(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close from sync code, whatever the loop is doing."""
        if loop.is_closed():
            return
        if not loop.is_running():
            # In a thread of its own, because this one may be running another loop.
            with ThreadPoolExecutor(1) as closer:
                closer.submit(lambda: loop.run_until_complete(self.aclose())).result()
            return
        closing = asyncio.run_coroutine_threadsafe(self.aclose(), loop)
        try:
            inside = asyncio.get_running_loop() is loop
        except RuntimeError:
            inside = False
        if not inside:
            closing.result(timeout=10)


_own_engines: weakref.WeakSet[OwnEngines] = weakref.WeakSet()
# In the child of a fork: what holds the parent's connections. Nothing may collect them, as drivers would close them.
_of_parent: list[object] = []


def _after_fork() -> None:
    for engines in list(_own_engines):
        engines.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
