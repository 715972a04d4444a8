"""The byte store of the specification, by its names, arguments and results."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import ConfigurationError, MassDeleteError, UnsupportedValueError
from langchain_docshelf import PostgresByteStore
from tests.adapters.langchain.twins import Twin, page
from tests.conftest import Location

VALUES: dict[str, Any] = {
    "document": Document(id="d", page_content="text", metadata={"when": datetime(2024, 1, 1, tzinfo=timezone.utc)}),
    "dict": {"b": [1, 2.5, None], "a": {"nested": True}},
    "text": "text",
    "bytes": b"\0\x80\xff",
    "list": ["a", ["b"], {}],
    "tuple": (1, Decimal("1.10")),
    "number": 2**70,
    "false": False,
}


class TestReadAndWrite:
    def test_any_supported_value_comes_back(self, spec_store: Twin) -> None:
        for key, value in VALUES.items():
            spec_store.set(key, value, "file.txt")
            assert spec_store.get(key) == value
            assert type(spec_store.get(key)) is type(value)
        assert spec_store.mget([*VALUES, "none"]) == [*VALUES.values(), None]

    def test_a_missing_key_reads_as_none(self, spec_store: Twin) -> None:
        assert spec_store.get("none") is None

    def test_key_and_file_identify_a_value(self, spec_store: Twin) -> None:
        spec_store.set("k", 1, "a.txt")
        spec_store.set("k", 2, filename="b.txt")
        assert spec_store.get("k") == 2
        assert (spec_store.get("k", "a.txt"), spec_store.get("k", filename="c.txt")) == (1, None)
        assert spec_store.mget(["k"], "a.txt") == [1]
        assert spec_store.yield_keys(filename="a.txt") == ["k"]
        spec_store.mdelete(["k"], "b.txt")
        assert spec_store.get("k") == 1

    def test_mset_takes_one_file_for_all_or_one_with_each(self, spec_store: Twin) -> None:
        spec_store.mset([("a", 1), ("b", 2, "b.txt")], "a.txt")
        assert [(source.source, source.entries) for source in spec_store.sources()] == [("a.txt", 1), ("b.txt", 1)]

    def test_a_prefix_is_literal_text(self, spec_store: Twin) -> None:
        spec_store.mset([(key, 1) for key in ("a%b", "axb", "a_b", "a_c")])
        assert spec_store.yield_keys(prefix="a%") == ["a%b"]
        assert spec_store.yield_keys(prefix="a_") == ["a_b", "a_c"]

    def test_names_and_collection_are_as_in_the_specification(self, place: Location) -> None:
        with PostgresByteStore(conninfo=place.url, collection_name="c") as store:
            assert (store.conninfo, store.collection_name) == (place.url, "c")
            store.set(key="k", value=1, filename="f")
            assert store.get(key="k") == 1
        with PostgresByteStore(place.url, "other") as other:
            assert other.get("k") is None


class TestConditional:
    def test_a_value_is_written_only_when_its_hash_changed(self, spec_store: Twin) -> None:
        value = {"a": 1, "b": [1, 2]}
        assert spec_store.conditional_set("k", value, "f") == ("k", "INS")
        assert spec_store.conditional_set("k", {"b": [1, 2], "a": 1}, "f") == ("k", "SKIP")
        assert spec_store.conditional_set("k", {"a": 2}, "f") == ("k", "UPD")
        assert spec_store.conditional_set("k", {"a": 2}, "g") == ("k", "INS")

    @pytest.mark.parametrize(("options", "op"), [({}, "UPD"), ({"hash_on": "text"}, "SKIP")])
    def test_metadata_counts_as_change_unless_only_the_text_is_to(
        self, place: Location, opened: Callable[[Any], Any], twin: Callable[[Any], Twin], options: Any, op: str
    ) -> None:
        store = twin(opened(PostgresByteStore(place.url, "c", **options)))
        store.set("k", page("text", "f", n=1), "f")
        assert store.conditional_set("k", page("text", "f", n=2), "f") == ("k", op)

    def test_conditional_mset_deletes_missing_keys_only_in_the_files_of_its_items(self, spec_store: Twin) -> None:
        spec_store.mset([("a", 1, "f"), ("b", 2, "f"), ("c", 3, "g"), ("d", 4, "h")])
        results = spec_store.conditional_mset([("e", 5, "f"), ("a", 1, "f"), ("c", 0, "g")])
        assert results == [("e", "INS"), ("a", "SKIP"), ("c", "UPD"), ("b", "DEL")]
        assert spec_store.get("d") == 4

    def test_conditional_mset_takes_one_file_for_all_pairs(self, spec_store: Twin) -> None:
        spec_store.mset([("a", 1), ("b", 2)], "f")
        assert spec_store.conditional_mset({"b": 2}, "f") == [("b", "SKIP"), ("a", "DEL")]

    def test_scope_collection_deletes_the_documents_of_other_sources(self, spec_store: Twin) -> None:
        spec_store.mset([("a", 1, "f"), ("b", 2, "g")])
        assert spec_store.conditional_mset([("a", 1, "f")], scope="collection") == [("a", "SKIP"), ("b", "DEL")]

    def test_an_empty_batch_empties_a_file_only_with_allow_mass_delete(self, spec_store: Twin) -> None:
        spec_store.set("a", 1, "f")
        assert spec_store.conditional_mset([]) == []
        with pytest.raises(MassDeleteError):
            spec_store.conditional_mset([], "f")
        assert spec_store.conditional_mset([], "f", allow_mass_delete=True) == [("a", "DEL")]


class TestHashing:
    @pytest.fixture
    def spec(self, tmp_path: Any, opened: Callable[[Any], Any]) -> PostgresByteStore:
        store: PostgresByteStore = opened(PostgresByteStore(tmp_path / "x.db", "c"))
        return store

    def test_compute_hash_is_sha256_in_hexadecimal(self, spec: PostgresByteStore) -> None:
        assert spec.compute_hash("aé") == hashlib.sha256("aé".encode()).hexdigest()
        assert spec.compute_hash(b"a") == hashlib.sha256(b"a").hexdigest()
        assert len(spec.compute_hash("\ud800")) == 64

    def test_extract_hashable_content_is_the_text_of_a_document(self, spec: PostgresByteStore) -> None:
        assert spec.extract_hashable_content(page("text", "f", n=1)) == "text"
        assert spec.extract_hashable_content("text") == "text"
        assert spec.extract_hashable_content(b"bytes") == b"bytes"
        assert spec.extract_hashable_content({"b": 1, "a": 2}) == b'{"a":2,"b":1}'

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_the_hashable_content_of_any_value_can_be_hashed(self, spec: PostgresByteStore, value: Any) -> None:
        assert len(spec.compute_hash(spec.extract_hashable_content(value))) == 64

    def test_equal_values_serialize_alike_whatever_the_order_of_their_keys(self, spec: PostgresByteStore) -> None:
        one = spec.serialize_value({"a": {"x": 1, "y": {1, 2}}, "b": 1})
        assert one == spec.serialize_value({"b": 1, "a": {"y": {2, 1}, "x": 1}})
        assert spec.serialize_value(page("x", n=1)) != spec.serialize_value(page("x", n=2))

    def test_a_value_that_cannot_be_stored_cannot_be_serialized(self, spec: PostgresByteStore) -> None:
        with pytest.raises(UnsupportedValueError, match="cannot store a object"):
            spec.serialize_value({"a": object()})


def test_the_adapter_imports_neither_pickle_nor_sunset_packages() -> None:
    code = (
        "import re, sys, langchain_docshelf; from pathlib import Path; "
        "root = Path(langchain_docshelf.__file__).parent; "
        "texts = {p.name: p.read_text() for p in root.rglob('*.py')}; "
        "print({m for m in ('langchain_community', 'langchain_classic') if m in sys.modules}, len(texts) > 10, "
        "[name for name, text in texts.items() if re.search(r'(import|from) _?pickle', text)])"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set() True []"


def test_conninfo_none_is_refused_and_filename_none_means_no_file(spec_store: Twin) -> None:
    with pytest.raises(ConfigurationError, match="conninfo is None"):
        PostgresByteStore(None, "spec")
    spec_store.mset([("a", 1), ("b", 2, None)], None)
    spec_store.set("c", 3, None)
    assert spec_store.conditional_set("c", 3, None) == ("c", "SKIP")
    assert spec_store.mget(["a", "b", "c"], "") == [1, 2, 3]
