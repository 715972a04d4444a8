"""What people come from. Each origin is written by its own package, moved by `migrate`, and read again by both."""

from __future__ import annotations

import os
import pickle
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import zstandard
from langchain_classic.indexes import SQLRecordManager
from langchain_classic.storage import EncoderBackedStore, LocalFileStore, create_kv_docstore
from langchain_core.stores import InMemoryStore
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.index_store import SimpleIndexStore
from llama_index.storage.docstore.postgres import PostgresDocumentStore
from llama_index.storage.index_store.postgres import PostgresIndexStore
from llama_index.storage.kvstore.postgres import PostgresKVStore
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks.moves.pages import key_of, keys, metadata_of, node, page, parts, source_of, text_of
from docshelf import DocShelf, Document
from docshelf.moving import MoveReport, export_jsonl, import_jsonl, migrate
from langchain_docshelf import DocShelfRecordManager, DocShelfStore, PostgresByteStore
from langchain_docshelf.moving import from_byte_store_table
from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore
from tests.support.old_byte_store import OldPostgresByteStore

with warnings.catch_warnings():  # langchain-community says that it is being sunset
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.storage import SQLStore


Read = Callable[[Sequence[str]], list[Any]]
"""Reads the values of keys."""


@dataclass(frozen=True)
class Place:
    """Where an origin is, and where it goes.

    Attributes:
        folder: a folder of the origin's own.
        old: a database of the origin's own, as SQLAlchemy's URL without a driver.
        new: the URL of the target, which is empty at first.
        count: how many documents there are.
    """

    folder: Path
    old: str
    new: str
    count: int

    def url(self, driver: str) -> str:
        """The URL of the origin's database for a driver."""
        return make_url(self.old).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)


class Origin(ABC):
    """One thing that people come from.

    Attributes:
        name: what it is called in the table.
        package: the package that writes it.
        to: the class that takes it.
        into_sqlite: True if the target is an SQLite file.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    to: ClassVar[type[Any]]
    into_sqlite: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        self.place = place

    def fill(self) -> None:
        """Write the origin with its own package. What lives in memory only is written by `source` instead."""

    @abstractmethod
    def source(self) -> Any:
        """What `migrate` gets."""

    def target(self) -> Any:
        """The store that takes it, which the caller closes."""
        return self.to(self.place.new)

    def move(self, source: Any, target: Any, *, dry_run: bool = False) -> MoveReport:
        return migrate(source, target, dry_run=dry_run)

    @abstractmethod
    def old(self, source: Any) -> Read:
        """Reads values as the origin's own package does."""

    def new(self, target: Any) -> Read:
        """Reads values as our store does, which has the same methods where a subclass says nothing else."""
        return self.old(target)

    def damages(self) -> Mapping[str, Callable[[], None]]:
        """What may be wrong with an origin: what it is called, and a function that does it to a whole one."""
        return {}

    def compare(self, source: Any, target: Any) -> int:
        """Compare every value as both packages read it; returns how many there are.

        Raises:
            AssertionError: one differs, or is missing.
        """
        compared = 0
        wanted = keys(self.place.count)
        old, new = self.old(source), self.new(target)
        for part in parts(len(wanted)):
            names = [wanted[number] for number in part]
            before, after = old(names), new(names)
            for name, one, other in zip(names, before, after, strict=True):
                if one is None or one != other or type(one) is not type(other):
                    raise AssertionError(f"{self.name}: {name} was {one!r:.200} and is {other!r:.200}")
            compared += len(names)
        return compared


class Hostile:
    """Runs a command where it is unpickled: it makes a file that nobody else makes."""

    def __init__(self, place: Place) -> None:
        self._file = executed(place)

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._file}",)


def executed(place: Place) -> Path:
    """The file that is there if a hostile pickle was executed."""
    return place.folder / "executed"


def _cut(file: Path, share: float = 0.9) -> None:
    data = file.read_bytes()
    _put(file, data[: int(len(data) * share)])


# LangChain


class _Documents(Origin):
    to = DocShelfStore

    def old(self, source: Any) -> Read:
        return lambda wanted: list(source.mget(wanted))

    def write(self, store: Any) -> Any:
        for part in parts(self.place.count):
            store.mset([(key_of(number), page(number)) for number in part])
        return store


