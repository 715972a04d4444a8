"""PostgreSQL's planner gets new statistics before many new rows are read, but not after every few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from docshelf import DocShelf, Item
from docshelf.sql.dialects import dialect_for
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.partitions import PARTITIONS
from tests.support.statements import recorded_statements
from tests.support.tables import TABLES

MANY = {f"k{number:06}": number for number in range(10_000)}


@pytest.fixture
def engine(pg_location: Location, new_engine: Callable[..., Engine]) -> Engine:
    return new_engine(pg_location)


@pytest.fixture
def pg_face(pg_location: Location, mode: str, loop: Loop) -> Iterator[Face]:
    face = Face(DocShelf(pg_location.url), mode, loop)
    yield face
    face.close()


def known_rows(engine: Engine) -> float:
    """The planner's estimate of the rows; -1 if it has none."""
    with engine.connect() as connection:
        return float(
            connection.scalar(text("SELECT reltuples FROM pg_class WHERE oid = to_regclass('docshelf_entries')")) or 0
        )


def without_autovacuum(engine: Engine) -> None:
    leaves = (
        "SELECT CAST(oid AS regclass)::text FROM pg_class WHERE relkind = 'r' AND (oid = to_regclass(:name) "
        "OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:name)))"
    )
    with engine.begin() as connection:
        for name in connection.scalars(text(leaves), {"name": "docshelf_entries"}).all():
            connection.execute(text(f"ALTER TABLE {name} SET (autovacuum_enabled = off)"))


@pytest.mark.no_citus("its coordinator has no statistics of the shards")
def test_keys_of_a_table_that_was_just_filled_are_found_by_its_primary_key(pg_face: Face, engine: Engine) -> None:
    pg_face.setup()
    without_autovacuum(engine)
    pg_face.mset([Item(key, value, source=f"file {value // 10}") for key, value in MANY.items()])
    assert known_rows(engine) == len(MANY)
    query = "EXPLAIN SELECT value FROM docshelf_entries WHERE collection = 'default' AND key = ANY(:keys)"
    with engine.connect() as connection:
        plan = "\n".join(connection.scalars(text(query), {"keys": list(MANY)[::500]}))
    assert ("docshelf_entries_p0_pkey" if PARTITIONS else "docshelf_entries_pkey") in plan
    assert "Index Cond: ((collection = 'default'::text) AND (key = ANY" in plan


def statements_of(call: Callable[[], object]) -> list[tuple[str, Any]]:
    """The statements that a call sends, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        call()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return sent


def plan_of(engine: Engine, call: Callable[[], object]) -> str:
    """The plan of the one statement that a sync call sends, for its parameters."""
    [(statement, parameters)] = statements_of(call)
    with engine.connect() as connection:
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())


def generic_plan_of(engine: Engine, call: Callable[[], object]) -> str:
    """The plan for any parameters of the one statement that a call sends on asyncpg: a prepared one comes to it."""
    [(statement, _)] = statements_of(call)
    with engine.connect() as connection:
        cursor: Any = connection.connection.cursor()
        cursor.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
        return "\n".join(row[0] for row in cursor.fetchall())


def fill(engine: Engine, collection: str, rows: int) -> None:
    """Insert entries that hold only a version, without any statistics."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO docshelf_entries (collection, key, source, seq, created_at, updated_at, version) "
                f"SELECT {collection}, 'k' || number, 'file ' || number / 100, number, now(), now(), "
                f"repeat(md5(number::text), 10) FROM generate_series(1, {rows}) AS number ORDER BY 1"
            )
        )


@pytest.mark.parametrize("partitions", [None, 2])
def test_a_key_is_found_by_the_primary_key_whatever_the_statistics_say(
    pg_location: Location, engine: Engine, loop: Loop, partitions: int | None
) -> None:
    with DocShelf(pg_location.url, collection="big") as shelf:
        shelf.setup(partitions=partitions)
        face = Face(shelf, "async", loop)
        with engine.connect() as connection:
            version = connection.dialect.server_version_info or ()
        has_generic_plans = version >= (16,) and engine.driver == "psycopg2"  # then async calls use asyncpg

        def check(state: str) -> None:
            for size in (1, 30, 900):
                keys = [f"k{number}" for number in range(size)]
                for call in (partial(shelf.mget, keys), partial(shelf.mexists, keys)):
                    assert "pkey" in plan_of(engine, call), (state, size)
                if has_generic_plans:
                    assert "pkey" in generic_plan_of(engine, partial(face.mget, keys)), (state, size)

        fill(engine, "'big'", 5_000)
        check("no statistics")
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE docshelf_entries"))
        fill(engine, "'other'", 5_000)
        with engine.begin() as connection:
            connection.execute(text("ANALYZE docshelf_entries"))
        fill(engine, "'big'", 5_000)
        check("a new collection")
        fill(engine, "'small ' || number % 1000", 10_000)
        with engine.begin() as connection:
            connection.execute(text("ANALYZE docshelf_entries"))
        check("one large collection and many small ones")


