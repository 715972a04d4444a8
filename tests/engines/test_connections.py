"""Engines: created from a URL on first use or given by the caller, shared by threads, closed by their owner."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, Pool, StaticPool

from docshelf import ClosedError, ConfigurationError, DatabaseError, DocShelf, MissingEngineError
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.operations import BY_NAME, OPERATIONS, fill
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until


@pytest.fixture
def new_async_engine(loop: Loop) -> Iterator[Callable[..., AsyncEngine]]:
    """Makes the caller's own asynchronous engines; all are disposed after the test."""
    engines: list[AsyncEngine] = []

    def make(location: Location, **options: Any) -> AsyncEngine:
        url = make_url(location.async_url)
        if "+asyncpg" in location.async_url:
            # SQLAlchemy hands asyncpg the URL's options as they are, and `options` is none of its arguments.
            query = dict(url.query)
            options.setdefault("connect_args", {})["server_settings"] = {"options": query.pop("options")}
            url = url.set(query=query)
        engines.append(create_async_engine(url, **options))
        return engines[-1]

    yield make
    for engine in engines:
        loop.run(engine.dispose())


# Which half


def test_one_url_gives_both_halves(location: Location, loop: Loop) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("k", "from sync")
        assert loop.run(shelf.aget("k")) == "from sync"
        loop.run(shelf.aset("k", "from async"))
        assert shelf.get("k") == "from async"
        loop.run(shelf.aclose())


@pytest.mark.parametrize("name", BY_NAME)
def test_an_engine_alone_is_enough_for_the_sync_half_only(
    new_location: Callable[[str], Location], new_engine: Callable[..., Engine], loop: Loop, name: str
) -> None:
    shelf = DocShelf(engine=new_engine(new_location("sqlite")))
    fill(Face(shelf, "sync", loop))
    BY_NAME[name].call(Face(shelf, "sync", loop))
    with pytest.raises(MissingEngineError, match="async_engine=") as refusal:
        BY_NAME[name].call(Face(shelf, "async", loop))
    assert isinstance(refusal.value, TypeError)


@pytest.mark.parametrize("name", BY_NAME)
def test_an_async_engine_alone_is_enough_for_the_async_half_only(
    new_location: Callable[[str], Location], new_async_engine: Callable[..., AsyncEngine], loop: Loop, name: str
) -> None:
    shelf = DocShelf(async_engine=new_async_engine(new_location("sqlite")))
    fill(Face(shelf, "async", loop))
    BY_NAME[name].call(Face(shelf, "async", loop))
    with pytest.raises(MissingEngineError, match=" engine=") as refusal:
        BY_NAME[name].call(Face(shelf, "sync", loop))
    assert isinstance(refusal.value, TypeError)


def test_given_engines_serve_both_halves_and_stay_open(
    location: Location,
    new_engine: Callable[..., Engine],
    new_async_engine: Callable[..., AsyncEngine],
    mode: str,
    loop: Loop,
) -> None:
    engine, async_engine = new_engine(location), new_async_engine(location)
    disposed: list[object] = []
    event.listen(engine, "engine_disposed", disposed.append)
    event.listen(async_engine.sync_engine, "engine_disposed", disposed.append)
    shelf = DocShelf(engine=engine, async_engine=async_engine)
    shelf.set("k", "v")
    assert loop.run(shelf.aget("k")) == "v"
    face = Face(shelf, mode, loop)
    face.close()
    with pytest.raises(ClosedError):
        face.get("k")
    assert not disposed
    again = DocShelf(engine=engine, async_engine=async_engine)
    assert again.get("k") == loop.run(again.aget("k")) == "v"


@pytest.mark.parametrize("pool", [NullPool, StaticPool])
def test_a_given_engine_may_have_any_pool(
    location: Location, new_engine: Callable[..., Engine], pool: type[NullPool | StaticPool]
) -> None:
    shelf = DocShelf(engine=new_engine(location, poolclass=pool))
    shelf.sync({"a": 1, "b": 2})
    shelf.sync({"b": 3})
    assert list(shelf.yield_items()) == [("b", 3)]


def test_a_given_aiosqlite_engine_in_memory_is_a_store(loop: Loop) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    face = Face(DocShelf(async_engine=engine), "async", loop)
    report = face.sync({"a": 1, "b": 2})
    assert report.counts == {"INS": 2, "UPD": 0, "SKIP": 0, "DEL": 0}
    assert face.sync({"b": 3}).counts == {"INS": 0, "UPD": 1, "SKIP": 0, "DEL": 1}
    assert list(face.yield_items()) == [("b", 3)]
    loop.run(engine.dispose())


