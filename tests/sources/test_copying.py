"""Copies of collections: the same entries and sources under another name, which go their own ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docshelf import ArgumentTypeError, ArgumentValueError, Item
from tests.support.face import Face


def test_a_copy_has_the_entries_and_sources_of_the_original(face: Face) -> None:
    face.sync({f"k{n}": n for n in range(5)}, source="f.md", fingerprint="f1", metadata={"a": 1})
    face.mset([Item("k1", "in another source", "g.md", "v")])
    face.set_versions({"label": "v"})
    assert face.copy_collection("copy") == 7
    copy = face.of(face.shelf.view("copy"))
    names = ["f.md", "g.md", ""]
    strip = [
        [entry.__class__(**{**vars(entry), "seq": 0}) for entry in entries] for entries in copy.source_entries(names)
    ]
    assert strip == [
        [entry.__class__(**{**vars(entry), "seq": 0}) for entry in entries] for entries in face.source_entries(names)
    ]
    assert copy.sources() == face.sources()
    assert copy.get("k1") == "in another source"
    assert copy.verify() == []


def test_original_and_copy_go_their_own_ways(face: Face) -> None:
    face.mset({f"k{n}": n for n in range(3)})
    face.copy_collection("copy")
    copy = face.of(face.shelf.view("copy"))
    face.mset({"k0": "changed", "new": 1})
    copy.mset({"later": 1, "k1": "other"})
    assert dict(face.yield_items()) == {"k0": "changed", "k1": 1, "k2": 2, "new": 1}
    assert dict(copy.yield_items()) == {"k0": 0, "k1": "other", "k2": 2, "later": 1}
    assert [entry.key for entry in copy.source_entries([""])[0]] == ["k0", "k1", "k2", "later"]
    assert [entry.key for entry in face.source_entries([""])[0]] == ["k0", "k1", "k2", "new"]


def test_what_is_written_after_a_copy_comes_after_it(face: Face) -> None:
    other = face.of(face.shelf.view("other"))
    face.mset({"a": 1, "b": 2})
    for number in range(3):
        other.set(f"o{number}", number)
    face.copy_collection("copy")
    other.set("last", 1)
    face.of(face.shelf.view("copy")).set("last", 1)
    assert [entry.key for entry in other.source_entries([""])[0]] == ["o0", "o1", "o2", "last"]
    assert [entry.key for entry in face.of(face.shelf.view("copy")).source_entries([""])[0]] == ["a", "b", "last"]


def test_what_belongs_to_a_collection_is_not_copied(face: Face) -> None:
    face.set("k", 1)
    companion = face.of(face.shelf.companion("/ledger"))
    companion.set("row", 1)
    face.copy_collection("copy")
    assert face.of(face.shelf.view("copy/ledger")).count() == 0
    companion.copy_collection("ledger of its own")
    face.rename_collection("renamed")
    assert face.of(face.shelf.view("ledger of its own")).get("row") == 1


def test_a_copy_needs_a_name_that_is_free_and_an_original(face: Face, new_face: Callable[..., Face]) -> None:
    with pytest.raises(ArgumentValueError, match="there is no collection 'default' to copy"):
        face.copy_collection("copy")
    face.set("k", 1)
    new_face("taken").set("k", 2)
    for name in ("taken", "default"):
        with pytest.raises(ArgumentValueError, match=f"there is a collection '{name}' already"):
            face.copy_collection(name)
    with pytest.raises(ArgumentValueError, match="name is empty"):
        face.copy_collection("")
    with pytest.raises(ArgumentTypeError):
        face.copy_collection(1)
    assert new_face("taken").get("k") == 2


def test_a_copy_is_all_or_nothing_for_a_second_call(face: Face) -> None:
    face.set("k", 1)
    assert face.copy_collection("copy") == 1
    with pytest.raises(ArgumentValueError, match="already"):
        face.copy_collection("copy")
