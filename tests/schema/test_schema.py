"""The tables: created once by many processes, laid out as documented, upgraded in steps, never taken from others."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, select, text

from docshelf import ConfigurationError, DocShelf, SchemaError
from docshelf.schema import define_tables
from docshelf.sql.dialects import Dialect, dialect_for
from docshelf.sql.migrations import STEPS, Step, is_current, upgrade
from docshelf.sql.rows import Layout
from docshelf.values.content_types import Codec
from tests.conftest import Location
from tests.support.catalog import catalog
from tests.support.face import Face, Loop
from tests.support.partitions import is_of_partition, table_names
from tests.support.statements import recorded_statements
from tests.support.tables import contents
from tests.support.version1 import make_version_1

TABLES = {"docshelf_entries", "docshelf_sources", "docshelf_collections", "docshelf_schema"}


def versions_at(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT version FROM docshelf_schema ORDER BY version")))


@pytest.fixture
def engine(location: Location, new_engine: Callable[..., Engine]) -> Engine:
    """Somebody else's engine at the same place."""
    return new_engine(location)


# Making them


def test_setup_makes_the_tables_and_may_be_called_again(face: Face, engine: Engine) -> None:
    assert table_names(engine) == set()
    face.setup()
    assert table_names(engine) == TABLES
    face.set("k", "v")
    face.setup()
    assert face.get("k") == "v"
    assert versions_at(engine) == sorted(STEPS)


@pytest.mark.parametrize(
    "use",
    [
        lambda face: face.get("k"),
        lambda face: face.set("k", "v"),
        lambda face: face.sync({}, allow_mass_delete=True),
        lambda face: list(face.yield_keys()),
        lambda face: face.stats(),
    ],
    ids=["get", "set", "sync", "yield_keys", "stats"],
)
def test_first_use_makes_the_tables(face: Face, engine: Engine, use: Callable[[Face], Any]) -> None:
    use(face)
    assert table_names(engine) == TABLES
    assert versions_at(engine) == sorted(STEPS)


def test_existing_tables_are_checked_once_and_not_written(face: Face, new_face: Callable[..., Face]) -> None:
    face.setup()
    second = new_face()
    with recorded_statements() as statements:
        second.get("k")
        before = len(statements)
        second.get("k")
        assert len(statements) == before + 1
    assert not any(word in statement for statement in statements for word in ("CREATE", "INSERT", "advisory"))


def test_setup_creates_dropped_tables_again(face: Face, engine: Engine) -> None:
    face.set("k", "v")
    with engine.begin() as connection:
        for name in TABLES:
            connection.execute(text(f"DROP TABLE {name}"))
    face.setup()
    assert face.get("k") is None


def test_twelve_threads_set_up_at_once(location: Location, engine: Engine) -> None:
    meeting = threading.Barrier(12)

    def set_up(number: int) -> Any:
        with DocShelf(location.url) as shelf:
            meeting.wait(30)
            shelf.setup() if number % 2 else shelf.set(f"k{number}", number)
            return shelf.exists(f"k{number}")

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(set_up, range(12))) == [True, False] * 6
    assert table_names(engine) == TABLES
    assert versions_at(engine) == sorted(STEPS)


def test_twelve_threads_use_one_new_store_at_once(location: Location, engine: Engine) -> None:
    meeting = threading.Barrier(12)

    def use(number: int) -> Any:
        meeting.wait(30)
        shelf.set(f"k{number}", number)
        return shelf.get(f"k{number}")

    with DocShelf(location.url) as shelf, ThreadPoolExecutor(12) as threads:
        assert list(threads.map(use, range(12))) == list(range(12))
    assert versions_at(engine) == sorted(STEPS)


def set_up_in_process(url: str, number: int, meeting: Barrier, options: Mapping[str, Any]) -> None:
    with DocShelf(url, **options) as shelf:
        meeting.wait(60)
        shelf.set(f"k{number}", number)


