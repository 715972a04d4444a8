"""Translates errors of drivers and of SQLAlchemy into docshelf's own: one table, for all drivers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from docshelf.errors import (
    AuthenticationError,
    DatabaseError,
    DocShelfError,
    PoolTimeoutError,
    TooManyConnectionsError,
    TransientError,
    UnreachableError,
)
from docshelf.sql.drivers.reads import sql_state

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Condition:
    """A kind of failure. It is retried if its class is a TransientError: see `docshelf.engines.retry`.

    Attributes:
        error: what the caller gets.
        lead: what the message begins with.
        hint: what the message ends with.
        states: the SQLSTATEs that tell it.
        text: what tells it where there is no SQLSTATE, or only a vague one.
    """

    error: type[DatabaseError]
    lead: str = ""
    hint: str = ""
    states: Collection[str] = ()
    text: str | None = None

    def matches(self, state: str | None, message: str) -> bool:
        """True for an error of this kind. libpq gives no SQLSTATE for a refused login; PgBouncer says 08P01 always."""
        if state in self.states:
            return True
        is_vague = state is None or state.startswith("08") or state in _VAGUE_STATES
        return is_vague and self.text is not None and re.search(self.text, message, re.IGNORECASE) is not None

    def told(self, message: str, state: str | None) -> DatabaseError:
        """The error to raise."""
        return self.error(f"{self.lead}{message}{self.hint}", state)


# Poolers (Supavisor) and Citus give these to errors of all kinds.
_VAGUE_STATES: Final = ("XX000", "58030")
_CHECK_NETWORK: Final = "; check host, port and network"
_LOST: Final = Condition(UnreachableError, "no connection to the database: ", _CHECK_NETWORK)
_POOL: Final = Condition(
    PoolTimeoutError,
    "no connection of this store's own pool became free: ",
    "; other calls of this process hold all of them. Find what they wait for, such as a lock, or raise pool_size= or "
    "pool_timeout=",
)
_OTHER: Final = Condition(DatabaseError)
_WORKER: Final = Condition(
    UnreachableError,
    "Citus has lost a worker: ",
    "; try again when it is up",
    text=r"connection to the remote node|connection marked as essential|failed to COPY to shard|"
    r"could not establish any connections to the node",
)
# The first that matches counts.
CONDITIONS: Final = (
    Condition(
        AuthenticationError,
        "the server refused the login: ",
        "; check user and password",
        ("28P01", "28000"),
        r"password authentication failed|no password supplied|authentication failed|role .* does not exist|"
        r"no pg_hba\.conf entry|no such user",
    ),
    Condition(
        DatabaseError,
        hint="; create it, or name another database in the url",
        states=("3D000",),
        text=r"database .* does not exist|no such database",
    ),
    Condition(
        TooManyConnectionsError,
        "the pooler has no server connection left: ",
        "; raise the pooler's pool (PgBouncer: default_pool_size), or find the transactions that hold its connections",
        text=r"query_wait_timeout|unable to check out (process|connection) from the pool",
    ),
    Condition(
        TooManyConnectionsError,
        "a worker of Citus has no connection left: ",
        "; each connection to the coordinator opens up to one for each shard on a worker: lower pool_size=, set "
        "citus.max_adaptive_executor_pool_size, or raise max_connections of the workers",
        text=r"remote node .*(too many (clients|connections)|connection slots are reserved)",
    ),
    Condition(
        TooManyConnectionsError,
        "no connection left: ",
        "; each process keeps up to pool_size= connections a store (default 15): lower it, give all stores of a "
        "process one shelf=, or put a pooler in front of the server",
        ("53300",),
        r"too many (clients|connections)|connection slots are reserved|no more connections allowed|max_client_conn|"
        r"max clients reached",
    ),
    _WORKER,
    Condition(
        UnreachableError,
        "the server starts, stops or recovers: ",
        "; try again when it is up",
        ("57P01", "57P02", "57P03", "57P05"),
        r"starting up|shutting down|recovery mode|not yet accepting connections|terminating connection",
    ),
    Condition(
        UnreachableError,
        "the pooler has no server: ",
        _CHECK_NETWORK + " between the pooler and the server",
        text=r"pgbouncer cannot connect to server|server login has been failing|server_login_retry|\(server down\)",
    ),
    Condition(TransientError, states=("40001", "40P01", "55P03")),
    Condition(
        TransientError,
        hint="; another process or thread keeps writing to this file",
        text=r"database (table )?is locked",
    ),
    Condition(
        DatabaseError,
        hint="; a pooler gave this session to another client: pass pooler=True",
        states=("26000", "42P05"),
        text=r"prepared statement .* (does not exist|already exists)|bind message (supplies|has)",
    ),
    Condition(
        DatabaseError,
        hint="; a connection serves one call at a time: bind a connection of its own to each task",
        text=r"another (operation|command) is (already )?in progress",
    ),
    Condition(
        DatabaseError,
        hint="; this is a standby or a read-only session: name the primary (target_session_attrs=read-write)",
        states=("25006",),
    ),
    Condition(
        DatabaseError, hint="; the limit is statement_timeout, or somebody cancelled the statement", states=("57014",)
    ),
    Condition(DatabaseError, hint="; free space on the server's disk", states=("53100",)),
    Condition(
        DatabaseError,
        "TLS to the server failed: ",
        "; check sslmode and the certificates of the url",
        text=r"certificate verify failed|does not support SSL|rejected SSL|SSL error: (?!.*closed)|SSL required|"
        r"root certificate file",
    ),
    Condition(
        DatabaseError,
        hint="; name a file in a folder that this process may write to, or add ?immutable=1 to the url of a file that "
        "no process writes: sqlite:///file.db?immutable=1",
        text=r"^unable to open database file",
    ),
    Condition(
        DatabaseError,
        hint="; to write, open the file without mode=ro, as a user who may write to it and to its folder; to read a "
        "file that no process writes, add ?immutable=1 to its url: sqlite:///file.db?immutable=1",
        text=r"^attempt to write a readonly database",
    ),
    Condition(DatabaseError, hint="; name another file, or a new one", text=r"^file is not a database"),
)
_POLICY: Final = Condition(
    DatabaseError,
    hint="; a policy of row-level security refuses what this role writes. Write rows that it allows, or change the "
    "policy",
)
_GRANT: Final = Condition(
    DatabaseError,
    hint="; grant this role SELECT, INSERT, UPDATE and DELETE on the tables and USAGE on their sequence",
)
_NO_CONNECTION: Final = re.compile(
    r"could not (connect|translate|receive|send)|"
    r"connection (to server|refused|timed? ?out|reset|failed|is bad|was closed|is closed)|"
    r"server closed the connection|timeout expired|SSL connection has been closed|"
    r"the connection is lost|failed to resolve host",
    re.IGNORECASE,
)
# libpq gives no SQLSTATE for a refused login.
_LOGIN_REFUSED: Final = re.compile(r"FATAL:")


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


def is_lost(exc: BaseException) -> bool:
    """True if the connection of this error cannot be used any more."""
    try:
        with translated_errors():
            raise exc
    except UnreachableError:
        return True
    except BaseException:
        return False


def _is_driver_error(exc: Exception) -> bool:
    """True for an error that SQLAlchemy did not wrap: drivers raise such while they connect or set a connection up."""
    return type(exc).__module__.partition(".")[0] in ("asyncpg", "psycopg", "psycopg2", "sqlite3")


def _translated(exc: Exception) -> DocShelfError:
    origin = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    state = sql_state(origin)
    text = re.sub(r"^<class '[^']*'>: ", "", str(origin).strip())
    message = text.splitlines()[0] if text else type(origin).__name__
    return _condition(exc, state, text).told(message, state)


def _condition(exc: Exception, state: str | None, text: str) -> Condition:
    if isinstance(exc, PoolTimeout):
        return _POOL
    if state == "42501":
        return _POLICY if "row-level security" in text else _GRANT
    for condition in CONDITIONS:
        if condition.matches(state, text):
            return condition
    if isinstance(exc, OSError | asyncio.TimeoutError) or (state or "").startswith("08"):
        return _LOST
    if state in _VAGUE_STATES and _NO_CONNECTION.search(text):
        return _WORKER  # the server has lost a connection of its own
    if _LOGIN_REFUSED.search(text):
        return _OTHER
    is_lost = isinstance(exc, DBAPIError) and exc.connection_invalidated
    return _LOST if is_lost or (state is None and _NO_CONNECTION.search(text)) else _OTHER
