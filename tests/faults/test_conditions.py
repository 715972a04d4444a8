"""Each condition of a server has one class, one rule of retries and one hint, on every driver, sync and async.

`docs/errors.md` shows the table; the last test compares it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, text

from docshelf import (
    AuthenticationError,
    DatabaseError,
    DocShelf,
    PoolTimeoutError,
    TooManyConnectionsError,
    TransientError,
    UnreachableError,
)
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.proxy import Proxy, fatal_error
from tests.support.public import ROOT
from tests.support.servers import PASSWORD_ROLE

PAGE = "docs/errors.md"
DRIVERS = ["postgresql", "postgresql+psycopg"]
NO, FIVE, WAIT = "no", "five attempts", "`retry_seconds`"
LOGIN, STATEMENT, SESSION = "login", "statement", "session"


class Case(NamedTuple):
    """A condition: what the server says and when, and what the caller gets.

    Attributes:
        when: in answer to a login, to a statement, or instead of an answer, with the end of the session.
    """

    name: str
    when: str
    state: str
    message: str
    error: type[DatabaseError]
    retried: str
    hint: str


POOLER = "pass pooler=True"
CASES = [
    Case("wrong password", LOGIN, "28P01", 'password authentication failed for user "ann"', AuthenticationError, NO,
         "check user and password"),
    Case("no rule for this client", LOGIN, "28000", 'no pg_hba.conf entry for host "10.0.0.1"', AuthenticationError, NO,
         "check user and password"),
    Case("PgBouncer refuses the login", LOGIN, "08P01", "SASL authentication failed", AuthenticationError, NO,
         "check user and password"),
    Case("no such database", LOGIN, "3D000", 'database "x" does not exist', DatabaseError, NO, "create it, or name"),
    Case("PgBouncer knows no such database", LOGIN, "08P01", "no such database: x", DatabaseError, NO,
         "create it, or name"),
    Case("too many clients", LOGIN, "53300", "sorry, too many clients already", TooManyConnectionsError, WAIT,
         "pool_size="),
    Case("only reserved connections left", LOGIN, "53300",
         "remaining connection slots are reserved for roles with the SUPERUSER attribute", TooManyConnectionsError,
         WAIT, "pool_size="),
    Case("PgBouncer's max_client_conn", LOGIN, "08P01", "no more connections allowed (max_client_conn)",
         TooManyConnectionsError, WAIT, "pool_size="),
    Case("Supavisor's limit", LOGIN, "XX000", "MaxClientsInSessionMode: max clients reached",
         TooManyConnectionsError, WAIT, "pool_size="),
    Case("PgBouncer's query_wait_timeout", SESSION, "08P01", "query_wait_timeout", TooManyConnectionsError, WAIT,
         "default_pool_size"),
    Case("PgBouncer cannot reach the server", LOGIN, "08P01", "pgbouncer cannot connect to server", UnreachableError,
         WAIT, "check host, port and network"),
    Case("PgBouncer waited for the server", LOGIN, "08P01", "client_login_timeout (server down)", UnreachableError,
         WAIT, "between the pooler and the server"),
    Case("the server starts", LOGIN, "57P03", "the database system is starting up", UnreachableError, WAIT,
         "try again when it is up"),
    Case("the server recovers", LOGIN, "57P03", "the database system is in recovery mode", UnreachableError, WAIT,
         "try again when it is up"),
    Case("the server stops", SESSION, "57P01", "terminating connection due to administrator command",
         UnreachableError, WAIT, "try again when it is up"),
    Case("a worker of Citus is down", STATEMENT, "08006",
         "connection to the remote node postgres@10.0.0.2:5432 failed with the following error: Connection refused",
         UnreachableError, WAIT, "try again when it is up"),
    Case("a worker of Citus is lost", STATEMENT, "XX000", "failure on connection marked as essential: 10.0.0.2:5432",
         UnreachableError, WAIT, "try again when it is up"),
    Case("a worker of Citus ends a session", STATEMENT, "XX000", "server closed the connection unexpectedly",
         UnreachableError, WAIT, "try again when it is up"),
    Case("a worker of Citus is lost during a COPY", STATEMENT, "58030",
         "failed to COPY to shard 102014 on 10.0.0.2:5432", UnreachableError, WAIT, "try again when it is up"),
    Case("a worker of Citus is out of connections", STATEMENT, "08006",
         "connection to the remote node postgres@10.0.0.2:5432 failed with the following error: FATAL:  sorry, too "
         "many clients already", TooManyConnectionsError, WAIT, "citus.max_adaptive_executor_pool_size"),
    Case("serialization failure", STATEMENT, "40001", "could not serialize access", TransientError, FIVE, ""),
    Case("conflict with recovery", STATEMENT, "40001", "canceling statement due to conflict with recovery",
         TransientError, FIVE, ""),
    Case("deadlock", STATEMENT, "40P01", "deadlock detected", TransientError, FIVE, ""),
    Case("lock time-out", STATEMENT, "55P03", "canceling statement due to lock timeout", TransientError, FIVE, ""),
    Case("statement of another client", STATEMENT, "26000", 'prepared statement "s1" does not exist', DatabaseError,
         NO, POOLER),
    Case("name of another client", STATEMENT, "42P05", 'prepared statement "s1" already exists', DatabaseError, NO,
         POOLER),
    Case("standby", STATEMENT, "25006", "cannot execute INSERT in a read-only transaction", DatabaseError, NO,
         "target_session_attrs=read-write"),
    Case("statement time-out", STATEMENT, "57014", "canceling statement due to statement timeout", DatabaseError, NO,
         "statement_timeout"),
    Case("disk full", STATEMENT, "53100", "could not extend file", DatabaseError, NO, "free space"),
    Case("missing right", STATEMENT, "42501", "permission denied for table docshelf_entries", DatabaseError, NO,
         "grant this role"),
    Case("row-level security", STATEMENT, "42501",
         'new row violates row-level security policy for table "docshelf_entries"', DatabaseError, NO,
         "a policy of row-level security refuses"),
    Case("broken constraint", STATEMENT, "23514", "violates check constraint", DatabaseError, NO, ""),
]  # fmt: skip
FAIL = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('attempts');
        RAISE EXCEPTION USING MESSAGE = '{message}', ERRCODE = '{state}';
    END $$
"""


