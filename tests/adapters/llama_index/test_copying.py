"""Stores, indexes and retrievers can be pickled where they are on a URL, and copied wherever they are."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_index.core
import pytest
from llama_index.core import SummaryIndex, VectorStoreIndex
from llama_index.core.data_structs import IndexDict
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import PrevNextNodePostprocessor
from sqlalchemy import Engine, create_engine

from docshelf import ClosedError, DocShelf
from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore, storage_context
from tests.adapters.llama_index.twins import piece
from tests.conftest import Location

INDEXES = (VectorStoreIndex, SummaryIndex)


def index_on(context: Any, kind: Any) -> Any:
    index = kind([piece("a", "d")], storage_context=context, embed_model=MockEmbedding(embed_dim=2))
    index.set_index_id(kind.__name__)
    return index


@pytest.mark.parametrize(
    "way", [lambda store: pickle.loads(pickle.dumps(store)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
@pytest.mark.parametrize("kind", [DocShelfKVStore, DocShelfDocumentStore, DocShelfIndexStore])
def test_a_store_on_a_url_can_be_pickled_and_deep_copied(place: Location, kind: Any, way: Callable[[Any], Any]) -> None:
    with kind(place.url, "named") as store, way(store) as twin:
        if kind is DocShelfKVStore:
            store.put("a", {"n": 1})
            assert twin.get("a") == {"n": 1}
        elif kind is DocShelfIndexStore:
            store.add_index_struct(IndexDict(index_id="i"))
            assert [one.index_id for one in twin.index_structs()] == ["i"]
        else:
            store.add_documents([piece("a")])
            assert twin.docs == store.docs
        assert twin.shelf.collection == "named"


def test_a_store_on_given_connections_or_in_memory_cannot_be_pickled(tmp_path: Any) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with DocShelf(":memory:") as shelf:
        for store in (DocShelfKVStore(shelf=shelf), DocShelfKVStore(engine=engine), DocShelfKVStore(":memory:")):
            with pytest.raises(TypeError, match="stays in its process"):
                pickle.dumps(store)
            store.close()
    engine.dispose()


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_on_a_url_can_be_pickled_and_shares_connections_as_before(
    place: Location, opened: Callable[[Any], Any], kind: Any
) -> None:
    index = index_on(storage_context(place.url, "nodes", index_collection="indexes"), kind)
    opened(index.docstore)
    again = pickle.loads(pickle.dumps(index))
    assert [found.node for found in again.as_retriever().retrieve("anything")] == [piece("a", "d")]
    stores = again.storage_context
    assert stores.index_store.get_index_struct(kind.__name__) == index.index_struct
    assert (stores.docstore.shelf.collection, stores.index_store.shelf.collection) == ("nodes", "indexes")
    stores.docstore.close()
    with pytest.raises(ClosedError):
        stores.index_store.index_structs()
    assert index.docstore.get_node("a") == piece("a", "d")


def test_another_process_answers_from_a_pickled_retriever(
    place: Location, opened: Callable[[Any], Any], tmp_path: Path
) -> None:
    index = index_on(storage_context(place.url), VectorStoreIndex)
    opened(index.docstore)
    file = tmp_path / "retriever"
    file.write_bytes(pickle.dumps(index.as_retriever()))
    # An unpickled splitter loads its tokenizer from the network, unless this variable names the installed one.
    tokenizer = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tokenizer)}
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).retrieve('anything')[0].text)"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, file], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout == "text of a\n", run.stderr


def test_a_context_on_a_given_shelf_is_not_pickled(place: Location) -> None:
    with DocShelf(place.url) as shelf:
        for stores in (storage_context(shelf=shelf), storage_context(shelf=shelf, collection="other")):
            with pytest.raises(TypeError, match=r"DocShelfDocumentStore on a given shelf or engine .* give it a url"):
                pickle.dumps(stores)


@pytest.fixture(params=["url", "shelf", "engine", "memory"])
def anywhere(
    request: pytest.FixtureRequest, place: Location, opened: Callable[[Any], Any], new_engine: Callable[..., Engine]
) -> dict[str, Any]:
    """Where a context may be: on a URL, a given shelf, a given engine, or in memory."""
    if request.param == "shelf":
        return {"shelf": opened(DocShelf(place.url))}
    if request.param == "engine":
        return {"engine": new_engine(place)}
    return {"url": ":memory:" if request.param == "memory" else place.url}


@pytest.mark.parametrize("kind", INDEXES)
@pytest.mark.parametrize("what", ["retriever", "query engine", "index", "context"])
def test_a_deep_copy_works_on_the_same_connections_and_leaves_them_open(
    anywhere: dict[str, Any], opened: Callable[[Any], Any], kind: Any, what: str
) -> None:
    index = index_on(storage_context(**anywhere), kind)
    opened(index.docstore)
    if what == "retriever":
        twin = copy.deepcopy(index.as_retriever())
        assert twin.retrieve("anything")[0].node == piece("a", "d")
        stores = twin._index.storage_context
    elif what == "query engine":
        twin = copy.deepcopy(index.as_query_engine(llm=MockLLM()))
        assert twin.query("anything").source_nodes[0].node == piece("a", "d")
        stores = twin.retriever._index.storage_context
    else:
        twin = copy.deepcopy(index if what == "index" else index.storage_context)
        stores = twin.storage_context if what == "index" else twin
    assert stores.docstore is not index.docstore
    stores.docstore.add_documents([piece("b", "d")])
    stores.index_store.delete_index_struct(kind.__name__)
    stores.docstore.close()
    assert index.docstore.get_ref_doc_info("d").node_ids == ["a", "b"]
    assert index.storage_context.index_store.index_structs() == []


def test_a_postprocessor_is_copied_with_its_document_store(place: Location) -> None:
    with DocShelf(place.url) as shelf:
        docstore = DocShelfDocumentStore(shelf=shelf)
        docstore.add_documents([piece("a")])
        twin: Any = PrevNextNodePostprocessor(docstore=docstore).model_copy(deep=True).docstore
        assert twin.get_node("a") == piece("a")


def test_a_copy_keeps_its_collection_when_the_original_is_renamed(place: Location) -> None:
    with DocShelfDocumentStore(place.url, "old") as store:
        store.add_documents([piece("a")])
        twin = copy.copy(store)
        store.rename_collection("new")
        twin.add_documents([piece("b")])
        assert (list(store.docs), list(twin.docs)) == (["a"], ["b"])
        assert pickle.loads(pickle.dumps(twin)).docs == twin.docs


def test_an_ingestion_run_is_not_pickled_and_its_copy_is_the_run_itself(place: Location) -> None:
    with DocShelfDocumentStore(place.url) as store, store.ingestion_run(["a"]) as run:
        assert copy.copy(run) is copy.deepcopy(run) is run
        with pytest.raises(TypeError, match="an IngestionRun stays in its process"):
            pickle.dumps(run)
