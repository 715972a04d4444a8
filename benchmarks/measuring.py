"""Takes the measurements: peers of a group by turns, so that what disturbs one disturbs the other."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.corpus import Corpus, Documents
from benchmarks.groups import Group
from benchmarks.peers.base import Operation, Peer
from benchmarks.workloads import LOAD, Batches, Measurement, Workload

# Documents of the round that checks and warms every peer before anything counts.
_TRIAL = 300


class WrongResultError(Exception):
    """A peer did not keep what it was given; its speed means nothing."""


@dataclass(frozen=True)
class Series:
    """One workload of one peer.

    Attributes:
        measurements: one for each repetition.
    """

    group: str
    peer: str
    workload: Workload
    measurements: tuple[Measurement, ...]

    @property
    def seconds(self) -> list[float]:
        """For one document, key or call, by repetition."""
        return [measurement.wall for measurement in self.measurements]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def cpu(self) -> float:
        """Seconds of the client's processor for one document, key or call."""
        return statistics.median(measurement.cpu for measurement in self.measurements)

    @property
    def rate(self) -> float:
        """Documents, keys or calls a second."""
        return 1 / self.median


def measure(
    groups: Sequence[Group],
    peers: dict[str, list[Peer]],
    workloads: Sequence[Workload],
    corpus: Corpus,
    *,
    repeat: int,
    tell: Callable[[str], None],
) -> list[Series]:
    """Every workload of every peer, `repeat` times."""
    for group in groups:
        for peer in peers[group.name]:
            _try_out(group, peer, corpus)
    found: dict[tuple[str, str, str], list[Measurement]] = {}
    for repetition in range(repeat):
        for group in groups:
            if repetition >= (group.repeat or repeat):
                continue
            part = corpus.first(group.documents)
            batches = {
                peer: Batches(peer.prepare(part.documents), peer.prepare(part.changed)) for peer in peers[group.name]
            }
            tell(f"repetition {repetition + 1} of {repeat}: {group.name}")
            turns = peers[group.name]
            turns = turns[repetition % len(turns) :] + turns[: repetition % len(turns)]
            for peer in turns:
                peer.reset()
            for workload in workloads if LOAD in workloads else [LOAD, *workloads]:
                gc.collect()
                able = [peer for peer in turns if peer.can(workload.operation)]
                if workload is not LOAD and len(able) < 2:
                    continue  # nobody to compare with
                for peer in able:
                    measurement = workload.measure(peer, part, batches[peer], seed=repetition)
                    found.setdefault((group.name, peer.name, workload.name), []).append(measurement)
                    if workload is LOAD:
                        peer.analyze()
            for peer in turns:
                peer.reset()
    return [
        Series(group.name, peer.name, workload, tuple(found[group.name, peer.name, workload.name]))
        for group in groups
        for workload in workloads
        for peer in peers[group.name]
        if (group.name, peer.name, workload.name) in found and peers[group.name][0].can(workload.operation)
    ]


def _try_out(group: Group, peer: Peer, corpus: Corpus) -> None:
    """Run every operation once on a few documents, and see that they come back as they were."""
    keys = list(corpus.documents)[:_TRIAL]
    rounds: tuple[tuple[Operation, Documents], ...] = (
        ("load", corpus.documents),
        ("sync", corpus.documents),
        ("sync", corpus.changed),
    )
    for operation, documents in rounds:
        wanted = {key: documents[key] for key in keys}
        if not peer.can(operation):
            continue
        peer.perform(operation, [peer.prepare(wanted)])
        if peer.can("mget"):
            _compare(group, peer, peer.perform("mget", [keys]).result, list(wanted.values()))
        if peer.can("get"):
            _compare(group, peer, [peer.perform("get", keys[:1]).result], [wanted[keys[0]]])
    peer.reset()


def _compare(group: Group, peer: Peer, found: Any, wanted: list[Any]) -> None:
    if peer.documents(found) != wanted:
        raise WrongResultError(f"{peer.name} of {group.name!r} did not return what it was given")