@pytest.fixture(params=DRIVERS)
def drivername(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def far(proxy: Proxy, drivername: str, mode: str, loop: Loop) -> Iterator[Face]:
    """A store beyond the proxy that does not wait for lost servers."""
    face = Face(DocShelf(proxy.url(drivername), retry_seconds=0), mode, loop)
    yield face
    proxy.accept()
    face.close()


def caught(face: Face) -> DatabaseError:
    with pytest.raises(DatabaseError) as failure:
        face.set("k", "v")
    return failure.value


@pytest.mark.parametrize("case", [case for case in CASES if case.when == LOGIN], ids=lambda case: case.name)
def test_a_refused_login(proxy: Proxy, far: Face, case: Case) -> None:
    proxy.answer_logins(fatal_error(case.state, case.message))
    error = caught(far)
    assert type(error) is case.error
    assert case.message in str(error)
    assert case.hint in str(error)
    # libpq and asyncpg may each try with and without encryption.
    assert (proxy.attempts > 2) == (case.retried != NO)
    assert 1 <= proxy.attempts <= 10


@pytest.mark.parametrize("case", [case for case in CASES if case.when == SESSION], ids=lambda case: case.name)
def test_a_session_that_the_server_ends(proxy: Proxy, far: Face, case: Case) -> None:
    far.get("k")
    error = fatal_error(case.state, case.message)
    proxy.cut_after(0, error)
    proxy.answer_logins(error)
    failure = caught(far)
    assert type(failure) is case.error
    assert case.message in str(failure)
    assert case.hint in str(failure)
    proxy.accept()
    proxy.cut_after(0, error)
    far.set("k", "v")  # the connection is replaced
    assert not proxy.is_armed
    assert far.get("k") == "v"


@pytest.mark.no_citus("it has no triggers on distributed tables")
@pytest.mark.parametrize("case", [case for case in CASES if case.when == STATEMENT], ids=lambda case: case.name)
def test_a_refused_statement(proxy: Proxy, far: Face, new_engine: Callable[..., Engine], case: Case) -> None:
    far.get("k")
    engine = new_engine(Location("pg18", proxy.url("postgresql"), proxy.schema))
    with engine.begin() as connection:
        connection.execute(text("CREATE SEQUENCE attempts"))
        connection.exec_driver_sql(FAIL.format(message=case.message, state=case.state))
        connection.execute(text("CREATE TRIGGER t BEFORE INSERT ON docshelf_entries EXECUTE FUNCTION fail()"))
    error = caught(far)
    assert (type(error), error.sqlstate) == (case.error, case.state)
    assert case.message in str(error)
    assert case.hint in str(error)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT last_value FROM attempts")) == (1 if case.retried == NO else 5)
    engine.dispose()


def test_a_role_without_connections_left(
    new_location: Callable[[str], Location], new_engine: Callable[..., Engine], password_url: Any, drivername: str,
    mode: str, loop: Loop,
) -> None:  # fmt: skip
    # The same by a real server: its limit counts the connections of one role.
    engine = new_engine(new_location("pg18"))
    with engine.begin() as connection:
        connection.execute(text(f"ALTER ROLE {PASSWORD_ROLE} CONNECTION LIMIT 0"))
    try:
        face = Face(DocShelf(password_url.set(drivername=drivername)), mode, loop)
        error = caught(face)
        assert type(error) is TooManyConnectionsError
        assert "too many connections for role" in str(error)
        face.close()
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER ROLE {PASSWORD_ROLE} CONNECTION LIMIT -1"))


def test_a_pool_without_a_free_connection(location: Location, mode: str, loop: Loop) -> None:
    shelf = DocShelf(location.url, pool_size=1, pool_timeout=0.05, retry_seconds=0)
    face = Face(shelf, mode, loop)
    face.set("k", "v")
    backend: Any = shelf._backend
    uses_async = mode == "async" and location.dialect == "postgresql"

    async def hold() -> Any:
        return await backend._async_engine().connect()

    held = loop.run(hold()) if uses_async else backend._engine().connect()
    checkouts = held.engine.pool if not uses_async else held.sync_connection.engine.pool
    assert checkouts.checkedout() == 1
    with pytest.raises(PoolTimeoutError, match="raise pool_size=") as failure:
        face.get("k")
    assert not isinstance(failure.value, TransientError)
    assert "check host" not in str(failure.value)
    if uses_async:
        loop.run(held.close())
    else:
        held.close()
    assert face.get("k") == "v"
    face.close()


def test_two_calls_on_one_asyncpg_connection_name_the_mend(proxy: Proxy, loop: Loop) -> None:
    import asyncio

    from sqlalchemy.ext.asyncio import create_async_engine

    async def main(shelf: DocShelf) -> list[Any]:
        url = proxy.url("postgresql+asyncpg").partition("?")[0]
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            await connection.execute(text(f"SET search_path = {proxy.schema}"))
            bound = shelf.bind(connection)
            results = await asyncio.gather(
                *(bound.amset(dict.fromkeys(map(str, range(60)), n)) for n in range(3)), return_exceptions=True
            )
            await connection.invalidate()
        await engine.dispose()
        return results

    with DocShelf(proxy.url()) as shelf:
        shelf.setup()
        errors = [result for result in loop.run(main(shelf)) if isinstance(result, Exception)]
    assert errors
    assert {type(error) for error in errors} == {DatabaseError}
    assert any("bind a connection of its own to each task" in str(error) for error in errors)


def row_of(case: Case) -> str:
    """The row of a condition on the page."""
    says = case.message.replace("|", "\\|")
    hint = f"`{case.hint}`" if case.hint else ""
    return f"| {case.name} | {case.when} | {case.state} `{says}` | `{case.error.__name__}` | {case.retried} | {hint} |"


def test_the_page_lists_every_condition() -> None:
    table = "\n".join(map(row_of, CASES))
    assert table in (ROOT / PAGE).read_text("utf-8"), f"{PAGE} needs these rows:\n{table}"
