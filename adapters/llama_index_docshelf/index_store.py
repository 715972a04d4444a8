"""The index store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.data_structs.data_structs import IndexStruct
from llama_index.core.storage.index_store.types import BaseIndexStore
from llama_index.core.storage.index_store.utils import index_struct_to_json, json_to_index_struct

from docshelf import DocShelf
from docshelf.adapters import Call, Flow, ShelfOptions, ShelfStore, Url, aperform, perform

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from docshelf.moving import Target


class DocShelfIndexStore(ShelfStore, BaseIndexStore):
    """An index store. Each index struct, in which LlamaIndex describes an index, is one row.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: the collection of the rows.
        shelf: an existing shelf whose connections to use, instead of a url and options.
        options: as for `docshelf.DocShelf`.

    Example:
        >>> DocShelfIndexStore(":memory:").index_structs()
        []
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str = "index_store",
        *,
        shelf: DocShelf | None = None,
        **options: Unpack[ShelfOptions],
    ) -> None:
        self._open(url, collection, shelf, options, default="index_store")

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes into this store."""
        from llama_index_docshelf.moving.targets import IndexTarget

        return IndexTarget(self._shelf)

    def add_index_struct(self, index_struct: IndexStruct) -> None:
        """Write an index struct."""
        perform(_add(self._shelf, index_struct))

    async def async_add_index_struct(self, index_struct: IndexStruct) -> None:
        """As `add_index_struct`."""
        await aperform(_add(self._shelf, index_struct))

    def delete_index_struct(self, key: str) -> None:
        """Delete an index struct if it exists."""
        perform(_delete(self._shelf, key))

    async def adelete_index_struct(self, key: str) -> None:
        """As `delete_index_struct`."""
        await aperform(_delete(self._shelf, key))

    def get_index_struct(self, struct_id: str | None = None) -> IndexStruct | None:
        """An index struct by its id, or None.

        Args:
            struct_id: the id. Without it, the store has to hold exactly one index struct, which is returned.

        Raises:
            ValueError: no id was given, and the store holds no index struct or several.
        """
        return perform(_get(self._shelf, struct_id))

    async def aget_index_struct(self, struct_id: str | None = None) -> IndexStruct | None:
        """As `get_index_struct`."""
        return await aperform(_get(self._shelf, struct_id))

    def index_structs(self) -> list[IndexStruct]:
        """Every index struct, in the order of insertion."""
        return perform(_all(self._shelf))

    async def async_index_structs(self) -> list[IndexStruct]:
        """As `index_structs`."""
        return await aperform(_all(self._shelf))


def _add(shelf: DocShelf, struct: IndexStruct) -> Flow[None]:
    yield Call(shelf, "set", struct.index_id, index_struct_to_json(struct))


def _delete(shelf: DocShelf, key: str) -> Flow[None]:
    yield Call(shelf, "mdelete", [key])


def _get(shelf: DocShelf, struct_id: str | None) -> Flow[IndexStruct | None]:
    if struct_id is not None:
        value = yield Call(shelf, "get", struct_id)
        return None if value is None else json_to_index_struct(value)
    if (yield Call(shelf, "count", at_most=2)) == 1:
        structs = yield from _all(shelf)
        if len(structs) == 1:  # another process may have added one since
            return structs[0]
    entries = yield Call(shelf, "yield_entries", values=False)
    ids = [entry.key for entry in sorted(entries, key=lambda entry: entry.seq)]
    named = ", ".join(map(repr, ids[:10])) or "none"
    raise ValueError(f"without struct_id there has to be one index struct; there are {len(ids)} ({named})")


def _all(shelf: DocShelf) -> Flow[list[IndexStruct]]:
    entries = yield Call(shelf, "yield_entries")
    return [json_to_index_struct(entry.value) for entry in sorted(entries, key=lambda entry: entry.seq)]
