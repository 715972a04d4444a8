"""Injects faults into every operation, and counts what they cost: rows lost or duplicated, connections leaked.

`tests/faults/test_injected.py` runs a few of them, `make faults` many, which writes the table of docs/faults.md.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url

from docshelf import DocShelf, DocShelfError, Entry, Finding, Health, Report, Source, Stats
from tests.support.face import Face, Loop
from tests.support.operations import BY_NAME, OPERATIONS, Operation, fill
from tests.support.proxy import Proxy
from tests.support.tables import TABLES, Held, held_connections
from tests.support.waiting import wait_until

State = Counter[tuple[Any, ...]]
NAME: Final = "docshelf faults"
# The shortest time, in seconds, over which the moments of a fault are spread.
_SPREAD: Final = 0.004


@dataclass
class Tally:
    """What a fault cost.

    Attributes:
        fault: its name, a key of `FAULTS`.
        where: the database and how it was called.
        times: how often it was injected.
        met: how often the call had not ended when the fault came.
        failed: how many calls raised an error of docshelf; or said, as `health` and `diagnose` do, that the
            database did not answer.
        lost, duplicated: rows that the call's caller has to expect and that are not there, and the other way around;
            rows that a read returned are counted too.
        leaked: connections that stayed out of their pool, and sessions of the server that outlived the store.
        operations: the names of those that it was injected into.
        notes: what was wrong, for a reader of the figures.
    """

    fault: str
    where: str
    times: int = 0
    met: int = 0
    failed: int = 0
    lost: int = 0
    duplicated: int = 0
    leaked: int = 0
    operations: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass
class Normal:
    """How an operation goes without a fault: the tables before and after, what it returns, how long it takes."""

    before: State
    after: State
    result: Any
    seconds: float


class Stage:
    """A place for tables where faults are injected, and an undisturbed view of it."""

    def __init__(self, url: str) -> None:
        """Take a fresh place: a URL with a search path of its own, or the path of an SQLite file."""
        self.url = url
        self.is_sqlite = "://" not in url
        sync_url = f"sqlite:///{url}" if self.is_sqlite else make_url(url).set(drivername="postgresql+psycopg2")
        self._engine = create_engine(sync_url)
        self._loop = Loop()
        self._shelf = DocShelf(url)
        self._shelf.setup()
        self.normal = {operation.name: self._undisturbed(operation) for operation in OPERATIONS}

    def reset(self) -> None:
        """Bring the tables back to the state before each operation."""
        with self._engine.begin() as connection:
            for table in (TABLES.entries, TABLES.sources, TABLES.collections):
                connection.execute(table.delete())
        fill(self._face())

    def state(self) -> State:
        """The rows, without what differs between two runs: times and numbers."""
        e, s = TABLES.entries.c, TABLES.sources.c
        with self._engine.connect() as connection:
            entries = connection.execute(select(e.collection, e.key, e.source, e.value, e.value_hash, e.version))
            sources = connection.execute(select(s.collection, s.source, s.fingerprint, s.metadata))
            return Counter([("entry", *row) for row in entries] + [("source", *row) for row in sources])

    def sessions(self) -> list[int]:
        """The server's processes for the stores that faults were injected into."""
        if self.is_sqlite:
            return []
        query = text("SELECT pid FROM pg_stat_activity WHERE application_name = :name")
        with self._engine.connect() as connection:
            return list(connection.scalars(query, {"name": NAME}))

    def terminate(self) -> None:
        """Kill these processes."""
        query = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name")
        with self._engine.begin() as connection:
            connection.execute(query, {"name": NAME})

    def close(self) -> None:
        self._shelf.close()
        self._loop.close()
        self._engine.dispose()

    def _face(self) -> Face:
        """An object of its own for each call, because `rename_collection` changes the object that it is called on."""
        return Face(self._shelf.view(), "sync", self._loop)

    def _undisturbed(self, operation: Operation) -> Normal:
        self.reset()
        before, begun = self.state(), time.perf_counter()
        result = plain(operation.call(self._face()))
        seconds = time.perf_counter() - begun
        return Normal(before, self.state(), result, seconds)