def test_a_url_and_an_engine_together_are_refused() -> None:
    engine = create_engine("sqlite://")
    async_engine = create_async_engine("sqlite+aiosqlite://")
    for options in ({"engine": engine}, {"async_engine": async_engine}):
        with pytest.raises(ConfigurationError, match="both a url and an engine"):
            DocShelf(":memory:", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_size": 0}, "pool_size=0: give a whole number of 1 or more"),
        ({"pool_size": 2.5}, "pool_size=2.5"),
        ({"max_overflow": -1}, "max_overflow=-1: give a whole number of 0 or more"),
        ({"pool_timeout": -1}, "pool_timeout=-1: give a number of seconds"),
        ({"retry_seconds": "x"}, "retry_seconds='x': give a number of seconds"),
        ({"retry_seconds": float("nan")}, "retry_seconds=nan"),
        ({"application_name": ""}, "application_name='': give 1 to 63"),
        ({"engine": create_engine("sqlite://"), "pool_size": 3}, "pass options of connections and pools to create_eng"),
    ],
    ids=str,
)
def test_wrong_options_of_connections_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DocShelf(None if "engine" in options else ":memory:", **options)


@pytest.mark.parametrize("drivername", ["postgresql", "postgresql+psycopg"])
def test_a_session_bears_the_name_of_docshelf_or_a_given_one(
    new_location: Callable[[str], Location], new_engine: Callable[..., Engine], mode: str, loop: Loop, drivername: str
) -> None:
    location = new_location("pg18")
    url = make_url(location.url).set(drivername=drivername)
    query = text("SELECT pid FROM pg_stat_activity WHERE application_name = :name AND pid <> pg_backend_pid()")
    name = f"shelf of {location.schema}"
    faces = [
        Face(DocShelf(url), mode, loop),
        Face(DocShelf(url, application_name=name), mode, loop),
        Face(DocShelf(url.update_query_dict({"application_name": f"url {name}"}), application_name="x"), mode, loop),
    ]
    with new_engine(location, isolation_level="AUTOCOMMIT").connect() as connection:
        # On a server for all test processes, those of other tests may have ended meanwhile.
        before = set(connection.scalars(query, {"name": "docshelf"}))
        for face in faces:
            face.set("k", "v")
        assert set(connection.scalars(query, {"name": "docshelf"})) - before
        for given in (name, f"url {name}"):
            assert len(connection.scalars(query, {"name": given}).all()) == 1
    for face in faces:
        face.close()


@pytest.mark.parametrize("translated", [None, "public"])
def test_a_schema_translate_map_is_refused_where_it_concerns_the_tables(
    new_location: Callable[[str], Location],
    new_engine: Callable[..., Engine],
    new_async_engine: Callable[..., AsyncEngine],
    translated: str | None,
) -> None:
    location = new_location("pg18")
    options = {"schema_translate_map": {translated: "tenant"}}
    engine = new_engine(location, execution_options=options)
    async_engine = new_async_engine(location, execution_options=options)
    for given in ({"engine": engine}, {"async_engine": async_engine}):
        with pytest.raises(ConfigurationError, match="pass schema='tenant' to the store"):
            DocShelf(schema=translated, **given)
        DocShelf(schema="other", **given)  # its tables are not concerned
    shelf = DocShelf(location.url, schema=translated)
    with engine.connect() as connection, pytest.raises(ConfigurationError, match="pass schema='tenant' to the store"):
        shelf.bind(connection)


def test_engines_of_two_databases_are_refused() -> None:
    engine = create_engine("sqlite://")
    async_engine = create_async_engine("postgresql+asyncpg://h/d")
    with pytest.raises(ConfigurationError, match=r"\['postgresql', 'sqlite'\]"):
        DocShelf(engine=engine, async_engine=async_engine)


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "REPEATABLE READ", "SERIALIZABLE"])
def test_a_write_is_one_transaction_with_any_isolation_of_a_given_engine(
    pg_location: Location, new_engine: Callable[..., Engine], level: str
) -> None:
    shelf = DocShelf(engine=new_engine(pg_location, isolation_level=level))
    shelf.sync({"a": 1, "b": 2})
    with new_engine(pg_location).begin() as connection:
        connection.execute(text("ALTER TABLE docshelf_sources ADD CHECK (fingerprint <> 'refused')"))
    with pytest.raises(DatabaseError):
        shelf.sync({"b": 3, "c": 4}, fingerprint="refused")
    assert list(shelf.yield_items()) == [("a", 1), ("b", 2)]


