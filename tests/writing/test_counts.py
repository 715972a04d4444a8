"""Reports of counts alone: the same numbers as the whole report, and no memory for each key."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from docshelf import ArgumentValueError, CountsReport, Item, MassDeleteError, Report
from tests.support.face import Face
from tests.support.markup import Seen

CALLS: dict[str, Callable[..., Report]] = {
    "conditional_mset": lambda face, **options: face.conditional_mset({"a": 2, "b": 1, "new": 1}, **options),
    "conditional_mset of nothing": lambda face, **options: face.conditional_mset([], **options),
    "conditional_mset, move": lambda face, **options: face.conditional_mset({"a": 2}, source="t", move=True, **options),
    "conditional_mset, dry run": lambda face, **options: face.conditional_mset({"a": 2}, dry_run=True, **options),
    "sync": lambda face, **options: face.sync({"a": 1, "c": 1}, **options),
    "sync, unchanged": lambda face, **options: face.sync({"a": 1, "b": 1}, **options),
    "sync of the collection": lambda face, **options: face.sync({"a": 3}, scope="collection", diff=True, **options),
    "sync, dry run": lambda face, **options: face.sync([], scope="collection", dry_run=True, **options),
    "set_versions": lambda face, **options: face.set_versions({"a": "1", "b": "1", "new": "1"}, **options),
    "set_versions, expected": lambda face, **options: face.set_versions({"a": "1"}, expected={"a": "0"}, **options),
    "set_versions of nothing": lambda face, **options: face.set_versions({}, **options),
    "mdelete": lambda face, **options: face.mdelete(["a", "none"], **options),
    "mdelete of nothing": lambda face, **options: face.mdelete([], **options),
    "mdelete, dry run": lambda face, **options: face.mdelete(["a", "b"], dry_run=True, **options),
    "mdelete where": lambda face, **options: face.mdelete(where={}, prefix="a", **options),
    "mdelete where, dry run": lambda face, **options: face.mdelete(where={}, dry_run=True, **options),
    "delete_source": lambda face, **options: face.delete_source("s", **options),
    "delete_sources": lambda face, **options: face.delete_sources(["s"], keys=["b"], **options),
    "delete_sources of nothing": lambda face, **options: face.delete_sources([], **options),
}


def test_counts_are_those_of_the_whole_report(face: Face) -> None:
    for name, call in CALLS.items():
        one, other = (face.of(face.shelf.view(f"{name} {number}")) for number in (1, 2))
        for filled in (one, other):
            filled.mset([Item("a", 1), Item("b", 1, version="1"), Item("a", 1, "s")])
        whole, counts = call(one), call(other, report="counts")
        assert type(counts) is CountsReport
        assert (counts.counts, len(counts), bool(counts), counts.changed) == (
            whole.counts,
            len(whole),
            bool(whole),
            whole.changed,
        ), name
        assert (counts.dry_run, counts.diffs) == (whole.dry_run, whole.diffs)
        assert (counts.refused is None) == (whole.refused is None)
        written = [[(entry.key, entry.source, entry.value) for entry in of.find()] for of in (one, other)]
        assert written[0] == written[1]


def test_counts_look_like_a_report_without_keys(face: Face) -> None:
    face.mset({"a": 1, "b": 1})
    report = face.sync({"a": 2, "c": 1}, report="counts")
    assert str(report).split() == ["op", "done", "INS", "1", "UPD", "1", "SKIP", "0", "DEL", "1"]
    assert repr(report) == "<CountsReport INS=1 UPD=1 SKIP=0 DEL=1>"
    assert [row[:2] for row in Seen(report._repr_html_()).rows] == [
        ["op", "done"],
        ["INS", "1"],
        ["UPD", "1"],
        ["SKIP", "0"],
        ["DEL", "1"],
    ]
    assert "3 entries" in report._repr_html_()
    assert pickle.loads(pickle.dumps(report)) == report
    assert len({report, pickle.loads(pickle.dumps(report))}) == 1
    assert report != face.sync({"a": 2, "c": 1}, report="counts")


def test_asking_such_a_report_for_keys_says_how_to_get_them(face: Face) -> None:
    report = face.conditional_mset({"a": 1}, report="counts")
    asking: list[Callable[[], object]] = [
        lambda: list(report),
        lambda: report[0],
        lambda: report[:1],
        lambda: report.changes,
        lambda: report.inserted,
        lambda: report.updated,
        lambda: report.skipped,
        lambda: report.deleted,
        lambda: "a" in report,
        lambda: list(reversed(report)),
    ]
    for ask in asking:
        with pytest.raises(ArgumentValueError, match="report='counts'; leave that out"):
            ask()
    empty = face.conditional_mset([], report="counts")
    with pytest.raises(ArgumentValueError, match="leave that out"):
        list(empty)


def test_another_kind_of_report_is_refused_before_anything_is_written(face: Face) -> None:
    for name, call in CALLS.items():
        for kind in ("count", "", None, 1):
            with pytest.raises(ArgumentValueError, match="give 'changes' or 'counts'"):
                call(face, report=kind)
        assert face.count() == 0, name
    face.mset({"a": 1})
    with pytest.raises(MassDeleteError):
        face.sync([], report="counts")
