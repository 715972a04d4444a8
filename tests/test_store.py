"""What a store promises, on every backend, sync and async."""

from __future__ import annotations

from tests.support.face import Face


def test_sync_says_what_each_key_went_through(face: Face) -> None:
    first = face.sync({"a": "one", "b": "two", "c": "three"}, source="f.txt")
    assert [tuple(change) for change in first] == [("a", "INS", "f.txt"), ("b", "INS", "f.txt"), ("c", "INS", "f.txt")]
    again = face.sync({"a": "one", "b": "two", "c": "three"}, source="f.txt")
    assert again.counts == {"INS": 0, "UPD": 0, "SKIP": 3, "DEL": 0}
    third = face.sync({"d": "new", "b": "changed", "a": "one"}, source="f.txt")
    assert [(change.key, change.op) for change in third] == [("d", "INS"), ("b", "UPD"), ("a", "SKIP"), ("c", "DEL")]
    assert face.mget(["a", "b", "c", "d"]) == ["one", "changed", None, "new"]
