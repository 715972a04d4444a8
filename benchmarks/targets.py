"""What docshelf has to reach, as ratios of rates within one run. Text of about 2 KB unless a target says so."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.measuring import Series


@dataclass(frozen=True)
class Target:
    """A ratio that docshelf has to reach.

    Attributes:
        group: what the group's name begins with.
        of: the peer that it is a ratio of, or the workload of docshelf's own.
        size: characters of a document; None for any.
    """

    group: str
    workload: str
    of: str
    wanted: float
    size: int | None = None


@dataclass(frozen=True)
class Verdict:
    """A target, and what was reached: the median of the repetitions' ratios."""

    group: str
    workload: str
    of: str
    wanted: float
    reached: float

    @property
    def met(self) -> bool:
        return self.reached >= self.wanted


_BY_DEFAULT: Final = "PostgresDocumentStore, batches of 1"
_AT_BEST: Final = "PostgresDocumentStore, batches of 1,000"

TARGETS: Final[Sequence[Target]] = (
    *(Target("PostgreSQL", workload, "raw", 0.7) for workload in ("cold", "unchanged", "changed", "mget")),
    Target("PostgreSQL", "cold", "by hand", 1),
    Target("PostgreSQL", "unchanged", "by hand", 0.8),
    Target("PostgreSQL", "changed", "by hand", 0.8),
    Target("PostgreSQL", "mget", "by hand", 0.7),
    Target("PostgreSQL", "unchanged", "cold", 8),
    Target("SQLite", "unchanged", "cold", 8),
    Target("PostgreSQL, asyncpg", "cold", "COPY", 0.8, size=2_000),
    Target("PostgreSQL, asyncpg", "cold", "COPY", 2, size=20_000),
    Target("PostgreSQL, asyncpg, bytes", "mget", "raw", 0.8),
    Target("PostgreSQL, asyncpg", "get", "raw", 1 / 1.5),
    Target("PostgreSQL, asyncpg", "tasks", "raw", 0.9),
    Target("PostgreSQL, asyncpg", "get", "Pool.fetch", 1),
    Target("PostgreSQL, asyncpg", "tasks", "Pool.fetch", 1),
    *(
        Target("LangChain", workload, "SQLStore", wanted, size=size)
        for size, anchors in ((2_000, (4, 15, 9, 3.5)), (20_000, (6, 20, 14, 2.2)))
        for workload, wanted in zip(("cold", "unchanged", "changed", "mget"), anchors, strict=True)
    ),
    Target("LangChain", "get", "SQLStore", 2.5),
    Target("LangChain", "keys", "SQLStore", 5),
    Target("LlamaIndex", "cold", _BY_DEFAULT, 30, size=2_000),
    Target("LlamaIndex", "cold", _AT_BEST, 12, size=2_000),
    Target("LlamaIndex", "unchanged", _BY_DEFAULT, 60, size=2_000),
    Target("LlamaIndex", "mget", _BY_DEFAULT, 20, size=2_000),
    Target("LlamaIndex", "delete", _BY_DEFAULT, 100, size=2_000),
    Target("search", "find", "LangGraph PostgresStore", 20),
)


def judge(series: Sequence[Series], size: int) -> list[Verdict]:
    """The targets for documents of this size, as far as they were measured."""
    by_name = {(one.group, one.workload.name, one.peer): one for one in series}
    ours: dict[tuple[str, str], Series] = {}
    for one in series:
        ours.setdefault((one.group, one.workload.name), one)
    verdicts = []
    for target in TARGETS:
        if target.size not in (None, size):
            continue
        for (group, workload), first in ours.items():
            if workload != target.workload or not group.startswith(target.group):
                continue
            other = by_name.get((group, workload, target.of)) or ours.get((group, target.of))
            if other is not None and other is not first:
                reached = statistics.median(ratios(first, other))
                of = target.of if other.peer == target.of else other.workload.title
                verdicts.append(Verdict(group, first.workload.title, of, target.wanted, reached))
    return verdicts


def ratios(series: Series, other: Series) -> list[float]:
    """How many times as fast the first was, by repetition: what disturbs both falls out."""
    return [theirs / ours for ours, theirs in zip(series.seconds, other.seconds, strict=True)]
