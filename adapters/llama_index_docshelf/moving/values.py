"""Index stores and key-value stores of LlamaIndex as sources."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from llama_index.core.storage.index_store.utils import json_to_index_struct
from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION

from docshelf import ArgumentTypeError, Item
from docshelf.adapters import Flow, Url
from docshelf.moving import Record, Refused, Source, Take
from llama_index_docshelf.moving.sections import FileSections, Pair, Sections, TableSections, sections_of

INDEX_STORE: Final = "index_store"
INDEX_STORE_FILE: Final = "index_store.json"
_DATA: Final = "/data"


def from_index_store(index_store: Any) -> Source:
    """The index structs of an index store: any `KVIndexStore` (Simple, Redis, MongoDB, Postgres, ...).

    Args:
        index_store: the store.

    Raises:
        ArgumentTypeError: it is no such store.
    """
    if not all(hasattr(index_store, name) for name in ("_kvstore", "_collection", "add_index_struct")):
        raise ArgumentTypeError(f"a {type(index_store).__name__} is no KVIndexStore")
    return SectionSource(sections_of(index_store._kvstore), index_store._collection, _index_record)


def from_index_store_file(path: str | os.PathLike[str], namespace: str = INDEX_STORE) -> Source:
    """The index structs of a persisted `SimpleIndexStore`.

    Args:
        path: the folder that was given to `persist`, or the file `index_store.json` itself.
        namespace: the namespace of the store.

    Raises:
        ConfigurationError: there is no such file.
    """
    file = Path(path)
    sections = FileSections(file / INDEX_STORE_FILE if file.is_dir() else file)
    return SectionSource(sections, f"{namespace}{_DATA}", _index_record)


def from_index_store_table(
    database: Url | Any, table_name: str = "indexstore", namespace: str = INDEX_STORE, *, schema_name: str | None = None
) -> Source:
    """The index structs in the table of a `PostgresIndexStore`.

    Args:
        database: a URL or a SQLAlchemy Engine.
        table_name, namespace: as the store was made with: the table is `data_<table_name>`.
        schema_name: the schema of the table; by default the first of the search path.
    """
    sections = TableSections(database, f"data_{table_name}", schema_name)
    return SectionSource(sections, f"{namespace}{_DATA}", _index_record)


def from_kvstore(kvstore: Any, collection: str = DEFAULT_COLLECTION) -> Source:
    """A collection of a key-value store, an ingestion cache for example.

    Args:
        kvstore: any `BaseKVStore`. A `PostgresKVStore` is read by its table; any other store holds the collection in
            memory when it is asked for it.
        collection: the collection.

    Raises:
        ArgumentTypeError: it is no such store.
    """
    if not all(hasattr(kvstore, name) for name in ("get_all", "put")):
        raise ArgumentTypeError(f"a {type(kvstore).__name__} is no BaseKVStore")
    return SectionSource(sections_of(kvstore), collection, _dict_record)


def from_kvstore_table(
    database: Url | Any, table_name: str, collection: str = DEFAULT_COLLECTION, *, schema_name: str | None = None
) -> Source:
    """A collection in the table of a `PostgresKVStore`.

    Args:
        database: a URL or a SQLAlchemy Engine.
        table_name: as the store was made with: the table is `data_<table_name>`.
        collection: the collection, which the table calls a namespace.
        schema_name: the schema of the table; by default the first of the search path.
    """
    return SectionSource(TableSections(database, f"data_{table_name}", schema_name), collection, _dict_record)


class SectionSource(Source):
    """A collection of dicts."""

    def __init__(self, sections: Sections, collection: str, record: Callable[[str, Any], Record]) -> None:
        self._sections = sections
        self._collection = collection
        self._record = record

    def count(self) -> Flow[int]:
        return self._sections.count(self._collection)

    def read(self, take: Take) -> Flow[None]:
        def take_pairs(pairs: Sequence[Pair]) -> Flow[None]:
            yield from take([self._record(key, value) for key, value in pairs])

        yield from self._sections.read(self._collection, take_pairs)


def _dict_record(key: str, value: Any) -> Record:
    if not isinstance(value, dict):
        return Refused(key, "", f"a {type(value).__name__} where a dict belongs")
    return Item(key, value)


def _index_record(key: str, value: Any) -> Record:
    try:
        json_to_index_struct(value)
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        return Refused(key, "", f"no index struct of LlamaIndex ({type(exc).__name__}: {exc!s:.200})")
    return Item(key, value)
