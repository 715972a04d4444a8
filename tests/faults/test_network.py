"""A failing network: what is repaired, what is retried, when retries end, and how many round trips calls take."""

from __future__ import annotations

import gc
import itertools
import logging
import operator
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from sqlalchemy import Engine, create_engine, event, text

from docshelf import DatabaseError, DocShelf, Item, Report, TransientError, UnreachableError
from docshelf.engines.base import EngineBackend
from docshelf.operations.repeatable import repeatable_write
from docshelf.steps import Write
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.operations import OPERATIONS, READS, WRITES, Operation, fill
from tests.support.proxy import Proxy
from tests.support.statements import recorded_statements
from tests.support.waiting import wait_until

OLD = {"a": "one", "b": "two", "c": "three"}
NEW = {"b": "changed", "c": "three", "d": "four"}


@pytest.fixture(params=["postgresql", "postgresql+psycopg"])
def drivername(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def far(proxy: Proxy, drivername: str, mode: str, loop: Loop) -> Iterator[Face]:
    """A store beyond the proxy. It tries five times and waits no longer."""
    face = Face(DocShelf(proxy.url(drivername), retry_seconds=0), mode, loop)
    yield face
    proxy.accept()
    face.close()


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What was healed leaves no error in the log, neither of a pool nor of an event loop."""
    yield
    gc.collect()  # a future whose exception nobody retrieved is logged when it is deleted
    errors = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)
              if record.levelno >= logging.ERROR]  # fmt: skip
    errors += [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == []


def said_of_waiting(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of waiting for a server, once for each wait. A warning for each retry stands beside it."""
    told = [record.getMessage() for record in caplog.records if record.name == "docshelf"]
    return [message for message in told if "Trying again for up to" in message]


def ops(report: Report) -> list[tuple[str, str]]:
    return [(change.key, change.op) for change in report]


# Round trips

# These count in one statement and list or measure in another, or look for the tables first; every other short read is
# one statement.
TWO_STATEMENTS = {"collections", "is_set_up", "sources", "stats"}
# These ask all that they examine.
EXAMINING = {"diagnose", "health"}


def test_a_read_on_a_warm_connection_is_one_round_trip_a_statement(
    far: Face, proxy: Proxy, subtests: pytest.Subtests
) -> None:
    fill(far)
    for operation in READS:
        if not operation.long and operation.name not in EXAMINING:
            with subtests.test(operation.name):
                for _ in range(7):  # asyncpg prepares a statement when it first runs, psycopg 3 at the sixth time
                    operation.call(far)
                before = proxy.round_trips
                operation.call(far)
                assert proxy.round_trips - before == (2 if operation.name in TWO_STATEMENTS else 1)


def test_a_read_of_several_keys_and_sources_is_one_round_trip(far: Face, proxy: Proxy) -> None:
    far.mset(OLD)
    reads: list[Callable[[], Any]] = [
        lambda: far.mget(["a", "b", "x"]),
        lambda: far.get_entry("a", source=""),
        lambda: far.mexists(["a", "x"]),
        lambda: far.pair_entries([("a", ""), ("x", "s")]),
        lambda: far.source_entries(["", "s"]),
    ]
    for read in reads:
        read()
        read()
        before = proxy.round_trips
        read()
        assert proxy.round_trips - before == 1


def test_an_unchanged_sync_is_one_round_trip(far: Face, proxy: Proxy) -> None:
    for _ in range(3):
        far.sync(OLD)
    before = proxy.round_trips
    assert far.sync(OLD).counts["SKIP"] == 3
    assert proxy.round_trips - before == 1


def test_the_round_trips_of_a_write_do_not_depend_on_its_size(far: Face, proxy: Proxy) -> None:
    counts = []
    for size in (*[60] * 9, 400):  # psycopg 3 prepares a statement when it runs for the sixth time
        before = proxy.round_trips
        far.mset({f"{size} {proxy.round_trips} {number}": number for number in range(size)})
        counts.append(proxy.round_trips - before)
    assert counts[-2] == counts[-1]


# Idle connections that were dropped


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda face: face.get("a"), "one"),
        (lambda face: list(face.yield_items()), list(OLD.items())),
        (lambda face: ops(face.sync(NEW)), [("b", "UPD"), ("c", "SKIP"), ("d", "INS"), ("a", "DEL")]),
        (lambda face: ops(face.mdelete(["a"])), [("a", "DEL")]),
        (lambda face: face.conditional_set("a", "two"), ("a", "UPD")),
    ],
    ids=["get", "yield_items", "sync", "mdelete", "conditional_set"],
)
def test_a_dropped_idle_connection_is_healed_by_the_next_call(
    far: Face, proxy: Proxy, call: Callable[[Face], Any], expected: Any
) -> None:
    far.sync(OLD)
    proxy.cut()
    assert proxy.cuts >= 1
    assert call(far) == expected


