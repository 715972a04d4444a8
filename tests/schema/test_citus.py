"""Entries distributed by Citus. Its words come from a stand-in: see `tests/support/citus.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from tests.conftest import Location
from tests.support.face import Face
from tests.support.tables import connected


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


def test_reads_go_on_where_another_process_has_distributed_the_entries(
    new_face: Callable[..., Face], location: Location
) -> None:
    face, other = new_face(), new_face()
    keys = {f"k{number}": number for number in range(30)}
    face.mset(keys)
    other.setup(distribute="citus")
    with connected(location) as connection:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
                "RAISE EXCEPTION 'cannot push down this subquery' USING ERRCODE = '0A000'; END $$"
            )
        )
    refused = []

    def refuse(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if "LATERAL" not in statement:
            return statement, parameters
        refused.append(statement)
        return "SELECT refuse()", ()

    event.listen(Engine, "before_cursor_execute", refuse, retval=True)
    try:
        assert face.mget(list(keys)) == list(keys.values())
        assert face.mexists(list(keys)) == [True] * len(keys)
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
    assert len(refused) == 1
    assert face.shelf._backend.dialect.layout == "citus"
