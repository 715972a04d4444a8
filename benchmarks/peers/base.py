"""What a peer is: something that keeps documents, and can be timed."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from benchmarks.corpus import Documents

Operation = Literal[
    "load", "sync", "prune", "mget", "get", "gets", "gets_in_threads", "find", "keys", "count", "delete", "drop"
]
"""The methods of a peer that are timed. A peer has those that it can, as plain methods or as coroutines.

load(batch)       write a batch into empty tables
sync(batch)       make what is stored equal a batch, writing only what differs if it can tell
prune(batch)      the same, and delete what the batch does not have
mget(keys)        the values of keys, in their order
get(key)          the value of one key
gets(keys)        the value of each key, asked for by itself, all at once
gets_in_threads(keys)  the same from 8 threads
find(author)      the values whose field author equals this, 100 at most
keys(prefix)      how many keys there are with a prefix, counted one by one
count(source)     how many documents came from a source
delete(document)  the nodes that came from a document
drop(source)      everything that came from a source
"""


class Performed(NamedTuple):
    """Calls that were made.

    Attributes:
        seconds: of each call, by the clock on the wall.
        cpu_seconds: of all calls together, of this process: the client's work, whatever else the machine does.
        result: what the last call returned.
    """

    seconds: list[float]
    cpu_seconds: float
    result: Any


class Peer(ABC):
    """One way to keep documents.

    Attributes:
        name: its column in the tables.
        remark: what it does and does not do, for the reader of the tables.
    """

    name: str
    remark: str

    @abstractmethod
    def open(self) -> None:
        """Connect and make the tables."""

    @abstractmethod
    def reset(self) -> None:
        """Leave the tables empty, as they are when new."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything that `open` got."""

    def analyze(self) -> None:
        """Let the database learn of what was loaded, as it does by itself after a while."""

    def prepare(self, documents: Documents) -> Any:
        """The batch of `load` and `sync`, made of documents. This is not timed."""
        return documents

    def documents(self, values: Any) -> list[Any]:
        """Documents again of what `mget` returned. This is not timed."""
        return list(values)

    def can(self, operation: Operation) -> bool:
        """Whether it has the method."""
        return hasattr(self, operation)

    def perform(self, operation: Operation, arguments: Sequence[Any]) -> Performed:
        """Call a method once for each argument."""
        call = getattr(self, operation)
        seconds = []
        result = None
        began = time.process_time()
        for argument in arguments:
            start = time.perf_counter()
            result = call(argument)
            seconds.append(time.perf_counter() - start)
        return Performed(seconds, time.process_time() - began, result)


class AsyncPeer(Peer):
    """A peer whose methods are coroutines; they run on an event loop of its own."""

    def open(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self.aopen())

    def close(self) -> None:
        self._loop.run_until_complete(self.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @abstractmethod
    async def aopen(self) -> None:
        """As `open`."""

    @abstractmethod
    async def aclose(self) -> None:
        """As `close`."""

    def perform(self, operation: Operation, arguments: Sequence[Any]) -> Performed:
        return self._loop.run_until_complete(self._perform(operation, arguments))

    async def _perform(self, operation: Operation, arguments: Sequence[Any]) -> Performed:
        call = getattr(self, operation)
        seconds = []
        result = None
        began = time.process_time()
        for argument in arguments:
            start = time.perf_counter()
            result = await call(argument)
            seconds.append(time.perf_counter() - start)
        return Performed(seconds, time.process_time() - began, result)