def test_every_operation_heals_a_dropped_idle_connection(far: Face, proxy: Proxy, subtests: pytest.Subtests) -> None:
    for operation in OPERATIONS:
        with subtests.test(operation.name):
            face = far.of(far.view(f"of {operation.name}"))
            fill(face)
            cuts = proxy.cuts
            proxy.cut()
            operation.call(face)
            assert proxy.cuts > cuts


def test_many_dropped_idle_connections_cost_the_next_call_one_retry(proxy: Proxy, drivername: str) -> None:
    with DocShelf(proxy.url(drivername)) as shelf:
        shelf.sync(OLD)
        meeting = threading.Barrier(6)

        def meet(*_: Any) -> None:
            meeting.wait(20)

        event.listen(Engine, "before_cursor_execute", meet)
        try:
            with ThreadPoolExecutor(6) as threads:
                assert list(threads.map(shelf.get, ["a"] * 6)) == ["one"] * 6
        finally:
            event.remove(Engine, "before_cursor_execute", meet)
        assert proxy.attempts == 6
        proxy.cut()
        assert shelf.get("a") == "one"
        assert proxy.attempts == 7


# Cuts in the middle


def messages_of_a_sync(far: Face, proxy: Proxy) -> int:
    """How many messages the server sends when OLD becomes NEW, on warm connections."""
    for _ in range(2):
        far.sync(OLD)
        before = proxy.messages
        far.sync(NEW)
    return proxy.messages - before


def test_a_sync_cut_at_any_message_is_retried_and_ends_right(far: Face, proxy: Proxy) -> None:
    wrong = {}
    for messages in range(0, messages_of_a_sync(far, proxy), 3):
        far.sync(OLD)
        proxy.cut_after(messages)
        far.sync(NEW)
        assert not proxy.is_armed
        if dict(far.yield_items()) != NEW:
            wrong[messages] = dict(far.yield_items())
    assert wrong == {}


def test_a_sync_whose_commit_was_not_answered_reports_what_it_did(far: Face, proxy: Proxy) -> None:
    # The first attempt wrote everything, the second finds nothing to do. The report must still list the changes.
    wrong = {}
    last = messages_of_a_sync(far, proxy)
    for messages in range(last - 4, last):
        far.sync(OLD)
        proxy.cut_after(messages)
        report = ops(far.sync(NEW))
        assert not proxy.is_armed
        if report != [("b", "UPD"), ("c", "SKIP"), ("d", "INS"), ("a", "DEL")]:
            wrong[messages] = report
    assert wrong == {}