def test_a_write_is_one_transaction_on_an_sqlite_engine_that_autocommits(
    new_location: Callable[[str], Location], new_engine: Callable[..., Engine]
) -> None:
    engine = new_engine(new_location("sqlite"), isolation_level="AUTOCOMMIT")
    shelf = DocShelf(engine=engine)
    shelf.sync({"a": 1, "b": 2})
    with engine.begin() as connection:
        connection.execute(text(_POISON))
    with pytest.raises(DatabaseError, match="poisoned"):
        shelf.mset({"b": 3, "c": 4, "poison": 5})
    assert list(shelf.yield_items()) == [("a", 1), ("b", 2)]


# Life


def test_no_connection_is_made_before_it_is_needed(proxy: Proxy) -> None:
    shelf = DocShelf(proxy.url())
    repr(shelf.view("other"))
    assert proxy.attempts == 0
    shelf.close()
    assert proxy.attempts == 0


def test_no_file_is_made_before_it_is_needed(tmp_path: Path) -> None:
    with DocShelf(tmp_path / "shelf.db") as shelf:
        shelf.view("other")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BY_NAME)
def test_a_closed_store_refuses_every_operation(tmp_path: Path, mode: str, loop: Loop, name: str) -> None:
    face = Face(DocShelf(tmp_path / "shelf.db"), mode, loop)
    view = face.of(face.view("other"))
    face.set("k", "v")
    face.close()
    face.close()
    for closed in (face, view):
        with pytest.raises(ClosedError, match="make a new DocShelf"):
            BY_NAME[name].call(closed)
    assert DocShelf(tmp_path / "shelf.db").get("k") == "v"


def test_a_closed_store_cannot_be_bound() -> None:
    shelf = DocShelf(":memory:")
    shelf.close()
    engine = create_engine("sqlite://")
    with engine.begin() as connection, pytest.raises(ClosedError):
        shelf.bind(connection).set("k", "v")
    engine.dispose()


def test_a_store_never_used_can_be_closed(location: Location, mode: str, loop: Loop) -> None:
    Face(DocShelf(location.url), mode, loop).close()


def test_with_closes_also_when_its_block_fails(location: Location, loop: Loop) -> None:
    with pytest.raises(KeyError), DocShelf(location.url) as shelf:
        raise KeyError
    with pytest.raises(ClosedError):
        shelf.get("k")

    async def block() -> DocShelf:
        async with DocShelf(location.url) as inner:
            await inner.aset("k", "v")
        return inner

    shelf = loop.run(block())
    with pytest.raises(ClosedError):
        loop.run(shelf.aget("k"))


def test_closing_leaves_no_connection_on_the_server(
    pg_location: Location, watch: Callable[[Location], tuple[str, Callable[[], set[int]]]], mode: str, loop: Loop
) -> None:
    url, pids = watch(pg_location)
    face = Face(DocShelf(url), mode, loop)
    face.set("k", "v")
    assert len(pids()) == 1
    face.close()
    wait_until(lambda: not pids(), "the server has ended the sessions")


def test_one_connection_serves_calls_that_follow_each_other(
    pg_location: Location, watch: Callable[[Location], tuple[str, Callable[[], set[int]]]], mode: str, loop: Loop
) -> None:
    url, pids = watch(pg_location)
    face = Face(DocShelf(url), mode, loop)
    face.sync({"a": 1})
    [pid] = pids()
    for operation in OPERATIONS:
        fill(face)
        operation.call(face)
    assert pids() == {pid}
    face.close()


def test_an_iteration_left_early_holds_no_connection(
    pg_location: Location, watch: Callable[[Location], tuple[str, Callable[[], set[int]]]], loop: Loop
) -> None:
    url, pids = watch(pg_location)
    with DocShelf(url) as shelf:
        shelf.mset({f"k{number}": number for number in range(20)})

        async def leave() -> None:
            for iterator in (shelf.ayield_keys(), shelf.ayield_items()):
                async for _ in iterator:
                    break

        for iterator in (shelf.yield_keys(), shelf.yield_items()):
            assert next(iter(iterator)) is not None
        loop.run(leave())
        # Whoever held a connection would make the next call open another.
        assert shelf.get("k1") == 1
        assert loop.run(shelf.aget("k1")) == 1
        assert len(pids()) == 2
        loop.run(shelf.aclose())


