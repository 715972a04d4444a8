"""What is measured."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from benchmarks.corpus import OF_AN_AUTHOR, Corpus
from benchmarks.peers.base import Operation, Peer
from benchmarks.peers.raw import SOURCE

Unit = Literal["documents/s", "keys/s", "calls/s"]


class Measurement(NamedTuple):
    """Seconds for one document, key or call, in one repetition.

    Attributes:
        wall: by the clock on the wall, the median of the calls.
        cpu: of this process, the mean of the calls.
        slowest: by the clock on the wall, the 99th of a hundred calls.
    """

    wall: float
    cpu: float
    slowest: float


@dataclass(frozen=True)
class Batches:
    """A peer's batches, prepared before anything is timed."""

    original: Any
    changed: Any
    pruned: Any


@dataclass(frozen=True)
class Workload:
    """Calls of one operation.

    Attributes:
        name: what `--only` takes.
        title: its row in the tables.
        operation: the peer's method.
        arguments: of its calls, from the corpus, the peer's batches and a random generator that every peer gets alike.
        per_call: how many documents or keys one call is about.
        unit: what its rate counts.
        bulk: many documents a call; the target for bulk operations is about these.
        warm: untimed calls before; 0 where a call changes what the next finds.
    """

    name: str
    title: str
    operation: Operation
    arguments: Callable[[Corpus, Batches, random.Random], list[Any]]
    per_call: Callable[[Corpus], int]
    unit: Unit
    bulk: bool = True
    warm: int = 0

    def measure(self, peer: Peer, corpus: Corpus, batches: Batches, seed: int) -> Measurement:
        """Perform the calls; every peer gets the same ones for a seed."""
        arguments = self.arguments(corpus, batches, random.Random(seed))
        if self.warm:
            peer.perform(self.operation, arguments[: self.warm])
        calls = arguments[self.warm :]
        performed = peer.perform(self.operation, calls)
        each = self.per_call(corpus)
        seconds = sorted(performed.seconds)
        return Measurement(
            statistics.median(seconds) / each,
            performed.cpu_seconds / len(calls) / each,
            seconds[(99 * len(seconds) - 1) // 100] / each,
        )


@dataclass(frozen=True)
class _Samples:
    """Random keys, `each` of them (or one by itself) in `calls` calls."""

    calls: int
    each: int | None = None

    def __call__(self, corpus: Corpus, batches: Batches, generator: random.Random) -> list[Any]:
        keys = list(corpus.documents)
        if self.each is None:
            return generator.choices(keys, k=self.calls)
        return [generator.sample(keys, min(self.each, len(keys))) for _ in range(self.calls)]


def _all(corpus: Corpus) -> int:
    return len(corpus.documents)


def _at_most(count: int, corpus: Corpus) -> int:
    return min(count, _all(corpus))


LOAD = Workload("cold", "cold sync", "load", lambda corpus, batches, _: [batches.original], _all, "documents/s")

WORKLOADS: Sequence[Workload] = (
    LOAD,
    Workload(
        "unchanged", "unchanged sync", "sync", lambda corpus, batches, _: [batches.original] * 3, _all, "documents/s"
    ),
    Workload("changed", "sync, 1% changed", "sync", lambda corpus, batches, _: [batches.changed], _all, "documents/s"),
    *(
        Workload(
            name,
            f"mget of {count:,} keys",
            "mget",
            _Samples(calls, each=count),
            partial(_at_most, count),
            "keys/s",
            bulk=count == 100,
            warm=5,
        )
        for name, count, calls in (("mget10", 10, 105), ("mget", 100, 45), ("mget1000", 1_000, 15))
    ),
    Workload("get", "single get", "get", _Samples(calls=220), lambda corpus: 1, "calls/s", bulk=False, warm=20),
    Workload(
        "tasks",
        "64 tasks, one get each",
        "gets",
        _Samples(calls=25, each=64),
        lambda _: 64,
        "keys/s",
        bulk=False,
        warm=5,
    ),
    Workload(
        "threads",
        "8 threads, 64 gets",
        "gets_in_threads",
        _Samples(calls=25, each=64),
        partial(_at_most, 64),
        "keys/s",
        bulk=False,
        warm=5,
    ),
    Workload(
        "find",
        f"finding {OF_AN_AUTHOR} by a field",
        "find",
        lambda corpus, _, generator: [
            corpus.documents[key]["author"] for key in generator.choices(list(corpus.documents), k=25)
        ],
        lambda corpus: 1,
        "calls/s",
        bulk=False,
        warm=5,
    ),
    Workload(
        "count", "counting a source", "count", lambda *_: [SOURCE] * 25, lambda corpus: 1, "calls/s", bulk=False, warm=5
    ),
    Workload("keys", "listing all keys", "keys", lambda *_: [None] * 4, _all, "keys/s", bulk=False, warm=1),
    Workload(
        "delete",
        "deleting 100 nodes of a document",
        "delete",
        lambda corpus, *_: [f"doc-{number}" for number in range(min(4, len(corpus.documents) // 100))],
        lambda corpus: 1,
        "calls/s",
        bulk=False,
        warm=1,
    ),
    Workload("pruned", "sync, 1% gone", "prune", lambda corpus, batches, _: [batches.pruned], _all, "documents/s"),
    Workload("drop", "deleting a source", "drop", lambda *_: [SOURCE], _all, "documents/s", bulk=False),
)
