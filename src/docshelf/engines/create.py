"""Creates SQLAlchemy engines from URLs."""

from __future__ import annotations

import math
import re
import secrets
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

from docshelf.engines.url import Target
from docshelf.errors import ConfigurationError
from docshelf.sql.drivers.reads import DOCSHELF_ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

_ENGINE_OPTIONS: Final[dict[str, Any]] = {
    "isolation_level": "AUTOCOMMIT",
    "hide_parameters": True,
    "execution_options": {DOCSHELF_ENGINE: True},
    "pool_use_lifo": True,
}
# As many connections as SQLAlchemy allows by default. Unlike its default, this keeps more than five of them open: with
# 64 tasks, reopening connections took three quarters of the time.
DEFAULT_POOL: Final[Mapping[str, Any]] = {"pool_size": 15, "max_overflow": 0, "pool_timeout": 30.0}
# Keys may hold any character. Citus alters others than ASCII in another encoding than UTF-8, which the environment, the
# role or the database may set. asyncpg asks for UTF-8 by itself.
_ENCODING: Final = "client_encoding"
# How many seconds SQLite waits for another writer.
_SQLITE_TIMEOUT: Final = 60


def pool_options(pool_size: int, max_overflow: int, pool_timeout: float) -> dict[str, Any]:
    """SQLAlchemy's options of a pool, checked."""
    for name, value, least in (("pool_size", pool_size, 1), ("max_overflow", max_overflow, 0)):
        if type(value) is not int or value < least:
            raise ConfigurationError(f"{name}={value!r}: give a whole number of {least} or more")
    check_seconds("pool_timeout", pool_timeout)
    return {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": pool_timeout}


def check_seconds(name: str, value: object) -> None:
    """Raise a ConfigurationError for an option that is no number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name}={value!r}: give a number of seconds, 0 or more")


def check_application_name(name: Any) -> str:
    """Raise a ConfigurationError for a name that the server would change."""
    if not isinstance(name, str) or not re.fullmatch(r"[\x20-\x7e]{1,63}", name):
        raise ConfigurationError(f"application_name={name!r}: give 1 to 63 printable ASCII characters")
    return name


def make_engine(target: Target, pool: Mapping[str, Any], application_name: str) -> Engine:
    """An engine for sync calls.

    Args:
        pool: SQLAlchemy's options of a pool.
        application_name: what `pg_stat_activity` shows, unless the target names something itself.
    """
    if target.dialect == "postgresql":
        options = _named(target.sync_options, target.sync_url, application_name)
        engine = create_engine(target.sync_url, connect_args=options, **_ENGINE_OPTIONS, **pool)
        _tune_psycopg(engine)
        return engine
    if target.memory:
        # The connection is the database: threads share the only one and take turns.
        pool = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 300}
    arguments = {"timeout": _SQLITE_TIMEOUT, "check_same_thread": False, **target.sync_options}
    engine = create_engine(target.sync_url, connect_args=arguments, **_ENGINE_OPTIONS, **pool)
    if not target.memory:
        event.listen(engine, "connect", _use_wal)
    return engine


def make_async_engine(target: Target, pool: Mapping[str, Any], application_name: str) -> AsyncEngine:
    """An engine for async calls. Arguments as for `make_engine`."""
    from sqlalchemy.ext.asyncio import create_async_engine  # imports the ORM, 0.1 s: only when it is needed

    assert target.async_url is not None
    options = dict(target.async_options)
    if target.async_url.drivername.endswith("+psycopg"):
        options = _named(options, target.async_url, application_name)
    else:
        given = {name: value for name, value in options.get("server_settings", {}).items() if name != _ENCODING}
        options["server_settings"] = {"application_name": application_name, **given}
        options.setdefault("connection_class", _connection_class())
    engine = create_async_engine(target.async_url, connect_args=options, **_ENGINE_OPTIONS, **pool)
    _tune_psycopg(engine.sync_engine)
    return engine


def _named(options: Mapping[str, Any], url: URL, application_name: str) -> dict[str, Any]:
    """Arguments for libpq, with the application's name where the URL gives none, and always in UTF-8."""
    given = url.query.get("fallback_application_name", application_name)
    named = {} if "application_name" in url.query else {"application_name": given}
    return {**named, **options, _ENCODING: "utf8"}


@cache
def _connection_class() -> type[Any]:
    """asyncpg's connection, with names of prepared statements that no other client uses.

    asyncpg counts them in each process: `__asyncpg_stmt_1__`. A pooler in transaction mode may send the name to a
    session where another client gave it to another statement. The answer would be the rows of that statement.
    """
    import asyncpg

    class Connection(asyncpg.Connection):  # type: ignore[misc,type-arg,unused-ignore]
        # asyncpg refuses other attributes: its class has slots, and its pool compares the class.
        __slots__ = ("_docshelf_token",)

        def _get_unique_id(self, prefix: str) -> str:
            token: str | None = getattr(self, "_docshelf_token", None)
            if token is None:
                token = self._docshelf_token = secrets.token_hex(8)
            return f"{super()._get_unique_id(prefix)}{token}"  # type: ignore[misc,unused-ignore]

    return Connection


def _tune_psycopg(engine: Engine) -> None:
    if engine.driver not in ("psycopg", "psycopg_async"):
        return
    from psycopg.types.array import ListBinaryDumper

    def tune(connection: Any, _record: Any) -> None:
        driver = getattr(connection, "_connection", connection)
        # An array of bytea was written at 35 thousand rows per second as binary, and at 10 thousand as text.
        driver.adapters.register_dumper(list, ListBinaryDumper)
        # psycopg counts the names of prepared statements from `_pg3_0` on each connection. A pooler in transaction mode
        # may send the name to a session where another client gave it to another statement. The answer would be the
        # rows of that statement. So start from a number that nobody else has, or prepare nothing.
        prepared: Any = getattr(driver, "_prepared", None)
        if hasattr(prepared, "_prepared_idx"):
            prepared._prepared_idx = secrets.randbits(62)
        else:
            driver.prepare_threshold = None

    event.listen(engine, "connect", tune)


def _use_wal(connection: Any, _record: Any) -> None:
    # With WAL, readers and the writer do not wait for each other. The mode is stored in the file.
    cursor = connection.cursor()
    try:
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
    finally:
        cursor.close()


@contextmanager
def driver_errors() -> Iterator[None]:
    """Turn the ImportError of a missing driver into a ConfigurationError."""
    try:
        yield
    except ImportError as exc:
        extra = " (pip install 'docshelf[psycopg]')" if "psycopg" in str(exc) else ""
        raise ConfigurationError(f"the driver of this URL is not installed: {exc}{extra}") from exc
