"""The base of what holds statements: each is built once, and small reads go to the driver itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam
from sqlalchemy.exc import DBAPIError

from docshelf.sql.drivers.reads import NOT_SUPPORTED, Rows, can_use_driver, fetch_by_driver, plan_for, sql_state

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

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

    def _rows_of_keys(
        self,
        connection: Connection,
        name: Hashable,
        columns: Callable[[], Sequence[Any]],
        parameters: Mapping[str, Any],
        keys: Sequence[str],
        *conditions: ColumnElement[bool],
        limited: bool = False,
    ) -> Rows:
        """The rows of some distinct keys, by one statement. `name` identifies the columns and the conditions.

        Args:
            columns: makes them, where the statement is built.
            parameters: those of the collection, the columns and the conditions.
            limited: no more rows than the parameter `limit` says.
        """
        dialect = self.dialect
        form = dialect.key_form(len(keys))

        def build() -> Select[Any]:
            statement = dialect.of_keys(form, columns(), *conditions)
            return statement.limit(bindparam("limit")) if limited else statement

        try:
            return self._rows(
                connection, (name, form, dialect.layout), build, {**parameters, **dialect.keys(form, keys)}
            )
        except DBAPIError as exc:
            if form != "each" or sql_state(exc.orig or exc) != NOT_SUPPORTED:
                raise
            with suppress(DBAPIError):  # in a transaction nothing can be read any more
                dialect.learn_layout(connection)
            if dialect.key_form(len(keys)) == form:
                raise
        # Another process has distributed the entries meanwhile.
        return self._rows_of_keys(connection, name, columns, parameters, keys, *conditions, limited=limited)
