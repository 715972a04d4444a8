"""Coming from stores of other packages: langchain-community's SQLStore, LlamaIndex's stores in PostgreSQL."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_classic.storage import create_kv_docstore
from langchain_core.documents import Document
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from docshelf import ConfigurationError
from docshelf.moving import MoveReport, amigrate, migrate
from langchain_docshelf import DocShelfByteStore, DocShelfStore
from langchain_docshelf.moving import from_sql_store, from_store
from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore
from llama_index_docshelf.moving import from_docstore_table, from_kvstore_table
from tests.conftest import Location

with warnings.catch_warnings():  # langchain-community says that it is being sunset
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.storage import SQLStore

Move = Callable[..., MoveReport]
PAGES = {f"k{n}": Document(id=f"k{n}", page_content=f"text {n}", metadata={"source": "f.md", "n": n}) for n in range(5)}
NODES = [
    TextNode(
        id_=f"n{n}",
        text=f"text {n}",
        metadata={"z": n, "a": {"c": 1, "b": 2}},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"{n % 3}.txt")},
    )
    for n in (4, 2, 0, 1, 3)
]


@pytest.fixture
def move(mode: str) -> Move:
    """`migrate`, sync and async."""
    if mode == "sync":
        return migrate
    return lambda *args, **options: asyncio.run(amigrate(*args, **options))


@pytest.fixture(params=["sqlite", "pg18"])
def place(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    return new_location(request.param)


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    stores: list[Any] = []

    def keep(store: Any) -> Any:
        stores.append(store)
        return store

    yield keep
    for store in stores:
        store.close()


class TestSQLStore:
    @pytest.fixture
    def old(self, place: Location, new_engine: Callable[..., Engine]) -> Any:
        old = SQLStore(namespace="pages", engine=new_engine(place))
        old.create_schema()
        create_kv_docstore(old).mset(list(PAGES.items()))
        return old

    def test_a_document_store_on_it_moves_by_its_object_its_url_and_its_name(
        self, place: Location, opened: Callable[[Any], Any], move: Move, old: Any
    ) -> None:
        store = opened(DocShelfStore(place.url, "new"))
        assert move(old, store, dry_run=True).counts["INS"] == 5
        report = move(create_kv_docstore(old), store)
        assert (report.counts["INS"], report.compared) == (5, True)
        assert dict(zip(PAGES, store.mget(list(PAGES)), strict=True)) == PAGES
        for origin in (old, place.url, from_sql_store(place.url, "pages"), from_store(old)):
            assert move(origin, store).counts["SKIP"] == 5

    def test_one_of_several_namespaces_is_named(
        self, place: Location, opened: Callable[[Any], Any], move: Move, old: Any
    ) -> None:
        SQLStore(namespace="embeddings", engine=old.engine).mset([("k", b"\0\1"), ("k2", b"\2")])
        cache = opened(DocShelfByteStore(place.url))
        with pytest.raises(ConfigurationError, match="'embeddings' of langchain_key_value_stores, 'pages' of"):
            move(place.url, cache)
        assert move(place.url, cache, collection="embeddings").counts["INS"] == 2
        assert cache.mget(["k", "k2"]) == [b"\0\1", b"\2"]

    def test_an_async_store_is_read_too(
        self, new_location: Callable[[str], Location], opened: Callable[[Any], Any], move: Move
    ) -> None:
        place = new_location("sqlite")

        async def fill() -> Any:
            old = SQLStore(namespace="pages", db_url=place.async_url, async_mode=True)
            await old.acreate_schema()
            await old.amset([("k", b"v")])
            await old.engine.dispose()
            return old

        cache = opened(DocShelfByteStore(place.url, "new"))
        assert move(asyncio.run(fill()), cache).counts["INS"] == 1


@pytest.fixture(params=["json", "jsonb"])
def engines(
    request: pytest.FixtureRequest, new_location: Callable[[str], Location]
) -> Iterator[tuple[Location, Engine, AsyncEngine, bool]]:
    place = new_location("pg18")
    engine = create_engine(place.sync_url)
    options = {"server_settings": {"search_path": place.schema}}
    url = engine.url.set(drivername="postgresql+asyncpg").difference_update_query(["options"])
    async_engine = create_async_engine(url, connect_args=options)
    yield place, engine, async_engine, request.param == "jsonb"
    engine.dispose()
    asyncio.run(async_engine.dispose())


class TestPostgresStores:
    def make(self, engines: tuple[Location, Engine, AsyncEngine, bool], table: str) -> Any:
        from llama_index.storage.kvstore.postgres import PostgresKVStore

        place, engine, async_engine, use_jsonb = engines
        return PostgresKVStore(
            table, schema_name=place.schema, engine=engine, async_engine=async_engine, use_jsonb=use_jsonb
        )

    @pytest.fixture
    def docstore(self, engines: tuple[Location, Engine, AsyncEngine, bool]) -> Any:
        from llama_index.storage.docstore.postgres import PostgresDocumentStore

        docstore = PostgresDocumentStore(self.make(engines, "docstore"))
        docstore.add_documents(NODES)
        docstore.set_document_hash("0.txt", "hash of 0")
        return docstore

    def test_a_document_store_answers_as_before(
        self,
        engines: tuple[Location, Engine, AsyncEngine, bool],
        opened: Callable[[Any], Any],
        move: Move,
        docstore: Any,
    ) -> None:
        place = engines[0]
        store = opened(DocShelfDocumentStore(place.url))
        table = from_docstore_table(engines[1], schema_name=place.schema)
        assert move(table, store, dry_run=True).counts["INS"] == 6
        report = move(docstore, store)
        assert (report.counts["INS"], report.compared) == (6, True)
        assert {key: node.to_dict() for key, node in store.docs.items()} == {
            node.node_id: docstore.get_node(node.node_id).to_dict() for node in NODES
        }
        assert list(store.docs) == [node.node_id for node in NODES]
        assert store.get_all_document_hashes() == docstore.get_all_document_hashes()
        assert {key: sorted(info.node_ids) for key, info in store.get_all_ref_doc_info().items()} == {
            key: sorted(info.node_ids) for key, info in docstore.get_all_ref_doc_info().items()
        }
        for origin in (table, place.url, docstore):
            assert move(origin, store).counts["SKIP"] == 6

    def test_an_index_store_and_a_cache_move_too(
        self, engines: tuple[Location, Engine, AsyncEngine, bool], opened: Callable[[Any], Any], move: Move
    ) -> None:
        from llama_index.storage.index_store.postgres import PostgresIndexStore

        place = engines[0]
        old = PostgresIndexStore(self.make(engines, "indexstore"))
        old.add_index_struct(IndexDict(index_id="i", nodes_dict={"a": "b"}))
        store = opened(DocShelfIndexStore(place.url))
        assert move(old, store).counts["INS"] == 1
        assert move(place.url, store).counts["SKIP"] == 1
        assert store.get_index_struct("i") == old.get_index_struct("i")
        cache = self.make(engines, "cache")
        cache.put("k", {"b": [1.5, None], "a": 1}, collection="llama_cache")
        kvstore = opened(DocShelfKVStore(place.url))
        assert move(cache, kvstore, collection="llama_cache").counts["INS"] == 1
        assert kvstore.get("k", "llama_cache") == {"b": [1.5, None], "a": 1}
        table = from_kvstore_table(engines[1], "cache", "llama_cache", schema_name=place.schema)
        assert move(table, kvstore, collection="llama_cache").entries == 1

    def test_the_tables_are_only_read(
        self,
        engines: tuple[Location, Engine, AsyncEngine, bool],
        opened: Callable[[Any], Any],
        move: Move,
        docstore: Any,
        new_location: Callable[[str], Location],
    ) -> None:
        place, engine, _, _ = engines
        with engine.connect() as connection:
            before = connection.execute(
                text(f"SELECT id, key, xmin FROM {place.schema}.data_docstore ORDER BY id")
            ).all()
        move(docstore, opened(DocShelfDocumentStore(new_location("sqlite").url)))
        with engine.connect() as connection:
            after = connection.execute(
                text(f"SELECT id, key, xmin FROM {place.schema}.data_docstore ORDER BY id")
            ).all()
        assert before == after


def test_a_plain_store_of_many_nodes_keeps_its_order(
    new_location: Callable[[str], Location], opened: Callable[[Any], Any], move: Move
) -> None:
    old = SimpleDocumentStore()
    nodes = [TextNode(id_=f"n{(n * 7919) % 2_003}", text=f"{n}") for n in range(2_003)]
    old.add_documents(nodes)
    store = opened(DocShelfDocumentStore(new_location("sqlite").url))
    assert move(old, store).counts["INS"] == 2_003
    assert list(store.docs) == [node.node_id for node in nodes]
