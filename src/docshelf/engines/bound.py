"""Performs steps in the caller's own connection and transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Connection

from docshelf.engines.base import Backend
from docshelf.engines.errors import translated_errors
from docshelf.engines.given import check_translation
from docshelf.errors import ArgumentTypeError, ConfigurationError, MissingEngineError
from docshelf.steps import Maintenance, Read, Write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from docshelf.sql.dialects.base import Dialect


class BoundBackend(Backend):
    """Performs steps in the caller's connection and transaction. Nothing is retried, committed or closed here."""

    def __init__(self, connection: Connection | AsyncConnection, dialect: Dialect) -> None:
        if not (isinstance(connection, Connection) or _is_async(connection)):
            raise ArgumentTypeError(
                f"the connection is a {type(connection).__name__}; give a SQLAlchemy Connection or AsyncConnection"
            )
        if connection.dialect.name != dialect.name:
            raise ConfigurationError(
                f"this store is for {dialect.name}, but the connection is for {connection.dialect.name}"
            )
        check_translation(_options_of(connection), dialect)
        super().__init__(dialect)
        self._connection = connection

    def _with_connection(self, step: Read | Write) -> Any:
        if not isinstance(self._connection, Connection):
            raise MissingEngineError(
                "this store is bound to an AsyncConnection; use its async methods (aget, async_, ...)"
            )
        with translated_errors():
            return step.run(self._connection)

    async def _awith_connection(self, step: Read | Write) -> Any:
        if isinstance(self._connection, Connection):
            raise MissingEngineError("this store is bound to a sync Connection; use its sync methods")
        with translated_errors():
            return await self._connection.run_sync(step.run)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a store bound to a connection stays in its process; make one from a url")

    def may_register(self, collection: str) -> bool:
        return False  # a missing right would abort the caller's transaction

    def _is_due(self, step: Maintenance) -> bool:
        return False  # the caller's transaction should not wait for it

    def __repr__(self) -> str:
        return "bound to a connection"


def _options_of(connection: Connection | AsyncConnection) -> Mapping[str, Any]:
    sync = connection if isinstance(connection, Connection) else connection.sync_connection
    return {} if sync is None else sync.get_execution_options()


def _is_async(connection: object) -> bool:
    from sqlalchemy.ext.asyncio import AsyncConnection

    return isinstance(connection, AsyncConnection)
