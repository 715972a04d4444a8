"""The index store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.data_structs.data_structs import IndexStruct
from llama_index.core.storage.index_store.types import BaseIndexStore
from llama_index.core.storage.index_store.utils import index_struct_to_json, json_to_index_struct

from docshelf import DocShelf
from llama_index_docshelf.base import ShelfAdapter, ShelfOptions, Url
from llama_index_docshelf.flow import Call, Flow

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DocShelfIndexStore(ShelfAdapter, BaseIndexStore):
    """Keeps what LlamaIndex knows of its indexes: one row for each.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: the collection of the rows.
        shelf: a ready shelf whose connections to use, instead of a url and options.
        options: as for `docshelf.DocShelf`.
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str = "index_store",
        *,
        shelf: DocShelf | None = None,
        **options: Unpack[ShelfOptions],
    ) -> None:
        self._open(url, collection, shelf, options)

    def add_index_struct(self, index_struct: IndexStruct) -> None:
        """Write an index struct."""
        self._do(_add(index_struct))

    async def async_add_index_struct(self, index_struct: IndexStruct) -> None:
        """As `add_index_struct`."""
        await self._ado(_add(index_struct))

    def delete_index_struct(self, key: str) -> None:
        """Delete an index struct, if there is one."""
        self._do(_delete(key))

    async def adelete_index_struct(self, key: str) -> None:
        """As `delete_index_struct`."""
        await self._ado(_delete(key))

    def get_index_struct(self, struct_id: str | None = None) -> IndexStruct | None:
        """An index struct by its id, or None; without an id the only one there is.

        Raises:
            ValueError: without an id, when there is none or more than one.
        """
        return self._do(_get(struct_id))

    async def aget_index_struct(self, struct_id: str | None = None) -> IndexStruct | None:
        """As `get_index_struct`."""
        return await self._ado(_get(struct_id))

    def index_structs(self) -> list[IndexStruct]:
        """Every index struct, in the order of their insertion."""
        return self._do(_all())

    async def async_index_structs(self) -> list[IndexStruct]:
        """As `index_structs`."""
        return await self._ado(_all())


def _add(struct: IndexStruct) -> Flow[None]:
    yield Call("set", struct.index_id, index_struct_to_json(struct))


def _delete(key: str) -> Flow[None]:
    yield Call("mdelete", [key])


def _get(key: str | None) -> Flow[IndexStruct | None]:
    if key is not None:
        value = yield Call("get", key)
        return None if value is None else json_to_index_struct(value)
    structs = yield from _all()
    if len(structs) != 1:
        ids = ", ".join(repr(struct.index_id) for struct in structs[:10]) or "none"
        raise ValueError(f"without struct_id there has to be one index struct; there are {len(structs)} ({ids})")
    return structs[0]


def _all() -> Flow[list[IndexStruct]]:
    entries = yield Call("yield_entries")
    return [json_to_index_struct(entry.value) for entry in sorted(entries, key=lambda entry: entry.seq)]
