"""What performs the steps of operations: one interface, and what all engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.util import greenlet_spawn

from docshelf.engines.errors import translated_errors
from docshelf.engines.retry import count_attempts, note_retry, retry_options
from docshelf.errors import ClosedError, TransientError
from docshelf.steps import Compute, Flow, Maintenance, Read, Step, Write, arun_flow, run_flow

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncEngine

    from docshelf.sql.dialects.base import Dialect

T = TypeVar("T")

# Rows that are added before upkeep is thought of: fewer are read fast however the server goes about it.
_MAINTENANCE_FROM: Final = 1_000


class Backend(ABC):
    """Performs the steps of operations against one database.

    Attributes:
        dialect: what kind of database it is.
        ready: the schema is known to be current.
        registered: the collections that are known to be written down as belonging to others.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.ready = False
        self.registered: set[str] = set()
        self._added_rows = 0
        self._maintenance_from = _MAINTENANCE_FROM

    def run(self, flow: Flow[T]) -> T:
        """Perform a flow to its end and return its result."""
        return run_flow(flow, self._perform)

    async def arun(self, flow: Flow[T]) -> T:
        """As `run`, without blocking the event loop."""
        return await arun_flow(flow, self._aperform)

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Maintenance):
            if self._is_due(step):
                self._maintained(self._connected(Write(lambda connection: step.run(connection, self._added_rows))))
            return None
        return step.run() if isinstance(step, Compute) else self._connected(step)

    async def _aperform(self, step: Step) -> Any:
        if isinstance(step, Maintenance):
            if self._is_due(step):
                self._maintained(
                    await self._aconnected(Write(lambda connection: step.run(connection, self._added_rows)))
                )
            return None
        return await step.arun() if isinstance(step, Compute) else await self._aconnected(step)

    def _is_due(self, step: Maintenance) -> bool:
        # Of two threads that count at once, one may lose its rows: no harm is done.
        self._added_rows += step.rows
        return self._added_rows >= self._maintenance_from

    def _maintained(self, again_from: int | None) -> None:
        if again_from is None:
            self._added_rows, self._maintenance_from = 0, _MAINTENANCE_FROM
        else:
            self._maintenance_from = again_from

    @abstractmethod
    def _connected(self, step: Read | Write) -> Any: ...

    @abstractmethod
    async def _aconnected(self, step: Read | Write) -> Any: ...

    def may_register(self, collection: str) -> bool:
        """True when it is not known that it is written down to which collection this one belongs."""
        return collection not in self.registered

    def check_open(self) -> None:
        """Raise a ClosedError if this backend was closed."""

    def close(self) -> None:
        """Close what this backend opened, if anything."""

    async def aclose(self) -> None:
        """As `close`."""


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
        try:
            with translated_errors():
                return self._once(engine, step)
        except TransientError as exc:
            note_retry(exc, step)
        from tenacity import Retrying

        with count_attempts():
            for attempt in Retrying(**retry_options()):
                with attempt, translated_errors():
                    return self._once(engine, step)
        raise AssertionError("unreachable")

    async def _aconnected(self, step: Read | Write) -> Any:
        engine = self._async_engine()
        # The whole step in one greenlet: AsyncConnection makes one for each of its calls, some 40 µs each.
        try:
            with translated_errors():
                return await greenlet_spawn(self._once, engine.sync_engine, step)
        except TransientError as exc:
            note_retry(exc, step)
        from tenacity import AsyncRetrying

        with count_attempts():
            async for attempt in AsyncRetrying(**retry_options()):
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
