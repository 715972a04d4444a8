"""The work of a method grows with what it is asked for, not with the collection."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.data_structs import IndexList
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.storage.index_store.utils import index_struct_to_json

from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore, storage_context
from tests.adapters.llama_index.conftest import OURS
from tests.adapters.llama_index.twins import Twin, piece, pieces
from tests.conftest import Location
from tests.support.face import Loop
from tests.support.public import methods_of
from tests.support.statements import of_operations, recorded_statements
from tests.support.work import Work, watched_work

SMALL, LARGE = 50, 1_000


KINDS = (DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore)

# One call of each method. What it is asked for is the same whatever the size of the collection.
CALLS: dict[tuple[type, str], Callable[[Any], Any]] = {
    (DocShelfDocumentStore, "add_documents"): lambda store: store.add_documents([piece("new", "d-7")]),
    (DocShelfDocumentStore, "conditional_add_documents"): lambda store: store.conditional_add_documents(
        [piece("d-7", "d-7"), piece("big-1", "big", "changed"), piece("d-9", "d-8")]
    ),
    (DocShelfDocumentStore, "sync"): lambda store: store.sync([piece("d-7", "d-7", "changed")], ref_doc_id="d-7"),
    (DocShelfDocumentStore, "get_document"): lambda store: store.get_document("d-7"),
    (DocShelfDocumentStore, "get_node"): lambda store: store.get_node("big-1"),
    (DocShelfDocumentStore, "get_nodes"): lambda store: store.get_nodes(["d-7", "big-1"]),
    (DocShelfDocumentStore, "get_node_dict"): lambda store: store.get_node_dict({1: "d-7"}),
    (DocShelfDocumentStore, "document_exists"): lambda store: store.document_exists("d-7"),
    (DocShelfDocumentStore, "documents_exist"): lambda store: store.documents_exist(["d-7", "gone"]),
    (DocShelfDocumentStore, "set_document_hash"): lambda store: store.set_document_hash("d-7", "h"),
    (DocShelfDocumentStore, "set_document_hashes"): lambda store: store.set_document_hashes({"d-8": "h", "new": "h"}),
    (DocShelfDocumentStore, "get_document_hash"): lambda store: store.get_document_hash("d-7"),
    (DocShelfDocumentStore, "get_document_hashes"): lambda store: store.get_document_hashes(["d-7", "gone"]),
    (DocShelfDocumentStore, "get_ref_doc_info"): lambda store: store.get_ref_doc_info("d-7"),
    (DocShelfDocumentStore, "ref_doc_exists"): lambda store: store.ref_doc_exists("big"),
    (DocShelfDocumentStore, "delete_document"): lambda store: store.delete_document("big-3"),
    (DocShelfDocumentStore, "delete_ref_doc"): lambda store: store.delete_ref_doc("d-7"),
    (DocShelfIndexStore, "add_index_struct"): lambda store: store.add_index_struct(IndexList("new")),
    (DocShelfIndexStore, "get_index_struct"): lambda store: store.get_index_struct("7"),
    (DocShelfIndexStore, "delete_index_struct"): lambda store: store.delete_index_struct("7"),
    (DocShelfKVStore, "put"): lambda store: store.put("new", {}),
    (DocShelfKVStore, "put_all"): lambda store: store.put_all([("7", {}), ("new", {})]),
    (DocShelfKVStore, "get"): lambda store: store.get("7"),
    (DocShelfKVStore, "delete"): lambda store: store.delete("7"),
}
# What these return, or change, is the collection.
WHOLE = {
    "get_all_document_hashes",
    "get_all_ref_doc_info",
    "index_structs",
    "get_all",
    "sources",
    "yield_sources",
    "rename_collection",
}
WITHOUT_WORK = {"close", "ingestion_run"}


def fill(url: str, size: int) -> None:
    """As many documents, index structs and values, and a document of as many nodes."""
    with DocShelfDocumentStore(url) as docstore:
        docstore.add_documents([*(piece(f"d-{n}", f"d-{n}", metadata={"n": n}) for n in range(size))])
        docstore.add_documents(pieces("big", size))
        structs = DocShelfIndexStore(shelf=docstore.shelf).shelf
        structs.mset({str(n): index_struct_to_json(IndexList(str(n))) for n in range(size)})
        DocShelfKVStore(shelf=docstore.shelf).put_all([(str(n), {"n": n}) for n in range(size)])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """SQLite files with stores of two sizes."""
    folder = tmp_path_factory.mktemp("growth")
    files = {size: folder / f"{size}.db" for size in (SMALL, LARGE)}
    for size, file in files.items():
        fill(str(file), size)
    return files


@pytest.fixture
def new_stores(mode: str, loop: Loop, opened: Callable[[Any], Any]) -> Callable[[str], dict[type, Twin]]:
    """Makes the three stores on a URL."""

    def make(url: str) -> dict[type, Twin]:
        return {kind: Twin(opened(kind(url)), mode, loop) for kind in KINDS}

    return make


@pytest.fixture
def work() -> Iterator[Work]:
    with watched_work() as work:
        yield work


def test_the_work_of_a_method_does_not_grow_with_the_collection(
    filled: dict[int, Path], work: Work, new_stores: Callable[[str], dict[type, Twin]]
) -> None:
    steps: dict[int, dict[str, int]] = {}
    for size, file in filled.items():
        stores = new_stores(shutil.copy(file, f"{file}.copy"))
        steps[size] = {}
        for (kind, method), call in CALLS.items():
            stores[kind].store.shelf.count(at_most=1)  # connects
            with work.counted():
                call(stores[kind])
            steps[size][f"{kind.__name__}.{method}"] = work.steps
    assert min(steps[SMALL].values()) > 10
    # The trees of the indexes are a little deeper.
    growing = {
        name: (small, steps[LARGE][name]) for name, small in steps[SMALL].items() if steps[LARGE][name] > 2 * small
    }
    assert growing == {}


@pytest.mark.parametrize("backend", OURS)
def test_the_statements_of_a_method_do_not_grow_with_the_collection(
    new_location: Callable[[str], Location], backend: str, new_stores: Callable[[str], dict[type, Twin]]
) -> None:
    counts: dict[int, dict[str, int]] = {}
    for size in (SMALL, LARGE):
        url = new_location(backend).url
        fill(url, size)
        stores = new_stores(url)
        counts[size] = {}
        for (kind, method), call in CALLS.items():
            stores[kind].store.shelf.count(at_most=1)
            with recorded_statements() as sent:
                call(stores[kind])
            counts[size][f"{kind.__name__}.{method}"] = len(of_operations(sent))
    assert counts[SMALL] == counts[LARGE]
    assert max(counts[SMALL].values()) <= 16


def test_every_method_is_counted() -> None:
    for kind in KINDS:
        named = {name for of, name in CALLS if of is kind} | WHOLE | WITHOUT_WORK
        methods = {name for name in methods_of(kind) if f"a{name}" in methods_of(kind) or name in named}
        assert methods <= named


def test_without_an_id_many_index_structs_are_refused_without_reading_them(
    filled: dict[int, Path], new_stores: Callable[[str], dict[type, Twin]]
) -> None:
    store = new_stores(shutil.copy(filled[SMALL], f"{filled[SMALL]}.copy"))[DocShelfIndexStore]
    with recorded_statements() as statements, pytest.raises(ValueError, match=r"there are 50 \('0', '1', '2'"):
        store.get_index_struct()
    assert not [statement for statement in statements if "entries.value AS value" in statement]


def test_an_index_lists_its_documents_with_one_look_up_each(
    work: Work, new_location: Callable[[str], Location]
) -> None:
    def steps(size: int) -> float:
        context = storage_context(new_location("sqlite").url)
        nodes = [piece(f"d-{n}", f"d-{n}", metadata={"n": n}) for n in range(size)]
        index = VectorStoreIndex(nodes, storage_context=context, embed_model=MockEmbedding(embed_dim=2))
        with work.counted():
            assert list(index.ref_doc_info) == [f"d-{n}" for n in range(size)]
        context.docstore.close()
        return work.steps / size

    assert steps(200) < 1.5 * steps(40)


def test_deleting_the_nodes_of_a_document_one_by_one_costs_the_same_each_time(
    work: Work, new_location: Callable[[str], Location], opened: Callable[[Any], Any]
) -> None:
    def steps(size: int) -> float:
        store = opened(DocShelfDocumentStore(new_location("sqlite").url))
        store.add_documents(pieces("d", size))
        with work.counted():
            for number in range(size):
                store.delete_document(f"d-{number}")
        return work.steps / size

    assert steps(200) < 1.5 * steps(40)
