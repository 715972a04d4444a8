"""What docshelf's document store does beyond the contract, and where it does better than KVDocumentStore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.types import RefDocInfo
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from docshelf import ArgumentValueError, ConfigurationError, DocShelf, MassDeleteError
from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore, storage_context
from tests.adapters.llama_index.twins import Twin, ids, piece, pieces
from tests.conftest import Location
from tests.support.face import Loop
from tests.support.statements import of_operations, recorded_statements


def ops(report: Any) -> list[tuple[str, str]]:
    return [(change.key, change.op) for change in report]


def test_unchanged_nodes_are_not_written_again(docstore: Twin) -> None:
    nodes = pieces("d", 3)
    docstore.add_documents(nodes)
    before = docstore.store.shelf.get_entry("d-0")
    nodes[1].text = "new"
    assert ops(docstore.conditional_add_documents(nodes)) == [("d-0", "SKIP"), ("d-1", "UPD"), ("d-2", "SKIP")]
    assert docstore.store.shelf.get_entry("d-0").updated_at == before.updated_at


def test_setting_a_hash_keeps_the_node_and_its_document(docstore: Twin) -> None:
    docstore.add_documents([piece("a", "d")])
    docstore.set_document_hash("a", "new")
    assert docstore.get_document_hash("a") == "new"
    assert docstore.get_node("a") == piece("a", "d")
    docstore.delete_document("a")
    assert docstore.get_ref_doc_info("d") is None


def test_a_node_added_to_another_document_moves_there(docstore: Twin) -> None:
    docstore.add_documents([*pieces("old", 2), piece("new-0", "new")])
    docstore.add_documents([piece("old-0", "new")])
    assert docstore.get_all_ref_doc_info() == {
        "old": RefDocInfo(["old-1"]),
        "new": RefDocInfo(["new-0", "old-0"]),
    }
    docstore.delete_ref_doc("old")
    assert ids(docstore.get_nodes(["old-0", "new-0"])) == ["old-0", "new-0"]


def test_a_node_added_without_text_moves_with_its_existing_text(docstore: Twin) -> None:
    docstore.add_documents([piece("a", "old", "text"), piece("b", "old")])
    docstore.add_documents([piece("a", "new"), piece("c", "new")], store_text=False)
    assert docstore.get_node("a").text == "text"
    assert docstore.get_all_ref_doc_info() == {"old": RefDocInfo(["b"]), "new": RefDocInfo(["a", "c"])}


@pytest.mark.parametrize("through", ["delete_document", "delete_ref_doc"])
def test_deleted_nodes_leave_no_rows(docstore: Twin, through: str) -> None:
    docstore.add_documents([*pieces("d", 3), Document(id_="d", text="whole")])
    if through == "delete_ref_doc":
        docstore.delete_ref_doc("d")
    else:
        for name in ("d-1", "d-0", "d-2"):
            docstore.delete_document(name)
    assert docstore.get_all_ref_doc_info() == {}
    assert docstore.get_all_document_hashes() == {}
    assert docstore.docs == {}
    assert docstore.store.shelf.count() == 0


def test_deleting_one_of_many_leaves_the_document(docstore: Twin) -> None:
    docstore.add_documents([*pieces("d", 3), Document(id_="d", text="whole")])
    docstore.delete_document("d-1")
    assert docstore.get_ref_doc_info("d").node_ids == ["d-0", "d-2"]
    assert docstore.document_exists("d")


def test_a_hash_without_a_node_can_be_deleted(docstore: Twin) -> None:
    docstore.set_document_hash("a", "h")
    docstore.delete_document("a")
    assert docstore.get_document_hash("a") is None


def test_nodes_of_no_document_cannot_be_deleted_as_a_document(docstore: Twin) -> None:
    docstore.add_documents([piece("a"), piece("b")])
    with pytest.raises(ValueError, match="not found"):
        docstore.delete_ref_doc("")
    assert docstore.get_ref_doc_info("") is None
    assert list(docstore.docs) == ["a", "b"]


def test_existence_and_hashes_of_many_ids_are_read_in_one_call(docstore: Twin) -> None:
    docstore.add_documents([piece("a", "d")])
    docstore.set_document_hash("h", "hash")
    assert docstore.documents_exist(["h", "a", "gone"]) == {"h": False, "a": True, "gone": False}
    assert docstore.get_document_hashes(["h", "a", "gone"]) == {"h": "hash", "a": piece("a", "d").hash, "gone": None}


def test_sync_makes_a_document_hold_exactly_these_nodes(docstore: Twin) -> None:
    docstore.add_documents([*pieces("d", 3), piece("other", "e")])
    nodes = [piece("d-0", "d", "new"), pieces("d", 3)[2], piece("d-9", "d", metadata={"title": "T"})]
    expected = [("d-0", "UPD"), ("d-2", "SKIP"), ("d-9", "INS"), ("d-1", "DEL")]
    assert ops(docstore.sync(nodes, ref_doc_id="d", dry_run=True)) == expected
    assert docstore.get_ref_doc_info("d").node_ids == ["d-0", "d-1", "d-2"]
    assert ops(docstore.sync(nodes, ref_doc_id="d")) == expected
    assert docstore.get_all_ref_doc_info() == {
        "d": RefDocInfo(["d-0", "d-2", "d-9"], {"title": "T"}),
        "e": RefDocInfo(["other"]),
    }


def test_sync_reports_counts_alone_and_commits_in_parts(docstore: Twin) -> None:
    docstore.add_documents(pieces("d", 3))
    report = docstore.sync(pieces("d", 2), ref_doc_id="d", report="counts", chunked=True)
    assert report.counts == {"INS": 0, "UPD": 0, "SKIP": 2, "DEL": 1}
    assert [(source.source, source.entries) for source in docstore.yield_sources()] == [("d", 2)]


def test_sync_without_ref_doc_id_leaves_documents_that_no_node_names(docstore: Twin) -> None:
    docstore.add_documents([*pieces("d", 2), *pieces("e", 2), *pieces("f", 2)])
    report = docstore.sync([pieces("d", 1)[0], pieces("e", 1)[0]])
    assert ops(report.deleted) == [("d-1", "DEL"), ("e-1", "DEL")]
    assert [(source.source, source.entries) for source in docstore.sources()] == [("d", 1), ("e", 1), ("f", 2)]


def test_sync_stores_the_fingerprint_of_a_file(docstore: Twin) -> None:
    docstore.sync(pieces("d", 1), ref_doc_id="d", fingerprint="f1")
    assert not docstore.store.shelf.source_changed("d", "f1")


def test_sync_refuses_to_empty_a_document_by_mistake(docstore: Twin) -> None:
    docstore.add_documents(pieces("d", 2))
    with pytest.raises(MassDeleteError):
        docstore.sync([], ref_doc_id="d")
    assert len(docstore.sync([], ref_doc_id="d", allow_mass_delete=True).deleted) == 2


@pytest.mark.parametrize(("document", "of"), [(None, None), ("d", None), ("d", "e")])
def test_sync_refuses_nodes_of_another_document_or_none(docstore: Twin, document: str | None, of: str | None) -> None:
    with pytest.raises(ArgumentValueError, match="node 'a' has the ref_doc_id"):
        docstore.sync([piece("a", of)], ref_doc_id=document)


class TestStatements:
    """The number of statements of each operation. `BEGIN` and `COMMIT` are not counted."""

    def counted(self, run: Callable[[], Any]) -> int:
        with recorded_statements() as statements:
            run()
        return len(of_operations(statements))

    @pytest.fixture
    def filled(self, docstore: Twin) -> Twin:
        docstore.add_documents([*pieces("d", 1000), *pieces("e", 300), Document(id_="d", text="whole")])
        return docstore

    def test_reading_is_one_statement(self, filled: Twin) -> None:
        names = [f"d-{number}" for number in range(100)]
        assert self.counted(lambda: filled.get_nodes(names)) == 1
        assert self.counted(lambda: filled.get_node_dict(dict(enumerate(names)))) == 1
        assert self.counted(lambda: filled.get_node("d-1")) == 1
        assert self.counted(lambda: filled.get_document_hashes(names)) == 1
        assert self.counted(lambda: filled.documents_exist(names)) == 1

    def test_listing_is_constant(self, filled: Twin) -> None:
        assert self.counted(filled.get_all_document_hashes) == 3
        assert self.counted(filled.get_all_ref_doc_info) == 3
        assert self.counted(lambda: filled.get_ref_doc_info("d")) == 2

    @pytest.mark.parametrize("operation", ["add", "add unchanged", "add hashes", "set hashes", "delete", "delete one"])
    def test_writing_does_not_depend_on_how_many(self, docstore: Twin, operation: str) -> None:
        def statements(count: int) -> int:
            document = f"d{count}"
            nodes = pieces(document, count)
            if operation != "add":
                docstore.add_documents(nodes)
            runs: dict[str, Callable[[], Any]] = {
                "add": lambda: docstore.add_documents(nodes),
                "add unchanged": lambda: docstore.add_documents(nodes),
                "add hashes": lambda: docstore.add_documents(pieces("new" + document, count), store_text=False),
                "set hashes": lambda: docstore.set_document_hashes(dict.fromkeys(ids(nodes), "h")),
                "delete": lambda: docstore.delete_ref_doc(document),
                "delete one": lambda: docstore.delete_document(f"{document}-1"),
            }
            return self.counted(runs[operation])

        docstore.add_documents([piece("first")])
        assert statements(100) == statements(1000) <= 16


def test_ref_doc_info_has_the_metadata_of_the_nodes_added_last(docstore: Twin) -> None:
    docstore.add_documents([piece("a", "d", metadata={"title": "old"})])
    docstore.add_documents([piece("a", "d", metadata={"title": "new"})])
    assert docstore.get_ref_doc_info("d").metadata == {"title": "new"}
    docstore.add_documents([piece("b", "d")])
    assert docstore.get_ref_doc_info("d").metadata == {"title": "new"}


def test_threads_that_add_to_one_document_lose_nothing(place: Location) -> None:
    with DocShelfDocumentStore(place.url) as store, ThreadPoolExecutor(8) as pool:

        def write(writer: int) -> None:
            for number in range(10):
                store.add_documents([piece(f"{writer}-{number}", "d")])

        list(pool.map(write, range(8)))
        assert_all_nodes_exist(store.get_ref_doc_info("d"))


async def test_tasks_that_add_to_one_document_lose_nothing(place: Location) -> None:
    async with DocShelfDocumentStore(place.url) as store:

        async def write(writer: int) -> None:
            for number in range(10):
                await store.async_add_documents([piece(f"{writer}-{number}", "d")])

        await asyncio.gather(*(write(writer) for writer in range(8)))
        assert_all_nodes_exist(await store.aget_ref_doc_info("d"))


def test_adding_one_by_one_to_a_document_costs_the_same_each_time(new_location: Callable[[str], Location]) -> None:
    place = new_location("pg18")
    engine = create_engine(place.sync_url)

    def written() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")) or 0)

    with DocShelfDocumentStore(place.url) as store:
        marks = [written()]
        with recorded_statements() as statements:
            for number in range(600):
                store.add_documents([piece(f"{number:04}", "d", "x" * 500)])
                if number % 50 == 49:
                    marks.append(written())
        assert len(store.get_ref_doc_info("d").node_ids) == 600  # type: ignore[union-attr]
    engine.dispose()
    # The server counts WAL for all its databases: medians, since a checkpoint or a vacuum may fall into any round.
    rounds = [later - earlier for earlier, later in pairwise(marks)]
    assert median(rounds[-5:]) < 2 * median(rounds[:5])
    assert len(statements) < 600 * 10


def test_a_password_of_special_characters_and_options_of_the_url_reach_both_drivers(
    password_url: URL, mode: str, loop: Loop, opened: Callable[[Any], Any]
) -> None:
    url = password_url.update_query_string("sslmode=prefer").render_as_string(hide_password=False)
    context = storage_context(url)
    store = Twin(opened(context.docstore), mode, loop)
    store.add_documents([piece("a")])
    assert store.get_node("a") == piece("a")
    assert str(password_url.password) not in repr(store.store)
    assert store.store.shelf.collection == "docstore"


def assert_all_nodes_exist(info: RefDocInfo | None) -> None:
    assert info is not None
    assert len(info.node_ids) == len(set(info.node_ids)) == 80
    for writer in range(8):
        of_writer = [name for name in info.node_ids if name.startswith(f"{writer}-")]
        assert of_writer == [f"{writer}-{number}" for number in range(10)]


def test_threads_that_delete_the_nodes_of_a_document_leave_nothing(place: Location) -> None:
    with DocShelfDocumentStore(place.url) as store, ThreadPoolExecutor(8) as pool:
        store.add_documents([*pieces("d", 16), Document(id_="d", text="whole")])
        list(pool.map(store.delete_document, [f"d-{number}" for number in range(16)]))
        assert store.docs == {}


def test_a_store_serves_sync_then_two_event_loops_then_sync(place: Location) -> None:
    with DocShelfDocumentStore(place.url) as store:
        store.add_documents([piece("a", "d")])
        for name in ("b", "c"):

            async def run(name: str = name) -> None:
                await store.async_add_documents([piece(name, "d")])
                await asyncio.gather(*(store.aget_node("a") for _ in range(4)))

            asyncio.run(run())
        assert list(store.docs) == ["a", "b", "c"]


def test_a_store_on_a_given_shelf_uses_its_connections_and_leaves_it_open(place: Location) -> None:
    with DocShelf(place.url, "kb") as shelf:
        with DocShelfDocumentStore(shelf=shelf) as store:
            store.add_documents([piece("a")])
        with DocShelfDocumentStore(shelf=shelf, collection="other") as other:
            assert other.docs == {}
        assert shelf.exists("a")
        assert DocShelfIndexStore(shelf=shelf).shelf.collection == "index_store"


@pytest.mark.parametrize("options", [{"url": "x.db"}, {"pooler": True}])
@pytest.mark.parametrize("kind", [DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore])
def test_a_shelf_beside_a_url_or_options_is_refused(kind: Any, options: dict[str, Any]) -> None:
    with DocShelf(":memory:") as shelf, pytest.raises(ConfigurationError, match="both shelf and"):
        kind(shelf=shelf, **options)


def test_a_closed_store_is_closed(place: Location, loop: Loop) -> None:
    for asynchronously in (False, True):
        store = DocShelfDocumentStore(place.url)
        assert store.docs == {}
        if asynchronously:
            loop.run(store.aclose())
        else:
            store.close()
        with pytest.raises(ValueError, match="closed"):
            store.docs  # noqa: B018


def test_the_listed_faults_of_the_framework_still_exist(loop: Loop) -> None:
    """The differences that the guide lists. If this fails, the framework was mended and the guide is out of date."""

    def filled() -> SimpleDocumentStore:
        store = SimpleDocumentStore()
        store.add_documents(pieces("d", 2))
        return store

    store = filled()
    loop.run(store.adelete_document("d-0"))
    assert store.get_ref_doc_info("d").node_ids == ["d-0", "d-1"]  # type: ignore[union-attr]

    store = filled()
    store.set_document_hash("d-0", "h")
    store.delete_document("d-0")
    assert store.get_ref_doc_info("d").node_ids == ["d-0", "d-1"]  # type: ignore[union-attr]

    store = filled()
    store.add_documents([piece("d-0", "e")])
    assert store.get_ref_doc_info("d").node_ids == ["d-0", "d-1"]  # type: ignore[union-attr]

    store = filled()
    store.add_documents([piece("d-0", "d", metadata={"title": "old"})])
    store.add_documents([piece("d-0", "d", metadata={"title": "new"})])
    assert store.get_ref_doc_info("d").metadata == {"title": "old"}  # type: ignore[union-attr]

    store = filled()
    store.set_document_hash("h", "h")
    with pytest.raises(ValueError, match="h not found"):
        store.delete_document("h")
    assert store.get_document_hash("h") is None
