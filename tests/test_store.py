"""What a store promises, on every backend, sync and async."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docshelf import ClosedError, DocShelf, Item
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.tables import contents


def test_sync_reports_a_change_for_each_key(face: Face) -> None:
    first = face.sync({"a": "one", "b": "two", "c": "three"}, source="f.txt")
    assert [tuple(change) for change in first] == [("a", "INS", "f.txt"), ("b", "INS", "f.txt"), ("c", "INS", "f.txt")]
    again = face.sync({"a": "one", "b": "two", "c": "three"}, source="f.txt")
    assert again.counts == {"INS": 0, "UPD": 0, "SKIP": 3, "DEL": 0}
    third = face.sync({"d": "new", "b": "changed", "a": "one"}, source="f.txt")
    assert [(change.key, change.op) for change in third] == [("d", "INS"), ("b", "UPD"), ("a", "SKIP"), ("c", "DEL")]
    assert face.mget(["a", "b", "c", "d"]) == ["one", "changed", None, "new"]


def test_async_reads_what_sync_wrote_and_the_reverse(location: Location, loop: Loop) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("sync", 1)
        loop.run(shelf.aset("async", 2))
        assert loop.run(shelf.amget(["sync", "async"])) == shelf.mget(["sync", "async"]) == [1, 2]


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


def test_a_store_is_a_context_manager(location: Location, loop: Loop) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("k", 1)
    with pytest.raises(ClosedError):
        shelf.get("k")

    async def use() -> object:
        async with DocShelf(location.url) as shelf:
            value = await shelf.aget("k")
        with pytest.raises(ClosedError):
            await shelf.aget("k")
        return value

    assert loop.run(use()) == 1


def test_stats_count_the_entries_of_the_collection(face: Face, new_face: Callable[..., Face]) -> None:
    new_face("other").mset({f"key {number}": "x" * 400 for number in range(100)})
    empty = face.stats()
    assert (empty.entries, empty.sources, empty.stored_bytes) == (0, 0, 0)
    face.mset([Item("a", b"12345", "x"), Item("a", b"123", "y"), Item("b", b"", "y"), Item("c", None, "y")])
    face.set_versions({"d": "no value"})
    stats = face.stats()
    assert (stats.entries, stats.sources, stats.stored_bytes) == (5, 3, 5 + 3 + len(b"null"))
    assert stats.disk_bytes >= 100 * 400


def test_the_tables_are_made_on_first_use_or_by_hand(new_face: Callable[..., Face]) -> None:
    face = new_face()
    face.setup()
    face.setup()
    assert face.get("k") is None
    assert new_face().count() == 0


def test_a_table_prefix_keeps_stores_apart(face: Face, new_face: Callable[..., Face], location: Location) -> None:
    face.set("k", 1)
    before = contents(location)
    prefixed = new_face(table_prefix="other")
    prefixed.sync({"k": 2, "l": 3}, scope="collection")
    assert contents(location) == before
    assert prefixed.mget(["k", "l"]) == [2, 3]


def test_a_memory_store_forgets_when_it_is_closed(loop: Loop) -> None:
    for _ in range(2):
        with DocShelf(":memory:") as shelf:
            assert shelf.conditional_set("k", 1) == ("k", "INS")
            assert loop.run(shelf.aget("k")) == 1


def test_progress_shows_real_counts(face: Face, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("3/3", lambda: face.mset({"a": 1, "b": 1, "c": 1}, show_progress=True)),
        ("4/4", lambda: face.conditional_mset({"a": 1, "b": 2, "c": 1, "d": 1}, show_progress=True)),
        ("2/2", lambda: face.sync({"a": 1, "new": 2}, show_progress=True)),
        ("1/1", lambda: face.mset([("a", 3), ("a", 4)], show_progress=True)),
        ("2/2", lambda: face.verify(show_progress=True)),
    ]
    for count, call in calls:
        call()
        last = capsys.readouterr().err.strip().rpartition("\r")[2]
        assert f" {count} " in last
        assert "100%" in last
    face.mset({"a": 5})
    assert capsys.readouterr().err == ""


def test_progress_of_verify_counts_every_entry(face: Face, capsys: pytest.CaptureFixture[str]) -> None:
    face.mset([Item("k", 1, "x"), Item("k", 2, "y"), Item("l", 3, "x")])
    assert face.verify(show_progress=True) == []
    assert " 3/3 " in capsys.readouterr().err.strip().rpartition("\r")[2]


def test_progress_of_a_dry_run_counts_every_item(face: Face, capsys: pytest.CaptureFixture[str]) -> None:
    face.mset({"a": 1, "b": 1})
    face.sync({"a": 1, "b": 2, "c": 3}, dry_run=True, show_progress=True)
    assert " 3/3 " in capsys.readouterr().err.strip().rpartition("\r")[2]