def lose_first_answer(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The next write is committed, and its answer lost. The list holds that step from then on."""
    run_step = EngineBackend._run_on_connection
    lost: list[Any] = []

    def once(self: EngineBackend, engine: Any, step: Any) -> Any:
        done = run_step(self, engine, step)
        if isinstance(step, Write) and not lost:
            lost.append(step)
            raise UnreachableError("the server committed, but the answer was lost")
        return done

    monkeypatch.setattr(EngineBackend, "_run_on_connection", once)
    return lost


UNANSWERED: dict[str, tuple[Callable[[Face], Any], Any]] = {
    "sync": (lambda face: ops(face.sync(NEW)), [("b", "UPD"), ("c", "SKIP"), ("d", "INS"), ("a", "DEL")]),
    "conditional_mset": (
        lambda face: ops(face.conditional_mset(NEW)),
        [("b", "UPD"), ("c", "SKIP"), ("d", "INS")],
    ),
    "move": (
        lambda face: [tuple(change) for change in face.conditional_mset([("a", "one", "new")], move=True)],
        [("a", "INS", "new"), ("a", "DEL", "")],
    ),
    "mdelete": (lambda face: ops(face.mdelete(["a", "b", "x"])), [("a", "DEL"), ("b", "DEL")]),
    "delete_source": (lambda face: ops(face.delete_source("")), [("a", "DEL"), ("b", "DEL"), ("c", "DEL")]),
    "clear": (lambda face: face.clear(), 3),
    "rename_collection": (lambda face: face.rename_collection("renamed"), 3),
    "set_versions": (lambda face: ops(face.set_versions({"a": "v", "x": "v"})), [("a", "UPD"), ("x", "INS")]),
    "set_versions, expected": (
        lambda face: ops(face.set_versions({"a": "v", "b": "v"}, expected={"a": "1", "b": "2"})),
        [("a", "UPD")],
    ),
}


@pytest.mark.parametrize(("call", "result"), UNANSWERED.values(), ids=UNANSWERED)
def test_a_call_whose_commit_was_not_answered_reports_what_it_did(
    far: Face, monkeypatch: pytest.MonkeyPatch, call: Callable[[Face], Any], result: Any
) -> None:
    far.sync([Item(key, value, version="1") for key, value in OLD.items()])
    lost = lose_first_answer(monkeypatch)
    assert call(far) == result
    assert lost


# Where the tables exist, `setup` writes nothing; `test_wherever_the_first_use_is_cut_...` is about the first time.
@pytest.mark.parametrize(
    "operation", [one for one in WRITES if one.name != "setup"], ids=lambda operation: operation.name
)
def test_every_write_whose_commit_was_not_answered_returns_what_it_returns_otherwise(
    proxy: Proxy, drivername: str, mode: str, loop: Loop, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    calm, shaken = (
        Face(DocShelf(proxy.url(drivername), table_prefix=prefix), mode, loop) for prefix in ("calm", "shaken")
    )
    for face in (calm, shaken):
        fill(face)
    result = operation.call(calm)
    lost = lose_first_answer(monkeypatch)
    assert operation.call(shaken) == result
    assert lost
    assert list(shaken.yield_items()) == list(calm.yield_items())
    for face in (calm, shaken):
        face.close()


def test_a_repeatable_write_merges_the_attempts_that_reached_their_commit() -> None:
    results: list[Any] = [{1}, OSError("the connection broke within the transaction"), {2}, set()]

    def run(_connection: Any) -> set[int]:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return set(result)

    step, connection = repeatable_write(run, operator.or_), cast("Any", None)
    assert step.run(connection) == {1}
    with pytest.raises(OSError, match="broke"):
        step.run(connection)
    assert step.run(connection) == {1, 2}
    assert step.run(connection) == {1, 2}


def test_a_read_cut_at_any_message_is_retried(far: Face, proxy: Proxy) -> None:
    far.sync(OLD)
    for messages in itertools.count():
        proxy.cut_after(messages)
        assert far.mget(["a", "b"]) == ["one", "two"]
        if proxy.is_armed:
            break
    assert messages > 3


def test_a_first_use_cut_at_any_message_creates_the_tables_once(
    proxy: Proxy, drivername: str, mode: str, loop: Loop
) -> None:
    for messages in range(0, 120, 15):
        face = Face(DocShelf(proxy.url(drivername), table_prefix=f"cut{messages}"), mode, loop)
        proxy.cut_after(messages)
        face.sync(OLD)
        proxy.disarm()
        assert dict(face.yield_items()) == OLD
        face.close()


def test_a_bound_sync_cut_at_any_message_is_not_retried(proxy: Proxy, drivername: str) -> None:
    engine = create_engine(proxy.url(drivername if "+" in drivername else f"{drivername}+psycopg2"))
    with DocShelf(proxy.url(drivername)) as shelf:
        shelf.sync(OLD)
        for messages in itertools.count():
            connection = engine.connect()
            connection.execute(text("SELECT 1"))
            attempts = proxy.attempts
            proxy.cut_after(messages)
            failed = False
            try:
                shelf.bind(connection).sync(NEW)
            except UnreachableError:
                failed = True
            was_cut = not proxy.is_armed
            proxy.disarm()
            assert (failed, proxy.attempts) == (was_cut, attempts)
            connection.invalidate()
            connection.close()
            assert dict(shelf.yield_items()) == OLD
            if not was_cut:
                break
    engine.dispose()


# Gone for good


@pytest.mark.parametrize("call", [lambda face: face.get("a"), lambda face: face.sync(NEW)], ids=["read", "write"])
def test_a_server_gone_for_good_is_unreachable_after_a_bounded_number_of_attempts(
    far: Face, proxy: Proxy, call: Callable[[Face], Any]
) -> None:
    far.sync(OLD)
    proxy.refuse()
    proxy.cut()
    attempts = proxy.attempts
    with pytest.raises(UnreachableError, match="check host, port and network"):
        call(far)
    # libpq and asyncpg may each try with and without encryption.
    assert 2 <= proxy.attempts - attempts <= 10
    proxy.accept()
    assert dict(far.yield_items()) == OLD


def test_a_server_that_is_back_before_the_last_retry_is_used(far: Face, proxy: Proxy) -> None:
    far.sync(OLD)
    proxy.refuse(times=2)
    proxy.cut()
    assert far.sync(NEW).counts == {"INS": 1, "UPD": 1, "SKIP": 1, "DEL": 1}


@pytest.mark.parametrize("call", [lambda face: face.get("a"), lambda face: face.sync(NEW)], ids=["read", "write"])
def test_the_restart_of_a_server_reaches_no_caller(
    proxy: Proxy, drivername: str, mode: str, loop: Loop, caplog: pytest.LogCaptureFixture, call: Callable[[Face], Any]
) -> None:
    face = Face(DocShelf(proxy.url(drivername)), mode, loop)
    face.sync(OLD)
    attempts = proxy.attempts
    proxy.refuse(times=11)  # more than five attempts, also where a driver tries with and without encryption
    proxy.cut()
    assert call(face)
    assert proxy.attempts - attempts > 11
    [told] = said_of_waiting(caplog)
    assert "Trying again for up to 30 seconds (retry_seconds)" in told
    face.close()


def test_waiting_for_a_server_ends(proxy: Proxy, drivername: str, mode: str, loop: Loop) -> None:
    face = Face(DocShelf(proxy.url(drivername), retry_seconds=2), mode, loop)
    face.sync(OLD)
    proxy.refuse()
    proxy.cut()
    with pytest.raises(UnreachableError, match=r"check host, port and network \(tried \d+ times in 2 seconds\)"):
        face.get("a")
    proxy.accept()
    assert face.get("a") == "one"
    face.close()


def test_a_first_connection_is_not_waited_for(
    proxy: Proxy, drivername: str, mode: str, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    face = Face(DocShelf(proxy.url(drivername)), mode, loop)
    proxy.refuse()
    with pytest.raises(UnreachableError, match="check host, port and network"):
        face.get("a")
    assert proxy.attempts <= 10
    assert said_of_waiting(caplog) == []
    proxy.accept()
    face.close()


def test_a_server_that_ends_a_session_is_healed(
    pg_location: Location,
    watch: Callable[[Location], tuple[str, Callable[[], set[int]]]],
    new_engine: Callable[..., Engine],
    mode: str,
    loop: Loop,
) -> None:
    # As after a restart, or when an administrator cleans up: 57P01.
    url, pids = watch(pg_location)
    face = Face(DocShelf(url), mode, loop)
    face.sync(OLD)
    [pid] = pids()
    with new_engine(pg_location).connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    wait_until(lambda: not pids(), "the session has ended")
    assert face.sync(NEW).counts["SKIP"] == 1
    assert dict(face.yield_items()) == NEW
    face.close()


# Locks


@pytest.fixture
def rival(pg_location: Location, new_engine: Callable[..., Engine]) -> Engine:
    """An engine of another client on the same tables."""
    return new_engine(pg_location)


class AfterFailures:
    """Calls something once the database has refused a statement so many times."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.failures = 0
        self._number = number
        self._act = act

    def _note(self, _context: Any) -> None:
        self.failures += 1
        if self.failures == self._number:
            self._act()

    def __enter__(self) -> AfterFailures:
        event.listen(Engine, "handle_error", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "handle_error", self._note)


def impatient(location: Location) -> str:
    return location.url + "%20-clock_timeout%3D20ms"


def test_a_lock_time_out_is_retried_until_the_lock_is_free(
    pg_location: Location, rival: Engine, mode: str, loop: Loop
) -> None:
    face = Face(DocShelf(impatient(pg_location)), mode, loop)
    face.sync(OLD)
    with rival.connect() as connection:
        face.bind(connection).sync({"z": 1})
        with AfterFailures(2, connection.rollback) as watcher:
            report = face.sync(NEW)
    assert watcher.failures == 2
    assert report.counts == {"INS": 1, "UPD": 1, "SKIP": 1, "DEL": 1}
    face.close()


def test_a_lock_that_is_never_free_is_a_transient_error_after_a_bounded_number_of_attempts(
    pg_location: Location, rival: Engine, mode: str, loop: Loop
) -> None:
    face = Face(DocShelf(impatient(pg_location)), mode, loop)
    face.sync(OLD)
    with rival.begin() as connection:
        face.bind(connection).sync({"z": 1})
        with AfterFailures(100, connection.rollback) as watcher, pytest.raises(TransientError) as failure:
            face.sync(NEW)
        assert (failure.value.sqlstate, watcher.failures) == ("55P03", 5)
        assert "after 5 attempts" in str(failure.value)
        assert not isinstance(failure.value, UnreachableError)
    assert dict(face.yield_items()) == {"z": 1}
    face.close()


FAILING = [
    "CREATE SEQUENCE failures",  # a rollback does not reset it
    """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('failures') <= 3 THEN RAISE EXCEPTION 'failing' USING ERRCODE = '{state}'; END IF;
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER failing AFTER INSERT OR UPDATE OR DELETE ON docshelf_entries EXECUTE FUNCTION fail()",
]


@pytest.mark.no_citus("it has no triggers on distributed tables")
@pytest.mark.parametrize("state", ["40001", "40P01", "55P03", "57P01", "57P03"])
def test_a_failure_that_may_pass_is_retried(
    pg_location: Location, rival: Engine, mode: str, loop: Loop, state: str
) -> None:
    face = Face(DocShelf(pg_location.url), mode, loop)
    face.sync(OLD)
    with rival.begin() as connection:
        for statement in FAILING:
            connection.execute(text(statement.format(state=state)))
    report = face.sync(NEW)
    assert ops(report) == [("b", "UPD"), ("c", "SKIP"), ("d", "INS"), ("a", "DEL")]
    assert dict(face.yield_items()) == NEW
    face.close()


@pytest.mark.no_citus("the lock is waited for on a worker, which the coordinator does not show")
def test_a_write_waits_for_a_row_that_is_locked_by_others(
    pg_location: Location, rival: Engine, new_engine: Callable[..., Engine]
) -> None:
    # The other client does not take docshelf's locks. The level of this engine would make the wait fail.
    shelf = DocShelf(engine=new_engine(pg_location, isolation_level="REPEATABLE READ"))
    shelf.sync(OLD)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%docshelf_entries%'"

    def blocked() -> bool:
        with rival.connect() as connection:
            return bool(connection.scalar(text(waiting)))

    with ThreadPoolExecutor(1) as threads:
        with rival.begin() as connection:
            connection.execute(text("UPDATE docshelf_entries SET version = 'x' WHERE key = 'b'"))
            pending = threads.submit(shelf.sync, NEW)
            wait_until(blocked, "the sync waits for the row")
        report = pending.result(30)
    assert ops(report) == [("b", "UPD"), ("c", "SKIP"), ("d", "INS"), ("a", "DEL")]
    assert dict(shelf.yield_items()) == NEW


def test_a_deadlock_reaches_no_caller_of_an_unbound_store(pg_location: Location, rival: Engine) -> None:
    # The rival has one source and wants the other. The store takes both in an order of its own: in some of these pairs
    # it has the other already, and PostgreSQL ends one of the two.
    deadlocks = 0
    with DocShelf(pg_location.url + "%20-cdeadlock_timeout%3D50ms") as shelf:
        shelf.setup()
        for number in range(8):
            first, second = f"first {number}", f"second {number}"
            both = [("k", "both", first), ("k", "both", second)]
            with (
                ThreadPoolExecutor(1) as threads,
                rival.connect() as connection,
                AfterFailures(100, lambda: None) as watcher,
            ):
                connection.execute(text("SET deadlock_timeout = '50ms'"))
                bound = shelf.bind(connection)
                bound.sync({"k": "rival"}, source=first)
                pending = threads.submit(shelf.sync, both, scope="sources")
                wait_until(lambda: _someone_waits(rival), "the store waits for the rival")
                try:
                    bound.sync({"k": "rival"}, source=second)
                    connection.commit()
                except TransientError as exc:
                    assert exc.sqlstate == "40P01"
                    connection.rollback()
                assert len(pending.result(30)) == 2
            deadlocks += watcher.failures
            assert shelf.get("k", source=first) == shelf.get("k", source=second) == "both"
    assert deadlocks > 0


def _someone_waits(engine: Engine) -> bool:
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.scalar(text(query)))


def test_a_statement_that_the_database_refuses_is_not_retried(
    pg_location: Location, rival: Engine, mode: str, loop: Loop
) -> None:
    face = Face(DocShelf(pg_location.url), mode, loop)
    face.sync(OLD)
    with rival.begin() as connection:
        connection.execute(text("ALTER TABLE docshelf_entries ADD CHECK (key <> 'd')"))
    with recorded_statements() as statements, pytest.raises(DatabaseError) as failure:
        face.sync(NEW)
    assert not isinstance(failure.value, TransientError)
    assert failure.value.sqlstate == "23514"
    assert sum("INSERT INTO" in statement for statement in statements) == 1
    assert dict(face.yield_items()) == OLD
    face.close()
