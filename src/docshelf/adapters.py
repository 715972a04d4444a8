"""What every adapter of a framework shares: the options of a store, the base of stores, flows of calls.

An adapter holds no SQL. Its stores derive from `ShelfStore`, which holds a `DocShelf`. Where one of its methods needs
more than one call, the method is a flow: a generator of `Call` and `Compute` steps, which `perform` and `aperform` run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar

from sqlalchemy.engine import URL

from docshelf.errors import ConfigurationError
from docshelf.operations.guard import entries_refusal, sources_refusal
from docshelf.operations.reading import labels
from docshelf.steps import Call, Compute, Flow, aperform, async_name, perform
from docshelf.store import DocShelf, OnShelf
from docshelf.types import Label
from docshelf.validation import check_share, plain_value
from docshelf.values.content_types import ContentType
from docshelf.values.documents import as_document
from docshelf.values.settings import fingerprint_of

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from typing_extensions import Self

__all__ = [
    "Call",
    "Compute",
    "Flow",
    "Label",
    "ShelfOptions",
    "ShelfStore",
    "Url",
    "aperform",
    "as_document",
    "as_list",
    "async_name",
    "check_share",
    "entries_refusal",
    "fingerprint_of",
    "perform",
    "plain_value",
    "read_labels",
    "sources_refusal",
]

T = TypeVar("T")
Url = str | os.PathLike[str] | URL
"""What `DocShelf` takes as url: a URL, or the path of an SQLite file."""


class ShelfOptions(TypedDict, total=False):
    """Options of `docshelf.DocShelf`, which documents them. Every store of an adapter takes them."""

    engine: Engine | None
    async_engine: AsyncEngine | None
    schema: str | None
    table_prefix: str
    hash_on: Literal["value", "text"] | Callable[[Any], Any]
    hash_exclude: Iterable[str]
    on_corrupt: Literal["raise", "skip"]
    compression: Literal["zstd"] | None
    pooler: bool
    max_value_bytes: int
    pool_size: int
    max_overflow: int
    pool_timeout: float
    connect_args: Mapping[str, Any] | None
    application_name: str
    retry_seconds: float


# The one option that may differ between a given shelf and a store on it.
_VIEW_OPTION: Final = "on_corrupt"
# Options that cannot go to another process.
_IN_ONE_PROCESS: Final = ("engine", "async_engine")


def read_labels(shelf: DocShelf, sources: Sequence[str], fold: Callable[[Iterable[Label]], Any] = list) -> OnShelf:
    """A step that reads the `Label`s of all entries of some sources, in no order. It costs a fraction of
    `source_entries`, which also reads and checks what an adapter does not need to see whether entries changed.

    Args:
        shelf: the shelf.
        sources: the names of the sources.
        fold: makes the step's result of the labels, while they are read; again from the first one if reading fails and
            is tried again. By default a list. Ten thousands of labels in a list cost the garbage collector as much time
            as reading them.

    Example:
        >>> def keys_of(shelf, source):
        ...     labels = yield read_labels(shelf, [source])
        ...     return [label.key for label in labels]
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.set("a", 1, source="guide.md")
        ...     perform(keys_of(shelf, "guide.md"))
        ['a']
    """
    return OnShelf(shelf, labels, sources, fold)


class ShelfStore:
    """Base of an adapter's stores: holds the shelf that a store works on, its own or a given one.

    A copy, deep or not, works on the same connections and does not close them. A store on a URL can be pickled: another
    process opens the same collection with the same options.

    Example:
        >>> from langchain_docshelf import DocShelfStore
        >>> store = DocShelfStore(":memory:", "guide")
        >>> store.shelf.collection
        'guide'
        >>> store.close()
    """

    # The store that opened the given shelf, if an adapter says so. It goes along to another process.
    _lender: ShelfStore | None = None

    def _open(
        self,
        url: Url | None,
        collection: str | None,
        shelf: DocShelf | None,
        options: ShelfOptions,
        *,
        default: str,
        content_types: Iterable[ContentType] = (),
        **recipe: Any,
    ) -> None:
        """Take the shelf, or make one.

        Args:
            default: the collection where neither an argument nor a shelf names one.
            recipe: further arguments of this store's `__init__`, to make it again in another process.

        Raises:
            ConfigurationError: a shelf beside a url or options.
        """
        if "hash_exclude" in options:  # an iterator could not be read again by another process
            options = {**options, "hash_exclude": as_list(options["hash_exclude"])}
        if shelf is None:
            self._shelf = DocShelf(url, collection or default, content_types=content_types, **options)
        else:
            given = ["url"] if url is not None else sorted(options.keys() - {_VIEW_OPTION})
            if given:
                raise ConfigurationError(
                    f"both shelf and {given[0]} were given; a shelf has its own connections and options"
                )
            self._shelf = shelf.view(collection, content_types=content_types, on_corrupt=options.get("on_corrupt"))
        self._owned = shelf is None
        self._given = shelf is not None
        self._skips = options.get("on_corrupt") == "skip"
        self._recipe: dict[str, Any] = {"url": url, "collection": self._shelf.collection, **options, **recipe}

    @property
    def shelf(self) -> DocShelf:
        """The shelf beneath, for what the framework's contract lacks: verify, stats, bind, yield_entries, ..."""
        return self._shelf

    def rename_collection(self, new: str) -> int:
        """Give the store's collection another name, with everything that belongs to it: see `DocShelf`."""
        count = self._shelf.rename_collection(new)
        self._recipe["collection"] = new
        return count

    async def arename_collection(self, new: str) -> int:
        """As `rename_collection`."""
        count = await self._shelf.arename_collection(new)
        self._recipe["collection"] = new
        return count

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

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        twin._shelf, twin._recipe, twin._owned = self._shelf.view(), dict(self._recipe), False
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = self.__copy__()
        twin._lender = deepcopy(self._lender, memo)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        if self._lender is not None:
            return {**self._recipe, "lender": self._lender}
        if self._given or any(self._recipe.get(name) is not None for name in _IN_ONE_PROCESS):
            raise TypeError(f"a {type(self).__name__} on a given shelf or engine stays in its process; give it a url")
        if ":memory:" in str(self._recipe["url"]):
            raise TypeError(f"a {type(self).__name__} in memory stays in its process; give it the path of a file")
        return self._recipe

    def __setstate__(self, recipe: dict[str, Any]) -> None:
        arguments = dict(recipe)
        lender = arguments.pop("lender", None)
        if lender is not None:
            arguments["shelf"] = lender.shelf
        self.__init__(**arguments)  # type: ignore[misc]
        self._lender = lender


def as_list(items: Any) -> Any:
    """Items that can be read twice: an iterator is read into a list, anything else is returned as it is.

    Example:
        >>> as_list(number for number in range(3))
        [0, 1, 2]
    """
    return list(items) if isinstance(items, Iterator) else items