def plain(result: Any) -> Any:
    """A result without what differs between two runs."""
    if isinstance(result, Report):
        return [tuple(change) for change in result]
    if isinstance(result, Stats):
        return result.entries, result.sources
    if isinstance(result, Entry):
        return result.key, result.source, result.value, result.version
    if isinstance(result, Health):
        return result.ok, result.problem, result.database, result.schema_version
    if isinstance(result, Finding):
        return result.subject, result.state
    if isinstance(result, dict):
        return {key: plain(value) for key, value in result.items()}
    if isinstance(result, Source):
        return result.source, result.entries, result.fingerprint
    return [plain(one) for one in result] if isinstance(result, list) else result


Strike = Callable[[Operation, float], tuple[Any, bool]]
"""(operation, moment from 0 to 1) -> what the call returned or raised, and whether the fault met it."""
# The call was neither acknowledged nor refused: its process was killed, or it was cancelled.
UNKNOWN: Final = object()


def _named(url: str) -> str:
    named = make_url(url).update_query_dict({"application_name": NAME})
    return named.render_as_string(hide_password=False)


def _called(face: Face, operation: Operation) -> Any:
    try:
        return operation.call(face)
    except DocShelfError as exc:
        return exc


@contextmanager
def _killed_backend(stage: Stage, mode: str) -> Iterator[Strike]:
    loop = Loop()
    shelf = DocShelf(_named(stage.url))

    def strike(operation: Operation, moment: float) -> tuple[Any, bool]:
        face = Face(shelf.view(), mode, loop)
        face.get("k")
        ended, met = threading.Event(), []

        def terminate() -> None:
            met.append(not ended.is_set())
            stage.terminate()

        timer = threading.Timer(moment * _duration(stage, operation), terminate)
        timer.start()
        outcome = _called(face, operation)
        ended.set()
        timer.join()
        return outcome, met[0]

    yield strike
    Face(shelf, mode, loop).close()
    loop.close()


@contextmanager
def _cut_network(stage: Stage, mode: str) -> Iterator[Strike]:
    loop = Loop()
    with Proxy(make_url(_named(stage.url))) as proxy:
        shelf = DocShelf(proxy.url())

        def strike(operation: Operation, moment: float) -> tuple[Any, bool]:
            face = Face(shelf.view(), mode, loop)
            if operation.name not in messages:
                face.get("k")
                before = proxy.messages
                _called(face, operation)
                messages[operation.name] = proxy.messages - before
                stage.reset()
                face = Face(shelf.view(), mode, loop)
            face.get("k")
            proxy.cut_after(int(moment * messages[operation.name]))
            outcome = _called(face, operation)
            met = not proxy.is_armed
            proxy.disarm()
            return outcome, met

        messages: dict[str, int] = {}
        yield strike
        Face(shelf, mode, loop).close()
    loop.close()


def _work(url: str, name: str, pipe: Any) -> None:
    """What a process does that will be killed."""
    face = Face(DocShelf(url), "sync", Loop())
    face.get("k")
    pipe.send("ready")
    BY_NAME[name].call(face)
    pipe.send("done")
    pipe.recv()


@contextmanager
def _killed_process(stage: Stage, _mode: str) -> Iterator[Strike]:
    context = multiprocessing.get_context("fork")
    url = stage.url if stage.is_sqlite else _named(stage.url)

    def strike(operation: Operation, moment: float) -> tuple[Any, bool]:
        pipe, other = context.Pipe()
        victim = context.Process(target=_work, args=(url, operation.name, other))
        victim.start()
        other.close()
        with pipe:
            assert pipe.recv() == "ready"
            done = pipe.poll(moment * _duration(stage, operation))
            victim.kill()
            victim.join()
            wait_until(lambda: not stage.sessions(), "the server notices that the process is gone")
        return UNKNOWN, not done

    yield strike


@contextmanager
def _cancelled_call(stage: Stage, _mode: str) -> Iterator[Strike]:
    loop = Loop()
    shelf = DocShelf(stage.url if stage.is_sqlite else _named(stage.url))

    async def call(operation: Operation) -> Any:
        result = getattr(shelf.view(), operation.async_name)(*operation.arguments)
        return [item async for item in result] if isinstance(result, AsyncIterator) else await result

    async def cancelled(operation: Operation, moment: float) -> tuple[Any, bool]:
        await shelf.aget("k")
        task = asyncio.ensure_future(call(operation))
        await asyncio.wait([task], timeout=moment * _duration(stage, operation))
        task.cancel()
        try:
            return await task, False
        except asyncio.CancelledError:
            return UNKNOWN, True
        except DocShelfError as exc:
            return exc, True

    yield lambda operation, moment: loop.run(cancelled(operation, moment))
    loop.run(shelf.aclose())
    loop.close()


