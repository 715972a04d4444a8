"""The base of what holds statements: each is built once, and small reads go to the driver itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam

from docshelf.sql.drivers.reads import Rows, can_use_driver, fetch_by_driver, plan_for

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from docshelf.sql.dialects.base import Dialect


class Statements:
    """Statements of one set of tables on one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._entries = dialect.tables.entries
        self._of_collection = self._entries.c.collection == bindparam("collection")
        # Building a statement takes SQLAlchemy as long as the database needs to find a row: each is built once.
        self._cache: dict[Hashable, Any] = {}

    def _cached(self, name: Hashable, build: Callable[[], Any]) -> Any:
        statement = self._cache.get(name)
        if statement is None:
            statement = self._cache[name] = build()
        return statement

    def _rows(
        self, connection: Connection, name: Hashable, build: Callable[[], Select[Any]], parameters: Mapping[str, Any]
    ) -> Rows:
        """The rows of a cached statement. Its columns and parameters must need no type conversion."""
        statement = self._cached(name, build)
        if can_use_driver(connection):
            dialect = connection.dialect
            plan = self._cached((name, dialect.driver), lambda: plan_for(connection, statement))
            rows = None if plan is None else fetch_by_driver(connection, plan, parameters)
            if rows is not None:
                return rows
        return connection.execute(statement, parameters)
