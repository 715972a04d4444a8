"""Performs steps on engines that docshelf created: one for sync calls, and one for each event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from docshelf.engines.base import EngineBackend, pool_size_of
from docshelf.engines.create import driver_errors, make_async_engine, make_engine
from docshelf.engines.threads import StepThreads
from docshelf.engines.url import Target
from docshelf.steps import Read, Write

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from docshelf.sql.dialects.base import Dialect


# What belongs to one process: the attributes that `OwnEngines._reset` makes.
_LIVE: Final = frozenset(("_by_loop", "_lock", "_sync", "_threads"))


class OwnEngines(EngineBackend):
    """Creates its engines from a URL on first use: one for sync calls, and one for each event loop."""

    def __init__(
        self, target: Target, dialect: Dialect, pool: Mapping[str, Any], *, application_name: str, retry_seconds: float
    ) -> None:
        super().__init__(dialect, pooler=target.pooler, retry_seconds=retry_seconds)
        # Our own connections already autocommit, because most calls read and setting the level costs time. On SQLite
        # writes use them as they are: BEGIN IMMEDIATE starts their transaction.
        self._reading_isolation = None
        self._target = target
        self._pool = pool
        self._application_name = application_name
        self._reset()
        _all_own_engines.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._sync: Engine | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, _LoopEngine] = {}
        self._threads = StepThreads()  # they end when this is dropped: executors see to that

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the connections: another process, and a deep copy, open their own."""
        if self._target.memory:
            raise TypeError("a store in memory stays in its process; give it the path of a file")
        state = {name: value for name, value in vars(self).items() if name not in _LIVE}
        unknown: dict[str, Any] = {"ready": False, "registered": set(), "_was_connected": False}
        return {**state, **unknown, "_target": self._target.in_any_folder()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()
        _all_own_engines.add(self)

    def after_fork(self) -> None:
        """Reset in the child process. The connections still belong to the parent: nothing is sent on them."""
        if self._target.memory:
            self._lock = threading.Lock()  # a fork copies a database in memory, but no threads
            self._threads = StepThreads()
            return
        engines = [self._sync, *(loop_engine.engine.sync_engine for loop_engine in self._by_loop.values())]
        for engine in engines:
            if engine is not None:
                _kept_after_fork.append(engine.pool)
                engine.dispose(close=False)
        _kept_after_fork.extend(self._by_loop.values())
        self._reset()

    def _engine(self) -> Engine:
        with self._lock:
            if self._sync is None:
                with driver_errors():
                    self._sync = make_engine(self._target, self._pool, self._application_name)
                # A store that is never closed leaves no connection open.
                weakref.finalize(self, self._sync.dispose)
            return self._sync

    def _async_engine(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        with self._lock:
            loop_engine = self._by_loop.get(loop)
        if loop_engine is None:
            with driver_errors():
                engine = make_async_engine(self._target, self._pool, self._application_name)
            loop_engine = _LoopEngine(engine, on_close=lambda: self._by_loop.pop(loop, None))
            with self._lock:
                for other in [other for other in self._by_loop if other.is_closed()]:
                    del self._by_loop[other]
                self._by_loop[loop] = loop_engine
        return loop_engine.engine

    async def _awith_connection(self, step: Read | Write) -> Any:
        if self._target.async_url is None:
            # SQLite's calls are short: a thread of an executor takes 0.43 ms, aiosqlite 1.09 ms.
            return await self._threads.run(self._with_connection, step)
        return await super()._awith_connection(step)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            engine, self._sync = self._sync, None
            engines = dict(self._by_loop)
            self._by_loop.clear()
        self._threads.close()
        if engine is not None:
            engine.dispose()
        for loop, loop_engine in engines.items():
            loop_engine.close_from_outside(loop)

    async def aclose(self) -> None:
        with self._lock:
            loop_engine = self._by_loop.pop(asyncio.get_running_loop(), None)
        if loop_engine is not None:
            await loop_engine.aclose()
        await asyncio.to_thread(self.close)

    @property
    def pool_size(self) -> int | None:
        return pool_size_of(self._engine())

    def __repr__(self) -> str:
        return repr(str(self._target))


class _LoopEngine:
    """An AsyncEngine of one event loop. It is disposed when the loop ends.

    `asyncio.run` and similar functions close all open asynchronous generators before the loop ends. One such generator
    waits here, and disposes the engine while the loop can still talk to the server.
    """

    def __init__(self, engine: AsyncEngine, on_close: Callable[[], object]) -> None:
        self.engine = engine
        self._on_close = on_close
        self._guard: AsyncGenerator[None, None] = self._wait_for_end()
        # Run the generator to its `yield`. From then on the loop knows it and will close it.
        with suppress(StopIteration):
            self._guard.__anext__().send(None)

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._on_close()
            await self.engine.dispose()

    async def aclose(self) -> None:
        await self._guard.aclose()

    def close_from_outside(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close from sync code, whether the loop is running, stopped or closed."""
        if loop.is_closed():
            return
        if not loop.is_running():
            # In another thread, because this one may be running another loop.
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


_all_own_engines: weakref.WeakSet[OwnEngines] = weakref.WeakSet()
# In a forked child: objects with connections of the parent. If they were garbage-collected, drivers would close them.
_kept_after_fork: list[object] = []


def _after_fork() -> None:
    for engines in list(_all_own_engines):
        engines.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