def _duration(stage: Stage, operation: Operation) -> float:
    return max(_SPREAD, 1.5 * stage.normal[operation.name].seconds)


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        how: how it is injected, for the page.
        modes: the ways to call that it can hit; it hits SQLite too if `on_sqlite` is set.
    """

    how: str
    begin: Callable[[Stage, str], Any]
    modes: tuple[str, ...] = ("sync", "async")
    on_sqlite: bool = False


FAULTS: Final = {
    "killed server backend": Fault("`pg_terminate_backend` at a random moment of the call", _killed_backend),
    "cut network": Fault("a proxy cuts the connection after a random message of the server", _cut_network),
    "killed process": Fault("SIGKILL at a random moment of the call", _killed_process, modes=("sync",), on_sqlite=True),
    "cancelled call": Fault(
        "`task.cancel()` at a random moment of the call", _cancelled_call, modes=("async",), on_sqlite=True
    ),
}


def inject(stage: Stage, fault: str, mode: str, rounds: int, chance: random.Random) -> Tally:
    """Inject a fault into every operation, some times each, and count what it cost."""
    tally = Tally(fault, f"{'SQLite' if stage.is_sqlite else 'PostgreSQL'}, {mode}")
    with ExitStack() as stack:
        held: Held = stack.enter_context(held_connections())
        strike = stack.enter_context(FAULTS[fault].begin(stage, mode))
        for _ in range(rounds):
            for operation in OPERATIONS:
                stage.reset()
                out = held.number
                outcome, met = strike(operation, chance.random())
                tally.times += 1
                tally.met += met
                tally.operations.add(operation.name)
                with suppress(AssertionError):  # the thread of a cancelled call may still be on its way back
                    wait_until(lambda out=out: held.number <= out, "the connection is back in its pool", timeout=5)  # type: ignore[misc]
                _count(tally, stage, operation, outcome)
                if held.number > out:
                    tally.leaked += held.number - out
                    tally.notes.append(f"{operation.name}: a connection stayed out of its pool")
    try:
        wait_until(lambda: not stage.sessions(), "the sessions of the closed store end")
    except AssertionError:
        tally.leaked += len(stage.sessions())
        tally.notes.append("sessions outlived the store")
    return tally


def _tells_of_a_fault(outcome: Any) -> bool:
    """True if the answer of `health` or `diagnose` is that the database does not answer. They do not try again."""
    findings = outcome if isinstance(outcome, list) else []
    told = any(isinstance(one, Finding) and one.state == "problem" for one in findings)
    return told or (isinstance(outcome, Health) and not outcome.ok)


def _count(tally: Tally, stage: Stage, operation: Operation, outcome: Any) -> None:
    """Compare the tables, and what the call returned, with what its caller has to expect."""
    normal, found = stage.normal[operation.name], stage.state()
    failed = isinstance(outcome, DocShelfError) or _tells_of_a_fault(outcome)
    known = outcome is not UNKNOWN and not failed
    tally.failed += failed
    allowed = [normal.after] if known else [normal.before, normal.after]
    nearest = min(allowed, key=lambda state: (state - found).total() + (found - state).total())
    lost, duplicated = (nearest - found).total(), (found - nearest).total()
    if known and plain(outcome) != normal.result:
        tally.notes.append(f"{operation.name} returned {plain(outcome)!r:.200} and not {normal.result!r:.200}")
        size = len(outcome) if isinstance(outcome, list) else 0
        expected = len(normal.result) if isinstance(normal.result, list) else 0
        lost += max(1, expected - size) if size <= expected else 0
        duplicated += max(0, size - expected)
    if lost or duplicated:
        tally.notes.append(f"{operation.name}: {lost} lost, {duplicated} duplicated ({outcome!r:.100})")
    tally.lost += lost
    tally.duplicated += duplicated
