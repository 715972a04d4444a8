"""Takes the measurements: peers of a group by turns, so that what disturbs one disturbs the other."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.corpus import Corpus, Documents
from benchmarks.groups import Group
from benchmarks.peers.base import Operation, Peer
from benchmarks.peers.raw import SOURCE
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
    open_peers: Callable[[Group], AbstractContextManager[list[Peer]]],
    workloads: Sequence[Workload],
    corpus: Corpus,
    *,
    repeat: int,
    tell: Callable[[str], None],
    documents: int | None = None,
) -> tuple[list[Series], dict[str, str]]:
    """Every workload of every peer, `repeat` times; and the remarks of the peers.

    Args:
        open_peers: connects a group's peers. One group at a time is open: a server has only so many connections.
        documents: how many documents a group makes that has a corpus of its own; None leaves it to the group.
    """
    found: dict[tuple[str, str, str], list[Measurement]] = {}
    remarks: dict[str, str] = {}
    own = {group.name: group.corpus(documents) for group in groups if group.corpus is not None}
    for repetition in range(repeat):
        for group in groups:
            if repetition >= (group.repeat or repeat):
                continue
            tell(f"repetition {repetition + 1} of {repeat}: {group.name}")
            with open_peers(group) as peers:
                whole = own.get(group.name, corpus)
                for peer in peers:
                    _try_out(group, peer, whole)
                    remarks.setdefault(peer.name, peer.remark)
                part = whole.first(group.documents)
                wanted = [one for one in workloads if not group.workloads or one.name in group.workloads]
                for peer, workload, measurement in _repetition(peers, wanted, part, repetition):
                    found.setdefault((group.name, peer.name, workload.name), []).append(measurement)
    series = {
        (group, peer, workload.name): Series(group, peer, workload, tuple(measurements))
        for workload in workloads
        for (group, peer, name), measurements in found.items()
        if name == workload.name
    }
    in_order = sorted(series, key=lambda name: [group.name for group in groups].index(name[0]))
    return [series[name] for name in in_order], remarks


def _repetition(
    peers: list[Peer], workloads: Sequence[Workload], corpus: Corpus, number: int
) -> Iterator[tuple[Peer, Workload, Measurement]]:
    batches = {peer: Batches(*map(peer.prepare, (corpus.documents, corpus.changed, corpus.pruned))) for peer in peers}
    turns = peers[number % len(peers) :] + peers[: number % len(peers)]
    for peer in turns:
        peer.reset()
    for workload in workloads if LOAD in workloads else [LOAD, *workloads]:
        gc.collect()
        able = [peer for peer in turns if peer.can(workload.operation)]
        if workload is not LOAD and (len(able) < 2 or peers[0] not in able):
            continue  # nobody to compare with
        for peer in able:
            yield peer, workload, workload.measure(peer, corpus, batches[peer], seed=number)
            if workload is LOAD:
                peer.analyze()


def _try_out(group: Group, peer: Peer, corpus: Corpus) -> None:
    """Run every operation once on a few documents, and see that they come back as they were."""
    keys = list(corpus.documents)[:_TRIAL]
    rounds: tuple[tuple[Operation, Documents], ...] = (
        ("load", corpus.documents),
        ("sync", corpus.documents),
        ("sync", corpus.changed),
        ("prune", corpus.pruned),
    )
    for operation, documents in rounds:
        wanted = {key: documents[key] for key in keys if key in documents}
        if not peer.can(operation):
            continue
        peer.perform(operation, [peer.prepare(wanted)])
        if peer.can("mget"):
            _compare(group, peer, peer.perform("mget", [list(wanted)]).result, list(wanted.values()))
        if peer.can("get"):
            _compare(group, peer, [peer.perform("get", keys[:1]).result], [wanted[keys[0]]])
        author = wanted[keys[0]].get("author")
        if peer.can("find") and author is not None:
            found = sorted(peer.perform("find", [author]).result, key=lambda value: str(value["text"]))
            same = sorted((one for one in wanted.values() if one["author"] == author), key=lambda one: str(one["text"]))
            if found != same:
                raise WrongResultError(f"{peer.name} of {group.name!r} did not find what it was asked for")
        countings: tuple[tuple[Operation, Any], ...] = (("count", SOURCE), ("keys", None))
        for counting, argument in countings:
            if peer.can(counting) and peer.perform(counting, [argument]).result != len(wanted):
                raise WrongResultError(f"{peer.name} of {group.name!r} has not as many documents as it was given")
    peer.reset()


def _compare(group: Group, peer: Peer, found: Any, wanted: list[Any]) -> None:
    if peer.documents(found) != wanted:
        raise WrongResultError(f"{peer.name} of {group.name!r} did not return what it was given")
