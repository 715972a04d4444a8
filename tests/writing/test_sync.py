"""`sync`: its report, what it deletes, what it refuses, and that it is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from docshelf import Change, DatabaseError, Item, MassDeleteError, Report, SourceNote
from tests.conftest import Location
from tests.support.face import Face
from tests.support.tables import contents, entry_rows, keys_by_seq, refuse


def summary(report: Report) -> list[tuple[str, ...]]:
    return [tuple(change) for change in report]


def test_a_report_is_in_input_order_with_deletions_last_and_sorted(face: Face) -> None:
    face.sync({"m": 1, "z": 1, "gone b": 1, "é": 1, "gone a": 1}, source="f")
    report = face.sync([("é", 1), ("new", 1), ("z", 2), ("a", 1), ("m", 1)], source="f")
    assert summary(report) == [
        ("é", "SKIP", "f"),
        ("new", "INS", "f"),
        ("z", "UPD", "f"),
        ("a", "INS", "f"),
        ("m", "SKIP", "f"),
        ("gone a", "DEL", "f"),
        ("gone b", "DEL", "f"),
    ]
    assert report.counts == {"INS": 2, "UPD": 1, "SKIP": 2, "DEL": 2}
    assert report[0] == Change("é", "SKIP", "f")
    assert report.deleted == tuple(report)[-2:]
    assert face.source_changed("f", "never told")


def test_an_unchanged_sync_writes_nothing(face: Face, location: Location) -> None:
    items = {"a": 1, "b": b"2", "c": {"d": 3}}
    face.sync(items, source="f", fingerprint="f1", metadata={"pages": 3})
    before = contents(location)
    report = face.sync(items, source="f", fingerprint="f1", metadata={"pages": 3})
    assert report.counts["SKIP"] == 3
    assert not report.changed
    face.sync(items, source="f")
    assert contents(location) == before


def test_the_same_key_in_two_sources_never_clobbers(face: Face) -> None:
    face.sync({"intro": "one"}, source="1.txt")
    face.sync({"intro": "two"}, source="2.txt")
    assert face.get("intro") == "two"
    assert summary(face.sync({"intro": "one"}, source="1.txt")) == [("intro", "SKIP", "1.txt")]
    assert face.get("intro", source="1.txt") == "one"
    report = face.sync([], source="2.txt", allow_mass_delete=True)
    assert summary(report) == [("intro", "DEL", "2.txt")]
    assert face.get("intro") == "one"
    face.delete_source("1.txt")
    assert face.get("intro") is None


def test_a_sync_of_one_source_leaves_the_others(face: Face, location: Location) -> None:
    face.mset([Item("a", 1, "x"), Item("b", 2, ""), Item("c", 3, "xy")])
    before = entry_rows(location)
    face.sync({"new": 1}, source="x")
    after = entry_rows(location)
    assert after.keys() == {("new", "x"), ("b", ""), ("c", "xy")}
    assert (after["b", ""], after["c", "xy"]) == (before["b", ""], before["c", "xy"])


def test_seq_keeps_the_order_of_the_input(face: Face, location: Location) -> None:
    keys = ["m", "z", "a", "é", "B", "0"]
    face.sync(dict.fromkeys(keys, 1), source="f")
    assert keys_by_seq(location) == [(key, "f") for key in keys]
    face.sync(dict.fromkeys(["y", *reversed(keys), "b"], 2), source="f")
    assert keys_by_seq(location) == [(key, "f") for key in [*keys, "y", "b"]]
    face.mset({"x": 1, "c": 1})
    assert keys_by_seq(location)[-2:] == [("x", ""), ("c", "")]


def test_scope_sources_makes_each_named_source_hold_its_items(face: Face) -> None:
    face.mset([Item("a", 1, "x"), Item("b", 1, "x"), Item("a", 1, "y"), Item("b", 1, "y"), Item("a", 1, "z")])
    report = face.sync(
        [Item("c", 1, "x"), Item("a", 1, "x")],
        scope="sources",
        notes={"y": SourceNote("y1"), "x": SourceNote("x1", {"pages": 2})},
    )
    assert summary(report) == [
        ("c", "INS", "x"),
        ("a", "SKIP", "x"),
        ("a", "DEL", "y"),
        ("b", "DEL", "x"),
        ("b", "DEL", "y"),
    ]
    assert face.get("a", source="z") == 1
    assert face.changed_sources({"x": "x1", "y": "y1", "z": "z1"}) == ["z"]


def test_scope_collection_deletes_every_other_key_of_the_collection(face: Face, new_face: Callable[..., Face]) -> None:
    other = new_face("other")
    other.set("k", 1)
    face.sync({"a": 1, "b": 1}, source="x", fingerprint="x1")
    face.sync({"a": 1}, source="y", fingerprint="y1")
    face.set("a", 1)
    report = face.sync([("a", 1), Item("b", 2, "x"), Item("c", 1, "z")], scope="collection")
    assert summary(report) == [
        ("a", "SKIP", ""),
        ("b", "UPD", "x"),
        ("c", "INS", "z"),
        ("a", "DEL", "x"),
        ("a", "DEL", "y"),
    ]
    assert face.changed_sources({"x": "x1", "y": "y1"}) == ["x", "y"]
    assert other.get("k") == 1


def test_a_sync_that_empties_a_source_is_refused_unless_allowed(face: Face, location: Location) -> None:
    face.sync({"a": 1, "b": 1}, source="x", fingerprint="x1")
    face.sync({"c": 1}, source="y")
    before = contents(location)
    empty: list[Any] = [[], {}, iter(())]
    for items in empty:
        with pytest.raises(MassDeleteError, match=r"'x' would delete 2 of 2 .* allow_mass_delete=True"):
            face.sync(items, source="x")
    with pytest.raises(MassDeleteError, match=r"collection 'default' would delete 3 of 3"):
        face.sync([], scope="collection")
    assert contents(location) == before
    assert face.sync([], source="x", dry_run=True).counts["DEL"] == 2
    assert contents(location) == before
    assert face.sync([], source="x", allow_mass_delete=True).counts["DEL"] == 2
    assert face.sync([], source="x").counts == {"INS": 0, "UPD": 0, "SKIP": 0, "DEL": 0}


def test_by_default_all_entries_may_go_when_new_ones_take_their_place(face: Face) -> None:
    face.sync({"a": 1, "b": 1}, source="x")
    assert face.sync({"c": 1}, source="x").counts == {"INS": 1, "UPD": 0, "SKIP": 0, "DEL": 2}


def test_max_delete_bounds_the_share_that_may_go(face: Face, location: Location) -> None:
    face.sync({str(number): 1 for number in range(10)}, source="x")
    before = contents(location)
    keep = {str(number): 1 for number in range(8)}
    for share in (0, 0.1, 0.19):
        with pytest.raises(MassDeleteError, match=r"would delete 2 of 10 entries and leave 8"):
            face.sync(keep, source="x", max_delete=share)
    assert contents(location) == before
    assert face.sync({**keep, "new": 1}, source="x", max_delete=0.2).counts["DEL"] == 2
    assert face.sync({"0": 1}, source="x", max_delete=0, allow_mass_delete=True).counts["DEL"] == 8
    assert face.sync({"0": 2, "1": 1}, source="x", max_delete=0).counts["DEL"] == 0


def test_a_guarded_sync_counts_only_its_own_scope(face: Face) -> None:
    face.mset([Item("a", 1, "x"), Item("b", 1, "x"), *(Item(str(number), 1, "y") for number in range(8))])
    with pytest.raises(MassDeleteError, match="1 of 2"):
        face.sync({"a": 1}, source="x", max_delete=0.4)
    remaining = [Item("a", 1, "x"), *(Item(str(number), 1, "y") for number in range(8))]
    assert face.sync(remaining, scope="collection", max_delete=0.4).counts["DEL"] == 1


@pytest.mark.no_citus("it has no triggers on distributed tables")
@pytest.mark.parametrize("doing", ["INSERT", "DELETE"])
def test_a_sync_that_fails_in_the_middle_leaves_everything_as_it_was(
    face: Face, location: Location, doing: str
) -> None:
    face.sync({"a": 1, "doomed": 1, "z": 1}, source="x", fingerprint="x1", metadata={"pages": 3})
    refuse(location, doing, "doomed" if doing == "DELETE" else "refused")
    before = contents(location)
    with pytest.raises(DatabaseError, match="refused by a trigger"):
        face.sync({"a": 2, "new": 1, "refused": 1, "z": 2}, source="x", fingerprint="x2", metadata={"pages": 4})
    assert contents(location) == before
    assert not face.source_changed("x", "x1")
    assert face.sync({"a": 2, "new": 1, "doomed": 1}, source="x").counts == {"INS": 1, "UPD": 1, "SKIP": 1, "DEL": 1}


@pytest.mark.no_citus("it has no triggers on distributed tables")
def test_a_failure_in_the_last_statement_takes_back_the_first(face: Face, location: Location) -> None:
    face.setup()
    refuse(location, "INSERT", "refused")
    items = dict.fromkeys([*(f"{number:04}" for number in range(4_001)), "refused"], 1)
    for write in (face.sync, face.mset):
        with pytest.raises(DatabaseError, match="refused by a trigger"):
            write(items)
        assert contents(location) == []


@pytest.mark.no_citus("it has no triggers on distributed tables")
def test_a_deletion_that_fails_leaves_everything_as_it_was(face: Face, location: Location) -> None:
    face.sync({"a": 1, "doomed": 1, "z": 1}, source="x", fingerprint="x1")
    face.set("doomed", 1, source="y")
    refuse(location, "DELETE", "doomed")
    before = contents(location)
    calls: list[Callable[[], object]] = [
        lambda: face.mdelete(["a", "doomed"]),
        lambda: face.delete_source("x"),
        lambda: face.clear(),
        lambda: face.conditional_mset({"a": 2, "doomed": 1}, move=True),
    ]
    for call in calls:
        with pytest.raises(DatabaseError, match="refused by a trigger"):
            call()
        assert contents(location) == before


def test_sync_reports_a_change_for_each_key(face: Face) -> None:
    first = face.sync({"a": "one", "b": "two", "c": "three"}, source="f.txt")
    assert [tuple(change) for change in first] == [("a", "INS", "f.txt"), ("b", "INS", "f.txt"), ("c", "INS", "f.txt")]
    again = face.sync({"a": "one", "b": "two", "c": "three"}, source="f.txt")
    assert again.counts == {"INS": 0, "UPD": 0, "SKIP": 3, "DEL": 0}
    third = face.sync({"d": "new", "b": "changed", "a": "one"}, source="f.txt")
    assert [(change.key, change.op) for change in third] == [("d", "INS"), ("b", "UPD"), ("a", "SKIP"), ("c", "DEL")]
    assert face.mget(["a", "b", "c", "d"]) == ["one", "changed", None, "new"]