# Threads


def test_many_threads_share_a_store(location: Location) -> None:
    with DocShelf(location.url) as shelf, ThreadPoolExecutor(12) as threads:

        def work(number: int) -> list[Any]:
            own = {f"{number}/{part}": part for part in range(5)}
            shelf.sync(own, source=f"s{number}")
            shelf.set("shared", number)
            return shelf.mget(list(own))

        assert list(threads.map(work, range(36))) == [[0, 1, 2, 3, 4]] * 36
        assert shelf.count() == 36 * 5 + 1


def test_an_executor_thread_and_a_loop_share_a_store(location: Location, loop: Loop) -> None:
    async def main(shelf: DocShelf) -> list[Any]:
        running = asyncio.get_running_loop()
        await shelf.aset("a", 1)
        await running.run_in_executor(None, shelf.set, "b", 2)
        await asyncio.gather(
            *(shelf.aset(f"async {number}", number) for number in range(20)),
            *(running.run_in_executor(None, shelf.set, f"sync {number}", number) for number in range(20)),
        )
        return [await shelf.acount(), await running.run_in_executor(None, shelf.get, "a"), await shelf.aget("b")]

    with DocShelf(location.url) as shelf:
        assert loop.run(main(shelf)) == [42, 1, 2]
        loop.run(shelf.aclose())


def test_the_next_write_cuts_the_wal_file_of_a_large_one(tmp_path: Path, mode: str, loop: Loop) -> None:
    file, wal = tmp_path / "docs.db", tmp_path / "docs.db-wal"
    with contextlib.closing(Face(DocShelf(file), mode, loop)) as face:
        face.mset({f"k{number}": os.urandom(2 * 1024 * 1024) for number in range(6)})
        assert wal.stat().st_size > 12 * 1024 * 1024
        face.set("k", 1)
        assert wal.stat().st_size <= 8 * 1024 * 1024


def test_an_sqlite_file_is_in_wal_mode(tmp_path: Path, mode: str, loop: Loop) -> None:
    face = Face(DocShelf(tmp_path / "shelf.db"), mode, loop)
    face.set("k", "v")
    with create_engine(f"sqlite:///{tmp_path / 'shelf.db'}").connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        connection.connection.detach()
        connection.connection.close()
    face.close()


def test_an_sqlite_reader_does_not_wait_for_a_writer(tmp_path: Path, mode: str, loop: Loop) -> None:
    face = Face(DocShelf(tmp_path / "shelf.db"), mode, loop)
    face.set("k", "before")
    engine = create_engine(f"sqlite:///{tmp_path / 'shelf.db'}")
    with engine.begin() as connection:
        face.bind(connection).set("k", "after")
        assert face.get("k") == "before"
    assert face.get("k") == "after"
    engine.dispose()
    face.close()


_POISON = """
    CREATE TRIGGER poison BEFORE INSERT ON docshelf_entries WHEN NEW.key = 'poison'
    BEGIN SELECT RAISE(ABORT, 'poisoned'); END
"""


@pytest.mark.parametrize("url", [":memory:", "sqlite:///file:{name}?mode=memory&cache=shared&uri=true"])
def test_memory_is_one_database_for_threads_and_loops(request: pytest.FixtureRequest, url: str, loop: Loop) -> None:
    async def main(shelf: DocShelf) -> None:
        running = asyncio.get_running_loop()
        await asyncio.gather(
            *(shelf.aset(f"async {number}", number) for number in range(20)),
            *(running.run_in_executor(None, shelf.set, f"sync {number}", number) for number in range(20)),
        )

    with DocShelf(url.format(name=abs(hash(request.node.name)))) as shelf:
        loop.run(main(shelf))
        with ThreadPoolExecutor(8) as threads:
            counts = list(threads.map(lambda _: shelf.count(), range(8)))
        assert counts == [40] * 8
        loop.run(main(shelf))
        assert shelf.count() == loop.run(shelf.acount()) == 40


