"""The steps that the flows of this package are made of."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Literal, Protocol

# The only import of the step machinery in this package.
from docshelf.adapters import Call, Flow

__all__ = ["HALVES", "SYSTEM_CLOCK", "Call", "Clock", "Flow", "Half"]

Half = Literal["sync", "async"]
"""Which methods of a vector store a run uses."""


class _Halves:
    """`Call(HALVES, "half")` tells a flow which half of a vector store its steps use."""

    def half(self) -> Half:
        return "sync"

    async def ahalf(self) -> Half:
        return "async"


HALVES: Final = _Halves()


class Clock(Protocol):
    """Tells the time and waits. Tests give one that does not really wait."""

    def now(self) -> float:
        """Seconds since some moment in the past; they never go back."""

    def sleep(self, seconds: float) -> Any:
        """Wait, in sync calls."""

    async def asleep(self, seconds: float) -> Any:
        """Wait, in async calls, without blocking the event loop."""


class _SystemClock:
    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK: Final[Clock] = _SystemClock()
