"""Reading by key: values, entries, existence and counts."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from docshelf import ArgumentTypeError, Item
from tests.conftest import on_sqlite
from tests.support.face import Face


def test_mget_answers_in_the_order_of_its_keys_with_repeats_and_none(face: Face) -> None:
    face.mset({"a": 1, "b": 2, "c": 3})
    assert face.mget(["c", "nowhere", "a", "c"]) == [3, None, 1, 3]
    assert face.get("b") == 2
    assert face.get("nowhere") is None


def test_keys_come_from_any_iterable(face: Face) -> None:
    face.mset({"a": 1, "b": 2})
    assert face.mget(key for key in "ba") == [2, 1]
    assert face.mget({"a": "a mapping gives its keys"}) == [1]
    assert face.mexists({"a"}) == [True]


def test_a_key_in_two_sources_answers_with_the_one_written_last(face: Face) -> None:
    face.set("chunk", "of the first file", source="1.txt")
    face.set("chunk", "of the second file", source="2.txt")
    assert face.get("chunk") == "of the second file"
    face.set("chunk", "of the first file, edited", source="1.txt")
    assert face.get("chunk") == "of the first file, edited"
    assert face.get("chunk", source="1.txt") == "of the first file, edited"
    assert face.get("chunk", source="2.txt") == "of the second file"
    assert face.get("chunk", source="3.txt") is None
    assert face.count() == 2


def test_a_write_that_changes_nothing_is_not_the_last_one(face: Face) -> None:
    face.set("chunk", "one", source="1.txt")
    face.set("chunk", "two", source="2.txt")
    face.set("chunk", "one", source="1.txt")
    assert face.get("chunk") == "two"


def test_of_two_sources_written_in_one_call_the_later_item_answers(face: Face) -> None:
    face.mset([Item("chunk", "first", "z.txt"), Item("chunk", "second", "a.txt")])
    assert face.get("chunk") == "second"
    assert face.get_entry("chunk").source == "a.txt"


def test_an_entry_has_all_fields_of_its_row(face: Face) -> None:
    face.set("a", {"text": "one"}, source="f.txt", version="v1")
    first = face.get_entry("a")
    assert (first.key, first.source, first.value, first.version) == ("a", "f.txt", {"text": "one"}, "v1")
    assert first.content_type == "json"
    assert len(first.value_hash) == 32
    assert first.created_at == first.updated_at
    assert first.created_at.tzinfo is timezone.utc
    face.set("a", b"bytes", source="f.txt")
    second = face.get_entry("a")
    assert second.content_type == "bytes"
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert second.seq == first.seq
    assert second.value_hash != first.value_hash
    assert second.updated_at - second.created_at < timedelta(days=1)


def test_mget_entries_can_leave_the_values_unread(face: Face) -> None:
    face.mset({"a": 1, "b": 2})
    whole = face.mget_entries(["b", "nowhere", "a"])
    bare = face.mget_entries(["b", "nowhere", "a"], values=False)
    assert [entry and entry.value for entry in whole] == [2, None, 1]
    assert [entry and (entry.key, entry.value) for entry in bare] == [("b", None), None, ("a", None)]
    assert bare[0].value_hash == whole[0].value_hash


def test_pair_entries_tell_equal_keys_apart_by_their_sources(face: Face) -> None:
    face.mset([Item("k", number, f"s{number}", f"v{number}") for number in range(50)])
    face.set("l", "other")
    pairs = [("k", f"s{number}") for number in range(0, 50, 7)] + [("k", "s0"), ("l", ""), ("l", "s0"), ("k", "")]
    found = face.pair_entries(pairs)
    assert [entry and (entry.key, entry.source) for entry in found] == [*pairs[:10], None, None]
    assert [entry and entry.value for entry in found] == [*range(0, 50, 7), 0, "other", None, None]
    bare = face.pair_entries(iter(pairs), values=False)
    assert [entry and (entry.value, entry.version, entry.value_hash) for entry in bare] == [
        entry and (None, entry.version, entry.value_hash) for entry in found
    ]


@pytest.mark.parametrize("pairs", ["ab", ["ab"], [("a",)], [("a", "b", "c")], {"a": "b"}, None])
@on_sqlite
def test_pair_entries_refuses_items_that_are_no_pairs(face: Face, pairs: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="pair"):
        face.pair_entries(pairs)


def test_source_entries_answers_source_by_source_in_order_of_insertion(face: Face) -> None:
    face.mset([Item("z", 1, "x"), Item("a", 2, "y"), Item("m", 3, "x")])
    face.set("b", 4, source="x")
    found = face.source_entries(["y", "nowhere", "x"])
    assert [[(entry.key, entry.value) for entry in entries] for entries in found] == [
        [("a", 2)],
        [],
        [("z", 1), ("m", 3), ("b", 4)],
    ]
    [bare] = face.source_entries(["x"], values=False)
    assert [(entry.key, entry.value) for entry in bare] == [("z", None), ("m", None), ("b", None)]


def test_an_entry_exists_with_any_value(face: Face) -> None:
    face.set("none", None, source="f.txt")
    assert face.get("none") is None
    assert face.exists("none")
    assert face.exists("none", source="f.txt")
    assert not face.exists("none", source="")
    assert not face.exists("non")
    assert face.mexists(["x", "none", "none"]) == [False, True, True]
    assert face.mexists(["none"], source="g.txt") == [False]


def test_counts_are_of_entries_by_prefix_and_source(face: Face) -> None:
    face.mset([Item("a1", 1, "x"), Item("a1", 1, "y"), Item("a2", 1, "y"), Item("b", 1, "x")])
    assert face.count() == 4
    assert face.count("a") == 3
    assert face.count("a1") == 2
    assert face.count(source="y") == 2
    assert face.count("a", source="x") == 1
    assert face.count("nowhere") == 0
    assert [face.count(at_most=limit) for limit in (1, 3, 4, 5)] == [1, 3, 4, 4]
    assert face.count("a", source="x", at_most=5) == 1
    assert face.count("nowhere", at_most=1) == 0


def test_false_and_equal_values_are_read_back_unchanged(face: Face) -> None:
    alike: list[object] = [None, True, 0, 0.0, "", b"", [], {}, "0", b"0"]
    values = {repr(value): value for value in alike}
    face.mset(values)
    found = dict(zip(values, face.mget(values), strict=True))
    assert found == values
    assert [type(value) for value in found.values()] == [type(value) for value in values.values()]
