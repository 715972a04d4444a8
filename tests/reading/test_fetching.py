"""Small reads use the driver directly: with the same results, and only where no user can notice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, text

from docshelf import DatabaseError, DocShelf
from docshelf.sql import statements as statements_module
from docshelf.sql.drivers import reads
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.statements import recorded_statements
from tests.support.waiting import wait_until

VALUES = {"a": "one", "b/\x7f%é😀": {"n": 1}, "b/2": b"\0\xff", "%s": None, "$1": "x" * 20_000}
READS: list[Callable[[Face], Any]] = [
    lambda face: face.mget([*VALUES, "missing"]),
    lambda face: face.mget(["a", "b/2"], source="s"),
    lambda face: face.mget_entries([*VALUES, "missing"]),
    lambda face: face.mget_entries(list(VALUES), values=False),
    lambda face: face.pair_entries([("a", "s"), ("b/2", ""), ("a", "none")]),
    lambda face: face.source_entries(["", "s", "none"]),
    lambda face: face.mexists([*VALUES, "missing"]),
    lambda face: list(face.yield_keys("b/")),
    lambda face: list(face.yield_items(source="s")),
    lambda face: face.count("b/", source="s"),
    lambda face: face.count("b/", source="s", at_most=1),
    lambda face: face.sync(VALUES, source="s", dry_run=True),
]


@pytest.fixture
def pg_face(pg_location: Location, mode: str, loop: Loop) -> Iterator[Face]:
    """A store on each PostgreSQL server and driver, sync and async."""
    face = Face(DocShelf(pg_location.url), mode, loop)
    yield face
    face.close()


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that were run on a driver directly and returned rows."""
    seen: list[str] = []
    original = reads.fetch_by_driver

    def noting(connection: Any, plan: reads.Plan, parameters: Any) -> Any:
        rows = original(connection, plan, parameters)
        seen.extend([plan.sql] if rows is not None else [])
        return rows

    monkeypatch.setattr(statements_module, "fetch_by_driver", noting)
    yield seen


@pytest.mark.parametrize(
    "keys",
    [
        ["ab", "{}", "{a,b}", "NULL", "null", ",", " a ", "'", "\n", "%(keys)s"],
        ["a\\b", "\\", "E'\\x41'"],
        ['"', 'a","b', "ab"],
    ],
    ids=["plain", "backslashes", "quotes"],
)
def test_keys_with_special_characters_of_arrays_are_read_unchanged(
    face: Face, fetches: list[str], keys: list[str]
) -> None:
    face.mset([(key, key, source) for key in keys for source in ("s", "t")])
    fetches.clear()
    assert face.mget(keys) == keys
    assert face.mexists([*keys, "x"]) == [*[True] * len(keys), False]
    assert face.conditional_mset([(key, key, source) for key in keys for source in ("s", "t")]).counts["INS"] == 0
    assert fetches


def test_direct_reads_return_the_same_as_sqlalchemy(face: Face, fetches: list[str]) -> None:
    face.mset(VALUES)
    face.sync({**VALUES, "more": "two"}, source="s")
    for read in READS:
        fetches.clear()
        direct = read(face)
        assert fetches
        fetches.clear()
        with recorded_statements() as statements:
            assert read(face) == direct
        assert statements
        assert not fetches


def test_reads_on_the_callers_engine_use_sqlalchemy(
    new_engine: Callable[..., Engine], location: Location, fetches: list[str]
) -> None:
    engine = new_engine(location)
    with DocShelf(engine=engine) as shelf:
        shelf.mset(VALUES)
        assert shelf.mget(list(VALUES)) == list(VALUES.values())
        with engine.begin() as connection:
            assert shelf.bind(connection).get("a") == "one"
    assert not fetches


def test_a_log_of_statements_contains_every_read(
    face: Face, fetches: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    face.mset(VALUES)
    with caplog.at_level(logging.INFO, logger="sqlalchemy.engine"):
        assert face.get("a") == "one"
    assert any("docshelf_entries" in record.getMessage() for record in caplog.records)
    fetches.clear()
    assert face.get("a") == "one"
    assert fetches


def test_a_read_under_the_locks_of_a_write_is_part_of_its_transaction(pg_face: Face, fetches: list[str]) -> None:
    pg_face.sync({"a": 1})
    fetches.clear()
    assert pg_face.sync({"a": 2}).counts["UPD"] == 1
    assert len(fetches) == 2  # the probe before the transaction, and the one under the locks


def test_a_failed_direct_read_raises_the_error_of_sqlalchemy(
    pg_face: Face, pg_location: Location, new_engine: Callable[..., Engine]
) -> None:
    pg_face.mset(VALUES)
    pg_face.get("a")
    with new_engine(pg_location).begin() as connection:
        connection.execute(text("ALTER TABLE docshelf_entries RENAME COLUMN value TO gone"))
    with pytest.raises(DatabaseError, match="value") as caught:
        pg_face.get("a")
    assert caught.value.sqlstate == "42703"
    assert pg_face.count() == len(VALUES)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """SQLSTATEs that reads within a transaction are going to fail with, one each."""
    states: list[str] = []
    original = reads.fetch_by_driver

    def failed(connection: Any, plan: reads.Plan, parameters: Any) -> Any:
        if states and connection.in_transaction():
            plan = plan._replace(fetch=fail)
        return original(connection, plan, parameters)

    def fail(*_args: Any) -> Any:
        error: Any = psycopg2.Error("the server's own words")
        error.sqlstate = states.pop()  # what the other drivers' errors have
        error.severity_en = "FATAL" if error.sqlstate.startswith(("08", "57P")) else "ERROR"
        raise error

    monkeypatch.setattr(statements_module, "fetch_by_driver", failed)
    yield states
    assert not states


def test_a_servers_error_within_a_transaction_is_raised_as_it_is(pg_face: Face, failing: list[str]) -> None:
    pg_face.sync({"a": 1})
    failing.append("57014")
    with pytest.raises(DatabaseError, match="the server's own words") as caught:
        pg_face.sync({"a": 2, "b": 1})
    assert caught.value.sqlstate == "57014"
    assert pg_face.mget(["a", "b"]) == [1, None]


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03", "08006", "57P01"])
def test_a_transient_error_within_a_transaction_is_retried(pg_face: Face, failing: list[str], state: str) -> None:
    pg_face.sync({"a": 1, "gone": 1})
    failing.append(state)
    assert pg_face.sync({"a": 2, "b": 1}).counts == {"INS": 1, "UPD": 1, "SKIP": 0, "DEL": 1}
    assert pg_face.mget(["a", "b", "gone"]) == [2, 1, None]


def test_a_cancelled_read_leaves_a_store_that_works(pg_location: Location, new_engine: Callable[..., Engine]) -> None:
    engine = new_engine(pg_location)

    def waiting() -> bool:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass('docshelf_entries')"
        with engine.connect() as connection:
            return bool(connection.scalar(text(query)))

    async def main(shelf: DocShelf) -> None:
        await shelf.amset(VALUES)
        assert await shelf.aget("a") == "one"
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE docshelf_entries IN ACCESS EXCLUSIVE MODE"))
            blocked = asyncio.create_task(shelf.aget("b/2"))
            await asyncio.to_thread(wait_until, waiting, "the read waits for the lock")
            blocked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await blocked
        values = await asyncio.gather(*map(shelf.aget, VALUES))
        assert values == list(VALUES.values())

    with DocShelf(pg_location.url) as shelf:
        asyncio.run(main(shelf))