@pytest.mark.parametrize("backend", ["sqlite", "pg18"])
def test_six_processes_set_up_at_once(new_location: Callable[[str], Location], backend: str) -> None:
    location = new_location(backend)
    # On PostgreSQL the schema is missing too.
    options: dict[str, Any] = {"schema": f"{location.schema}_made"} if location.schema else {}
    context = multiprocessing.get_context("spawn")
    meeting = context.Barrier(6)
    processes = [
        context.Process(target=set_up_in_process, args=(location.url, number, meeting, options)) for number in range(6)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 6
        with DocShelf(location.url, **options) as shelf:
            assert shelf.count() == 6
    finally:
        _drop_schemas(location, *options.values())


def _drop_schemas(location: Location, *names: str) -> None:
    engine = create_engine(location.sync_url)
    with engine.begin() as connection:
        for name in names:
            connection.execute(text(f'DROP SCHEMA IF EXISTS "{name}" CASCADE'))
    engine.dispose()


# Names


def test_stores_with_two_prefixes_do_not_mix(new_face: Callable[..., Face], engine: Engine) -> None:
    one, other = new_face(table_prefix="one"), new_face(table_prefix="other")
    one.set("k", 1)
    other.set("k", 2)
    assert (one.get("k"), other.get("k")) == (1, 2)
    assert table_names(engine) == {
        f"{prefix}_{name.removeprefix('docshelf_')}" for prefix in ("one", "other") for name in TABLES
    }


@pytest.mark.parametrize("prefix", ["Select", "_x", "a" * 40, "UPPER_lower_9"])
def test_a_prefix_may_be_any_plain_identifier(new_face: Callable[..., Face], engine: Engine, prefix: str) -> None:
    face = new_face(table_prefix=prefix)
    face.sync({"a": 1, "b": 2})
    assert face.sync({"b": 3, "c": 4}).counts == {"INS": 1, "UPD": 1, "SKIP": 0, "DEL": 1}
    assert dict(face.yield_items()) == {"b": 3, "c": 4}
    assert face.stats().entries == 2
    assert f"{prefix}_entries" in table_names(engine)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", 'a"b', "a;b", "a" * 41, "é", "a.b", "a%b", 7])
@pytest.mark.parametrize("option", ["table_prefix", "schema"])
def test_another_name_is_refused(option: str, name: Any) -> None:
    options: Any = {option: name}
    with pytest.raises(ConfigurationError, match=option):
        DocShelf("postgresql://db.example/shelf", **options)


def test_a_schema_is_refused_on_sqlite() -> None:
    with pytest.raises(ConfigurationError, match="SQLite has no schemas"):
        DocShelf(":memory:", schema="rag")


@pytest.mark.parametrize("suffix", ["_made", "_Made"])
def test_a_schema_that_is_missing_is_made(
    pg_location: Location, new_engine: Callable[..., Engine], mode: str, loop: Loop, suffix: str
) -> None:
    schema = pg_location.schema + suffix
    face = Face(DocShelf(pg_location.url, schema=schema), mode, loop)
    try:
        face.sync({"a": 1, "b": 2})
        assert face.sync({"b": 3}).counts == {"INS": 0, "UPD": 1, "SKIP": 0, "DEL": 1}
        assert face.stats().entries == 1
        engine = new_engine(pg_location)
        assert table_names(engine) == set()
        assert table_names(engine, schema) == TABLES
    finally:
        face.close()
        _drop_schemas(pg_location, schema)


def test_an_existing_schema_is_used(pg_location: Location, new_engine: Callable[..., Engine]) -> None:
    with DocShelf(pg_location.url, schema=pg_location.schema) as shelf:
        shelf.set("k", "v")
    assert table_names(new_engine(pg_location)) == TABLES


def test_a_schema_whose_name_has_capitals_serves_a_second_prefix(new_location: Callable[[str], Location]) -> None:
    location = new_location("pg18")
    schema = f"{location.schema}_Made"
    try:
        for prefix in ("one", "other"):
            with DocShelf(location.url, schema=schema, table_prefix=prefix) as shelf:
                shelf.set("k", prefix)
                assert shelf.get("k") == prefix
    finally:
        _drop_schemas(location, schema)


def test_stores_of_many_prefixes_make_a_missing_schema_at_once(new_location: Callable[[str], Location]) -> None:
    location = new_location("pg18")
    schema = f"{location.schema}_made"
    meeting = threading.Barrier(8)

    def set_up(number: int) -> Any:
        with DocShelf(location.url, schema=schema, table_prefix=f"p{number}") as shelf:
            meeting.wait(30)
            shelf.set("k", number)
            return shelf.get("k")

    try:
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(set_up, range(8))) == list(range(8))
    finally:
        _drop_schemas(location, schema)


