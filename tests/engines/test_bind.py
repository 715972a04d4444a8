"""A store in the caller's transaction: its writes and the caller's own are committed or rolled back together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from docshelf import ConfigurationError, DatabaseError, DocShelf, DocShelfError, MissingEngineError, TransientError
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.partitions import table_names
from tests.support.statements import recorded_statements


class Caller:
    """A caller with an engine and a table of its own, under either mode."""

    def __init__(self, location: Location, mode: str, loop: Loop) -> None:
        self.mode = mode
        self._loop = loop
        self._engine: Any = create_engine(location.sync_url) if mode == "sync" else _async_engine(location)
        with self.transaction() as (connection, _):
            self.execute(connection, "CREATE TABLE IF NOT EXISTS notes (note text)")

    @property
    def sync_engine(self) -> Engine:
        engine: Engine = self._engine if self.mode == "sync" else self._engine.sync_engine
        return engine

    def _run(self, result: Any) -> Any:
        return result if self.mode == "sync" else self._loop.run(result)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[tuple[Any, Any]]:
        """A connection and its transaction. Commits at the end; rolls back if the block fails or asks for it."""
        connection = self._engine.connect()
        if self.mode == "async":
            self._loop.run(connection.start())
        transaction = self._run(connection.begin()) if self.mode == "async" else connection.begin()
        try:
            yield connection, transaction
        except BaseException:
            self._run(transaction.rollback())
            raise
        else:
            if transaction.is_active:
                self._run(transaction.commit())
        finally:
            self._run(connection.close())

    def rollback(self, transaction: Any) -> None:
        self._run(transaction.rollback())

    def execute(self, connection: Any, statement: str) -> Any:
        return self._run(connection.execute(text(statement)))

    def notes(self) -> list[str]:
        with self.transaction() as (connection, _):
            return [row[0] for row in self.execute(connection, "SELECT note FROM notes")]

    def tables(self) -> set[str]:
        with self.transaction() as (connection, _):
            if isinstance(connection, Connection):
                return table_names(connection)
            names: set[str] = self._loop.run(connection.run_sync(table_names))
            return names

    def close(self) -> None:
        self._run(self._engine.dispose())


def _async_engine(location: Location) -> AsyncEngine:
    url = make_url(location.async_url)
    if "+asyncpg" not in location.async_url:
        return create_async_engine(url)
    query = dict(url.query)
    settings = {"options": query.pop("options")}
    return create_async_engine(url.set(query=query), connect_args={"server_settings": settings})


@pytest.fixture
def caller(location: Location, mode: str, loop: Loop) -> Iterator[Caller]:
    caller = Caller(location, mode, loop)
    yield caller
    caller.close()


OLD = {"a": "one", "b": "two"}
NEW = {"b": "changed", "c": "three"}


def test_documents_and_the_callers_rows_are_committed_together(face: Face, caller: Caller) -> None:
    face.sync(OLD)
    with caller.transaction() as (connection, _):
        bound = face.of(face.bind(connection))
        caller.execute(connection, "INSERT INTO notes VALUES ('before')")
        report = bound.sync(NEW)
        caller.execute(connection, "INSERT INTO notes VALUES ('after')")
        assert dict(bound.yield_items()) == NEW
    assert report.counts == {"INS": 1, "UPD": 1, "SKIP": 0, "DEL": 1}
    assert dict(face.yield_items()) == NEW
    assert caller.notes() == ["before", "after"]


def test_documents_and_the_callers_rows_are_rolled_back_together(face: Face, caller: Caller) -> None:
    face.sync(OLD)
    with caller.transaction() as (connection, transaction):
        bound = face.of(face.bind(connection))
        caller.execute(connection, "INSERT INTO notes VALUES ('gone')")
        bound.sync(NEW)
        bound.mset({"d": 1})
        bound.mdelete(["b"])
        caller.rollback(transaction)
    assert dict(face.yield_items()) == OLD
    assert caller.notes() == []


@pytest.mark.parametrize("first", ["nothing", "read", "store"])
def test_a_transaction_in_which_the_caller_has_not_written_yet_is_the_callers_too(
    face: Face, caller: Caller, first: str
) -> None:
    # SQLite's driver begins only when something is written.
    face.sync(OLD)
    with caller.transaction() as (connection, transaction):
        bound = face.of(face.bind(connection))
        if first == "read":
            assert caller.execute(connection, "SELECT count(*) FROM notes").scalar() == 0
        if first == "store":
            assert bound.get("a") == "one"
        bound.sync(NEW)
        caller.execute(connection, "INSERT INTO notes VALUES ('gone')")
        caller.rollback(transaction)
    assert dict(face.yield_items()) == OLD
    assert caller.notes() == []


def test_a_block_that_fails_takes_the_documents_with_it(face: Face, caller: Caller) -> None:
    face.sync(OLD)
    with pytest.raises(KeyError), caller.transaction() as (connection, _):
        face.of(face.bind(connection)).sync(NEW)
        raise KeyError
    assert dict(face.yield_items()) == OLD


def test_a_bound_store_sees_what_the_others_cannot_yet(face: Face, caller: Caller) -> None:
    face.sync(OLD)
    with caller.transaction() as (connection, _):
        bound = face.of(face.bind(connection))
        bound.sync(NEW)
        assert bound.mget(["a", "b"]) == [None, "changed"]
        assert face.mget(["a", "b"]) == ["one", "two"]


def test_a_savepoint_of_the_caller_holds_back_its_part(location: Location, loop: Loop) -> None:
    caller = Caller(location, "sync", loop)
    with DocShelf(location.url) as shelf, caller.transaction() as (connection, _):
        bound = shelf.bind(connection)
        bound.set("a", 1)
        savepoint = connection.begin_nested()
        bound.set("b", 2)
        savepoint.rollback()
        bound.set("c", 3)
    with DocShelf(location.url) as shelf:
        assert dict(shelf.yield_items()) == {"a": 1, "c": 3}
    caller.close()


def test_first_use_creates_the_tables_in_the_callers_transaction(face: Face, caller: Caller) -> None:
    with caller.transaction() as (connection, transaction):
        bound = face.of(face.bind(connection))
        bound.sync(OLD)
        assert bound.get("a") == "one"
        caller.rollback(transaction)
    assert caller.tables() == {"notes"}
    with caller.transaction() as (connection, _):
        face.of(face.bind(connection)).sync(OLD)
    assert caller.tables() == {
        "notes",
        "docshelf_collections",
        "docshelf_entries",
        "docshelf_schema",
        "docshelf_sources",
    }
    assert dict(face.yield_items()) == OLD


def test_setup_may_be_called_on_a_bound_store(face: Face, caller: Caller) -> None:
    with caller.transaction() as (connection, _):
        face.of(face.bind(connection)).setup()
    assert "docshelf_entries" in caller.tables()


def test_a_bound_store_keeps_collection_and_options(new_face: Callable[..., Face], caller: Caller) -> None:
    face = new_face("other", table_prefix="mine", hash_exclude=("mtime",))
    face.set("k", {"text": "a", "mtime": 1})
    with caller.transaction() as (connection, _):
        bound = face.of(face.bind(connection))
        assert bound.collection == "other"
        assert (face.shelf.is_bound, bound.shelf.is_bound, bound.shelf.view("third").is_bound) == (False, True, True)
        assert bound.conditional_set("k", {"text": "a", "mtime": 2}) == ("k", "SKIP")
        assert bound.of(bound.view("third")).get("k") is None


def test_a_bound_store_neither_commits_nor_closes(face: Face, caller: Caller) -> None:
    ended: list[str] = []
    for name in ("commit", "rollback", "engine_disposed"):
        event.listen(caller.sync_engine, name, lambda *_, name=name: ended.append(name))
    with caller.transaction() as (connection, transaction):
        bound = face.of(face.bind(connection))
        bound.sync(OLD)
        bound.conditional_mset(NEW)
        list(bound.yield_items())
        bound.clear()
        bound.close()
        assert ended == []
        assert transaction.is_active
        caller.execute(connection, "INSERT INTO notes VALUES ('still open')")
    assert ended == ["commit"]
    assert caller.notes() == ["still open"]


def test_closing_the_store_leaves_the_callers_connection_open(new_face: Callable[..., Face], caller: Caller) -> None:
    face = new_face()
    face.sync(OLD)
    with caller.transaction() as (connection, _):
        face.of(face.bind(connection)).sync(NEW)
        face.close()
        caller.execute(connection, "INSERT INTO notes VALUES ('still open')")
    assert dict(new_face().yield_items()) == NEW
    assert caller.notes() == ["still open"]


def test_the_wrong_kind_of_connection_is_refused_before_anything_is_sent(
    location: Location, mode: str, loop: Loop
) -> None:
    other = "async" if mode == "sync" else "sync"
    caller = Caller(location, other, loop)
    face = Face(DocShelf(location.url), mode, loop)
    with recorded_statements() as statements, caller.transaction() as (connection, _):
        bound = face.of(face.bind(connection))
        for use in (lambda: bound.get("k"), lambda: bound.set("k", "v"), lambda: list(bound.yield_keys())):
            with pytest.raises(MissingEngineError, match="async methods" if mode == "sync" else "sync methods"):
                use()
    assert statements == []
    caller.close()
    face.close()


def test_a_connection_to_another_database_is_refused(new_location: Callable[[str], Location]) -> None:
    location = new_location("pg18")
    engine = create_engine("sqlite://")
    with (
        DocShelf(location.url) as shelf,
        engine.connect() as connection,
        pytest.raises(ConfigurationError, match="for postgresql, but the connection is for sqlite"),
    ):
        shelf.bind(connection)
    engine.dispose()


@pytest.mark.parametrize("thing", [None, "connection", create_engine("sqlite://")], ids=["None", "str", "Engine"])
def test_bind_rejects_an_object_that_is_not_a_connection(thing: Any) -> None:
    with DocShelf(":memory:") as shelf, pytest.raises(DocShelfError) as refusal:
        shelf.bind(thing).get("k")
    assert isinstance(refusal.value, TypeError)


def test_a_lock_time_out_in_a_bound_store_is_the_callers_to_handle(
    pg_location: Location, mode: str, loop: Loop
) -> None:
    holder, caller = Caller(pg_location, "sync", loop), Caller(pg_location, mode, loop)
    face = Face(DocShelf(pg_location.url), mode, loop)
    face.sync(OLD)
    with holder.transaction() as (held, _):
        DocShelf(pg_location.url).bind(held).sync(NEW)
        with caller.transaction() as (connection, transaction):
            bound = face.of(face.bind(connection))
            bound.get("a")
            caller.execute(connection, "SET LOCAL lock_timeout = '10ms'")
            with recorded_statements() as statements, pytest.raises(TransientError) as failure:
                bound.sync({"d": "four"})
            assert failure.value.sqlstate == "55P03"
            locking = [statement for statement in statements if "pg_advisory_xact_lock" in statement]
            assert len(locking) == 1  # tried once: in a transaction that has failed nothing can be retried
            assert transaction.is_active
            caller.rollback(transaction)
    assert dict(face.yield_items()) == NEW
    for one in (holder, caller, face):
        one.close()


def test_a_database_error_in_a_bound_store_leaves_the_decision_to_the_caller(face: Face, caller: Caller) -> None:
    face.sync(OLD)
    with pytest.raises(DatabaseError), caller.transaction() as (connection, _):
        bound = face.of(face.bind(connection))
        bound.set("c", 1)
        caller.execute(connection, "DROP TABLE docshelf_sources")
        bound.sources()
    assert dict(face.yield_items()) == OLD
    assert face.sources()[0].entries == 2
