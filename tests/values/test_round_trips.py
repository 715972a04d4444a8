"""Every storable value through a store, on every backend, sync and async: it is read back unchanged."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from docshelf import Item, UnsupportedValueError
from tests.support.face import Face
from tests.support.values import odd_document, reordered, shape


def test_a_document_with_all_types_is_read_back_equal_with_equal_types(face: Face) -> None:
    document = odd_document()
    expected = shape(document)
    face.set("odd", document, source="file")
    assert shape(face.get("odd")) == expected
    assert shape(face.mget(["absent", "odd"])) == shape([None, document])
    assert shape(face.get_entry("odd", source="file").value) == expected
    assert shape(list(face.yield_items())) == shape([("odd", document)])
    assert face.verify() == []


def test_an_equal_value_is_no_change_with_its_keys_in_any_order(face: Face) -> None:
    document = odd_document()["metadata"]
    assert face.conditional_set("k", document) == ("k", "INS")
    for seed in range(3):
        assert face.conditional_set("k", reordered(document, random.Random(seed))) == ("k", "SKIP")


VALUES: dict[str, Any] = {
    "none": None,
    "false": False,
    "zero": 0,
    "minus zero": -0.0,
    "large int": 2**80,
    "small int": -(2**63) - 1,
    "nan": float("nan"),
    "infinity": float("inf"),
    "empty text": "",
    "nul": "\0",
    "surrogate": "\udfff",
    "surrogates": "\ud83d\ude00",
    "emoji": "😀",
    "looks like json": '{"$decimal": "1"}',
    "list": [],
    "tuple": (),
    "dict": {},
    "looks like a tag": {"$decimal": "1"},
    "keys": {1: "int", "1": "text", None: 0, (1, "a"): b"", "$": 1},
    "set": {1, "1", b"1", None},
    "frozenset": frozenset({(1, 2)}),
    "moment": datetime(2024, 1, 1, tzinfo=timezone.utc),
    "decimal": Decimal("1.10"),
    "long text": "Grüße, " * 5000,
}


def test_every_kind_of_value_reads_back(face: Face) -> None:
    assert face.conditional_mset(VALUES).counts["INS"] == len(VALUES)
    read = dict(zip(VALUES, face.mget(VALUES), strict=True))
    assert {name: shape(value) for name, value in read.items()} == {
        name: shape(value) for name, value in VALUES.items()
    }
    assert all(face.mexists(VALUES))
    assert face.conditional_mset(VALUES).counts["SKIP"] == len(VALUES)


BYTES = {
    "empty": b"",
    "nul": b"\0",
    "no utf-8": b"\xff\xfe",
    "all": bytes(range(256)),
    "as a zstd frame begins": b"\x28\xb5\x2f\xfd\x00",
    "as a pickle begins": b"\x80\x04\x95",
    "as json": b'{"$decimal":"1"}',
    "as hexadecimal": b"\\x00ff",
    "compressible": b"word " * 50_000,
    "random": random.Random(1).randbytes(3 * 1024 * 1024),
}


@pytest.mark.parametrize("compression", ["zstd", None])
def test_bytes_read_back_as_bytes(new_face: Callable[..., Face], compression: str | None) -> None:
    face = new_face(compression=compression)
    face.mset(BYTES)
    read = face.mget(BYTES)
    assert {type(value) for value in read} == {bytes}
    assert {entry.content_type for entry in face.mget_entries(BYTES)} == {"bytes"}
    assert [name for name, value in zip(BYTES, read, strict=True) if value != BYTES[name]] == []
    assert face.conditional_mset(BYTES).counts["SKIP"] == len(BYTES)
    assert face.verify() == []


def test_a_value_and_its_bytes_are_two_values(face: Face) -> None:
    face.set("k", 1)
    assert face.conditional_set("k", b"1") == ("k", "UPD")
    assert face.get("k") == b"1"
    assert face.conditional_set("k", True) == ("k", "UPD")
    assert face.get("k") is True


class Foo:
    pass


@pytest.mark.parametrize("write", ["mset", "conditional_mset", "sync"])
def test_the_error_names_an_unstorable_value_and_nothing_is_written(face: Face, write: str) -> None:
    face.mset({"b": "old", "z": "old"})
    items = [Item("a", "new"), Item("b", "new"), Item("k", {"metadata": {"pages": [0, 1, 2, {"loc": Foo()}]}})]
    with pytest.raises(UnsupportedValueError) as caught:
        getattr(face, write)(items)
    assert str(caught.value).startswith("key 'k': metadata.pages[3].loc: cannot store a Foo (")
    assert dict(face.yield_items()) == {"b": "old", "z": "old"}
