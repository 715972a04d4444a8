"""What the three stores have in common: a shelf of their own or a given one, and how they go to another process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar

from docshelf import ConfigurationError, ContentType, DocShelf
from llama_index_docshelf.flow import Flow, aperform, perform

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
_IN_ONE_PROCESS: Final = ("engine", "async_engine")


class ShelfAdapter:
    """Holds the shelf that a store works on."""

    def _open(
        self,
        url: Url | None,
        collection: str,
        shelf: DocShelf | None,
        options: ShelfOptions,
        *,
        content_types: Iterable[ContentType] = (),
        **recipe: Any,
    ) -> None:
        """Take the shelf, or make one.

        Args:
            recipe: further arguments of this store's `__init__`, to make it again in another process.

        Raises:
            ConfigurationError: a shelf beside a url or options.
        """
        if shelf is None:
            self._shelf = DocShelf(url, collection, content_types=content_types, **options)
        elif url is not None or options:
            given = "url" if url is not None else next(iter(options))
            raise ConfigurationError(f"both shelf and {given} were given; a shelf has its own connections and options")
        else:
            self._shelf = shelf.view(collection, content_types=content_types)
        self._owned = shelf is None
        self._recipe: dict[str, Any] = {"url": url, "collection": collection, **options, **recipe}

    @property
    def shelf(self) -> DocShelf:
        """The shelf beneath, for what the framework's contract has no words for: verify, stats, bind, ..."""
        return self._shelf

    def _do(self, flow: Flow[T]) -> T:
        return perform(self._shelf, flow)

    async def _ado(self, flow: Flow[T]) -> T:
        return await aperform(self._shelf, flow)

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

    # A pipeline with num_workers pickles its cache, and transformations may hold a document store.

    def __getstate__(self) -> dict[str, Any]:
        if not self._owned or any(self._recipe.get(name) is not None for name in _IN_ONE_PROCESS):
            raise TypeError(f"a {type(self).__name__} on a given shelf or engine stays in its process; give it a url")
        if ":memory:" in str(self._recipe["url"]):
            raise TypeError(f"a {type(self).__name__} in memory stays in its process; give it the path of a file")
        return self._recipe

    def __setstate__(self, recipe: dict[str, Any]) -> None:
        self.__init__(**recipe)  # type: ignore[misc]
