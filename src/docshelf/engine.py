"""How operations reach a database: the steps they are made of, engines, event loops, retries, errors.

An operation is a generator that yields steps and is sent their results; it does no I/O itself. `Backend.run` and
`Backend.arun` perform the steps, so each operation is written once and serves sync and async.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn

from docshelf.dialects.fetching import OWN_ENGINE, sql_state
from docshelf.errors import (
    AuthenticationError,
    ClosedError,
    ConfigurationError,
    DatabaseError,
    DocShelfError,
    MissingEngineError,
    TransientError,
    UnreachableError,
)
from docshelf.urls import Target, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from docshelf.dialects import Dialect

T = TypeVar("T")


@dataclass(frozen=True)
class Read:
    """A step that only reads, outside any transaction: one round trip a statement."""

    run: Callable[[Connection], Any]


@dataclass(frozen=True)
class Write:
    """A step that is one transaction. It may run again after a transient failure."""

    run: Callable[[Connection], Any]


@dataclass(frozen=True)
class Compute:
    """A step without I/O. A heavy one leaves the event loop to a thread."""

    run: Callable[[], Any]
    heavy: bool = True


@dataclass(frozen=True)
class Upkeep:
    """A step after rows were added: now and then something is done for the database's sake.

    Attributes:
        rows: how many were added.
        run: given the rows that were added since it last did anything, does what is due and returns None, or else the
            number of rows from which on it will be.
    """

    rows: int
    run: Callable[[Connection, int], int | None]


Step = Read | Write | Upkeep | Compute
Flow = Generator[Step, Any, T]

_ATTEMPTS: Final = 5
# Rows that are added before upkeep is thought of: fewer are read fast however the server goes about it.
_UPKEEP_FROM: Final = 1_000
_OWN: Final[dict[str, Any]] = {
    "isolation_level": "AUTOCOMMIT",
    "hide_parameters": True,
    "execution_options": {OWN_ENGINE: True},
}
# As many connections as SQLAlchemy allows by default, opened when they are needed at once; but those past the fifth are
# kept too: to open them again for each of 64 tasks took three quarters of the time.
_POOL: Final[dict[str, Any]] = {"pool_size": 15, "max_overflow": 0, "pool_use_lifo": True}
# Seconds that SQLite waits for another writer to finish.
_SQLITE_TIMEOUT: Final = 60


class Backend(ABC):
    """Performs the steps of operations against one database.

    Attributes:
        dialect: what kind of database it is.
        ready: the schema is known to be current.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.ready = False
        self._added_rows = 0
        self._upkeep_from = _UPKEEP_FROM

    def run(self, flow: Flow[T]) -> T:
        """Perform a flow to its end and return what it returns."""
        try:
            step = next(flow)
            while True:
                try:
                    result = self._perform(step)
                except BaseException as exc:
                    step = flow.throw(exc)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def arun(self, flow: Flow[T]) -> T:
        """As `run`, without blocking the event loop."""
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._aperform(step)
                except BaseException as exc:
                    step = flow.throw(exc)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Upkeep):
            if self._is_due(step):
                self._kept_up(self._connected(Write(lambda connection: step.run(connection, self._added_rows))))
            return None
        return step.run() if isinstance(step, Compute) else self._connected(step)

    async def _aperform(self, step: Step) -> Any:
        if isinstance(step, Upkeep):
            if self._is_due(step):
                self._kept_up(await self._aconnected(Write(lambda connection: step.run(connection, self._added_rows))))
            return None
        if not isinstance(step, Compute):
            return await self._aconnected(step)
        return await asyncio.to_thread(step.run) if step.heavy else step.run()

    def _is_due(self, step: Upkeep) -> bool:
        # Of two threads that count at once, one may lose its rows: no harm is done.
        self._added_rows += step.rows
        return self._added_rows >= self._upkeep_from

    def _kept_up(self, again_from: int | None) -> None:
        if again_from is None:
            self._added_rows, self._upkeep_from = 0, _UPKEEP_FROM
        else:
            self._upkeep_from = again_from

    @abstractmethod
    def _connected(self, step: Read | Write) -> Any: ...

    @abstractmethod
    async def _aconnected(self, step: Read | Write) -> Any: ...

    def check_open(self) -> None:
        """Raise a ClosedError if this backend was closed."""

    def close(self) -> None:
        """Close what this backend opened, if anything."""

    async def aclose(self) -> None:
        """As `close`."""