def test_transactions_in_memory_do_not_mix() -> None:
    name = "file:docshelf_mix?mode=memory&cache=shared"
    outcomes: list[bool] = []
    with DocShelf(f"sqlite:///{name}&uri=true") as shelf:
        shelf.setup()
        second = sqlite3.connect(name, uri=True)
        second.execute(_POISON)
        second.close()

        def work(number: int) -> None:
            batch: dict[str, Any] = {f"{number}/{part}": part for part in range(5)}
            if number % 2:
                batch["poison"] = True
            try:
                shelf.mset(batch)
            except DatabaseError as exc:
                assert "poisoned" in str(exc)
                outcomes.append(False)
            else:
                outcomes.append(True)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(40)))
        assert sorted(outcomes) == [False] * 20 + [True] * 20
        assert set(shelf.yield_keys()) == {f"{number}/{part}" for number in range(0, 40, 2) for part in range(5)}


def test_each_memory_is_a_database_of_its_own() -> None:
    with DocShelf(":memory:") as one, DocShelf(":memory:") as other:
        one.set("k", 1)
        assert other.get("k") is None


# Poolers in transaction mode


@pytest.mark.parametrize("drivername", ["postgresql", "postgresql+psycopg"])
def test_behind_a_pooler_no_statement_is_prepared_by_name(proxy: Proxy, mode: str, loop: Loop, drivername: str) -> None:
    face = Face(DocShelf(proxy.url(drivername), pooler=True), mode, loop)
    for _ in range(8):  # psycopg 3 would prepare by name from the sixth time on
        face.of(face.shelf.view("copied")).clear()  # a copy takes no name that a collection has
        for operation in OPERATIONS:
            fill(face)
            operation.call(face)
    face.close()
    assert set(proxy.statement_names) <= {""}


def test_without_a_pooler_asyncpg_keeps_named_statements(proxy: Proxy, loop: Loop) -> None:
    # Else the test above could not fail.
    face = Face(DocShelf(proxy.url()), "async", loop)
    face.get("k")
    face.close()
    assert any(proxy.statement_names)


@pytest.mark.parametrize("drivername", ["postgresql", "postgresql+psycopg"])
def test_no_two_connections_give_a_statement_the_same_name(
    proxy: Proxy, mode: str, loop: Loop, drivername: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pooler may send a name to the session of another client. Whoever finds its own name there reads its rows.
    names: list[set[str]] = []
    for _ in range(2):
        monkeypatch.setattr("asyncpg.connection._uid", 0)  # as in another process; psycopg counts on each connection
        before = len(proxy.statement_names)
        face = Face(DocShelf(proxy.url(drivername)), mode, loop)
        for _ in range(8):  # psycopg 3 prepares by name from the sixth time on
            face.mget(["a", "b"])
            face.set("k", "v")
        face.close()
        names.append(set(proxy.statement_names[before:]) - {""})
    assert (drivername, mode) == ("postgresql", "sync") or all(names)  # psycopg2 prepares nothing
    assert not names[0] & names[1]


def test_async_reads_what_sync_wrote_and_the_reverse(location: Location, loop: Loop) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("sync", 1)
        loop.run(shelf.aset("async", 2))
        assert loop.run(shelf.amget(["sync", "async"])) == shelf.mget(["sync", "async"]) == [1, 2]


def test_a_store_is_a_context_manager(location: Location, loop: Loop) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("k", 1)
    with pytest.raises(ClosedError):
        shelf.get("k")

    async def use() -> object:
        async with DocShelf(location.url) as shelf:
            value = await shelf.aget("k")
        with pytest.raises(ClosedError):
            await shelf.aget("k")
        return value

    assert loop.run(use()) == 1


def test_a_memory_store_forgets_when_it_is_closed(loop: Loop) -> None:
    for _ in range(2):
        with DocShelf(":memory:") as shelf:
            assert shelf.conditional_set("k", 1) == ("k", "INS")
            assert loop.run(shelf.aget("k")) == 1


def test_a_store_that_nobody_closes_closes_its_connections_when_it_is_dropped(location: Location) -> None:
    opened: list[Any] = []

    def connected(connection: Any, _: Any) -> None:
        opened.append(connection)

    def closed(connection: Any, _: Any) -> None:
        opened.remove(connection)

    event.listen(Pool, "connect", connected)
    event.listen(Pool, "close", closed)
    try:
        shelf = DocShelf(location.url)
        shelf.set("k", "v")
        assert opened
        del shelf
        gc.collect()
        # Without a close, the driver's connection would be closed whenever it is collected, or never.
        assert opened == []
    finally:
        event.remove(Pool, "connect", connected)
        event.remove(Pool, "close", closed)
