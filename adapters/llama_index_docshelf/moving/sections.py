"""The places where LlamaIndex keeps dicts by collection and key: a key-value store, a table, a JSON file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from docshelf import ConfigurationError
from docshelf.adapters import Call, Compute, Flow, Url
from docshelf.moving import OldDatabase, json_sections

Pair = tuple[str, Any]
TakePairs = Callable[[Sequence[Pair]], Flow[None]]
_PAGE: Final = 500
TABLE_COLUMNS: Final = ("id", "key", "namespace", "value")


class Sections(ABC):
    """Dicts by collection and key, read a page at a time in the order of insertion."""

    @abstractmethod
    def read(self, collection: str, take: TakePairs) -> Flow[None]:
        """Read a collection.

        Args:
            take: takes the next page of (key, value). A value that is no JSON is the text that is there.
        """

    def count(self, collection: str) -> Flow[int]:
        """How many keys a collection has; 0 if that is not known."""
        yield from ()
        return 0


class StoreSections(Sections):
    """A key-value store as it is. Its interface reads a collection as a whole, which memory has to hold."""

    def __init__(self, kvstore: Any) -> None:
        self._kvstore = kvstore

    def read(self, collection: str, take: TakePairs) -> Flow[None]:
        found = yield Call(self._kvstore, "get_all", collection=collection)
        pairs = iter(found.items())
        while page := list(islice(pairs, _PAGE)):
            yield from take(page)


class TableSections(Sections):
    """A table of `PostgresKVStore`, with values of json or jsonb."""

    def __init__(self, database: Url | Any, table: str, schema: str | None) -> None:
        self._database = database
        self._table = table
        self._schema = schema

    def count(self, collection: str) -> Flow[int]:
        count: int = yield Compute(self._count, collection)
        return count

    def _count(self, collection: str) -> int:
        with OldDatabase(self._database, schema=self._schema) as database:
            return database.count(self._table, {"namespace": collection})

    def read(self, collection: str, take: TakePairs) -> Flow[None]:
        with OldDatabase(self._database, schema=self._schema) as database:
            missing = sorted(set(TABLE_COLUMNS) - (yield Compute(database.columns, self._table)))
            if missing:
                raise ConfigurationError(f"there is no table {self._table!r} with a column {missing[0]!r} to move from")
            # As text, so that json keeps the order of its keys.
            pages = database.pages(self._table, ["key", "value"], {"namespace": collection}, ["id"], ["value"])
            while rows := (yield Compute(next, pages, [])):
                yield from take([(key, _parsed(value)) for key, value in rows])


class FileSections(Sections):
    """A file that `persist` wrote: each read goes through the whole file, so that one that is cut short is noticed."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise ConfigurationError(f"there is no file {fspath(path)!r} to move from")

    def read(self, collection: str, take: TakePairs) -> Flow[None]:
        pairs = self._pairs(collection)
        while page := (yield Compute(_some, pairs)):
            yield from take(page)

    def _pairs(self, collection: str) -> Iterator[Pair]:
        for section, key, value in json_sections(self._path):
            if section == collection:
                yield key, value


def sections_of(kvstore: Any) -> Sections:
    """Where a key-value store keeps its dicts: a table, if it is LlamaIndex's for PostgreSQL; else the store itself."""
    if all(hasattr(kvstore, name) for name in ("table_name", "schema_name", "connection_string")):
        engine = getattr(kvstore, "_engine", None)
        return TableSections(engine or kvstore.connection_string, f"data_{kvstore.table_name}", kvstore.schema_name)
    return StoreSections(kvstore)


def tables_in(database: Url | Any, table: str | None) -> dict[str, list[str]]:
    """The tables of `PostgresKVStore` in a database, with their namespaces.

    Args:
        table: only this table, as its store names it: "docstore" for "data_docstore".
    """
    with OldDatabase(database) as opened:
        names = [name for name in opened.tables() if name.startswith("data_") and table in (None, name[5:])]
        tables = [name for name in names if set(TABLE_COLUMNS) <= opened.columns(name)]
        return {name: opened.distinct(name, "namespace") for name in tables}


def is_database(origin: Any) -> bool:
    """True for a URL, and for what may be the path of an SQLite file."""
    return isinstance(origin, str | PathLike) or hasattr(origin, "get_backend_name")


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text


def _some(pairs: Iterator[Pair]) -> list[Pair]:
    return list(islice(pairs, _PAGE))
