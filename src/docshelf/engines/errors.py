"""Translates errors of drivers and of SQLAlchemy into docshelf's own."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from docshelf.errors import AuthenticationError, DatabaseError, DocShelfError, TransientError, UnreachableError
from docshelf.sql.drivers.reads import sql_state

if TYPE_CHECKING:
    from collections.abc import Iterator

# Failures that may pass: serialization, deadlock, lock not available, the server stops or starts.
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
# libpq gives no SQLSTATE for a refused login. A refusal with one of these texts may pass; this matches all others.
_LOGIN_REFUSED: Final = re.compile(
    r"FATAL:(?!.*(starting up|shutting down|recovery|too many|connection slots|terminating))"
)


# What to do about some short messages, by SQLSTATE or by SQLite's text.
_HINTS: Final = {
    "3D000": "; create it, or name another database in the url",
    "42501": "; grant this role SELECT, INSERT, UPDATE and DELETE on the tables and USAGE on their sequence",
    "unable to open database file": "; name a file in a folder that this process may write to",
    "file is not a database": "; name another file, or a new one",
}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn errors of SQLAlchemy and of drivers into docshelf's own."""
    try:
        yield
    except DocShelfError:
        raise
    except (SQLAlchemyError, OSError, asyncio.TimeoutError) as exc:
        raise _translated(exc) from exc
    except Exception as exc:
        if not _is_driver_error(exc):
            raise
        raise _translated(exc) from exc


def _is_driver_error(exc: Exception) -> bool:
    """True for an error that SQLAlchemy did not wrap: drivers raise such while they connect or set a connection up."""
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
    lost = lost and not _LOGIN_REFUSED.search(message)
    if lost or isinstance(exc, OSError | asyncio.TimeoutError) or (state or "").startswith("08"):
        return UnreachableError(f"no connection to the database: {message}; check host, port and network", state)
    if state is None and _NO_CONNECTION.search(message) and not _LOGIN_REFUSED.search(message):
        return UnreachableError(f"no connection to the database: {message}; check host, port and network", state)
    return DatabaseError(f"{message}{_HINTS.get(state or message, '')}", state)