def test_keys_in_few_sources_are_not_tried_in_each_source(pg_location: Location, engine: Engine) -> None:
    # Both indexes are of one size here. The one on sources would be searched for each key in each source.
    with DocShelf(pg_location.url) as shelf:
        shelf.setup()
        without_autovacuum(engine)
        for source in (3, 7, 1, 9, 5, 0, 8, 2, 6, 4):
            shelf.sync({f"k{source}-{n:04}": os.urandom(1_000) for n in range(1_000)}, source=f"file {source}")
        keys = list(shelf.yield_keys())
        for statement in ("SELECT 1", "ANALYZE docshelf_entries", "VACUUM ANALYZE docshelf_entries"):
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(statement))
            for size in (1, 20, 100, 1_000):
                plan = plan_of(engine, partial(shelf.mget, keys[:: len(keys) // size]))
                assert "source_idx" not in plan, (statement, size)


@pytest.mark.no_citus("its coordinator has no statistics of the shards")
def test_few_new_rows_cost_nothing_more_until_they_are_many(pg_face: Face, engine: Engine) -> None:
    pg_face.setup()
    without_autovacuum(engine)
    with recorded_statements() as sent:
        for start in range(0, 1_000, 100):
            pg_face.mset({f"k{number}": "new" for number in range(start, start + 100)})
    assert sum("pg_class" in statement for statement in sent) == 1
    assert known_rows(engine) == 1_000
    with recorded_statements() as sent:
        pg_face.mset({f"k{number}": "other" for number in range(1_000)})  # none of them is new
    assert not any("ANALYZE" in statement or "pg_class" in statement for statement in sent)


@pytest.mark.no_citus("its coordinator has no statistics of the shards")
def test_a_small_addition_to_a_large_table_is_left_to_the_server(pg_face: Face, engine: Engine) -> None:
    pg_face.setup()
    without_autovacuum(engine)
    pg_face.mset({f"k{number}": number for number in range(20_000)})
    with recorded_statements() as sent:
        pg_face.mset({f"more {number}": number for number in range(1_500)})
        pg_face.mset({f"and {number}": number for number in range(400)})
    assert sum("pg_class" in statement for statement in sent) == 1  # the answer was: due from 2,000 rows on
    assert known_rows(engine) == 20_000
    pg_face.mset({f"at last {number}": number for number in range(100)})
    assert known_rows(engine) == 22_000


@pytest.mark.parametrize("partitions", [None, 2])
def test_statistics_of_a_large_table_wait_for_a_tenth_of_new_rows(
    pg_location: Location, engine: Engine, partitions: int | None
) -> None:
    with DocShelf(pg_location.url) as shelf:
        shelf.setup(partitions=partitions)
    dialect = dialect_for("postgresql", TABLES)
    with engine.begin() as connection:
        assert dialect.refresh_statistics(connection, 1_000) is None  # a table without statistics gets them at once
        connection.execute(text("UPDATE pg_class SET reltuples = 5e6 WHERE oid = to_regclass('docshelf_entries')"))
        with recorded_statements() as sent:
            assert dialect.refresh_statistics(connection, 499_999) == 500_000
        assert not any("ANALYZE" in statement for statement in sent)
        assert dialect.refresh_statistics(connection, 500_000) is None


def test_within_the_callers_transaction_nothing_is_analyzed(pg_location: Location, engine: Engine) -> None:
    with DocShelf(engine=engine) as shelf:
        shelf.setup()
        without_autovacuum(engine)
        with engine.begin() as connection:
            shelf.bind(connection).mset(MANY)
        assert known_rows(engine) == -1
        assert shelf.count() == len(MANY)
