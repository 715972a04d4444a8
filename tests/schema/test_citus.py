"""Entries distributed by Citus. Its words come from a stand-in: see `tests/support/citus.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, inspect

from docshelf import ConfigurationError
from tests.conftest import Location
from tests.support.citus import make_worker
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


WORKER = "this server is a worker of Citus.* connect to the coordinator, which the workers know as 10.0.0.1:5432"


def test_on_a_worker_nothing_is_made(
    new_face: Callable[..., Face], new_engine: Callable[..., Engine], location: Location
) -> None:
    face, engine = new_face(), new_engine(location)
    with engine.begin() as connection:
        make_worker(connection)
    for call in (face.setup, face.count, lambda: face.set("k", "v")):
        with pytest.raises(ConfigurationError, match=WORKER):
            call()
    assert WORKER.partition(".*")[0] in face.health().problem
    assert not any(name.startswith("docshelf") for name in inspect(engine).get_table_names())


def test_a_store_that_was_split_already_is_refused_on_a_worker(
    new_face: Callable[..., Face], new_engine: Callable[..., Engine], location: Location
) -> None:
    new_face().set("k", "v")
    with new_engine(location).begin() as connection:
        make_worker(connection)
    for method, arguments in (("setup", ()), ("get", ("k",)), ("set", ("k", "w"))):
        with pytest.raises(ConfigurationError, match=WORKER):
            getattr(new_face(), method)(*arguments)
