"""What the stores have in common: a shelf of their own or a given one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar

from docshelf import (
    ConfigurationError,
    ContentType,
    CorruptEntryError,
    CorruptEntryWarning,
    DocShelf,
    Entry,
    Problem,
    Source,
    SourceNote,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


T = TypeVar("T")


class ShelfOptions(TypedDict, total=False):
    """Options of `docshelf.DocShelf`, which documents them."""

    engine: Any
    async_engine: Any
    schema: str | None
    table_prefix: str
    hash_on: Literal["value", "text"] | Callable[[Any], Any]
    hash_exclude: Iterable[str]
    on_corrupt: Literal["raise", "skip"]
    compression: Literal["zstd"] | None
    pooler: bool
    max_value_bytes: int


Url = str | os.PathLike[str] | Any  # or a SQLAlchemy URL
# The one option that may differ between a given shelf and a store on it.
_OF_A_VIEW: Final = "on_corrupt"


_OTHER_KIND: Final = "The entry is whole: read it by `.shelf`, or pass on_corrupt='skip' to leave it out."


class ShelfStore:
    """Holds the shelf that a store works on."""

    def _open(
        self,
        url: Url | None,
        collection: str | None,
        shelf: DocShelf | None,
        options: ShelfOptions,
        *,
        default: str,
        content_types: Iterable[ContentType] = (),
    ) -> None:
        """Take the shelf, or make one.

        Args:
            default: the collection where neither an argument nor a shelf names one.

        Raises:
            ConfigurationError: a shelf beside a url or options.
        """
        if shelf is None:
            self._shelf = DocShelf(url, collection or default, content_types=content_types, **options)
        else:
            given = ["url"] if url is not None else sorted(options.keys() - {_OF_A_VIEW})
            if given:
                raise ConfigurationError(
                    f"both shelf and {given[0]} were given; a shelf has its own connections and options"
                )
            self._shelf = shelf.view(collection, content_types=content_types, on_corrupt=options.get("on_corrupt"))
        self._owned = shelf is None
        self._skips = options.get("on_corrupt") == "skip"

    @property
    def shelf(self) -> DocShelf:
        """The shelf beneath, for what LangChain's contract has no words for: verify, stats, bind, yield_entries, ..."""
        return self._shelf

    def _of_kind(self, entries: Iterable[Entry | None], kind: type[T]) -> list[T | None]:
        """The values of entries, None for each that is missing or holds none.

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

    def close(self) -> None:
        """Close the connections that this store opened; those of a given shelf or engine stay."""
        if self._owned:
            self._shelf.close()

    async def aclose(self) -> None:
        """As `close`."""
        if self._owned:
            await self._shelf.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._shelf!r}>"

    def _repr_html_(self) -> str:
        return self._shelf._repr_html_()


def are_of(kind: type, values: Iterable[Any]) -> bool:
    """True when every value is of that class, or None. Where one is not, its entry tells what it is."""
    return all(value is None or isinstance(value, kind) for value in values)


def kept(keys: Any) -> Any:
    """Keys that can be read twice."""
    return list(keys) if isinstance(keys, Iterator) else keys


def notes_of(source: str | None, notes: Mapping[str, SourceNote] | None = None) -> Mapping[str, SourceNote] | None:
    """Notes that name a source, so that it is synced even where no item belongs to it."""
    return notes if source is None else {source: SourceNote(), **(notes or {})}
