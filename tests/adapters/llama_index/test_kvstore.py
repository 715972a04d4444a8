"""What docshelf's key-value store does beyond the contract."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import create_engine

from docshelf import ArgumentTypeError, ArgumentValueError, ConfigurationError, DocShelf, UnsupportedValueError
from llama_index_docshelf import DocShelfDocumentStore, DocShelfKVStore
from tests.adapters.llama_index.twins import Twin, piece
from tests.conftest import Location
from tests.support.statements import recorded_statements


@pytest.fixture
def store(new_store: Callable[..., Twin]) -> Twin:
    return new_store(DocShelfKVStore)


def test_values_come_back_with_the_types_they_had(store: Twin) -> None:
    value = {
        "inf": math.inf,
        "nul": "\0\ud800",
        "bytes": b"\xff",
        "date": date(2024, 1, 2),
        "tuple": (1,),
        3: {"$set": 1},
    }
    store.put("a", value)
    assert store.get("a") == value
    assert store.get_all() == {"a": value}


def test_an_error_names_the_value_that_cannot_be_stored_and_nothing_is_written(store: Twin) -> None:
    with pytest.raises(UnsupportedValueError, match=r"key 'b': .*deep\[0\]: cannot store a object"):
        store.put_all([("a", {}), ("b", {"deep": [object()]})])
    assert store.get_all() == {}


def test_a_value_that_contains_itself_is_refused(store: Twin) -> None:
    value: dict[str, Any] = {}
    value["again"] = [value, value]
    with pytest.raises(UnsupportedValueError, match="nested deeper"):
        store.put("a", value)


def test_only_dicts_are_taken(store: Twin) -> None:
    with pytest.raises(ArgumentTypeError, match="the value of 'a' is a str; give a dict"):
        store.put("a", "text")


@pytest.mark.parametrize("batch_size", [1, 7])
def test_put_all_is_one_batch_whatever_the_batch_size(store: Twin, batch_size: int) -> None:
    def statements(count: int) -> int:
        with recorded_statements() as sent:
            store.put_all([(f"{count}-{number}", {"n": number}) for number in range(count)], batch_size=batch_size)
        return len(sent)

    store.put("first", {})
    assert statements(60) == statements(500)


def test_stores_of_different_names_share_nothing(new_store: Callable[..., Twin]) -> None:
    one, other = new_store(DocShelfKVStore, collection="one"), new_store(DocShelfKVStore, collection="one/data")
    one.put("a", {"n": 1}, collection="data/data")
    assert other.get("a", collection="data") is None
    with pytest.raises(ConfigurationError, match="contains ':'"):
        new_store(DocShelfKVStore, collection="one:data")


def test_a_name_too_long_for_a_collection_is_refused(store: Twin) -> None:
    with pytest.raises(ArgumentValueError, match="the limit is 255"):
        store.put("a", {}, collection="x" * 250)


@pytest.mark.parametrize("kind", [DocShelfKVStore, DocShelfDocumentStore])
def test_a_store_on_a_url_can_be_pickled(place: Location, kind: Any) -> None:
    with kind(place.url, "named") as store, pickle.loads(pickle.dumps(store)) as copy:
        if kind is DocShelfKVStore:
            store.put("a", {"n": 1})
            assert copy.get("a") == {"n": 1}
        else:
            store.add_documents([piece("a")])
            assert copy.docs == store.docs
        assert copy.shelf.collection == "named"


def test_a_store_on_given_connections_or_in_memory_cannot_be_pickled(tmp_path: Any) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with DocShelf(":memory:") as shelf:
        for store in (DocShelfKVStore(shelf=shelf), DocShelfKVStore(engine=engine), DocShelfKVStore(":memory:")):
            with pytest.raises(TypeError, match="stays in its process"):
                pickle.dumps(store)
            store.close()
    engine.dispose()
