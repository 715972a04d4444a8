"""Entries distributed by Citus. Its words come from a stand-in: see `tests/support/citus.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, Engine, event, inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from docshelf import ConfigurationError, DocShelf, Item, SchemaError
from docshelf.moving import export_jsonl, import_jsonl
from docshelf.operations.upsert import ConditionalUpsert
from docshelf.schema import define_tables
from tests.conftest import Location
from tests.support.citus import add_shard, citus_calls, make_worker, refuse_copies_of_existing_rows
from tests.support.face import Face, Loop
from tests.support.operations import OPERATIONS, fill
from tests.support.statements import recorded_statements
from tests.support.tables import connected
from tests.support.version1 import make_version_1


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


@pytest.mark.parametrize(
    ("options", "seen", "advice"),
    [
        ({}, "Citus 13.2.2, not distributed", "to distribute, run `docshelf init --citus`"),
        ({"partitions": 2}, "2 partitions", ""),
        ({"distribute": "citus", "shards": 7}, "Citus 13.2.2, 7 shards", ""),
    ],
)
def test_the_diagnosis_tells_how_entries_are_laid_out(
    face: Face, options: dict[str, Any], seen: str, advice: str
) -> None:
    face.setup(**options)
    [layout] = [finding for finding in face.diagnose() if finding.subject == "layout"]
    assert (layout.seen, layout.advice, layout.state == "ok") == (seen, advice, not advice)


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


def test_a_row_that_another_writer_was_first_to_insert_is_updated(
    face: Face, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.setup(distribute="citus")
    with connected(location) as connection:
        refuse_copies_of_existing_rows(connection)
    values = {f"k{number}": number for number in range(100)}
    apply, rivals = ConditionalUpsert.apply, [{"k7": "theirs", "k8": 8}]

    def apply_late(batch: ConditionalUpsert, connection: Any, known_states: bytearray) -> Any:
        while rivals:
            with DocShelf(location.url) as other:
                other.mset(rivals.pop())
        return apply(batch, connection, known_states)

    monkeypatch.setattr(ConditionalUpsert, "apply", apply_late)
    assert face.conditional_mset(values).counts == {"INS": 98, "UPD": 1, "SKIP": 1, "DEL": 0}
    assert face.mget(list(values)) == list(values.values())


def test_times_and_versions_are_written_in_the_text_of_an_upsert(face: Face, tmp_path: Path) -> None:
    face.setup(distribute="citus")
    with DocShelf(tmp_path / "old.db") as old:
        old.mset([Item(f"k{number}", number, version=f"v{number}") for number in range(40)])
        export_jsonl(old, tmp_path / "old.jsonl")
        expected = [(entry.key, entry.version, entry.created_at) for entry in old.yield_entries()]
    import_jsonl(tmp_path / "old.jsonl", face.shelf)
    assert [(entry.key, entry.version, entry.created_at) for entry in face.yield_entries()] == expected


def calls(engine: Engine) -> list[str]:
    """What a store has asked of Citus."""
    with engine.connect() as connection:
        return list(citus_calls(connection))


@pytest.mark.parametrize("shards", [None, 4])
def test_entries_are_distributed_by_key_and_sources_by_source(
    face: Face, location: Location, new_engine: Callable[..., Engine], shards: int | None
) -> None:
    engine = new_engine(location)
    with recorded_statements() as statements:
        face.setup(distribute="citus", shards=shards)
    expected = [
        f"distributed docshelf_entries key none {shards or ''}",
        "truncated docshelf_entries",
        f"distributed docshelf_sources source none {shards or ''}",
        "truncated docshelf_sources",
    ]
    assert calls(engine) == expected
    # Citus refuses to set the storage of a distributed table.
    order = [word for statement in statements for word in re.findall("STORAGE|create_distributed_table", statement)]
    assert order == ["STORAGE", "create_distributed_table", "create_distributed_table"]
    face.setup()
    face.setup(distribute="citus")
    face.setup(distribute="citus", shards=shards or 32)
    assert calls(engine) == expected
    with pytest.raises(SchemaError, match=rf"is distributed over {shards or 32} shards, not 5; .*; leave out shards"):
        face.setup(distribute="citus", shards=5)


def test_what_is_not_distributed_yet_is_distributed_by_the_next_call(
    face: Face, location: Location, new_engine: Callable[..., Engine]
) -> None:
    engine = new_engine(location)
    face.sync({"k": "v"}, source="f", fingerprint="f1")
    with engine.begin() as connection:  # as former versions did
        connection.execute(text("SELECT create_distributed_table('docshelf_entries', 'key', colocate_with => 'none')"))
    face.setup()
    assert face.get("k") == "v"
    assert len(calls(engine)) == 1
    face.setup(distribute="citus")
    assert calls(engine)[1:] == [
        "truncated docshelf_entries",
        "distributed docshelf_sources source none ",
        "truncated docshelf_sources",
    ]
    assert not face.source_changed("f", "f1")


def test_partitions_and_citus_are_refused_in_one_call_and_in_two(
    new_face: Callable[..., Face], location: Location, new_engine: Callable[..., Engine]
) -> None:
    face = new_face()
    with pytest.raises(ConfigurationError, match="both partitions and distribute"):
        face.setup(partitions=2, distribute="citus")
    face.setup(partitions=2)
    with pytest.raises(SchemaError, match="exists with 2 partitions; Citus distributes no table that has some"):
        face.setup(distribute="citus")
    other = new_face(table_prefix="other")
    other.setup(distribute="citus")
    with pytest.raises(SchemaError, match="other_entries exists with 0 partitions, not 2"):
        other.setup(partitions=2)
    assert [call.split()[1] for call in calls(new_engine(location))][::2] == ["other_entries", "other_sources"]


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


def test_the_workers_know_how_many_rows_there_are_and_how_large_they_are(
    face: Face, new_engine: Callable[..., Engine], location: Location
) -> None:
    face.setup(distribute="citus")
    with new_engine(location).begin() as connection:
        connection.execute(text("ALTER TABLE docshelf_entries SET (autovacuum_enabled = off)"))
        size = add_shard(connection, 15_000) + add_shard(connection, 5_000)
    with recorded_statements() as statements:
        for batch in range(3):
            face.mset({f"{batch} {number}": number for number in range(1_000)})
    # The coordinator's own statistics never say how many rows there are.
    assert sum("ANALYZE" in statement for statement in statements) == 1
    assert face.stats().disk_bytes == size


def distribute(connection: Connection) -> None:
    connection.execute(text("SELECT create_distributed_table('docshelf_entries', 'key', colocate_with => 'none')"))


def test_tables_of_alembic_that_were_distributed_by_hand_are_left_as_they_are(
    new_face: Callable[..., Face],
    new_engine: Callable[..., Engine],
    location: Location,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = new_engine(location)
    define_tables().metadata.create_all(engine)
    with engine.begin() as connection:
        distribute(connection)
    for _ in range(2):
        face = new_face()
        face.setup(distribute="citus")
        face.set("k", "v")
        assert face.get("k") == "v"
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert "docshelf_entries was distributed before docshelf" in told[0]
    with engine.connect() as connection:
        storage = "SELECT attstorage FROM pg_attribute WHERE attrelid = 'docshelf_entries'::regclass "
        assert connection.scalar(text(storage + "AND attname = 'value'")) == "x"


def test_a_distributed_store_of_version_1_is_upgraded(
    new_face: Callable[..., Face],
    new_engine: Callable[..., Engine],
    location: Location,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with new_engine(location).begin() as connection:
        make_version_1(connection, bytes(32))
        distribute(connection)
    face = new_face()
    face.set("l", "text")
    assert face.count() == 2
    assert not caplog.records


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


REFUSED_ENCODING = "the client encoding of this engine is not UTF-8.* create the engine with client_encoding=utf8"


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_given_engine_with_another_encoding_is_refused(
    driver: str, new_engine: Callable[..., Engine], location: Location
) -> None:
    # Citus takes its texts for UTF-8: it stores other keys, and finds none of those that are there.
    latin1 = new_engine(replace(location, url=location.url.replace(":", f"+{driver}:", 1)), client_encoding="latin1")
    with DocShelf(engine=latin1) as shelf, DocShelf(location.url) as other:
        shelf.set("\u00fc", "a table that is not distributed")
        other.setup(distribute="citus")
        with latin1.begin() as connection, pytest.raises(ConfigurationError, match=REFUSED_ENCODING):
            other.bind(connection).set("\u00fc", 1)
        with DocShelf(engine=latin1) as late:
            for call in (late.setup, late.count, lambda: late.set("\u00fc", 1)):
                with pytest.raises(ConfigurationError, match=REFUSED_ENCODING):
                    call()
        assert list(other.yield_keys()) == ["\u00fc"]


def test_a_given_async_engine_with_another_encoding_is_refused(loop: Loop, location: Location) -> None:
    async def write() -> None:
        url = make_url(location.async_url)
        settings = {"options": url.query["options"], "client_encoding": "latin1"}
        engine = create_async_engine(
            url.difference_update_query(["options"]), connect_args={"server_settings": settings}
        )
        async with DocShelf(async_engine=engine) as shelf:
            with pytest.raises(ConfigurationError, match=REFUSED_ENCODING):
                await shelf.aset("k", "v")
        await engine.dispose()

    with DocShelf(location.url) as shelf:
        shelf.setup(distribute="citus")
    loop.run(write())


@pytest.mark.parametrize("distributed", [True, False])
def test_asyncpg_asks_no_catalog_about_types(
    distributed: bool, loop: Loop, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a database with Citus that takes two seconds, for each connection.
    with DocShelf(location.url) as shelf:
        shelf.setup(distribute="citus" if distributed else None)
    asked: list[object] = []
    connections: Any = asyncpg.Connection
    introspect = connections._introspect_types

    async def noted(connection: Any, types: object, timeout: object) -> object:
        asked.append(types)
        return await introspect(connection, types, timeout)

    monkeypatch.setattr(connections, "_introspect_types", noted)
    face = Face(DocShelf(location.url), "async", loop)
    for operation in OPERATIONS:
        sized = face.of(face.shelf.view(operation.name))
        fill(sized)
        operation.call(sized)
    face.mset({f"k{number}": number for number in range(100)})
    face.mset({f"k{number}": -number for number in range(100)})
    face.close()
    assert not asked
