"""Stores on a url can be pickled: another process opens the same collection with the same options."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.documents import Document

from docshelf import DocShelf
from langchain_docshelf import DocShelfByteStore, DocShelfStore, PostgresByteStore
from tests.adapters.langchain.twins import Twin, page
from tests.conftest import Location


class Memo(Document):
    """A user's own document."""

    type: Literal["Memo"] = "Memo"  # type: ignore[assignment]
    day: dt.date


def author_of(document: Document) -> str:
    return str(document.metadata["author"])


MEMO = Memo(page_content="text", day=dt.date(2024, 3, 1), metadata={"author": "ann", "mtime": 1})


def test_a_pickled_document_store_has_all_its_arguments(
    place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]
) -> None:
    options: dict[str, Any] = {"source_key": author_of, "hash_exclude": iter(("mtime",)), "on_corrupt": "skip"}
    store = opened(DocShelfStore(place.url, "memos", document_types=iter([Memo]), **options))
    twin(store).mset({"k": MEMO})
    other = opened(pickle.loads(pickle.dumps(store)))
    assert twin(other).mget(["k"]) == [MEMO]
    newer = Memo(page_content="text", day=MEMO.day, metadata={"author": "ann", "mtime": 2})
    assert [change.op for change in twin(other).conditional_mset({"k": newer})] == ["SKIP"]
    assert [source.source for source in twin(other).sources()] == ["ann"]
    assert other._skips


def test_a_pickled_byte_store_has_all_its_arguments(
    place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]
) -> None:
    store = opened(DocShelfByteStore(place.url, "cache", table_prefix="other"))
    twin(store).mset([("k", b"value")])
    assert twin(opened(pickle.loads(pickle.dumps(store)))).mget(["k"]) == [b"value"]


def test_a_pickled_store_of_the_specification_has_all_its_arguments(
    place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]
) -> None:
    store = opened(PostgresByteStore(place.url, "values", document_types=[Memo], hash_on="text"))
    twin(store).set("k", MEMO, "f")
    other = opened(pickle.loads(pickle.dumps(store)))
    assert (other.conninfo, other.collection_name) == (place.url, "values")
    assert twin(other).get("k", "f") == MEMO
    assert twin(other).conditional_set("k", page("text"), "f") == ("k", "SKIP")


@pytest.mark.parametrize("kind", [DocShelfStore, DocShelfByteStore, PostgresByteStore])
def test_a_store_that_was_renamed_is_pickled_with_its_new_name(
    place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin], kind: Any
) -> None:
    store = opened(kind(place.url, "old"))
    twin(store).mset([("k", page("x") if kind is DocShelfStore else b"x")])
    assert twin(store).rename_collection("new") == 1
    assert opened(pickle.loads(pickle.dumps(store))).shelf.collection == "new"


def test_another_process_reads_a_pickled_store(place: Location, opened: Callable[[Any], Any], tmp_path: Path) -> None:
    store = opened(DocShelfStore(place.url))
    store.mset({"k": page("text", "s")})
    (tmp_path / "store").write_bytes(pickle.dumps(store))
    code = (
        "import pickle, sys; from pathlib import Path; store = pickle.loads(Path(sys.argv[1]).read_bytes()); "
        "print(store.mget(['k'])[0].page_content); store.close()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")], capture_output=True, text=True, check=False
    )
    assert run.stdout == "text\n", run.stderr


@pytest.mark.parametrize("kind", [DocShelfStore, DocShelfByteStore])
def test_a_store_on_a_given_shelf_or_engine_or_in_memory_says_why_it_is_not_pickled(
    place: Location, new_engine: Callable[..., Any], kind: Any
) -> None:
    with DocShelf(place.url) as shelf:
        for store in (kind(shelf=shelf), kind(engine=new_engine(place))):
            with pytest.raises(TypeError, match=f"a {kind.__name__} on a given shelf or engine .* give it a url"):
                pickle.dumps(store)
    with kind(":memory:") as store, pytest.raises(TypeError, match="in memory stays in its process"):
        pickle.dumps(store)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("on", ["url", "shelf", "engine", "memory"])
def test_a_copy_of_a_store_works_on_the_same_connections_and_leaves_them_open(
    place: Location, new_engine: Callable[..., Any], opened: Callable[[Any], Any], copier: Callable[[Any], Any], on: str
) -> None:
    shelf = opened(DocShelf(place.url))
    options: dict[str, Any] = {
        "url": {"url": place.url},
        "shelf": {"shelf": shelf},
        "engine": {"engine": new_engine(place)},
        "memory": {"url": ":memory:"},
    }[on]
    store = opened(DocShelfStore(collection="docs", source_key="path", **options))
    store.mset([("k", Document(page_content="text", metadata={"path": "f"}))])
    with copier(store) as twin:
        assert [document.page_content for document in twin.mget(["k"])] == ["text"]
        assert twin.source_key == "path"
    assert store.mget(["k"])[0].page_content == "text"
