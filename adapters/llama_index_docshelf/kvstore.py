"""The key-value store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore

from docshelf import ArgumentTypeError, ConfigurationError, ContentType, DocShelf
from llama_index_docshelf.base import ShelfAdapter, ShelfOptions, Url
from llama_index_docshelf.flow import Call, Flow, aperform, perform
from llama_index_docshelf.ordering import orders_in, put_in_order

if TYPE_CHECKING:
    from typing_extensions import Unpack

SEPARATOR: Final = ":"


class DocShelfKVStore(ShelfAdapter, BaseKVStore):
    """A key-value store of dicts, for `IngestionCache` and whatever else takes a `BaseKVStore`.

    A value may hold what docshelf stores without loss (JSON, NaN, bytes, datetimes, tuples, ...), and dicts keep their
    order. Writing a value that stands already writes nothing.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: what the names of this store's docshelf collections begin with: the framework's collection "data"
            becomes "kvstore:data". Two stores of different names share nothing. It may hold no colon.
        shelf: a ready shelf whose connections to use, instead of a url and options.
        options: as for `docshelf.DocShelf`.
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str = "kvstore",
        *,
        shelf: DocShelf | None = None,
        **options: Unpack[ShelfOptions],
    ) -> None:
        if SEPARATOR in collection:
            raise ConfigurationError(
                f"the name {collection!r} of a key-value store holds a {SEPARATOR!r}; leave it out"
            )
        self._open(url, collection, shelf, options, content_types=[_ORDERED])

    def _of(self, collection: str) -> DocShelf:
        return self._shelf.view(f"{self._shelf.collection}{SEPARATOR}{collection}")

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Write a value."""
        self.put_all([(key, val)], collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """As `put`."""
        await self.aput_all([(key, val)], collection)

    def put_all(
        self,
        kv_pairs: Iterable[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Write many values in one transaction. They go in batches of our own, whatever `batch_size` says."""
        self._of(collection).mset(_checked(kv_pairs))

    async def aput_all(
        self,
        kv_pairs: Iterable[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As `put_all`."""
        await self._of(collection).amset(_checked(kv_pairs))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The value of a key, or None."""
        value: dict[str, Any] | None = self._of(collection).get(key)
        return value

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As `get`."""
        value: dict[str, Any] | None = await self._of(collection).aget(key)
        return value

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Every key with its value, in the order of their insertion."""
        return perform(self._of(collection), _everything())

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As `get_all`."""
        return await aperform(self._of(collection), _everything())

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a key; True when there was one."""
        return bool(self._of(collection).mdelete([key]))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return bool(await self._of(collection).amdelete([key]))


def _dump(value: dict[str, Any]) -> dict[str, Any]:
    return {"value": value, "order": orders_in(value)}


def _load(content: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = content["value"]
    put_in_order(value, content["order"])
    return value


# IngestionCache keeps nodes here, and derives its keys from metadata in the order of its keys.
_ORDERED: Final = ContentType("llama-index/dict", (dict,), _dump, _load)


def _checked(pairs: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    checked = list(pairs)
    for key, value in checked:
        if not isinstance(value, dict):
            raise ArgumentTypeError(f"the value of {key!r:.60} is a {type(value).__name__}; give a dict")
    return checked


def _everything() -> Flow[dict[str, dict[str, Any]]]:
    entries = yield Call("yield_entries")
    return {entry.key: entry.value for entry in sorted(entries, key=lambda entry: entry.seq)}
