"""Entries distributed by Citus. Its words come from a stand-in: see `tests/support/citus.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from docshelf import ConfigurationError, DocShelf, Item
from docshelf.moving import export_jsonl, import_jsonl
from tests.conftest import Location
from tests.support.citus import make_worker
from tests.support.face import Face
from tests.support.statements import recorded_statements


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


def test_an_upsert_on_citus_has_its_rows_in_the_text_of_few_lengths(face: Face) -> None:
    face.setup(distribute="citus", searchable=["n"])
    old = {f"k{number:03}": {"n": number} for number in range(300)}
    face.mset(old)
    new = {f"k{number:03}": {"n": -1 - number} for number in range(699, -1, -1)}
    with recorded_statements() as statements:
        report = face.conditional_mset(new)
    upserts = [statement for statement in statements if "DO UPDATE" in statement]
    assert report.counts == {"INS": 400, "UPD": 300, "SKIP": 0, "DEL": 0}
    # The new rows are copied. Those that are updated have lengths for which the server keeps few plans.
    assert [statement.count("), (") + 1 for statement in upserts] == [256, 32, 12]
    assert face.mget(list(new)) == list(new.values())
    assert [entry.key for entry in face.find({"n": -5})] == ["k004"]
    # Rows keep the order in which they came, whatever the order in which they are written.
    [entries] = face.source_entries([""])
    assert [entry.key for entry in entries] == [*old, *list(new)[:400]]


def test_times_and_versions_are_written_in_the_text_of_an_upsert(face: Face, tmp_path: Path) -> None:
    face.setup(distribute="citus")
    with DocShelf(tmp_path / "old.db") as old:
        old.mset([Item(f"k{number}", number, version=f"v{number}") for number in range(40)])
        export_jsonl(old, tmp_path / "old.jsonl")
        expected = [(entry.key, entry.version, entry.created_at) for entry in old.yield_entries()]
    import_jsonl(tmp_path / "old.jsonl", face.shelf)
    assert [(entry.key, entry.version, entry.created_at) for entry in face.yield_entries()] == expected


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
    calls: list[Callable[[Face], object]] = [
        lambda face: face.setup(),
        lambda face: face.get("k"),
        lambda face: face.set("k", "w"),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=WORKER):
            call(new_face())
