"""Entries distributed by Citus. Its words come from a stand-in: see `tests/support/citus.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Location
from tests.support.face import Face


@pytest.fixture
def location(citus_location: Location) -> Location:
    return citus_location


def test_a_store_knows_how_its_entries_are_laid_out(new_face: Callable[..., Face]) -> None:
    layouts = {}
    for prefix, options in (("a", {}), ("b", {"partitions": 2}), ("c", {"distribute": "citus"})):
        face = new_face(table_prefix=prefix)
        face.setup(**options)
        other = new_face(table_prefix=prefix)
        other.exists("k")
        layouts[prefix] = face.shelf._backend.dialect.layout, other.shelf._backend.dialect.layout
    assert layouts == {"a": ("plain",) * 2, "b": ("partitioned",) * 2, "c": ("citus",) * 2}


def test_a_store_learns_that_its_entries_were_distributed_meanwhile(
    new_face: Callable[..., Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    face, other = new_face(), new_face()
    layouts = []
    face.set("k", "v")
    other.setup(distribute="citus")
    for lifetime in (60, 0):
        monkeypatch.setattr("docshelf.operations.known_fields._LIFETIME", lifetime)
        face.set("k", "v")
        layouts.append(face.shelf._backend.dialect.layout)
    assert layouts == ["plain", "citus"]
