"""Coroutines that run now, so that others can wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """Coroutines that have begun and not ended, by the name of what they work on. A copy knows of none."""

    def __init__(self) -> None:
        self._futures: dict[str, set[asyncio.Future[None]]] = {}

    def __reduce__(self) -> tuple[type[InFlight], tuple[()]]:
        return InFlight, ()

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Enter while a coroutine works on `name`."""
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
        """Wait for the coroutines of this event loop that work on `name` now."""
        loop = asyncio.get_running_loop()
        begun = [future for future in tuple(self._futures.get(name, ())) if future.get_loop() is loop]
        if begun:
            await asyncio.wait(begun)
