"""Citus has lost a worker, and its coordinator says so on a connection that goes on.

A plain server says the same here, word for word, within a transaction only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from docshelf import DocShelf
from docshelf.errors import UnreachableError
from tests.support.face import Face, Loop
from tests.support.statements import recorded_statements

LOST = "connection to the remote node postgres@10.0.0.2:5432 failed with the following error: Connection refused"
# Fails as often as the sequence allows, and in transactions that hold the lock of a write.
FAIL = """
    CREATE SEQUENCE failures MINVALUE 0 START 0;
    CREATE FUNCTION within_write(times int, message text, state text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
            AND nextval('failures') < times THEN
            RAISE EXCEPTION USING MESSAGE = message, ERRCODE = state;
        END IF;
        RETURN true;
    END $$;
    CREATE FUNCTION copied() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM within_write(2, 'failed to COPY to shard 102014 on 10.0.0.2:5432', '58030');
        RETURN NEW;
    END $$
"""
# The server asks a policy for each row that a statement reads.
FAILING_READ = f"""
    ALTER TABLE docshelf_entries ENABLE ROW LEVEL SECURITY;
    ALTER TABLE docshelf_entries FORCE ROW LEVEL SECURITY;
    CREATE POLICY read ON docshelf_entries USING (within_write(2, '{LOST}', '08006')) WITH CHECK (true)
"""
FAILING_COPY = "CREATE TRIGGER copied BEFORE INSERT ON docshelf_entries FOR EACH ROW EXECUTE FUNCTION copied()"


@pytest.fixture(params=["postgresql", "postgresql+psycopg"])
def url(request: pytest.FixtureRequest, password_url: URL) -> URL:
    """A place for tables of a role that policies concern."""
    return password_url.set(drivername=request.param)


@pytest.fixture
def face(url: URL, mode: str, loop: Loop) -> Iterator[Face]:
    face = Face(DocShelf(url), mode, loop)
    yield face
    face.close()


@pytest.fixture
def engine(url: URL) -> Iterator[Engine]:
    name = "postgresql+psycopg2" if url.drivername == "postgresql" else url.drivername
    engine = create_engine(url.set(drivername=name))
    yield engine
    engine.dispose()


def prepare(engine: Engine, *statements: str) -> Callable[[], int]:
    """Execute statements. Returns a function that says how often a statement has failed or could have."""
    with engine.begin() as connection:
        for statement in (FAIL, *statements):
            connection.connection.cursor().execute(statement)

    def asked() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT last_value FROM failures")) or 0)

    return asked


def test_a_worker_lost_by_a_read_within_a_write_is_waited_for(face: Face, engine: Engine) -> None:
    face.mset({"a": 1, "b": 2})
    asked = prepare(engine, FAILING_READ)
    assert face.sync({"a": 1, "b": 3}, allow_mass_delete=True).counts == {"INS": 0, "UPD": 1, "SKIP": 1, "DEL": 0}
    assert asked() >= 2
    assert face.mget(["a", "b"]) == [1, 3]


def test_a_worker_lost_by_a_copy_is_waited_for_in_a_new_transaction(face: Face, engine: Engine) -> None:
    face.setup()
    asked = prepare(engine, FAILING_COPY)
    values = {f"k{number}": number for number in range(60)}
    with recorded_statements() as sent:
        assert face.conditional_mset(values).counts["INS"] == len(values)
    assert asked() >= 2
    # The worker is lost for the transaction: on Citus an INSERT fails too, and hides why.
    assert not any("INSERT INTO" in statement and "_entries" in statement for statement in sent)
    assert face.count() == len(values)


def test_in_the_callers_transaction_the_cause_is_told(url: URL, engine: Engine) -> None:
    with DocShelf(engine=engine) as shelf:
        shelf.set("a", 1)
        prepare(engine, FAILING_READ)
        with engine.connect() as connection:
            with pytest.raises(UnreachableError, match="Citus has lost a worker: connection to the remote") as failure:
                shelf.bind(connection).sync({"a": 2})
            assert failure.value.sqlstate == "08006"
            connection.rollback()
            assert connection.scalar(text("SELECT 1")) == 1  # the connection goes on
