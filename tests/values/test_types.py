"""The values that a store returns: a report counts, prints, and is immutable."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docshelf import Change, Entry, Item, Op, Problem, Report, Source, Stats
from docshelf.types import OPS

CHANGES = (
    Change("b", "INS", "f"),
    Change("a", "SKIP", "f"),
    Change("c", "UPD", "f"),
    Change("d", "INS"),
    Change("z", "DEL", "f"),
)
REPORT = Report(CHANGES)
ops = st.lists(st.sampled_from(OPS))


def report_of(names: Sequence[Any], *, dry_run: bool = False) -> Report:
    return Report(tuple(Change(f"key {number}", op) for number, op in enumerate(names)), dry_run=dry_run)


def test_a_report_is_a_sequence_of_its_changes_in_their_order() -> None:
    assert isinstance(REPORT, Sequence)
    assert len(REPORT) == 5
    assert list(REPORT) == list(CHANGES)
    assert REPORT[0] is CHANGES[0]
    assert REPORT[-1] is CHANGES[-1]
    assert REPORT[1:3] == CHANGES[1:3]
    assert list(reversed(REPORT)) == list(reversed(CHANGES))
    assert CHANGES[2] in REPORT
    assert REPORT.index(CHANGES[3]) == 3
    assert [(key, op, source) for key, op, source in REPORT][-1] == ("z", "DEL", "f")
    with pytest.raises(IndexError):
        REPORT[5]


def test_an_empty_report_is_empty() -> None:
    assert len(Report()) == 0
    assert not Report()
    assert not Report().changed
    assert Report().counts == {"INS": 0, "UPD": 0, "SKIP": 0, "DEL": 0}


@given(ops)
def test_changes_are_grouped_by_op_and_counted(names: list[Op]) -> None:
    report = report_of(names)
    parts = {"INS": report.inserted, "UPD": report.updated, "SKIP": report.skipped, "DEL": report.deleted}
    for op, part in parts.items():
        assert part == tuple(change for change in report if change.op == op)
    assert report.counts == {op: names.count(op) for op in OPS}
    assert list(report.counts) == ["INS", "UPD", "SKIP", "DEL"]
    assert sum(report.counts.values()) == len(report)
    assert report.changed is any(op != "SKIP" for op in names)


def test_a_report_prints_as_a_small_table() -> None:
    report = report_of(["INS"] * 1234 + ["SKIP"] * 5)
    assert str(report).splitlines() == [
        "op        done",
        "INS      1,234",
        "UPD          0",
        "SKIP         5",
        "DEL          0",
    ]
    assert str(report_of(["DEL"], dry_run=True)).splitlines()[0] == "op    would be"


def test_a_repr_is_one_line_that_shows_no_keys() -> None:
    assert repr(REPORT) == "<Report INS=2 UPD=1 SKIP=1 DEL=1>"
    assert repr(Report(dry_run=True)) == "<Report INS=0 UPD=0 SKIP=0 DEL=0 dry_run>"


def test_a_report_cannot_be_changed() -> None:
    report = Report(CHANGES)
    for name, value in (("changes", ()), ("dry_run", True), ("other", 1)):
        with pytest.raises(AttributeError):
            setattr(report, name, value)
    with pytest.raises(AttributeError):
        del report.changes
    with pytest.raises(TypeError):
        report[0] = CHANGES[1]  # type: ignore[index]
    report.counts["INS"] = 99
    assert report.counts["INS"] == 2


def test_equal_reports_are_equal_and_can_be_hashed() -> None:
    assert Report(CHANGES) == REPORT
    assert hash(Report(CHANGES)) == hash(REPORT)
    assert Report(CHANGES[:2]) != REPORT
    assert Report(CHANGES, dry_run=True) != REPORT


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, dataclasses.replace, lambda report: pickle.loads(pickle.dumps(report))],
    ids=["copy", "deepcopy", "replace", "pickle"],
)
def test_a_copy_of_a_report_is_equal_and_counts_alike(twin: Any) -> None:
    other = twin(REPORT)
    assert other == REPORT
    assert other.counts == REPORT.counts


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Item("k", 1), "key"),
        (Change("k", "INS"), "op"),
        (Problem("k", "s", "why"), "reason"),
        (Entry("k", "s", 1, None, None, None, datetime.now(timezone.utc), datetime.now(timezone.utc), 1), "value"),
        (Source("s", 1), "entries"),
        (Stats(1, 1, 1, 1), "entries"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_values_of_a_store_are_immutable(value: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, name, "other")


def test_an_item_and_a_change_are_tuples_with_defaults() -> None:
    assert Item("k", 1) == ("k", 1, None, None)
    assert Change("k", "INS") == ("k", "INS", "")
