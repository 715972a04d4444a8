"""Looks into a store from a notebook: `summary` and `sample`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

from docshelf.display import html
from docshelf.display.shapes import EntryShape, SourceShape, StatsShape


class ShelfShape(Protocol):
    """What these functions need of a `DocShelf`."""

    @property
    def collection(self) -> str: ...
    def stats(self) -> StatsShape: ...
    def sources(self) -> Sequence[SourceShape]: ...
    def yield_keys(self, prefix: str | None = None, *, source: str | None = None) -> Iterator[str]: ...
    def mget_entries(self, keys: Sequence[str], *, source: str | None = None) -> Sequence[EntryShape | None]: ...
    def find(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        prefix: str | None = None,
        source: str | None = None,
        limit: int | None = None,
    ) -> Iterator[EntryShape]: ...


@dataclass(frozen=True)
class Summary:
    """What is in a collection. A notebook shows it as a table.

    Attributes:
        collection: its name.
        entries, sources: how many it has.
        stored_bytes: the values as packed, in bytes.
        disk_bytes: the whole table with its indexes, of all collections.
        synced_at: when a sync last changed one of its sources, by the database's clock in UTC; None if none ever did.
        largest: the three sources with the most entries.
    """

    collection: str
    entries: int
    sources: int
    stored_bytes: int
    disk_bytes: int
    synced_at: datetime | None
    largest: tuple[SourceShape, ...]

    @property
    def _facts(self) -> dict[str, str]:
        facts = {
            "entries": f"{self.entries:,}",
            "sources": f"{self.sources:,}",
            "values, as packed": html.size(self.stored_bytes),
            "on disk, with others": html.size(self.disk_bytes),
            "last sync": "never" if self.synced_at is None else f"{self.synced_at:%Y-%m-%d %H:%M} UTC",
        }
        named = [f"{html.cut(one.source)} ({one.entries:,})" for one in self.largest if one.source]
        return {**facts, "largest sources": ", ".join(named)} if named else facts

    def __str__(self) -> str:
        facts = {"collection": html.cut(self.collection, 255), **self._facts}
        widest = max(map(len, facts))
        return "\n".join(f"{name.ljust(widest)}  {text}" for name, text in facts.items())

    def _repr_html_(self) -> str:
        return html.summary(self.collection, self._facts)


class Sample(list[EntryShape]):
    """Entries of a store. A notebook shows them as a table, with the beginning of each text."""

    def _repr_html_(self) -> str:
        return html.entries(self)


def summary(shelf: Any) -> Summary:
    """Count what is in a collection, and say when it was last synced. Three statements; none reads a value.

    Args:
        shelf: a `DocShelf`, or a store of an adapter.

    Raises:
        DocShelfError: the database cannot be read.
    """
    store = shelf_in(shelf)
    stats, sources = store.stats(), store.sources()
    times = [source.synced_at for source in sources if source.synced_at is not None]
    largest = sorted((one for one in sources if one.entries), key=lambda one: (-one.entries, one.source))[:3]
    return Summary(
        store.collection,
        stats.entries,
        stats.sources,
        stats.stored_bytes,
        stats.disk_bytes,
        max(times, default=None),
        tuple(largest),
    )


def sample(
    shelf: Any, n: int = 5, *, prefix: str | None = None, source: str | None = None, seed: int | None = None
) -> Sample:
    """Some entries by chance, each key as likely as any other, in the order of their keys.

    It reads every key, page by page, and the values of the chosen entries.

    Args:
        shelf: a `DocShelf`, or a store of an adapter.
        n: how many; fewer where there are not as many.
        prefix: only keys that begin with this text.
        source: only entries of this source.
        seed: the same seed chooses the same entries of the same keys.

    Raises:
        ValueError: `n` is negative.
        DocShelfError: the database cannot be read.
    """
    if n < 0:
        raise ValueError(f"n={n}: give 0 or more")
    store, chance = shelf_in(shelf), Random(seed)  # noqa: S311 - nobody guards a secret with it
    chosen: list[str] = []
    for number, key in enumerate(store.yield_keys(prefix, source=source)):
        if number < n:
            chosen.append(key)
        elif (place := chance.randint(0, number)) < n:
            chosen[place] = key
    found = store.mget_entries(sorted(chosen, key=str.encode), source=source)
    return Sample(entry for entry in found if entry is not None)


def shelf_in(store: Any) -> ShelfShape:
    """The `DocShelf` of a store of an adapter, or the shelf itself."""
    shelf: ShelfShape = getattr(store, "shelf", store)
    return shelf
