"""How our stores take what other stores kept: which objects, folders and tables they know, and how they file it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.documents import Document
from langchain_core.stores import BaseStore

import docshelf
from docshelf import ArgumentTypeError, ConfigurationError, Item, UnknownDocument
from docshelf.adapters import Url
from docshelf.moving import OldDatabase, Source, Target
from langchain_docshelf.byte_keys import stored_item
from langchain_docshelf.documents import DOCUMENT, document_content_types, source_of
from langchain_docshelf.moving.origins import (
    BYTE_STORE_TABLE,
    SQL_STORE_TABLE,
    from_byte_store_table,
    from_folder,
    from_sql_store,
    from_store,
)
from langchain_docshelf.moving.values import Kind

if TYPE_CHECKING:
    from docshelf import DocShelf
    from langchain_docshelf.documents import SourceKey

_NAMES: Final = {SQL_STORE_TABLE: "namespace", BYTE_STORE_TABLE: "collection_name"}


class _StoreTarget(Target):
    """What our stores for LangChain share."""

    kind: Kind

    def open(self, origin: Any, name: str | None) -> Source | None:
        """The source of a store, a folder, or a table of LangChain's."""
        if isinstance(origin, BaseStore):
            return from_store(origin, kind=self.kind)
        if isinstance(origin, str | os.PathLike) and Path(origin).is_dir():
            return from_folder(origin, kind=self.kind)
        # A URL of SQLAlchemy is known by its method.
        is_database = isinstance(origin, str | os.PathLike) or hasattr(origin, "get_backend_name")
        return self._table(origin, name) if is_database else None

    def _table(self, origin: Url, name: str | None) -> Source | None:
        """The source of the only table of LangChain's in a database, or of the named part of it.

        Such a table wins over docshelf's own in the same database, where its users put the new store too.
        """
        with OldDatabase(origin) as database:
            parts = {
                (table, found): None
                for table, column in _NAMES.items()
                if column in database.columns(table)
                for found in database.distinct(table, column)
                if name in (None, found)
            }
        if not parts:
            return None
        if len(parts) > 1:
            known = ", ".join(f"{found!r} of {table}" for table, found in parts)
            raise ConfigurationError(
                f"there are several sources in this database: {known}; give collection= to say which, or a source of "
                "langchain_docshelf.moving"
            )
        [(table, found)] = parts
        if table == SQL_STORE_TABLE:
            return from_sql_store(origin, found, kind=self.kind)
        return from_byte_store_table(origin, found, kind=self.kind)


class DocumentTarget(_StoreTarget):
    """A `DocShelfStore`: documents, each filed under its source."""

    kind = "documents"

    def __init__(self, shelf: DocShelf, source_key: SourceKey) -> None:
        super().__init__(shelf)
        self._source_key = source_key

    def item(self, item: Item) -> Item:
        """A document as `DocShelfStore.mset` writes it."""
        value = _document(item.value)
        known = _known_document(value)
        if known is None:
            raise ArgumentTypeError(f"key {item.key!r:.60}: the value is a {type(value).__name__}; give a Document")
        return item._replace(value=value, source=item.source or source_of(known, self._source_key, item.key))


class ValuesTarget(_StoreTarget):
    """A `PostgresByteStore`: any value, and documents as LangChain's."""

    kind = "values"

    def item(self, item: Item) -> Item:
        """A value as `PostgresByteStore.mset` writes it."""
        return item._replace(value=_document(item.value))


class BytesTarget(_StoreTarget):
    """A `DocShelfByteStore`: bytes under any key."""

    kind = "bytes"

    def item(self, item: Item) -> Item:
        """Bytes as `DocShelfByteStore.mset` writes them."""
        if not isinstance(item.value, bytes):
            raise ArgumentTypeError(f"key {item.key!r:.60}: the value is a {type(item.value).__name__}; give bytes")
        return stored_item(item.key, item.value)


def _known_document(value: Any) -> Document | None:
    """A value as a document of LangChain; None if it is none."""
    if isinstance(value, UnknownDocument) and value.content_type == DOCUMENT:
        document: Document = document_content_types()[0].load(dict(value))
        return document
    return value if isinstance(value, Document) else None


def _document(value: Any) -> Any:
    """A document of no framework as LangChain's; any other value as it is."""
    if not isinstance(value, docshelf.Document):
        return value
    return Document(id=value.id, page_content=value.text, metadata=dict(value.metadata))
