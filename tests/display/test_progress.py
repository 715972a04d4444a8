"""Progress bars: what they count, and that there is none unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docshelf import Item
from tests.support.face import Face


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
