"""Collections: entries of one are never those of another, and `stats` counts one alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docshelf import ClosedError, Item
from tests.support.face import Face


def test_collections_are_separate(face: Face, new_face: Callable[..., Face]) -> None:
    other = new_face("other")
    face.sync({"k": "mine", "l": "mine"}, source="f.txt", fingerprint="f1")
    report = other.sync({"k": "theirs"}, scope="collection")
    assert [tuple(change) for change in report] == [("k", "INS", "")]
    assert (face.get("k"), other.get("k")) == ("mine", "theirs")
    assert (face.count(), other.count()) == (2, 1)
    assert list(other.yield_keys()) == ["k"]
    assert other.source_changed("f.txt", "f1")
    assert not other.delete_source("f.txt")
    assert [source.source for source in other.sources()] == [""]
    other.mdelete(["k", "l"])
    assert face.mget(["k", "l"]) == ["mine", "mine"]
    assert not face.source_changed("f.txt", "f1")


def test_a_view_is_another_collection_on_the_same_connections(face: Face) -> None:
    view = face.of(face.shelf.view("other"))
    view.set("k", 1)
    assert (face.shelf.collection, view.shelf.collection) == ("default", "other")
    assert face.get("k") is None
    assert face.of(view.shelf.view()).get("k") == 1
    face.close()
    with pytest.raises(ClosedError):
        view.get("k")


def test_stats_count_the_entries_of_the_collection(face: Face, new_face: Callable[..., Face]) -> None:
    new_face("other").mset({f"key {number}": "x" * 400 for number in range(100)})
    empty = face.stats()
    assert (empty.entries, empty.sources, empty.stored_bytes) == (0, 0, 0)
    face.mset([Item("a", b"12345", "x"), Item("a", b"123", "y"), Item("b", b"", "y"), Item("c", None, "y")])
    face.set_versions({"d": "no value"})
    stats = face.stats()
    assert (stats.entries, stats.sources, stats.stored_bytes) == (5, 3, 5 + 3 + len(b"null"))
    assert stats.disk_bytes >= 100 * 400
