"""What LangChain's stores share beyond the adapter kit: values of one kind, sources, notes."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from docshelf import CorruptEntryError, CorruptEntryWarning, Entry, Problem, Source, SourceNote
from docshelf.adapters import ShelfStore

T = TypeVar("T")
_OTHER_KIND: Final = "The entry is whole: read it with `.shelf`, or pass on_corrupt='skip' to leave it out."


class LangChainStore(ShelfStore):
    """Base of the stores for LangChain."""

    def _of_kind(self, entries: Iterable[Entry | None], kind: type[T]) -> list[T | None]:
        """The values of entries; None for each entry that is missing or has no value.

        Raises:
            CorruptEntryError: a value is of another kind than this store is for, under `on_corrupt="raise"`.
        """
        values: list[T | None] = []
        problems: dict[Problem, None] = {}
        for entry in entries:
            value = None if entry is None else self._value_of(entry)
            if entry is not None and value is not None and not isinstance(value, kind):
                reason = f"a {entry.content_type} value where a {type(self).__name__} reads a {kind.__name__}"
                problems[Problem(entry.key, entry.source, reason)] = None
                value = None
            values.append(value)
        if problems and not self._skips:
            raise CorruptEntryError(list(problems), _OTHER_KIND)
        for problem in problems:
            warnings.warn(f"left out the entry with key {problem.key!r}: {problem.reason}", CorruptEntryWarning, 3)
        return values

    def _value_of(self, entry: Entry) -> Any:
        """The value of an entry as this store reads it."""
        return entry.value

    def sources(self) -> list[Source]:
        """Every source that has entries or was synced, ordered by name."""
        return self._shelf.sources()

    async def asources(self) -> list[Source]:
        """As `sources`."""
        return await self._shelf.asources()

    def yield_sources(self, prefix: str | None = None) -> Iterator[Source]:
        """As `sources`, page by page in constant memory; those whose names begin with `prefix`, where one is given."""
        return self._shelf.yield_sources(prefix)

    def ayield_sources(self, prefix: str | None = None) -> AsyncIterator[Source]:
        """As `yield_sources`."""
        return self._shelf.ayield_sources(prefix)


def are_of(kind: type, values: Iterable[Any]) -> bool:
    """True when each value is None or an instance of that class. The entry of any other value says what it is."""
    return all(value is None or isinstance(value, kind) for value in values)


def notes_of(source: str | None, notes: Mapping[str, SourceNote] | None = None) -> Mapping[str, SourceNote] | None:
    """Notes that name the source too, so that it is synced even where no item belongs to it."""
    return notes if source is None else {source: SourceNote(), **(notes or {})}
