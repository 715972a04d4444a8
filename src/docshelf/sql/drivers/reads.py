"""Reads through the driver itself: what SQLAlchemy's cursors and results add is half of the time of a small read.

Of reading one entry, PostgreSQL 18, microseconds: asyncpg 186 by `Connection.execute`, 134 so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy.util import await_only

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

Rows = Iterable[Sequence[Any]]
# What engines that are nobody else's say of themselves: their connections commit each statement, unless told otherwise.
OWN_ENGINE: Final = "docshelf_own_engine"
# States of a connection that failed, and of a server that goes down.
_LOST: Final = ("08", "57P0")
_EVENTS: Final = ("before_execute", "after_execute", "before_cursor_execute", "after_cursor_execute")


class Plan(NamedTuple):
    """A statement as a driver takes it.

    Attributes:
        sql: with the driver's placeholders.
        order: of the parameters; None where they go by name.
        constants: parameters that are the statement's own.
        fetch: the driver's own connection, sql and parameters -> rows.
    """

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]
    fetch: Callable[[Any, str, Any], Rows]


def plan_for(connection: Connection, statement: Select[Any]) -> Plan | None:
    """How to run a statement on the driver of this connection; None for a driver that is not known.

    The statement's columns and parameters have to be of types that need nothing done to them.
    """
    dialect = connection.dialect
    fetch = _FETCH.get((dialect.driver, dialect.is_async))
    if fetch is None:
        return None
    compiled = statement.compile(dialect=dialect)
    order: Any = getattr(compiled, "positiontup", None)
    return Plan(str(compiled), None if order is None else tuple(order), compiled.params, fetch)


def can_use_driver(connection: Connection) -> bool:
    """True where nobody but docshelf made the engine, and nobody watches statements."""
    if OWN_ENGINE not in connection.get_execution_options():
        return False
    engine = connection.engine
    watched = any(getattr(engine.dispatch, event) for event in _EVENTS)
    return not watched and not engine.logger.isEnabledFor(logging.INFO)


def fetched(connection: Connection, plan: Plan, parameters: Mapping[str, Any]) -> Rows | None:
    """The rows; None if that went wrong, and SQLAlchemy is to run the statement again and to say how.

    Within a transaction the server answers nothing more after an error of its own, so that is raised as it is. Only
    where the connection may be lost is it SQLAlchemy that has to notice.
    """
    named = {**plan.constants, **parameters}
    values = named if plan.order is None else [named[name] for name in plan.order]
    try:
        with driver_call(connection):
            return plan.fetch(connection.connection.driver_connection, plan.sql, values)
    except Exception as exc:
        state = sql_state(exc)
        if connection.in_transaction() and state is not None and not state.startswith(_LOST):
            raise
        return None


@contextmanager
def driver_call(connection: Connection) -> Iterator[None]:
    """Around calls of the driver itself: as SQLAlchemy has it, nobody gets a connection with half an answer in it."""
    try:
        yield
    except Exception:
        raise
    except BaseException:  # interrupted or cancelled
        if connection.dialect.name != "sqlite":  # which gives whole answers, and may be a database in memory
            connection.invalidate()
        raise


def sql_state(error: BaseException) -> str | None:
    """The five characters that a PostgreSQL server gives an error, from whichever driver it comes."""
    state: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state


def _sqlite3(driver: Any, sql: str, values: Sequence[Any]) -> Rows:
    rows: Rows = driver.execute(sql, values).fetchall()
    return rows


def _psycopg2(driver: Any, sql: str, values: Mapping[str, Any]) -> Rows:
    # All is here when it returns. Rows made one by one are no work for the garbage collector, which looks again and
    # again at ten thousand of them with memoryviews inside: a third of the time of a sync that finds nothing to do.
    cursor = driver.cursor()
    cursor.execute(sql, {name: _literal(value) if type(value) is list else value for name, value in values.items()})
    rows: Rows = cursor
    return rows


def _literal(texts: list[str]) -> str:
    """An array as one literal: what psycopg2 makes of a list, the server takes three times as long to parse."""
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return f'{{"{joined}"}}' if texts else "{}"


def _psycopg(driver: Any, sql: str, values: Mapping[str, Any]) -> Rows:
    with driver.cursor(binary=True) as cursor:
        rows: Rows = cursor.execute(sql, values).fetchall()
    return rows


def _psycopg_async(driver: Any, sql: str, values: Mapping[str, Any]) -> Rows:
    async def fetch() -> Rows:
        async with driver.cursor(binary=True) as cursor:
            await cursor.execute(sql, values)
            rows: Rows = await cursor.fetchall()
        return rows

    return await_only(fetch())


def _asyncpg(driver: Any, sql: str, values: Sequence[Any]) -> Rows:
    rows: Rows = await_only(driver.fetch(sql, *values))
    return rows


_FETCH: Final[Mapping[tuple[str, bool], Callable[[Any, str, Any], Rows]]] = {
    ("pysqlite", False): _sqlite3,
    ("psycopg2", False): _psycopg2,
    ("psycopg", False): _psycopg,
    ("psycopg", True): _psycopg_async,
    ("psycopg_async", True): _psycopg_async,
    ("asyncpg", True): _asyncpg,
}