class BoundBackend(Backend):
    """Runs in the caller's own connection and transaction. Nothing is retried or closed: both are the caller's."""

    def __init__(self, connection: Connection | AsyncConnection, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._connection = connection

    def _connected(self, step: Read | Write) -> Any:
        if not isinstance(self._connection, Connection):
            raise MissingEngineError(
                "this store is bound to an AsyncConnection; use its async methods (aget, async_, ...)"
            )
        with translated_errors():
            return step.run(self._connection)

    async def _aconnected(self, step: Read | Write) -> Any:
        if isinstance(self._connection, Connection):
            raise MissingEngineError("this store is bound to a sync Connection; use its sync methods")
        with translated_errors():
            return await self._connection.run_sync(step.run)

    def _is_due(self, step: Upkeep) -> bool:
        return False  # a transaction of the caller's is no place for it

    def __repr__(self) -> str:
        return "bound to a connection"


class EngineBackend(Backend):
    """Runs on engines: the caller's, or its own, made on first use."""

    # Reads are one round trip, without a transaction. The levels are set on each connection that does not have them.
    _reading_isolation: IsolationLevel | None = "AUTOCOMMIT"
    _writing_isolation: IsolationLevel | None = None

    def __init__(self, dialect: Dialect, *, pooler: bool = False) -> None:
        super().__init__(dialect)
        # Whatever a given engine has: under the locks each statement has to see what was committed before it.
        self._writing_isolation = "READ COMMITTED" if dialect.name == "postgresql" else None
        self._pooler = pooler
        self._closed = False

    @abstractmethod
    def _engine(self) -> Engine: ...

    @abstractmethod
    def _async_engine(self) -> AsyncEngine: ...

    def _connected(self, step: Read | Write) -> Any:
        engine = self._engine()
        with suppress(TransientError), translated_errors():
            return self._once(engine, step)
        from tenacity import Retrying

        with _told_of_attempts():
            for attempt in Retrying(**_retry_options()):
                with attempt, translated_errors():
                    return self._once(engine, step)
        raise AssertionError("unreachable")

    async def _aconnected(self, step: Read | Write) -> Any:
        engine = self._async_engine()
        # The whole step in one greenlet: AsyncConnection makes one for each of its calls, some 40 µs each.
        with suppress(TransientError), translated_errors():
            return await greenlet_spawn(self._once, engine.sync_engine, step)
        from tenacity import AsyncRetrying

        with _told_of_attempts():
            async for attempt in AsyncRetrying(**_retry_options()):
                with attempt, translated_errors():
                    return await greenlet_spawn(self._once, engine.sync_engine, step)
        raise AssertionError("unreachable")

    def _once(self, engine: Engine, step: Read | Write) -> Any:
        isolation = self._isolation(step, engine.driver)
        with engine.connect() as opened:
            connection = opened.execution_options(isolation_level=isolation) if isolation else opened
            if isinstance(step, Read):
                return step.run(connection)  # if anything was begun, it ends with the connection
            with connection.begin():
                return step.run(connection)

    def _isolation(self, step: Read | Write, driver: str) -> IsolationLevel | None:
        """What to set for this step; None leaves the engine's own."""
        # asyncpg prepares and executes in two messages, which a pooler may give to two servers.
        if isinstance(step, Write) or (self._pooler and driver == "asyncpg"):
            return self._writing_isolation
        return self._reading_isolation

    def check_open(self) -> None:
        if self._closed:
            raise ClosedError("this store was closed; make a new DocShelf")


class GivenEngines(EngineBackend):
    """The caller's Engine, AsyncEngine, or both. They are never closed here."""

    def __init__(
        self, engine: Engine | None, async_engine: AsyncEngine | None, dialect: Dialect, *, pooler: bool
    ) -> None:
        super().__init__(dialect, pooler=pooler)
        self._given = engine
        self._given_async = async_engine

    def _engine(self) -> Engine:
        if self._given is None:
            raise MissingEngineError(
                "this store was given only an AsyncEngine; use its async methods, or give it engine= as well"
            )
        return self._given

    def _async_engine(self) -> AsyncEngine:
        if self._given_async is None:
            raise MissingEngineError(
                "this store was given only a sync Engine; use its sync methods, or give it async_engine= as well"
            )
        return self._given_async

    def close(self) -> None:
        self._closed = True

    async def aclose(self) -> None:
        self._closed = True

    def __repr__(self) -> str:
        engine = self._given if self._given is not None else self._given_async
        assert engine is not None
        return repr(without_secrets(engine.url))


class OwnEngines(EngineBackend):
    """Engines made from a URL on first use: one for sync, and one for each event loop that comes along."""

    def __init__(self, target: Target, dialect: Dialect, *, pooler: bool) -> None:
        super().__init__(dialect, pooler=pooler)
        # Our own connections autocommit, as most calls read, and to switch costs. SQLite's do even when they write:
        # there a transaction is what BEGIN IMMEDIATE begins.
        self._reading_isolation = None
        self._target = target
        self._forget()
        _own_engines.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._made: Engine | None = None
        self._made_async: dict[asyncio.AbstractEventLoop, _LoopEngine] = {}

    def after_fork(self) -> None:
        """Begin anew in the child; the parent's connections are left alone, without a word to the server."""
        if self._target.memory:
            self._lock = threading.Lock()  # a database in memory is copied with the process
            return
        engines = [self._made, *(made.engine.sync_engine for made in self._made_async.values())]
        for engine in engines:
            if engine is not None:
                _of_parent.append(engine.pool)
                engine.dispose(close=False)
        _of_parent.extend(self._made_async.values())
        self._forget()

    def _engine(self) -> Engine:
        with self._lock:
            if self._made is None:
                with _driver_errors():
                    self._made = _make_engine(self._target, pooler=self._pooler)
                # A store that nobody closes leaves no connection open behind it.
                weakref.finalize(self, self._made.dispose)
            return self._made

    def _async_engine(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        with self._lock:
            made = self._made_async.get(loop)
        if made is None:
            with _driver_errors():
                engine = _make_async_engine(self._target, pooler=self._pooler)
            made = _LoopEngine(engine, at_end=lambda: self._made_async.pop(loop, None))
            with self._lock:
                for other in [other for other in self._made_async if other.is_closed()]:
                    del self._made_async[other]
                self._made_async[loop] = made
        return made.engine

    async def _aconnected(self, step: Read | Write) -> Any:
        if self._target.async_url is None:
            # SQLite's own calls are short: a thread of the loop's executor costs 0.43 ms, aiosqlite 1.09.
            return await asyncio.to_thread(self._connected, step)
        return await super()._aconnected(step)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            engine, self._made = self._made, None
            engines = dict(self._made_async)
            self._made_async.clear()
        if engine is not None:
            engine.dispose()
        for loop, made in engines.items():
            made.close_from_outside(loop)

    async def aclose(self) -> None:
        with self._lock:
            made = self._made_async.pop(asyncio.get_running_loop(), None)
        if made is not None:
            await made.aclose()
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return repr(str(self._target))


class _LoopEngine:
    """An AsyncEngine that belongs to one event loop and is disposed when that loop ends.

    `asyncio.run` and its like end by closing the asynchronous generators that are still open; one of them, waiting
    here, disposes the engine while the loop can still talk to the server.
    """

    def __init__(self, engine: AsyncEngine, at_end: Callable[[], object]) -> None:
        self.engine = engine
        self._at_end = at_end
        self._guard: AsyncGenerator[None, None] = self._wait_for_end()
        # This runs to the `yield` without suspending, and by it the loop learns of the generator.
        with suppress(StopIteration):
            self._guard.__anext__().send(None)

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._at_end()
            await self.engine.dispose()

    async def aclose(self) -> None:
        await self._guard.aclose()

    def close_from_outside(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close from sync code, whatever the loop is doing."""
        if loop.is_closed():
            return
        if not loop.is_running():
            # In a thread of its own, because this one may be running another loop.
            with ThreadPoolExecutor(1) as closer:
                closer.submit(lambda: loop.run_until_complete(self.aclose())).result()
            return
        closing = asyncio.run_coroutine_threadsafe(self.aclose(), loop)
        try:
            inside = asyncio.get_running_loop() is loop
        except RuntimeError:
            inside = False
        if not inside:
            closing.result(timeout=10)


_own_engines: weakref.WeakSet[OwnEngines] = weakref.WeakSet()
# In the child of a fork: what holds the parent's connections. Nothing may collect them, as drivers would close them.
_of_parent: list[object] = []


def _after_fork() -> None:
    for engines in list(_own_engines):
        engines.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _retry_options() -> dict[str, Any]:
    """From the second attempt on: the first needs neither the counting nor tenacity, which is imported when needed."""
    from tenacity import retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return {
        "retry": retry_if_exception_type(TransientError),
        "stop": stop_after_attempt(_ATTEMPTS - 1),
        "wait": wait_random_exponential(multiplier=0.05, max=1.0),
        "reraise": True,
    }


@contextmanager
def _told_of_attempts() -> Iterator[None]:
    try:
        yield
    except TransientError as exc:
        if type(exc) is TransientError:
            exc.args = (f"still failing after {_ATTEMPTS} attempts: {exc}",)
        raise


def _make_engine(target: Target, *, pooler: bool) -> Engine:
    if target.dialect == "postgresql":
        engine = create_engine(
            target.sync_url,
            **_OWN,
            **_POOL,
            **_driver_options(target, pooler=pooler),
        )
        _tune_psycopg(engine)
        return engine
    options: dict[str, Any] = {}
    if target.memory:
        # One connection is the database, so one thread at a time has it.
        options = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 300}
    engine = create_engine(
        target.sync_url,
        **_OWN,
        connect_args={"timeout": _SQLITE_TIMEOUT, "check_same_thread": False},
        **options,
    )
    if not target.memory:
        event.listen(engine, "connect", _use_wal)
    return engine


def _make_async_engine(target: Target, *, pooler: bool) -> AsyncEngine:
    from sqlalchemy.ext.asyncio import create_async_engine  # which imports the ORM: 0.1 s for who needs it

    assert target.async_url is not None
    options = dict(target.async_options)
    if target.async_url.drivername.endswith("+psycopg"):
        options |= _driver_options(target, pooler=pooler).get("connect_args", {})
    elif pooler:
        # Unnamed statements only: a named one stays behind on a server that the next transaction does not get.
        options |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        }
    engine = create_async_engine(target.async_url, connect_args=options, **_OWN, **_POOL)
    _tune_psycopg(engine.sync_engine)
    return engine


def _driver_options(target: Target, *, pooler: bool) -> dict[str, Any]:
    # psycopg 3 prepares a statement by name after some uses; a pooler in transaction mode loses it.
    is_psycopg = target.sync_url.drivername.endswith("+psycopg")
    return {"connect_args": {"prepare_threshold": None}} if is_psycopg and pooler else {}


def _tune_psycopg(engine: Engine) -> None:
    if engine.driver not in ("psycopg", "psycopg_async"):
        return
    from psycopg.types.array import ListBinaryDumper

    def send_arrays_as_binary(connection: Any, _record: Any) -> None:
        # As text, an array of bytea went in at 10 thousand rows a second against 35.
        getattr(connection, "_connection", connection).adapters.register_dumper(list, ListBinaryDumper)

    event.listen(engine, "connect", send_arrays_as_binary)


def _use_wal(connection: Any, _record: Any) -> None:
    # Readers and the writer do not wait for each other. The mode stays with the file.
    cursor = connection.cursor()
    try:
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
    finally:
        cursor.close()


@contextmanager
def _driver_errors() -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        extra = " (pip install 'docshelf[psycopg]')" if "psycopg" in str(exc) else ""
        raise ConfigurationError(f"the driver of this URL is not installed: {exc}{extra}") from exc


# Failures that may pass: serialization, deadlock, lock not available, the server going down or coming up.
_TRANSIENT_STATES: Final = frozenset(("40001", "40P01", "55P03", "57P01", "57P02", "57P03"))
_AUTHENTICATION: Final = re.compile(
    r"password authentication failed|no password supplied|authentication failed|role .* does not exist", re.IGNORECASE
)
_NO_CONNECTION: Final = re.compile(
    r"could not (connect|translate|receive|send)|"
    r"connection (to server|refused|timed? ?out|reset|failed|is bad|was closed|is closed)|"
    r"server closed the connection|timeout expired|SSL connection has been closed|"
    r"the connection is lost|failed to resolve host",
    re.IGNORECASE,
)
# libpq gives no state for what a server answers to a login; these answers may pass, the others will not.
_REFUSED: Final = re.compile(r"FATAL:(?!.*(starting up|shutting down|recovery|too many|connection slots|terminating))")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what SQLAlchemy or a driver raises into docshelf's own errors."""
    try:
        yield
    except DocShelfError:
        raise
    except (SQLAlchemyError, OSError, asyncio.TimeoutError) as exc:
        raise _translated(exc) from exc
    except Exception as exc:
        if not _is_of_driver(exc):
            raise
        raise _translated(exc) from exc


def _is_of_driver(exc: Exception) -> bool:
    """Drivers' errors while connecting, or while a connection is switched, do not pass through SQLAlchemy."""
    return type(exc).__module__.partition(".")[0] in ("asyncpg", "psycopg", "psycopg2", "sqlite3")


def _translated(exc: Exception) -> DocShelfError:
    origin = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    state = sql_state(origin)
    message = str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
    message = re.sub(r"^<class '[^']*'>: ", "", message)
    lost = isinstance(exc, DBAPIError) and exc.connection_invalidated
    if state in ("28P01", "28000") or _AUTHENTICATION.search(message):
        return AuthenticationError(f"the server refused the login: {message}; check user and password", state)
    if state in _TRANSIENT_STATES or "database is locked" in message or "database table is locked" in message:
        return TransientError(message, state)
    lost = lost and not _REFUSED.search(message)
    if lost or isinstance(exc, OSError | asyncio.TimeoutError) or (state or "").startswith("08"):
        return UnreachableError(f"no connection to the database: {message}; check host, port and network", state)
    if state is None and _NO_CONNECTION.search(message) and not _REFUSED.search(message):
        return UnreachableError(f"no connection to the database: {message}; check host, port and network", state)
    return DatabaseError(f"{message}{_HINTS.get(state or message, '')}", state)


# What to do about what a server or SQLite says in so few words.
_HINTS: Final = {
    "3D000": "; create it, or name another in the url",
    "42501": "; grant this role SELECT, INSERT, UPDATE and DELETE on the tables and USAGE on their sequence",
    "unable to open database file": "; name a file in a folder that this process may write to",
    "file is not a database": "; name another file, or a new one",
}
