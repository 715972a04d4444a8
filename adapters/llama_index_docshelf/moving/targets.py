"""How our stores take what LlamaIndex's stores kept: which objects, files and tables they know."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from docshelf import ArgumentTypeError, ConfigurationError, Item, UnknownDocument
from docshelf.moving import Source, Target
from llama_index_docshelf.moving.documents import (
    DOCSTORE_FILE,
    from_docstore,
    from_docstore_file,
    from_docstore_table,
)
from llama_index_docshelf.moving.sections import is_database, tables_in
from llama_index_docshelf.moving.values import (
    INDEX_STORE_FILE,
    from_index_store,
    from_index_store_file,
    from_index_store_table,
    from_kvstore,
    from_kvstore_table,
)

if TYPE_CHECKING:
    from docshelf import DocShelf

_DATA, _METADATA = "/data", "/metadata"


class DocumentTarget(Target):
    """A `DocShelfDocumentStore`: a node lives in one document only."""

    moves = True

    def open(self, origin: Any, name: str | None) -> Source | None:
        """The source of a document store, a persisted one, or its table."""
        if hasattr(origin, "_kvstore") and hasattr(origin, "_node_collection"):
            return from_docstore(origin)
        if _is_file(origin, DOCSTORE_FILE):
            return from_docstore_file(origin)
        return _table_source(origin, name, lambda names: _namespaces(names, documents=True), from_docstore_table)


class IndexTarget(Target):
    """A `DocShelfIndexStore`."""

    def open(self, origin: Any, name: str | None) -> Source | None:
        """The source of an index store, a persisted one, or its table."""
        if hasattr(origin, "_kvstore") and hasattr(origin, "add_index_struct"):
            return from_index_store(origin)
        if _is_file(origin, INDEX_STORE_FILE):
            return from_index_store_file(origin)
        return _table_source(origin, name, lambda names: _namespaces(names, documents=False), from_index_store_table)


class KVTarget(Target):
    """A collection of a `DocShelfKVStore`."""

    def __init__(self, shelf: DocShelf, of: Callable[[str], DocShelf]) -> None:
        super().__init__(shelf)
        self._of = of

    def open(self, origin: Any, name: str | None) -> Source | None:
        """The source of a collection of a key-value store, or of its table."""
        collection = name or DEFAULT_COLLECTION
        self.shelf = self._of(collection)
        if isinstance(origin, BaseKVStore):
            return from_kvstore(origin, collection)

        def having(names: Sequence[str]) -> list[str]:
            return [one for one in names if one == collection]

        return _table_source(origin, None, having, from_kvstore_table)

    def item(self, item: Item) -> Item:
        """A dict as `DocShelfKVStore.put` writes it."""
        if not isinstance(item.value, dict) or isinstance(item.value, UnknownDocument):
            raise ArgumentTypeError(f"the value of {item.key!r:.60} is a {type(item.value).__name__}; give a dict")
        return item


def _is_file(origin: Any, name: str) -> bool:
    """True for a folder that has a file of this name, and for any file that ends with .json."""
    if not isinstance(origin, str | os.PathLike):
        return False
    path = Path(origin)
    return (path / name).is_file() or (path.suffix == ".json" and path.is_file())


def _namespaces(names: Sequence[str], *, documents: bool) -> list[str]:
    """The namespaces of document stores, or else of index stores, among those of a table."""
    found = [name.removesuffix(_DATA) for name in names if name.endswith(_DATA)]
    return [name for name in found if (f"{name}{_METADATA}" in names) == documents]


def _table_source(
    origin: Any,
    name: str | None,
    namespaces: Callable[[Sequence[str]], list[str]],
    make: Callable[[Any, str, str], Source],
) -> Source | None:
    """The source of the only table of a kind in a database, or of the only one of that name.

    Such a table wins over docshelf's own in the same database, where its users put the new store too.
    """
    if not is_database(origin) or (isinstance(origin, str | os.PathLike) and Path(origin).is_dir()):
        return None
    parts = [
        (table.removeprefix("data_"), namespace)
        for table, names in tables_in(origin, name).items()
        for namespace in namespaces(names)
    ]
    if len(parts) > 1:
        known = ", ".join(f"table {table!r}, namespace {namespace!r}" for table, namespace in parts)
        raise ConfigurationError(
            f"there are several sources in this database: {known}; give a source of llama_index_docshelf.moving"
        )
    return make(origin, *parts[0]) if parts else None
