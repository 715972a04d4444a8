"""The base classes of everything that performs the steps of operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import greenlet_spawn

from docshelf.engines.errors import is_lost, translated_errors
from docshelf.engines.retry import Retries, note_retry
from docshelf.errors import ClosedError, TransientError
from docshelf.sql.drivers.reads import is_answer
from docshelf.steps import Compute, Flow, Maintenance, Read, Step, Write, arun_flow, run_flow

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncEngine

    from docshelf.sql.dialects.base import Dialect

T = TypeVar("T")

# No maintenance before this many rows were added: so few rows are read fast with any query plan.
_MAINTENANCE_FROM_ROWS: Final = 1_000


class Backend(ABC):
    """Performs the steps of operations on one database.

    Attributes:
        dialect: the statements of this kind of database.
        ready: True once the schema is known to be current.
        registered: the collections whose owner is known to be stored.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.ready = False
        self.registered: set[str] = set()
        # True if reads run outside any transaction, where PostgreSQL can create indexes without blocking writers.
        self.autocommits = False
        # True if the caller said that a connection pooler stands before the server.
        self.pooler = False
        self._added_rows = 0
        self._maintenance_from = _MAINTENANCE_FROM_ROWS

    def run(self, flow: Flow[T]) -> T:
        """Perform a flow to its end and return its result."""
        return run_flow(flow, self._perform)

    async def arun(self, flow: Flow[T]) -> T:
        """As `run`, without blocking the event loop."""
        return await arun_flow(flow, self._aperform)

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Maintenance):
            if self._is_due(step):
                self._set_maintenance(
                    self._with_connection(Write(lambda connection: step.run(connection, self._added_rows)))
                )
            return None
        return step.run() if isinstance(step, Compute) else self._with_connection(step)

    async def _aperform(self, step: Step) -> Any:
        if isinstance(step, Maintenance):
            if self._is_due(step):
                self._set_maintenance(
                    await self._awith_connection(Write(lambda connection: step.run(connection, self._added_rows)))
                )
            return None
        return await step.arun() if isinstance(step, Compute) else await self._awith_connection(step)

    def _is_due(self, step: Maintenance) -> bool:
        # Without a lock: if two threads count at once, one may be lost. That only delays maintenance.
        self._added_rows += step.rows
        return self._added_rows >= self._maintenance_from

    def _set_maintenance(self, due_from: int | None) -> None:
        if due_from is None:
            self._added_rows, self._maintenance_from = 0, _MAINTENANCE_FROM_ROWS
        else:
            self._maintenance_from = due_from

    @abstractmethod
    def _with_connection(self, step: Read | Write) -> Any: ...

    @abstractmethod
    async def _awith_connection(self, step: Read | Write) -> Any: ...

    def may_register(self, collection: str) -> bool:
        """True unless the owner of the collection is known to be stored."""
        return collection not in self.registered

    @property
    def pool_size(self) -> int | None:
        """How many connections this backend keeps at most; None if that is unknown."""
        return None

    def check_open(self) -> None:
        """Raise a ClosedError if this backend was closed."""

    def close(self) -> None:
        """Close the connections that this backend opened."""

    async def aclose(self) -> None:
        """As `close`."""


class EngineBackend(Backend):
    """Performs steps on SQLAlchemy engines, the caller's or its own."""

    # The isolation levels to set; None keeps that of the engine. A read is one round trip, without a transaction.
    _reading_isolation: IsolationLevel | None = "AUTOCOMMIT"
    _writing_isolation: IsolationLevel | None = None

    def __init__(self, dialect: Dialect, *, pooler: bool, retry_seconds: float) -> None:
        super().__init__(dialect)
        # Whatever the level of the engine: once the locks are held, a statement must see all commits before it.
        self._writing_isolation = "READ COMMITTED" if dialect.name == "postgresql" else None
        self._pooler = self.pooler = pooler
        self.autocommits = not pooler
        self._retry_seconds = retry_seconds
        # Nothing is waited for until a connection has succeeded once: the URL itself may be wrong.
        self._was_connected = False
        self._closed = False

    @abstractmethod
    def _engine(self) -> Engine: ...

    @abstractmethod
    def _async_engine(self) -> AsyncEngine: ...

    def _with_connection(self, step: Read | Write) -> Any:
        engine = self._engine()
        try:
            with translated_errors():
                return self._run_on_connection(engine, step)
        except TransientError as exc:
            note_retry(exc, step)
        from tenacity import Retrying

        retries = self._retries()
        with retries.count_attempts():
            for attempt in Retrying(**retries.options()):
                with attempt, translated_errors():
                    return self._run_on_connection(engine, step)
        raise AssertionError("unreachable")

    async def _awith_connection(self, step: Read | Write) -> Any:
        engine = self._async_engine()
        # The whole step runs in one greenlet. AsyncConnection makes one for each of its calls, 40 µs each.
        try:
            with translated_errors():
                return await greenlet_spawn(self._run_on_connection, engine.sync_engine, step)
        except TransientError as exc:
            note_retry(exc, step)
        from tenacity import AsyncRetrying

        retries = self._retries()
        with retries.count_attempts():
            async for attempt in AsyncRetrying(**retries.options()):
                with attempt, translated_errors():
                    return await greenlet_spawn(self._run_on_connection, engine.sync_engine, step)
        raise AssertionError("unreachable")

    def _retries(self) -> Retries:
        return Retries(self._retry_seconds if self._was_connected else 0)

    def _run_on_connection(self, engine: Engine, step: Read | Write) -> Any:
        isolation = self._isolation(step, engine.driver)
        with engine.connect() as opened:
            self._was_connected = True
            try:
                connection = opened.execution_options(isolation_level=isolation) if isolation else opened
                if isinstance(step, Read):
                    return step.run(connection)  # closing the connection ends a transaction, if one has begun
                with connection.begin():
                    return step.run(connection)
            except Exception as exc:
                _drop_if_lost(opened, exc)
                raise

    def _isolation(self, step: Read | Write, driver: str) -> IsolationLevel | None:
        """The isolation level to set for a step; None keeps that of the engine."""
        # asyncpg prepares and executes in two messages. Without a transaction a pooler may send them to two servers.
        if isinstance(step, Write) or (self._pooler and driver == "asyncpg"):
            return self._writing_isolation
        return self._reading_isolation

    def check_open(self) -> None:
        if self._closed:
            raise ClosedError("this store was closed; make a new DocShelf")


def pool_size_of(engine: Engine) -> int | None:
    """How many connections the pool of an engine keeps at most; None for a pool without a size."""
    size = getattr(engine.pool, "size", None)
    overflow = getattr(engine.pool, "_max_overflow", 0)
    return int(size() + max(0, overflow)) if callable(size) else None


def _drop_if_lost(connection: Connection, exc: Exception) -> None:
    """Give up a connection that an error ended. Else the pool would try to roll back, and log a traceback."""
    if connection.invalidated or not is_lost(exc):
        return
    if is_answer(getattr(exc, "orig", None) or exc):
        return  # the server has lost a connection of its own, such as Citus that to a worker
    if not isinstance(exc, DBAPIError):
        # SQLAlchemy did not see this error of the driver. It shall, so that it drops the other old connections too.
        with suppress(Exception):
            connection.exec_driver_sql("SELECT 1")
    if not connection.invalidated:
        connection.invalidate()
