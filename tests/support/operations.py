"""The table of operations: one row for each public method of `DocShelf` that works on the database.

Every test that has to hold for all operations takes them from here: signatures and twins, engines and closed stores,
a failing network, roles, the model, bad names, counted statements, `docs/operations.md`. A new operation needs one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from docshelf import DocShelf, Item
from docshelf.adapters import async_name
from tests.support.face import Face

WHERE = "OPERATIONS in tests/support/operations.py"


@dataclass(frozen=True)
class Operation:
    """One row.

    Attributes:
        name: the sync method.
        arguments: what to call it with, positionally. On the entries of `fill` a write with these changes something.
        writes: True if it may write; False if it only reads.
        long: True if its work grows with the collection or the items. It shows progress on request, or iterates.
        iterates: True if it returns an iterator.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    writes: bool = False
    long: bool = False
    iterates: bool = False

    @property
    def async_name(self) -> str:
        return async_name(self.name)

    def call(self, face: Face) -> Any:
        """Call it on a store; an iterator is read to its end."""
        result = getattr(face, self.name)(*self.arguments)
        return list(result) if isinstance(result, Iterator) else result


# In the order of docs/operations.md.
OPERATIONS = [
    Operation("setup", writes=True),
    Operation("get", ("k",)),
    Operation("mget", (["k"],)),
    Operation("get_entry", ("k",)),
    Operation("mget_entries", (["k"],)),
    Operation("pair_entries", ([("k", "")],)),
    Operation("source_entries", (["s"],)),
    Operation("exists", ("k",)),
    Operation("mexists", (["k"],)),
    Operation("count"),
    Operation("find", ({"n": 1},), long=True, iterates=True),
    Operation("yield_keys", long=True, iterates=True),
    Operation("yield_items", long=True, iterates=True),
    Operation("yield_entries", long=True, iterates=True),
    Operation("set", ("k", "v"), writes=True),
    Operation("conditional_set", ("k", "v"), writes=True),
    Operation("mset", ({"k": "v"},), writes=True, long=True),
    Operation("conditional_mset", ({"k": "v"},), writes=True, long=True),
    Operation("sync", ({"k": "v"},), writes=True, long=True),
    Operation("set_versions", ({"k": "1"},), writes=True),
    Operation("mdelete", (["k"],), writes=True),
    Operation("clear", writes=True),
    Operation("collections"),
    Operation("companions"),
    Operation("rename_collection", ("renamed",), writes=True),
    Operation("copy_collection", ("copied",), writes=True),
    Operation("sources"),
    Operation("yield_sources", long=True, iterates=True),
    Operation("source_notes", (["s"],)),
    Operation("source_changed", ("s", "f")),
    Operation("changed_sources", ({"s": "f"},)),
    Operation("delete_source", ("s",), writes=True),
    Operation("delete_sources", (["s"],), writes=True),
    Operation("diagnose"),
    Operation("health"),
    Operation("is_set_up"),
    Operation("stats"),
    Operation("verify", long=True),
]
BY_NAME = {operation.name: operation for operation in OPERATIONS}
READS = [operation for operation in OPERATIONS if not operation.writes]
WRITES = [operation for operation in OPERATIONS if operation.writes]

# Public names of DocShelf that ask the database nothing.
NO_OPERATIONS = {"aclose", "bind", "close", "collection", "companion", "is_bound", "view"}

# Public methods, by class, and functions, by package, without an asynchronous twin: they do no I/O, or finish at once.
WITHOUT_TWIN = {
    "docshelf": {"canonical_bytes", "file_fingerprint", "progress_bar"},
    "langchain_docshelf": {"document_content_types"},
    "llama_index_docshelf": {"node_content_types", "storage_context"},
    "DocShelf": {"bind", "companion", "view"},
    "DocShelfStore": {"documents_of", "folder_target", "move_target", "source_of"},
    "DocShelfByteStore": {"move_target"},
    "DocShelfRecordManager": {"move_target"},
    "PostgresByteStore": {"compute_hash", "move_target", "extract_hashable_content", "serialize_value"},
    "ParentDocumentRetriever": {"folder_target"},
    "DocShelfDocumentStore": {"folder_target", "ingestion_run", "move_target"},
    "DocShelfIndexStore": {"move_target"},
    "DocShelfKVStore": {"move_target"},
}
# Twins whose names a framework fixes, or a keyword of Python. All others have the name that `async_name` gives.
FIXED_TWINS = {
    ("langchain_docshelf", "sync_parent_documents"): "async_parent_documents",
    ("DocShelfDocumentStore", "add_documents"): "async_add_documents",
    ("DocShelfIndexStore", "add_index_struct"): "async_add_index_struct",
    ("DocShelfIndexStore", "index_structs"): "async_index_structs",
}


def fill(face: Face) -> None:
    """Give a store the entries that each write of the table changes."""
    face.sync({"k": "old", "l": 1}, fingerprint="f")
    face.sync([Item("m", 2, version="1")], source="s", fingerprint="f")


def missing(known: Iterable[str], *, without: Iterable[str] = ()) -> list[str]:
    """The operations of the table that a test does not know, apart from those that it names as exceptions."""
    return sorted(BY_NAME.keys() - {*known, *without})


def public_names() -> set[str]:
    """Every public name of `DocShelf`."""
    return {name for name in dir(DocShelf) if not name.startswith("_")}