class LocalFiles(_Documents):
    name = "`LocalFileStore` under `create_kv_docstore`"
    package = "langchain-classic"

    def fill(self) -> None:
        self.write(self.source())

    def source(self) -> Any:
        return create_kv_docstore(LocalFileStore(self.place.folder / "files"))

    def damages(self) -> Mapping[str, Callable[[], None]]:
        number = self.place.count // 2
        file = self.place.folder / "files" / key_of(number)

        def cut() -> None:
            self.source().mset([(key_of(number), page(number))])
            _cut(file)

        return {
            "a file holds a pickle that runs a command": lambda: _put(file, pickle.dumps(Hostile(self.place))),
            "a file was cut short": cut,
        }


def _put(file: Path, data: bytes) -> None:
    """Write a file, and make it the oldest: a folder is read by time."""
    file.write_bytes(data)
    os.utime(file, (0, 0))


class Pickles(LocalFiles):
    name = "`LocalFileStore` under `EncoderBackedStore` with pickle"

    def source(self) -> Any:
        files = LocalFileStore(self.place.folder / "files")
        return EncoderBackedStore[str, Any](files, lambda key: key, pickle.dumps, pickle.loads)

    def damages(self) -> Mapping[str, Callable[[], None]]:
        file = self.place.folder / "files" / key_of(self.place.count // 2)
        hostile = {"page": [page(0), Hostile(self.place)]}
        return {"a file holds a pickle that runs a command": lambda: _put(file, pickle.dumps(hostile))}


class SqlStore(_Documents):
    name = "`SQLStore` on PostgreSQL"
    package = "langchain-community"

    def fill(self) -> None:
        self._bytes().create_schema()
        self.write(self.source())

    def source(self) -> Any:
        return create_kv_docstore(self._bytes())

    def _bytes(self) -> Any:
        return SQLStore(namespace="pages", db_url=self.place.url("psycopg2"))


class AnyStore(_Documents):
    name = "`InMemoryStore`, as any store with `yield_keys` and `mget`"
    package = "langchain-core"

    def source(self) -> Any:
        return self.write(InMemoryStore())


class ByteStoreTable(Origin):
    name = "the pickles of a `PostgresByteStore`"
    package = "its specification"
    to = PostgresByteStore

    def fill(self) -> None:
        old = self._store()
        for part in parts(self.place.count):
            for number in part:
                old.mset([(key_of(number), self._value(number))], source_of(number))

    def _value(self, number: int) -> Any:
        return page(number) if number % 2 else {"text": text_of(number), **metadata_of(number)}

    def _store(self) -> OldPostgresByteStore:
        return OldPostgresByteStore(create_engine(self.place.url("psycopg2")), "pages")

    def source(self) -> Any:
        return from_byte_store_table(self.place.old, "pages")

    def target(self) -> Any:
        return PostgresByteStore(self.place.new, "pages")

    def damages(self) -> Mapping[str, Callable[[], None]]:
        def add() -> None:
            self._store().mset([("a page", {"a": Hostile(self.place)})], "hostile.md")

        return {"a row holds a pickle that runs a command": add}

    def old(self, source: Any) -> Read:
        engine = self._store().engine

        def read(wanted: Sequence[str]) -> list[Any]:
            with engine.connect() as connection:
                rows = connection.execute(
                    text("SELECT key, value FROM bytestore WHERE key = ANY(:keys)"), {"keys": list(wanted)}
                )
                found = {key: pickle.loads(value) for key, value in rows}
            return [_plain(found[key]) for key in wanted]

        return read

    def new(self, target: Any) -> Read:
        return lambda wanted: list(target.mget(wanted))


def _plain(value: Any) -> Any:
    """A value without the OrderedDicts that the old store made of dicts."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


class Records(Origin):
    name = "`SQLRecordManager` on PostgreSQL"
    package = "langchain-classic"

    def fill(self) -> None:
        manager = self.source()
        manager.create_schema()
        for part in parts(self.place.count):
            manager.update([key_of(n) for n in part], group_ids=[source_of(n) for n in part])

    def source(self) -> Any:
        return SQLRecordManager("pages", db_url=self.place.url("psycopg2"))

    def target(self) -> Any:
        return DocShelfRecordManager("pages", url=self.place.new)

    def old(self, source: Any) -> Read:
        sources = dict.fromkeys(map(source_of, range(self.place.count)))
        # The source of each key, as its manager knows it.
        known = {key: one for one in sources for key in source.list_keys(group_ids=[one])}
        return lambda wanted: [known.get(key) for key in wanted]


# LlamaIndex


class _Nodes(Origin):
    to = DocShelfDocumentStore

    def old(self, source: Any) -> Read:
        return lambda wanted: [(source.get_node(key).to_dict(), source.get_document_hash(key)) for key in wanted]

    def new(self, target: Any) -> Read:
        hashes = {key: doc_hash for doc_hash, key in target.get_all_document_hashes().items()}
        return lambda wanted: [(one.to_dict(), hashes[one.node_id]) for one in target.get_nodes(wanted)]


class DocstoreObject(_Nodes):
    name = "`SimpleDocumentStore`, as any `KVDocumentStore`"
    package = "llama-index-core"

    def source(self) -> Any:
        store = SimpleDocumentStore()
        store.add_documents([node(number) for number in range(self.place.count)])
        return store


class DocstoreFile(_Nodes):
    name = "`docstore.json` of a persisted folder"
    package = "llama-index-core"

    def fill(self) -> None:
        store = SimpleDocumentStore()
        store.add_documents([node(number) for number in range(self.place.count)])
        store.persist(str(self.place.folder / "docstore.json"))

    def source(self) -> Any:
        return self.place.folder

    def damages(self) -> Mapping[str, Callable[[], None]]:
        return {"the file was cut short": lambda: _cut(self.place.folder / "docstore.json")}

    def old(self, source: Any) -> Read:
        return super().old(SimpleDocumentStore.from_persist_path(str(source / "docstore.json")))


class _Postgres(Origin):
    jsonb: ClassVar[bool] = False

    def kvstore(self, table: str) -> Any:
        return PostgresKVStore(
            table,
            connection_string=self.place.url("psycopg2"),
            async_connection_string=self.place.url("asyncpg"),
            schema_name="public",
            use_jsonb=self.jsonb,
        )

    def fill_from(self, memory: Any, *collections: str) -> None:
        """Write what a store in memory has, as its own methods would, without a transaction for each."""
        for collection in collections:
            found = memory._kvstore.get_all(collection=collection)
            self.source()._kvstore.put_all(list(found.items()), collection, batch_size=500)


class DocstoreTable(_Postgres, _Nodes):
    name = "`PostgresDocumentStore`, json"
    package = "llama-index-storage-docstore-postgres"

    def fill(self) -> None:
        memory = SimpleDocumentStore()
        memory.add_documents([node(number) for number in range(self.place.count)])
        self.fill_from(memory, "docstore/data", "docstore/metadata", "docstore/ref_doc_info")

    def source(self) -> Any:
        return PostgresDocumentStore(self.kvstore("docstore"))

    def old(self, source: Any) -> Read:
        # Its own get_node is a query each: it is read as a whole, and looked at as LlamaIndex's store in memory.
        memory = SimpleDocumentStore()
        for collection in ("docstore/data", "docstore/metadata"):
            found = source._kvstore.get_all(collection=collection)
            memory._kvstore.put_all(list(found.items()), collection=collection)
        return super().old(memory)


class DocstoreJsonbTable(DocstoreTable):
    name = "`PostgresDocumentStore`, jsonb"
    jsonb = True


class _Structs(Origin):
    to = DocShelfIndexStore

    def struct(self, number: int) -> IndexDict:
        return IndexDict(index_id=key_of(number), summary=text_of(number)[:200], nodes_dict={f"v{number}": "node"})

    def old(self, source: Any) -> Read:
        found = {one.index_id: one.to_dict() for one in source.index_structs()}
        return lambda wanted: [found[key] for key in wanted]


class IndexFile(_Structs):
    name = "`index_store.json` of a persisted folder"
    package = "llama-index-core"

    def fill(self) -> None:
        store = SimpleIndexStore()
        for number in range(self.place.count):
            store.add_index_struct(self.struct(number))
        store.persist(str(self.place.folder / "index_store.json"))

    def source(self) -> Any:
        return self.place.folder

    def old(self, source: Any) -> Read:
        return super().old(SimpleIndexStore.from_persist_path(str(source / "index_store.json")))

    def new(self, target: Any) -> Read:
        return super().old(target)


class IndexTable(_Postgres, _Structs):
    name = "`PostgresIndexStore`"
    package = "llama-index-storage-index-store-postgres"

    def fill(self) -> None:
        memory = SimpleIndexStore()
        for number in range(self.place.count):
            memory.add_index_struct(self.struct(number))
        self.fill_from(memory, "index_store/data")

    def source(self) -> Any:
        return PostgresIndexStore(self.kvstore("indexstore"))


class KeyValueTable(_Postgres):
    name = "`PostgresKVStore`"
    package = "llama-index-storage-kvstore-postgres"
    to = DocShelfKVStore

    def fill(self) -> None:
        pairs = [(key_of(n), {"text": text_of(n), **metadata_of(n)}) for n in range(self.place.count)]
        self.source().put_all(pairs, batch_size=500)

    def source(self) -> Any:
        return self.kvstore("kvstore")

    def old(self, source: Any) -> Read:
        found = source.get_all()
        return lambda wanted: [found[key] for key in wanted]

    def new(self, target: Any) -> Read:
        return lambda wanted: [target.get(key) for key in wanted]


# docshelf


class _Shelf(Origin):
    package = "docshelf"
    to = DocShelf

    def write(self, url: str) -> None:
        with DocShelf(url) as shelf:
            for number in range(0, self.place.count, 500):
                items = {
                    key_of(n): (Document(text_of(n), metadata_of(n)), source_of(n))
                    for n in range(number, min(self.place.count, number + 500))
                }
                shelf.mset([(key, value, source) for key, (value, source) in items.items()])
            with shelf.view("settings") as other:
                other.sync({"a": b"bytes", "b": {"tags": {"x", "y"}}}, source="conf", fingerprint="f")

    def old(self, source: Any) -> Read:
        return lambda wanted: list(source.mget(wanted))


class Export(_Shelf):
    name = "a JSON Lines file, compressed"

    def fill(self) -> None:
        self.write(self._file)
        with DocShelf(self._file) as shelf:
            export_jsonl(shelf, self._path)

    @property
    def _file(self) -> str:
        return str(self.place.folder / "old.db")

    @property
    def _path(self) -> Path:
        return self.place.folder / "old.jsonl.zst"

    def source(self) -> Any:
        return DocShelf(self._file)

    def damages(self) -> Mapping[str, Callable[[], None]]:
        def alter() -> None:
            with DocShelf(self._file) as shelf:
                export_jsonl(shelf, self._path, resume=False)
            lines = (
                zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(self._path.read_bytes())
            )
            number = f'"page":{(self.place.count // 2) % 25}'.encode()
            _put(self._path, zstandard.compress(lines.replace(number, b'"page":99', 1)))

        return {"the file was cut short": lambda: _cut(self._path), "a number in it was altered": alter}

    def move(self, source: Any, target: Any, *, dry_run: bool = False) -> MoveReport:
        return import_jsonl(self._path, target, dry_run=dry_run)


class WholeShelf(_Shelf):
    name = "a whole shelf, SQLite to PostgreSQL"

    def fill(self) -> None:
        self.write(str(self.place.folder / "old.db"))

    def source(self) -> Any:
        return DocShelf(self.place.folder / "old.db")

    def move(self, source: Any, target: Any, *, dry_run: bool = False) -> MoveReport:
        return migrate(source, target, everything=True, dry_run=dry_run)

    def compare(self, source: Any, target: Any) -> int:
        """Also the hashes and times of every row, and the other collection."""
        for name in (source.collection, "settings"):
            before, after = source.view(name), target.view(name)
            names = list(before.yield_keys())
            for part in parts(len(names)):
                wanted = [names[number] for number in part]
                if _rows(before, wanted) != _rows(after, wanted):
                    raise AssertionError(f"{self.name}: rows of {wanted[0]} and others differ")
        return super().compare(source, target)


def _rows(shelf: DocShelf, wanted: Sequence[str]) -> list[Any]:
    found = shelf.mget_entries(wanted)
    return [(one.key, one.source, one.value_hash, one.version, one.created_at, one.updated_at) for one in found if one]


class WholeShelfBack(WholeShelf):
    name = "a whole shelf, PostgreSQL to SQLite"
    into_sqlite = True

    def fill(self) -> None:
        self.write(self.place.old)

    def source(self) -> Any:
        return DocShelf(self.place.old)


_ALL: Final[tuple[type[Origin], ...]] = (
    *(LocalFiles, Pickles, SqlStore, AnyStore, ByteStoreTable, Records),
    *(DocstoreFile, DocstoreObject, DocstoreTable, DocstoreJsonbTable, IndexFile, IndexTable, KeyValueTable),
    *(Export, WholeShelf, WholeShelfBack),
)
ORIGINS: Final[dict[str, type[Origin]]] = {origin.__name__: origin for origin in _ALL}
