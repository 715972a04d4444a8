"""`dry_run=True`: the report is that of the call that follows, and nothing is written."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from docshelf import DocShelf, Item, SourceNote
from tests.conftest import Location
from tests.support.face import Face
from tests.support.operations import OPERATIONS, fill
from tests.support.statements import recorded_statements
from tests.support.tables import contents

DRY_RUNS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "source": ([("z", 1), ("b", 2), ("a", 1)], {"source": "x", "fingerprint": "x2"}),
    "collection": ([("a", 1), Item("n", 1, "new")], {"scope": "collection"}),
    "sources": ([Item("a", 2, "x"), Item("n", 1, "y")], {"scope": "sources"}),
    "nothing left": ([], {"source": "x", "allow_mass_delete": True}),
    "unchanged": ([("a", 1), ("b", 1), ("c", 1)], {"source": "x"}),
}


def test_a_dry_run_equals_the_sync_that_follows_and_writes_nothing(face: Face, location: Location) -> None:
    for name, (items, options) in DRY_RUNS.items():
        view = face.of(face.shelf.view(name))
        view.sync({"a": 1, "b": 1, "c": 1}, source="x", fingerprint="x1")
        view.sync({"a": 1}, source="y")
        before = contents(location)
        dry = view.sync(items, dry_run=True, **options)
        assert contents(location) == before
        real = view.sync(items, **options)
        assert (dry.dry_run, real.dry_run) == (True, False)
        assert (name, list(dry)) == (name, list(real))
        assert real.changed == (contents(location) != before) == (name != "unchanged")


def test_a_dry_run_of_conditional_mset_equals_what_follows_and_writes_nothing(face: Face, location: Location) -> None:
    calls: dict[str, dict[str, Any]] = {"plain": {}, "move": {"move": True}, "notes": {"notes": {"": SourceNote("f1")}}}
    items = [Item("new", 1), Item("b", 4), Item("a", 1)]
    for name, options in calls.items():
        view = face.of(face.shelf.view(name))
        view.mset([Item("a", 1), Item("b", 2), Item("b", 3, "f.txt")])
        before = contents(location)
        dry = view.conditional_mset(items, dry_run=True, **options)
        assert contents(location) == before
        real = view.conditional_mset(items, **options)
        assert (dry.dry_run, real.dry_run) == (True, False)
        assert list(dry) == list(real)
        assert [change.op for change in real] == ["INS", "UPD", "SKIP", *(["DEL"] if name == "move" else [])]


def test_progress_of_a_dry_run_counts_every_item(face: Face, capsys: pytest.CaptureFixture[str]) -> None:
    face.mset({"a": 1, "b": 1})
    face.sync({"a": 1, "b": 2, "c": 3}, dry_run=True, show_progress=True)
    assert " 3/3 " in capsys.readouterr().err.strip().rpartition("\r")[2]


def test_every_operation_that_takes_dry_run_then_writes_nothing(face: Face, location: Location) -> None:
    taking = [one for one in OPERATIONS if "dry_run" in inspect.signature(getattr(DocShelf, one.name)).parameters]
    assert {"conditional_mset", "sync"} <= {operation.name for operation in taking}
    fill(face)
    before = contents(location)
    for operation in taking:
        with recorded_statements() as statements:
            dry = getattr(face, operation.name)(*operation.arguments, dry_run=True)
        assert contents(location) == before
        assert dry.changed
        # Not even rows that it locks, or writes and takes back.
        assert not [one for one in statements if not one.lstrip().upper().startswith(("SELECT", "WITH"))]