# Layout


@pytest.fixture
def layout(pg_location: Location, new_engine: Callable[..., Engine]) -> dict[str, list[Any]]:
    with DocShelf(pg_location.url) as shelf:
        shelf.setup()
    with new_engine(pg_location).connect() as connection:
        return catalog(connection, pg_location.schema)


def test_text_that_is_compared_or_ordered_has_the_c_collation(layout: dict[str, list[Any]]) -> None:
    collations = {(table, column): collation for table, column, *_, collation, _default in layout["columns"]}
    for column in ("collection", "key", "source"):
        assert collations["docshelf_entries", column] == "C"
    for column in ("collection", "source"):
        assert collations["docshelf_sources", column] == "C"


def test_values_are_stored_out_of_line_and_not_compressed_by_the_server(layout: dict[str, list[Any]]) -> None:
    storage = {(table, column): storage for table, column, _, _, _, storage, _, _ in layout["columns"]}
    assert storage["docshelf_entries", "value"] == "e"
    # A partitioned table has no options of its own.
    options = {name: options for name, kind, options in layout["options"] if kind == "r" and "_entries" in name}
    assert options
    assert all("toast_tuple_target=8160" in given for given in options.values())


def test_keys_and_indexes_are_those_of_the_design(layout: dict[str, list[Any]]) -> None:
    keys = {definition for name, definition in layout["constraints"] if name.endswith("_pkey")}
    assert keys == {
        "PRIMARY KEY (collection, key, source)",
        "PRIMARY KEY (collection, source)",
        "PRIMARY KEY (collection)",
        "PRIMARY KEY (version)",
    }
    indexes = {name: definition for name, definition in layout["indexes"] if not is_of_partition(name)}
    assert indexes.keys() == {f"{name}_pkey" for name in TABLES} | {"docshelf_entries_source_idx"}
    assert indexes["docshelf_entries_source_idx"].endswith("(collection, source, key)")


def test_seq_is_an_identity_column_and_times_have_a_zone(layout: dict[str, list[Any]]) -> None:
    columns = {
        column: (kind, identity) for table, column, kind, _, identity, *_ in layout["columns"] if "entries" in table
    }
    assert columns["seq"] == ("bigint", "d")
    assert columns["created_at"] == columns["updated_at"] == ("timestamp with time zone", "")


# Tables of others


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_foreign_table_of_that_name_is_refused_and_untouched(face: Face, engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {name} (id integer PRIMARY KEY, note text)"))
        connection.execute(text(f"INSERT INTO {name} VALUES (1, 'theirs')"))
    for use in (face.setup, lambda: face.get("k"), lambda: face.set("k", "v"), face.clear):
        with pytest.raises(SchemaError, match=f"{name} exists but was not made by docshelf.*another table_prefix"):
            use()
    assert table_names(engine) == {name}
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))] == [(1, "theirs")]


