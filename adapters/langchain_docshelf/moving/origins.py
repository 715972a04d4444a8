"""What LangChain's stores kept, as sources. Wrappers are looked through, so that no code of theirs reads old data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.stores import BaseStore

from docshelf import ArgumentTypeError, ConfigurationError
from docshelf.adapters import Call, Flow, Url
from docshelf.moving import FolderSource, Note, Open, PageSize, Pull, Record, Source, TableSource, Take
from langchain_docshelf.moving.values import Kind, Read, Unreadable, read_pickled, reader_of, record

SQL_STORE_TABLE: Final = "langchain_key_value_stores"
BYTE_STORE_TABLE: Final = "bytestore"
_PAGE: Final = 500
# How EncoderBackedStore reads values, by module and name. Any other is a function of the user's own.
_JSON_READERS: Final = frozenset(("_load_document_from_bytes", "_load_from_bytes"))
_PICKLE_READERS: Final = frozenset((("_pickle", "loads"), ("pickle", "loads"), ("pickle", "_loads")))


def from_store(store: Any, *, keys: Iterable[str] | None = None, kind: Kind = "documents") -> Source:
    """The entries of a store of LangChain: any object with `yield_keys` and `mget`.

    An `EncoderBackedStore` (`create_kv_docstore`) is looked through: JSON of documents and pickles are read by
    docshelf and never by the store. So are an `SQLStore`, whose table is read, and a `LocalFileStore`.

    Args:
        store: the store; Redis, MongoDB, Upstash and others through their own classes.
        keys: the keys, where the store cannot list them: an `EncoderBackedStore` that encodes keys lists encoded ones.
        kind: what the store keeps: "documents", "bytes", or any "values".

    Raises:
        ArgumentTypeError: it is no store.
    """
    if not isinstance(store, BaseStore):
        raise ArgumentTypeError(f"a {type(store).__name__} is no store of LangChain; give a BaseStore")
    return _source_of(store, reader_of(kind), None if keys is None else list(keys))


def from_documents(documents: Mapping[str, Document]) -> Source:
    """Documents by their keys.

    Args:
        documents: the documents.
    """
    if not isinstance(documents, Mapping):
        raise ArgumentTypeError(f"documents is a {type(documents).__name__}; give a mapping of keys to documents")
    return _MappingSource(documents)


def from_folder(path: str | os.PathLike[str], *, kind: Kind = "documents") -> Source:
    """The files of a `LocalFileStore`, in the order in which they were written.

    Args:
        path: the folder.
        kind: as for `from_store`.

    Raises:
        ConfigurationError: there is no such folder.
    """
    read = reader_of(kind)
    return FolderSource(path, lambda key, data: record(key, data, read))


def from_sql_store(
    database: Url | Any, namespace: str, *, schema: str | None = None, kind: Kind = "documents"
) -> Source:
    """A namespace of an `SQLStore`: rows of the table `langchain_key_value_stores`, by key.

    Args:
        database: a URL, the path of an SQLite file, or a SQLAlchemy Engine.
        namespace: the namespace.
        schema: the schema of the table.
        kind: as for `from_store`.
    """
    return _sql_store(database, namespace, schema, reader_of(kind))


def from_byte_store_table(
    database: Url | Any,
    collection_name: str,
    *,
    table: str = BYTE_STORE_TABLE,
    schema: str | None = None,
    kind: Kind = "values",
) -> Source:
    """A collection of the table of a `PostgresByteStore` that pickled its values, by key and file name.

    The pickles are read without unpickling. Read are dict, list, OrderedDict, text, numbers, bytes, dates, sets, and
    LangChain's Document; anything else is refused by name.

    Args:
        database: a URL, the path of an SQLite file, or a SQLAlchemy Engine.
        collection_name: the collection.
        table: the table.
        schema: the schema of the table.
        kind: "documents" refuses all other values.
    """

    def make(key: str, value: Any, filename: str | None) -> Record:
        return record(key, value, read_document if kind == "documents" else read, filename or "")

    def read(value: Any) -> Any:
        if not isinstance(value, bytes | memoryview):
            raise Unreadable(f"a {type(value).__name__} where the bytes of a pickle belong")
        return read_pickled(bytes(value))

    def read_document(value: Any) -> Any:
        return reader_of("documents")(read(value))

    return TableSource(
        database,
        table,
        ["key", "value", "filename"],
        where={"collection_name": collection_name},
        order=["key", "filename"],
        record=make,
        schema=schema,
    )


def _sql_store(database: Any, namespace: str, schema: str | None, read: Read) -> Source:
    return TableSource(
        database,
        SQL_STORE_TABLE,
        ["key", "value"],
        where={"namespace": namespace},
        order=["key"],
        record=lambda key, value: record(key, value, read),
        schema=schema,
    )


def _source_of(store: Any, read: Read, keys: Sequence[str] | None, encode: Any = None) -> Source:
    if all(hasattr(store, name) for name in ("store", "key_encoder", "value_deserializer")):
        return _source_of(store.store, _read_encoded(store, read), keys, store.key_encoder)
    if keys is None and hasattr(store, "engine") and hasattr(store, "namespace"):
        # An AsyncEngine cannot be read by sync code; another Engine may be a database in memory.
        engine = store.engine.url if hasattr(store.engine, "sync_engine") else store.engine
        source: Source = _sql_store(engine, store.namespace, None, read)
        return source if encode is None else _Encoded(source, encode)
    if keys is None and hasattr(store, "root_path"):
        source = FolderSource(store.root_path, lambda key, data: record(key, data, read))
        return source if encode is None else _Encoded(source, encode)
    return _StoreSource(store, read, keys, encode)


def _read_encoded(store: Any, read: Read) -> Read:
    """How to read the bytes beneath an EncoderBackedStore."""
    reader = store.value_deserializer
    module, name = getattr(reader, "__module__", ""), getattr(reader, "__name__", "")
    if (module, name) in _PICKLE_READERS:
        return lambda value: read(read_pickled(bytes(value)))
    if name in _JSON_READERS and module.startswith("langchain"):
        return read

    def read_by_the_user(value: Any) -> Any:
        try:
            return read(reader(value))
        except Unreadable:
            raise
        except Exception as exc:  # a function of the user's own may raise anything
            raise Unreadable(f"the store's own value_deserializer: {type(exc).__name__}: {exc!s:.100}") from exc

    return read_by_the_user


def _check_keys(listed: Iterable[str], encode: Any) -> None:
    """Refuse keys that a store lists as it encoded them, since nobody could ask for these."""
    for key in listed:
        if encode(key) != key:
            raise ConfigurationError(
                f"the store encodes its keys and lists {key!r:.60} as it encoded it; give the keys as you know them: "
                "langchain_docshelf.moving.from_store(store, keys=[...])"
            )


class _Encoded(Source):
    """A source whose keys must be as their users know them."""

    def __init__(self, source: Source, encode: Any) -> None:
        self._source = source
        self._encode = encode

    def count(self) -> Flow[int]:
        return self._source.count()

    def read(self, take: Take) -> Flow[None]:
        def checked(page: Sequence[Record]) -> Flow[None]:
            _check_keys((one.key for one in page if not isinstance(one, Note)), self._encode)
            yield from take(page)

        yield from self._source.read(checked)


class _MappingSource(Source):
    """A mapping that is in memory."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def count(self) -> Flow[int]:
        yield from ()
        return len(self._values)

    def read(self, take: Take) -> Flow[None]:
        read = reader_of("documents")
        values = iter(self._values.items())
        while page := list(islice(values, _PAGE)):
            yield from take([record(key, value, read) for key, value in page])


class _StoreSource(Source):
    """A store as it is, by its own `yield_keys` and `mget`."""

    def __init__(self, store: Any, read: Read, keys: Sequence[str] | None, encode: Any) -> None:
        self._store = store
        self._read = read
        self._keys = keys
        self._encode = encode

    def count(self) -> Flow[int]:
        yield from ()
        return 0 if self._keys is None else len(self._keys)

    def read(self, take: Take) -> Flow[None]:
        size = PageSize()
        listed: Iterator[Any] = iter(self._keys or ())
        if self._keys is None:
            listed = yield Open(self._store, "yield_keys")
        while keys := (yield Pull(listed, size.items)):
            if self._keys is None and self._encode is not None:
                _check_keys(keys, self._encode)
            asked = keys if self._encode is None else [self._encode(key) for key in keys]
            values = yield Call(self._store, "mget", asked)
            page = [
                record(key, value, self._read) for key, value in zip(keys, values, strict=True) if value is not None
            ]
            size.learn(len(values), sum(_size(value) for value in values))
            yield from take(page)


def _size(value: Any) -> int:
    text = getattr(value, "page_content", value)
    return len(text) if isinstance(text, str | bytes) else 64
