"""What docshelf's key-value store does beyond the contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from llama_index.core.graph_stores.types import EntityNode

from docshelf import ArgumentTypeError, ArgumentValueError, ConfigurationError, UnsupportedValueError
from llama_index_docshelf import DocShelfKVStore
from tests.adapters.llama_index.twins import Twin
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


def test_models_of_the_framework_are_stored_as_their_fields(store: Twin) -> None:
    store.put("a", {"z": [EntityNode(name="Ada")], "b": 1})
    assert store.get("a") == {"z": [EntityNode(name="Ada").model_dump()], "b": 1}
    assert list(store.get("a")) == ["z", "b"]


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


def test_renaming_a_store_takes_all_its_collections_along(new_store: Callable[..., Twin]) -> None:
    store, other = new_store(DocShelfKVStore, collection="cache"), new_store(DocShelfKVStore, collection="cache2")
    for collection in ("data", "llama_cache"):
        store.put("a", {"of": collection}, collection=collection)
        other.put("a", {"of": "other"}, collection=collection)
    store.rename_collection("renamed")
    renamed = new_store(DocShelfKVStore, collection="renamed")
    for collection in ("data", "llama_cache"):
        assert store.get("a", collection=collection) == renamed.get("a", collection=collection) == {"of": collection}
        assert other.get("a", collection=collection) == {"of": "other"}
        assert new_store(DocShelfKVStore, collection="cache").get("a", collection=collection) is None


def test_a_store_is_not_renamed_to_a_name_with_a_colon(store: Twin) -> None:
    store.put("a", {"n": 1})
    with pytest.raises(ConfigurationError, match="contains ':'"):
        store.rename_collection("a:b")
    assert store.get("a") == {"n": 1}