def test_a_foreign_view_of_that_name_is_refused(face: Face, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW docshelf_entries AS SELECT 1 AS id"))
    with pytest.raises(SchemaError, match="not made by docshelf"):
        face.set("k", "v")
    assert table_names(engine) == set()


def test_another_prefix_is_the_way_past_a_foreign_table(new_face: Callable[..., Face], engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE docshelf_entries (id integer)"))
    face = new_face(table_prefix="mine")
    face.set("k", "v")
    assert face.get("k") == "v"


def test_a_newer_schema_is_refused_and_untouched(
    face: Face, new_face: Callable[..., Face], location: Location, engine: Engine
) -> None:
    face.set("k", "v")
    newer = max(STEPS) + 1
    with engine.begin() as connection:
        statement = "INSERT INTO docshelf_schema (version, applied_at) VALUES (:version, CURRENT_TIMESTAMP)"
        connection.execute(text(statement), {"version": newer})
        before = catalog(connection, location.schema)
    later = new_face()
    for use in (later.setup, lambda: later.get("k"), lambda: later.set("k", "w"), later.clear):
        with pytest.raises(SchemaError, match=f"newer docshelf.*version {newer}"):
            use()
    assert versions_at(engine) == [*sorted(STEPS), newer]
    with engine.connect() as connection:
        assert catalog(connection, location.schema) == before
        assert connection.scalar(select(define_tables().entries.c.key)) == "k"


# Upgrades


def add_note(connection: Connection, dialect: Dialect, layout: Layout) -> None:
    """A step as of a later version: it adds a column and fills it in existing rows."""
    connection.execute(text(f"ALTER TABLE {dialect.tables.entries.name} ADD COLUMN note text"))
    connection.execute(text(f"UPDATE {dialect.tables.entries.name} SET note = key"))


def add_index(connection: Connection, dialect: Dialect, layout: Layout) -> None:
    connection.execute(text(f"CREATE INDEX {dialect.tables.entries.name}_note ON {dialect.tables.entries.name} (note)"))


LAST = max(STEPS)
LATER: dict[int, Step] = {**STEPS, LAST + 1: add_note, LAST + 2: add_index}


def upgrade_at(engine: Engine, steps: Mapping[int, Step]) -> None:
    with engine.begin() as connection:
        upgrade(connection, dialect_for(engine.dialect.name, define_tables()), steps)


def current_at(engine: Engine, steps: Mapping[int, Step]) -> bool:
    with engine.connect() as connection:
        return is_current(connection, dialect_for(engine.dialect.name, define_tables()), steps)


def test_an_older_schema_is_upgraded_with_its_rows(face: Face, engine: Engine) -> None:
    face.mset({"a": 1, "b": 2})
    assert current_at(engine, STEPS)
    assert not current_at(engine, LATER)
    upgrade_at(engine, LATER)
    assert current_at(engine, LATER)
    assert versions_at(engine) == [*STEPS, LAST + 1, LAST + 2]
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, note FROM docshelf_entries ORDER BY key"))
        assert [tuple(row) for row in rows] == [
            ("a", "a"),
            ("b", "b"),
        ]
    upgrade_at(engine, LATER)
    assert versions_at(engine) == [*STEPS, LAST + 1, LAST + 2]


def test_a_migrated_schema_equals_a_fresh_one(
    location: Location, new_location: Callable[[str], Location], new_engine: Callable[..., Engine]
) -> None:
    catalogs = []
    for stages in ([STEPS, LATER], [LATER]):
        place = new_location(location.backend)
        engine = new_engine(place)
        for steps in stages:
            upgrade_at(engine, steps)
        with engine.connect() as connection:
            catalogs.append(catalog(connection, place.schema))
    migrated, fresh = catalogs
    assert migrated == fresh
    assert "note" in str(fresh)


@pytest.mark.parametrize("stands", [True, False], ids=["standing", "fresh"])
def test_a_step_that_fails_leaves_the_version_before_all_of_them(
    location: Location, new_engine: Callable[..., Engine], stands: bool
) -> None:
    engine = new_engine(location)
    if stands:
        upgrade_at(engine, STEPS)
    with engine.connect() as connection:
        before = catalog(connection, location.schema)

    def fail(connection: Connection, dialect: Dialect, layout: Layout) -> None:
        add_index(connection, dialect, layout)
        raise KeyError("a step that fails after it has done something")

    with pytest.raises(KeyError):
        upgrade_at(engine, {**LATER, LAST + 2: fail})
    with engine.connect() as connection:
        assert catalog(connection, location.schema) == before
    if stands:
        assert versions_at(engine) == [*STEPS]
    upgrade_at(engine, LATER)
    assert versions_at(engine) == [*STEPS, LAST + 1, LAST + 2]


def test_upgrades_at_once_run_each_step_once(location: Location, new_engine: Callable[..., Engine]) -> None:
    upgrade_at(new_engine(location), STEPS)
    meeting = threading.Barrier(8)
    runs: list[int] = []

    def counted(connection: Connection, dialect: Dialect, layout: Layout) -> None:
        runs.append(1)
        add_note(connection, dialect, layout)

    engine = new_engine(location, pool_size=8)

    def run(_number: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(30)
        upgrade_at(engine, {**STEPS, LAST + 1: counted})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(8)))
    assert runs == [1]
    assert versions_at(engine) == [*STEPS, LAST + 1]


def test_a_store_waits_for_an_upgrade_that_runs(location: Location, new_engine: Callable[..., Engine]) -> None:
    """Nobody works on tables that are half made."""
    engine = new_engine(location)
    with ThreadPoolExecutor(4) as threads, DocShelf(location.url) as shelf:
        with engine.begin() as connection:
            upgrade(connection, dialect_for(engine.dialect.name, define_tables()), STEPS)
            pending = [threads.submit(shelf.set, f"k{number}", number) for number in range(4)]
        for one in pending:
            one.result(60)
        assert shelf.count() == 4
    assert versions_at(engine) == [*STEPS]


def shape_of(engine: Engine, schema: str) -> Any:
    """Columns, keys and indexes; on PostgreSQL storage, options and collations too."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            return catalog(connection, schema)
    found = inspect(engine)
    tables = sorted(found.get_table_names())
    columns = {name: [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)] for name in tables}
    return columns, {name: (found.get_pk_constraint(name), found.get_indexes(name)) for name in tables}


@pytest.mark.no_partitions("version 1 is one table")
def test_tables_of_version_1_become_those_of_today_and_keep_their_rows(
    new_face: Callable[..., Face],
    location: Location,
    engine: Engine,
    new_location: Callable[[str], Location],
    new_engine: Callable[..., Engine],
) -> None:
    value_hash = Codec().encode("text", "k")[2]
    with engine.begin() as connection:
        make_version_1(connection, value_hash)
    face = new_face()
    assert face.get_entry("k").value == "text"
    assert face.sync({"k": "text"}, source="f").counts["SKIP"] == 1
    assert face.verify() == []
    assert versions_at(engine) == sorted(STEPS)
    fresh = new_location(location.backend)
    with DocShelf(fresh.url) as shelf:
        shelf.setup()
    upgraded = shape_of(engine, location.schema)
    assert upgraded == shape_of(new_engine(fresh), fresh.schema)


def test_the_tables_are_made_on_first_use_or_by_hand(new_face: Callable[..., Face]) -> None:
    face = new_face()
    face.setup()
    face.setup()
    assert face.get("k") is None
    assert new_face().count() == 0


def test_a_table_prefix_keeps_stores_apart(face: Face, new_face: Callable[..., Face], location: Location) -> None:
    face.set("k", 1)
    before = contents(location)
    prefixed = new_face(table_prefix="other")
    prefixed.sync({"k": 2, "l": 3}, scope="collection")
    assert contents(location) == before
    assert prefixed.mget(["k", "l"]) == [2, 3]
