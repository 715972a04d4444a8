"""The public API as a stranger's type checker sees it: `tools/dist.py` checks this where the wheel is installed."""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.documents import Document
from langchain_core.stores import BaseStore, ByteStore
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.storage.index_store.types import BaseIndexStore
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import assert_type

from docshelf import (
    Change,
    DocShelf,
    DocShelfError,
    Entry,
    Item,
    MassDeleteError,
    Op,
    Problem,
    Report,
    SourceNote,
    file_fingerprint,
)
from langchain_docshelf import DocShelfByteStore, DocShelfStore, ParentDocumentRetriever, RetrieverReport
from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, storage_context


def writes(shelf: DocShelf) -> None:
    report = shelf.sync({"key": "text"}, source="a.md", dry_run=True)
    assert_type(report, Report)
    assert_type(report[0], Change)
    assert_type(report[:1], tuple[Change, ...])
    assert_type(report.counts, dict[Op, int])
    assert_type(report[0].op, Op)
    assert_type(shelf.conditional_set("key", {"any": "value"}), tuple[str, Op])
    assert_type(shelf.sync([Item("key", b"value", "a.md")], scope="sources", notes={"a.md": SourceNote("1")}), Report)
    assert_type(shelf.mdelete(["key"]), Report)
    shelf.mset([("key", 1), ("other", 2, "a.md")])
    shelf.set(1, "value")  # type: ignore[arg-type]
    shelf.sync({"key": "text"}, scope="everything")  # type: ignore[arg-type]
    report.changes = ()  # type: ignore[misc]


def reads(shelf: DocShelf) -> None:
    assert_type(shelf.get("key"), Any)
    assert_type(shelf.mget(["key"]), list[Any])
    assert_type(shelf.get_entry("key"), Entry | None)
    assert_type(shelf.mexists(iter(["key"])), list[bool])
    assert_type(shelf.yield_keys("prefix"), Iterator[str])
    assert_type(shelf.yield_entries(values=False), Iterator[Entry])
    assert_type([source.source for source in shelf.sources()], list[str])
    assert_type(shelf.changed_sources({"a.md": file_fingerprint("a.md")}), list[str])
    assert_type(shelf.verify(), list[Problem])


async def in_async_code(engine: AsyncEngine, connection: Connection) -> None:
    async with DocShelf(async_engine=engine, hash_on="text") as shelf:
        assert_type(shelf, DocShelf)
        assert_type(await shelf.async_({"key": "text"}), Report)
        assert_type(await shelf.amget(["key"]), list[Any])
        assert_type(shelf.ayield_keys(), AsyncIterator[str])
        assert_type(shelf.bind(connection), DocShelf)
        await shelf.aget(b"key")  # type: ignore[arg-type]


def errors(shelf: DocShelf) -> DocShelfError | None:
    try:
        shelf.sync({}, source="a.md")
    except MassDeleteError as error:
        return error
    return None


def of_langchain(retriever: ParentDocumentRetriever, document: Document) -> None:
    store: BaseStore[str, Document] = DocShelfStore(on_corrupt="skip")
    cache: ByteStore = DocShelfByteStore("docs.db")
    assert_type(store.mget(["key"]), list[Document | None])
    assert_type(cache.mget(["key"]), list[bytes | None])
    assert_type(retriever.sync([document]), RetrieverReport)
    assert_type(retriever.docstore, DocShelfStore)
    assert_type(retriever.docstore.conditional_mset([("key", document)]), Report)
    retriever.docstore.mset([("key", "text")])  # type: ignore[list-item]
    DocShelfStore(on_corrupt="explode")  # type: ignore[arg-type]


def of_llama_index(node: BaseNode) -> None:
    context = storage_context("docs.db", pooler=True)
    taken: StorageContext = context
    VectorStoreIndex([], storage_context=taken)
    context.docstore.close()
    docstore: BaseDocumentStore = DocShelfDocumentStore(shelf=DocShelf())
    index_store: BaseIndexStore = DocShelfIndexStore("docs.db")
    StorageContext.from_defaults(docstore=docstore, index_store=index_store)
    assert_type(DocShelfDocumentStore().sync([node]), Report)
    assert_type(DocShelfDocumentStore().get_nodes(["key"], raise_error=False), list[BaseNode])
    DocShelfDocumentStore().sync(["text"])  # type: ignore[list-item]
