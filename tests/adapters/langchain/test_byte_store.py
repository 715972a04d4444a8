"""The byte store: any text key, duplicates, and how values are packed."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest

from docshelf import ArgumentTypeError, CorruptEntryError, Item
from langchain_docshelf import DocShelfByteStore
from tests.adapters.langchain.twins import Twin

ODD_KEYS = [
    "",
    "\0",
    "with\0NUL",
    "lone \ud800 surrogate",
    "x" * 1024,
    "x" * 1025,
    "x" * 100_000,
    "y" * 511 + "é" + "z" * 2000,
    "plain",
    "% _ \\ ' \"",
    "😀" * 300,
]


def test_any_text_is_a_key(byte_store: Twin) -> None:
    values = {key: f"value of {key!r}".encode() for key in ODD_KEYS}
    byte_store.mset(list(values.items()))
    assert byte_store.mget(ODD_KEYS) == list(values.values())
    assert sorted(byte_store.yield_keys()) == sorted(ODD_KEYS)
    byte_store.mdelete(ODD_KEYS[::2])
    assert sorted(byte_store.yield_keys()) == sorted(ODD_KEYS[1::2])


@pytest.mark.parametrize("prefix", ["", "x", "x" * 600, "x" * 1025, "y" * 511 + "é", "with\0", "lone \ud800", "%", "q"])
def test_a_prefix_is_literal_text_of_any_length(byte_store: Twin, prefix: str) -> None:
    byte_store.mset([(key, b"") for key in ODD_KEYS])
    expected = sorted(key for key in ODD_KEYS if key.startswith(prefix))
    assert sorted(byte_store.yield_keys(prefix=prefix)) == expected


def test_a_key_that_looks_like_a_folded_one_has_a_row_of_its_own(byte_store: Twin) -> None:
    byte_store.mset([("k" * 2000, b"long")])
    [stored] = list(byte_store.of.shelf.yield_keys())
    byte_store.mset([(stored, b"other")])
    assert byte_store.mget([stored, "k" * 2000]) == [b"other", b"long"]
    assert sorted(byte_store.yield_keys()) == sorted([stored, "k" * 2000])


def test_a_folded_row_of_another_program_is_listed_by_its_stored_key(byte_store: Twin) -> None:
    byte_store.mset([("k" * 2000, b"long")])
    [stored] = list(byte_store.of.shelf.yield_keys())
    for version in ("not JSON", "5", json.dumps("another key"), json.dumps("a")):
        byte_store.of.shelf.mset([Item(stored, b"long", version=version)])
        assert byte_store.yield_keys() == [stored]


def test_more_folded_keys_than_a_page_are_all_listed(byte_store: Twin) -> None:
    keys = [f"{number:04}" + "x" * 1100 for number in range(1100)]
    byte_store.mset([(key, b"") for key in keys])
    assert sorted(byte_store.yield_keys()) == keys


def test_the_last_of_equal_keys_wins(byte_store: Twin) -> None:
    byte_store.mset([("a", b"1"), ("b", b"2"), ("a", b"3")])
    assert byte_store.mget(["a", "b", "a"]) == [b"3", b"2", b"3"]


def test_bytes_of_every_kind_go_in_and_bytes_come_out(byte_store: Twin) -> None:
    byte_store.mset([("a", bytearray(b"1")), ("b", memoryview(b"2"))])
    got = byte_store.mget(["a", "b"])
    assert got == [b"1", b"2"]
    assert {type(value) for value in got} == {bytes}


@pytest.mark.parametrize("value", ["text", None, [1, 2]])
def test_only_bytes_go_in(byte_store: Twin, value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"key 'b': the value is a .*; give bytes"):
        byte_store.mset([("a", b"1"), ("b", value)])
    assert byte_store.mget(["a"]) == [None]


@pytest.mark.parametrize("keys", ["abc", b"abc", 5])
def test_one_string_is_refused_as_a_list_of_keys(byte_store: Twin, keys: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="keys"):
        byte_store.mget(keys)


def test_a_key_that_is_no_text_is_refused(byte_store: Twin) -> None:
    with pytest.raises(ArgumentTypeError, match="the key 5 is a int"):
        byte_store.mget([5])


def test_a_stored_value_that_is_no_bytes_is_an_error(byte_store: Twin) -> None:
    byte_store.of.shelf.set("j", {"a": 1})
    with pytest.raises(CorruptEntryError, match="a json value where a DocShelfByteStore reads a bytes"):
        byte_store.mget(["j"])


def test_vectors_take_no_more_space_than_their_bytes(place: Any) -> None:
    chance = random.Random(1)
    vectors = [[chance.gauss(0, 0.03) for _ in range(768)] for _ in range(20)]
    with DocShelfByteStore(place.url) as floats, DocShelfByteStore(place.url, "json") as texts:
        packed = {f"v{number}": struct.pack("<768f", *vector) for number, vector in enumerate(vectors)}
        written = {f"v{number}": json.dumps(vector).encode() for number, vector in enumerate(vectors)}
        floats.mset(packed)
        texts.mset(written)
        assert floats.mget(list(packed)) == list(packed.values())
        assert floats.shelf.stats().stored_bytes <= sum(map(len, packed.values()))
        assert texts.shelf.stats().stored_bytes < 0.6 * sum(map(len, written.values()))
