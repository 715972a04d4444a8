"""Creates SQLAlchemy engines from URLs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

from docshelf.engines.url import Target
from docshelf.errors import ConfigurationError
from docshelf.sql.drivers.reads import DOCSHELF_ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

_ENGINE_OPTIONS: Final[dict[str, Any]] = {
    "isolation_level": "AUTOCOMMIT",
    "hide_parameters": True,
    "execution_options": {DOCSHELF_ENGINE: True},
}
# As many connections as SQLAlchemy allows by default, opened on demand. Unlike its default, this keeps more than five
# of them open: with 64 tasks, reopening connections took three quarters of the time.
_POOL_OPTIONS: Final[dict[str, Any]] = {"pool_size": 15, "max_overflow": 0, "pool_use_lifo": True}
# How many seconds SQLite waits for another writer.
_SQLITE_TIMEOUT: Final = 60


def make_engine(target: Target, *, pooler: bool) -> Engine:
    """An engine for sync calls."""
    if target.dialect == "postgresql":
        engine = create_engine(
            target.sync_url,
            **_ENGINE_OPTIONS,
            **_POOL_OPTIONS,
            **_driver_options(target, pooler=pooler),
        )
        _tune_psycopg(engine)
        return engine
    options: dict[str, Any] = {}
    if target.memory:
        # The connection is the database: threads share the only one and take turns.
        options = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 300}
    engine = create_engine(
        target.sync_url,
        **_ENGINE_OPTIONS,
        connect_args={"timeout": _SQLITE_TIMEOUT, "check_same_thread": False},
        **options,
    )
    if not target.memory:
        event.listen(engine, "connect", _use_wal)
    return engine


def make_async_engine(target: Target, *, pooler: bool) -> AsyncEngine:
    """An engine for async calls."""
    from sqlalchemy.ext.asyncio import create_async_engine  # imports the ORM, 0.1 s: only when it is needed

    assert target.async_url is not None
    options = dict(target.async_options)
    if target.async_url.drivername.endswith("+psycopg"):
        options |= _driver_options(target, pooler=pooler).get("connect_args", {})
    elif pooler:
        # No named statements: one prepared in this transaction may not exist on the server of the next.
        options |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        }
    engine = create_async_engine(target.async_url, connect_args=options, **_ENGINE_OPTIONS, **_POOL_OPTIONS)
    _tune_psycopg(engine.sync_engine)
    return engine


def _driver_options(target: Target, *, pooler: bool) -> dict[str, Any]:
    # After some uses psycopg 3 prepares a statement by name. Behind a pooler in transaction mode that fails.
    is_psycopg = target.sync_url.drivername.endswith("+psycopg")
    return {"connect_args": {"prepare_threshold": None}} if is_psycopg and pooler else {}


def _tune_psycopg(engine: Engine) -> None:
    if engine.driver not in ("psycopg", "psycopg_async"):
        return
    from psycopg.types.array import ListBinaryDumper

    def send_arrays_as_binary(connection: Any, _record: Any) -> None:
        # An array of bytea was written at 35 thousand rows per second as binary, and at 10 thousand as text.
        getattr(connection, "_connection", connection).adapters.register_dumper(list, ListBinaryDumper)

    event.listen(engine, "connect", send_arrays_as_binary)


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
