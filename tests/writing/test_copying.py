"""Many new rows are written by COPY. They are the same rows as those of an INSERT, also after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, make_url, text

from docshelf import DatabaseError, DocShelf, Item
from docshelf.sql.dialects import postgresql
from docshelf.sql.dialects.postgresql import PostgreSQL
from docshelf.sql.drivers import copy
from docshelf.sql.rows import WriteStamp
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.statements import recorded_statements
from tests.support.waiting import wait_until

MANY = postgresql._COPY_FROM_ROWS
ODD = ["", "a\tb\\n\n", "é\u202e😀", "\x7f\u0085", "%s {} $1 :x", "NULL", "\\N", "x" * 20_000]
EVERYTHING = """SELECT collection, key, source, value, value_hash, checksum, content_type, encoding, version,
    created_at = updated_at AS at_once FROM docshelf_entries ORDER BY key, source"""


@pytest.fixture
def location(pg_location: Location) -> Location:
    return pg_location


@pytest.fixture
def engine(location: Location, new_engine: Callable[..., Engine]) -> Engine:
    return new_engine(location)


def rows_of(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        found = connection.execute(text(EVERYTHING))
        return [tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row) for row in found]


def items() -> list[Item]:
    """Of every kind of row: odd texts in every column, no value, a version, a checksum of its own."""
    values: list[Any] = [*ODD, b"\0\xff", b"", {"mtime": 1, "text": "\ud800\0"}, None, 2**80]
    odd = [
        Item(f"{n}{text[:200]}", value, f"s{text[:200]}" if n % 2 else "", text[:200] if n % 3 else None)
        for n, (text, value) in enumerate(zip(ODD * 2, values, strict=False))
    ]
    return odd + [Item(f"k{number}", {"n": number}) for number in range(MANY)]


def test_a_copied_row_is_that_of_an_insert(new_face: Callable[..., Face], engine: Engine) -> None:
    face = new_face(hash_exclude=("mtime",))
    face.setup()
    with recorded_statements() as sent:
        report = face.conditional_mset(items())
    assert not any("INSERT" in statement for statement in sent)
    assert report.counts == {"INS": len(items()), "UPD": 0, "SKIP": 0, "DEL": 0}
    copied = rows_of(engine)
    order = [entry.key for entry in face.source_entries([""])[0]]
    face.clear()
    for item in items():
        face.conditional_mset([item])
    assert rows_of(engine) == copied
    assert [entry.key for entry in face.source_entries([""])[0]] == order
    assert face.verify() == []


def test_only_new_rows_are_copied(face: Face) -> None:
    face.mset({f"k{number}": "old" for number in range(0, 2 * MANY, 2)})
    report = face.conditional_mset({f"k{number}": "new" for number in range(2 * MANY)})
    assert [change.op for change in report] == ["UPD", "INS"] * MANY
    assert set(face.mget([f"k{number}" for number in range(2 * MANY)])) == {"new"}


@pytest.mark.no_citus("the lock is waited for on a worker, which the coordinator does not show")
def test_an_entry_that_another_writer_inserted_in_between_is_not_lost(
    location: Location, face: Face, engine: Engine
) -> None:
    face.setup()
    mine = {f"k{number}": "mine" for number in range(2 * MANY)}
    with engine.connect() as connection, ThreadPoolExecutor(1) as thread:
        with DocShelf(engine=engine) as other:
            other.bind(connection).mset({"k3": "theirs", "k4": "mine"})
            writing = thread.submit(face.conditional_mset, mine)
            wait_until(lambda: _waits_for_another(engine), "the copy waits for the other's transaction")
            connection.commit()
        report = {change.key: change.op for change in writing.result()}
    assert (report["k3"], report["k4"], report["k5"]) == ("UPD", "SKIP", "INS")
    assert set(face.mget(list(mine))) == {"mine"}


def test_what_the_caller_rolls_back_is_gone(new_engine: Callable[..., Engine], location: Location) -> None:
    engine = new_engine(location)
    with DocShelf(engine=engine) as shelf:
        shelf.setup()
        many = {f"k{number}": number for number in range(MANY)}
        with engine.connect() as connection:
            assert shelf.bind(connection).conditional_mset(many).counts["INS"] == MANY
            assert shelf.bind(connection).get("k1") == 1
            connection.rollback()
        assert shelf.count() == 0
        with engine.begin() as connection:
            shelf.bind(connection).mset(many)
        assert shelf.count() == MANY


def test_a_connection_without_a_transaction_is_written_to_as_well(
    new_engine: Callable[..., Engine], location: Location
) -> None:
    engine = new_engine(location, isolation_level="AUTOCOMMIT")
    with DocShelf(engine=engine) as shelf, engine.connect() as connection:
        shelf.setup()
        many = {f"k{number}": number for number in range(MANY)}
        assert shelf.bind(connection).conditional_mset(many).counts["INS"] == MANY
        assert shelf.count() == MANY


@pytest.mark.no_citus("it has no triggers on distributed tables")
def test_rows_that_a_trigger_keeps_out_are_not_reported_as_written(face: Face, engine: Engine) -> None:
    face.setup()
    with engine.begin() as connection:
        connection.execute(text(_KEEPS_OUT))
        connection.execute(
            text("CREATE TRIGGER t BEFORE INSERT ON docshelf_entries FOR EACH ROW EXECUTE FUNCTION keeps_out()")
        )
    report = face.conditional_mset({f"k{number}": number for number in range(MANY)})
    assert [change.key for change in report if change.op == "SKIP"] == ["k7"]
    assert face.get("k7") is None
    assert face.count() == MANY - 1


def test_rows_that_a_copy_cannot_write_give_the_error_of_the_insert(face: Face, engine: Engine) -> None:
    face.setup()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE docshelf_entries ADD CONSTRAINT short CHECK (length(key) < 5)"))
    with pytest.raises(DatabaseError, match="short"):
        face.mset({f"long {number}": number for number in range(MANY)})
    assert face.count() == 0
    face.mset({f"k{number}": number for number in range(MANY)})
    assert face.count() == MANY


_KEEPS_OUT = """CREATE FUNCTION keeps_out() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.key = 'k7' THEN RETURN NULL; END IF; RETURN NEW; END $$"""


def _waits_for_another(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid' AND query LIKE 'COPY%'"
        return bool(connection.scalar(text(waiting)))


@pytest.mark.no_citus("engines with another encoding are refused")
@pytest.mark.parametrize("encoding", ["utf8", "latin1"])
def test_keys_are_stored_alike_with_any_client_encoding(
    location: Location, encoding: str, new_engine: Callable[..., Engine]
) -> None:
    engine = new_engine(location, client_encoding=encoding)
    values = {f"\u00fc{number}": "\u00e9" for number in range(2 * MANY)}
    with DocShelf(engine=engine, collection="encoded") as shelf, DocShelf(location.url, "encoded") as plain:
        assert shelf.conditional_mset(values).counts["INS"] == len(values)
        assert shelf.mget(list(values)) == plain.mget(list(values)) == list(values.values())
        assert plain.conditional_mset(values).counts["SKIP"] == len(values)


def test_own_connections_send_utf8_whatever_the_url_the_environment_and_the_role_say(
    location: Location, mode: str, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    url = make_url(location.sync_url)
    options = f"{url.query.get('options', '')} -cclient_encoding=latin1"
    for query in ({}, {"client_encoding": "latin1"}, {"options": options}):
        face = Face(DocShelf(url.update_query_dict(query), "encoded"), mode, loop)
        face.set("\u4e00", "\u4e01")  # latin1 lacks both
        assert list(face.yield_keys()) == ["\u4e00"]
        face.close()


def test_calls_that_read_the_same_clock_do_not_both_insert(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    face.mset({"a": 1})
    begin, stamps = PostgreSQL.begin_write, []

    def same_time(self: PostgreSQL, *args: Any, **options: Any) -> WriteStamp:
        stamp = begin(self, *args, **options)
        stamps.append(stamp)
        return stamp._replace(now=stamps[0].now)

    monkeypatch.setattr(PostgreSQL, "begin_write", same_time)
    assert face.conditional_set("b", 1) == ("b", "INS")
    assert face.conditional_set("b", 2) == ("b", "UPD")
    assert face.conditional_mset({"b": 3, "c": 3}).counts == {"INS": 1, "UPD": 1, "SKIP": 0, "DEL": 0}


def test_a_connection_lost_before_a_copy_is_retried(
    face: Face, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.setup()
    copy = PostgreSQL._copy
    killed: list[int] = []

    def lost(self: PostgreSQL, connection: Any, *args: Any) -> bool:
        if not killed:
            killed.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed[0]})
        return copy(self, connection, *args)

    monkeypatch.setattr(PostgreSQL, "_copy", lost)
    assert face.conditional_mset({f"k{number}": number for number in range(MANY)}).counts["INS"] == MANY
    assert killed


def test_a_cancelled_copy_is_cancelled_and_leaves_a_store_that_works(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = copy.copier
    tasks: list[asyncio.Task[Any]] = []

    def cancelling(*args: Any) -> Any:
        copy = original(*args)

        def cancelled(statement: str, data: bytes) -> int:
            if tasks:
                tasks.pop().cancel()  # heard at its first wait, when some of the data are on their way
            assert copy is not None
            return copy(statement, data)

        return cancelled

    async def main() -> None:
        async with DocShelf(location.url) as shelf:
            await shelf.asetup()
            monkeypatch.setattr(postgresql, "copier", cancelling)
            values = {f"k{number}": f"{number}" * 4_000 for number in range(1_500)}
            task = asyncio.create_task(shelf.amset(values))
            tasks.append(task)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await shelf.acount() == 0
            await shelf.amset(values)
            assert await shelf.acount() == len(values)

    asyncio.run(main())


def test_a_copy_that_took_too_long_is_not_begun_again_another_way(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    face.setup()

    def slow(*_args: Any) -> Any:
        def fail(statement: str, data: bytes) -> int:
            error = psycopg2.Error("canceling statement due to statement timeout")
            error.sqlstate = "57014"  # type: ignore[attr-defined] # what the other drivers' errors have
            raise error

        return fail

    monkeypatch.setattr(postgresql, "copier", slow)
    with recorded_statements() as sent, pytest.raises(DatabaseError, match="statement timeout"):
        face.mset({f"k{number}": number for number in range(MANY)})
    assert not any("unnest" in statement and "INSERT" in statement for statement in sent)
    assert face.count() == 0
