"""The key-value store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore

from docshelf import ArgumentTypeError, ConfigurationError, ContentType, DocShelf
from docshelf.adapters import Call, Flow, ShelfOptions, ShelfStore, Url, aperform, perform
from llama_index_docshelf.key_order import orders_in, put_in_order
from llama_index_docshelf.plain_values import plain

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from docshelf.moving import Target

SEPARATOR: Final = ":"


class DocShelfKVStore(ShelfStore, BaseKVStore):
    """A key-value store of dicts, for `IngestionCache` and everything else that takes a `BaseKVStore`.

    A value may hold every type that docshelf stores without loss (JSON, NaN, bytes, datetimes, tuples, ...). Dicts keep
    the order of their keys. An unchanged value is not written again.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: the name of the store, without a colon. The names of its docshelf collections begin with it: the
            framework's collection "data" becomes "kvstore:data". Stores of different names share no values.
        shelf: an existing shelf whose connections to use, instead of a url and options.
        options: as for `docshelf.DocShelf`.

    Example:
        >>> store = DocShelfKVStore(":memory:")
        >>> store.put("a", {"page": 1})
        >>> store.get("a")
        {'page': 1}
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str = "kvstore",
        *,
        shelf: DocShelf | None = None,
        **options: Unpack[ShelfOptions],
    ) -> None:
        name = _checked_name(collection)
        self._open(url, name, shelf, options, default="kvstore", content_types=[_ORDERED_DICT])

    def rename_collection(self, new: str) -> int:
        """Give the store another name, without a colon, and all its collections with it: see `DocShelf`."""
        return super().rename_collection(_checked_name(new))

    async def arename_collection(self, new: str) -> int:
        """As `rename_collection`."""
        return await super().arename_collection(_checked_name(new))

    def _of(self, collection: str) -> DocShelf:
        """The shelf of one of the framework's collections."""
        return self._shelf.companion(f"{SEPARATOR}{collection}")

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes into this store."""
        from llama_index_docshelf.moving.targets import KVTarget

        return KVTarget(self._shelf, self._of)

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
        """Write many values in one transaction. `batch_size` has no effect."""
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
        """Every key with its value, in the order of insertion."""
        return perform(_all(self._of(collection)))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As `get_all`."""
        return await aperform(_all(self._of(collection)))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a key. True when it existed."""
        return bool(self._of(collection).mdelete([key]))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return bool(await self._of(collection).amdelete([key]))


def _checked_name(name: str) -> str:
    if SEPARATOR in name:
        raise ConfigurationError(
            f"the name {name!r} of a key-value store contains {SEPARATOR!r}; give a name without it"
        )
    return name


def _dump(value: dict[str, Any]) -> dict[str, Any]:
    value = plain(value)
    return {"value": value, "order": orders_in(value)}


def _load(content: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = content["value"]
    put_in_order(value, content["order"])
    return value


# IngestionCache stores nodes as dicts, and the keys of the cache depend on the order of their metadata.
_ORDERED_DICT: Final = ContentType("llama-index/dict", (dict,), _dump, _load)


def _checked(pairs: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    checked = list(pairs)
    for key, value in checked:
        if not isinstance(value, dict):
            raise ArgumentTypeError(f"the value of {key!r:.60} is a {type(value).__name__}; give a dict")
    return checked


def _all(shelf: DocShelf) -> Flow[dict[str, dict[str, Any]]]:
    entries = yield Call(shelf, "yield_entries")
    return {entry.key: entry.value for entry in sorted(entries, key=lambda entry: entry.seq)}
