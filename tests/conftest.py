"""Fixtures. `location` is a new place for tables on each backend; `face` is a store there, sync and async."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import is_hypothesis_test
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, Engine, make_url

from docshelf import DocShelf
from tests.support.citus import distribute_every_table, install_citus
from tests.support.effort import ALL
from tests.support.face import Face, Loop
from tests.support.partitions import PARTITIONS, split_every_table
from tests.support.proxy import Proxy
from tests.support.servers import CITUS_URL, PASSWORD_ROLE, local_versions, named_server

# With a coordinator of Citus, the suite runs on that alone.
_FURTHER = [] if CITUS_URL else [f"pg{version}" for version in local_versions()]
_SERVERS = ["pg18", *_FURTHER, *(["url"] if "DOCSHELF_TEST_URL" in os.environ else [])]
# All that a test can change in a schema besides rows.
_CATALOGS = text("""
    WITH relations AS (SELECT * FROM pg_class WHERE relnamespace = to_regnamespace(:schema))
    SELECT string_agg(item, ' ' ORDER BY item) FROM (
        SELECT concat_ws(',', relname, relkind, relacl, reloptions, relrowsecurity, relowner) FROM relations
        UNION ALL SELECT concat_ws(',', relname, attname, atttypid, attnotnull, attstorage, attoptions, attacl)
            FROM pg_attribute JOIN relations ON attrelid = relations.oid WHERE attnum > 0
        UNION ALL SELECT concat_ws(',', relname, tgname) FROM pg_trigger JOIN relations ON tgrelid = relations.oid
        UNION ALL SELECT concat_ws(',', relname, polname) FROM pg_policy JOIN relations ON polrelid = relations.oid
        UNION ALL SELECT concat_ws(',', conname, contype) FROM pg_constraint
            WHERE connamespace = to_regnamespace(:schema)
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace(:schema)
        UNION ALL SELECT nspacl::text FROM pg_namespace WHERE oid = to_regnamespace(:schema)
    ) AS items (item)
""")
# Databases, logs and files of all workers together.
_NEEDED_BYTES = 4 * 1024**3
_TESTS = Path(__file__).parent
# What depends on the version of the server, and what on the driver.
_ABOUT_VERSIONS = ("schema",)
_WITHOUT_SQL = ("adapters", "display", "folder", "moving", "values")
# Tests that do the same again and again, with other data, at another step or moment each time.
_REPEATING = (
    "test_conflicts.py",
    "test_crashes.py",
    "test_find.py",
    "test_injected.py",
    "test_jsonl.py",
    "test_large.py",
    "test_namespaces.py",
    "test_network.py",
    "test_notes.py",
    "test_odd_rows.py",
)
# Tests that take long: SQLite once, and one driver of each kind.
_LONG = ("test_find.py", "test_large.py", "test_model.py", "test_statements.py")
_ABOUT_CONNECTIONS = ("engines", "faults")
_ABOUT_DRIVERS = ("engines", "faults", "reading", "schema", "writing")
# psycopg 3 is an extra: it runs on the server of the wheel only, to keep the suite short.
BACKENDS = ["sqlite", *_SERVERS, "pg18-psycopg"]
POSTGRESQL = [backend for backend in BACKENDS if backend != "sqlite"]
# For what is checked before any database is asked.
on_sqlite = pytest.mark.parametrize("location", ["sqlite"], indirect=True)
# What has a meaning in a URL, and a blank.
PASSWORD = "p@:/% w#?&=+"
_numbers = itertools.count()


@dataclass(frozen=True)
class Location:
    """A place for tables that no other test uses.

    Attributes:
        backend: the parameter's name.
        url: what to give to DocShelf.
        schema: the PostgreSQL schema that its search path names; "" on SQLite.
    """

    backend: str
    url: str
    schema: str = ""

    @property
    def dialect(self) -> str:
        return "sqlite" if self.backend == "sqlite" else "postgresql"

    @property
    def sync_url(self) -> str:
        """The same for `sqlalchemy.create_engine`, with the driver that docshelf takes."""
        if self.dialect == "sqlite":
            return f"sqlite:///{self.url}"
        return self.url if "+psycopg" in self.url else self.url.replace("postgresql:", "postgresql+psycopg2:", 1)

    @property
    def async_url(self) -> str:
        """The same for `create_async_engine`. asyncpg takes no `options` in SQLAlchemy's URL: set them yourself."""
        if self.dialect == "sqlite":
            return f"sqlite+aiosqlite:///{self.url}"
        return self.url if "+psycopg" in self.url else self.url.replace("postgresql:", "postgresql+asyncpg:", 1)


class Servers:
    """PostgreSQL servers of this test process, each started when first asked for."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._urls: dict[str, URL] = {}
        self._engines: dict[str, Engine] = {}
        self._empty: dict[str, list[tuple[str, str]]] = {}

    def url(self, name: str) -> URL:
        if name not in self._urls:
            self._urls[name] = self._stack.enter_context(named_server(name))
        return self._urls[name]

    def execute(self, name: str, *statements: str) -> None:
        """Execute statements on a server, as the role of its URL."""
        with self._begin(name) as connection:
            for statement in statements:
                connection.execute(text(statement))

    def take_empty(self, name: str) -> tuple[str, str]:
        """A schema with empty tables, and what its catalogs say."""
        if self._empty.setdefault(name, []):
            return self._empty[name].pop()
        schema = f"empty_{os.getpid()}_{next(_numbers)}"
        self.execute(name, f"CREATE SCHEMA {schema}")
        with DocShelf(_placed(self.url(name), schema)) as shelf:
            shelf.setup()
        with self._begin(name) as connection:
            return schema, str(connection.scalar(_CATALOGS, {"schema": schema}))

    def put_back(self, name: str, schema: str, catalogs: str) -> None:
        """Empty the tables for another test, or drop the schema if a test has changed more than rows."""
        with self._begin(name) as connection:
            connection.execute(text("SET LOCAL lock_timeout = '20s'"))
            if connection.scalar(_CATALOGS, {"schema": schema}) == catalogs:
                tables = ", ".join(f"{schema}.docshelf_{table}" for table in ("entries", "sources", "collections"))
                connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
                self._empty[name].append((schema, catalogs))
            else:
                connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))

    def _begin(self, name: str) -> contextlib.AbstractContextManager[Connection]:
        if name not in self._engines:
            url = self.url(name).set(drivername="postgresql+psycopg2")
            self._engines[name] = create_engine(url, pool_pre_ping=True)
            self._stack.callback(self._engines[name].dispose)
        return self._engines[name].begin()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture
def new_location(servers: Servers, tmp_path: Path) -> Iterator[Callable[[str], Location]]:
    """Makes fresh locations on a backend by name; all are gone after the test."""
    stack = contextlib.ExitStack()

    def make(backend: str) -> Location:
        number = next(_numbers)
        if backend == "sqlite":
            return Location(backend, str(tmp_path / f"shelf{number}.db"))
        server, _, driver = backend.partition("-")
        schema = f"test_{os.getpid()}_{number}"
        servers.execute(server, f"CREATE SCHEMA {schema}")
        stack.callback(servers.execute, server, "SET LOCAL lock_timeout = '20s'", f"DROP SCHEMA {schema} CASCADE")
        return Location(backend, _placed(servers.url(server), schema, driver), schema)

    yield make
    stack.close()


@pytest.fixture
def new_empty_location(
    servers: Servers, new_location: Callable[[str], Location]
) -> Iterator[Callable[[str], Location]]:
    """As `new_location`, but on PostgreSQL the tables are there already, which saves half of the time of a short test.

    For tests that are not about the tables themselves.
    """
    stack = contextlib.ExitStack()

    def make(backend: str) -> Location:
        if backend == "sqlite":
            return new_location(backend)
        server, _, driver = backend.partition("-")
        schema, catalogs = servers.take_empty(server)
        stack.callback(servers.put_back, server, schema, catalogs)
        return Location(backend, _placed(servers.url(server), schema, driver), schema)

    yield make
    stack.close()


def _placed(url: URL, schema: str, driver: str = "") -> str:
    url = url.update_query_dict({"options": f"-csearch_path={schema}"})
    if driver:
        url = url.set(drivername=f"postgresql+{driver}")
    return url.render_as_string(hide_password=False)


@pytest.fixture
def new_usual_location(
    request: pytest.FixtureRequest,
    new_location: Callable[[str], Location],
    new_empty_location: Callable[[str], Location],
) -> Callable[[str], Location]:
    """Makes locations with tables for tests in the folders that are about rows alone, and without tables for others."""
    return (
        new_empty_location if request.path.parent.name in ("reading", "sources", "values", "writing") else new_location
    )


@pytest.fixture(params=BACKENDS)
def location(request: pytest.FixtureRequest, new_usual_location: Callable[[str], Location]) -> Location:
    """A fresh place, on each backend."""
    return new_usual_location(request.param)


@pytest.fixture(params=POSTGRESQL)
def pg_location(request: pytest.FixtureRequest, new_usual_location: Callable[[str], Location]) -> Location:
    """A fresh place, on each PostgreSQL server and driver."""
    return new_usual_location(request.param)


@pytest.fixture
def citus_location(new_location: Callable[[str], Location], new_engine: Callable[..., Engine]) -> Location:
    """A fresh place on a server that seems to be a coordinator of Citus: see `tests/support/citus.py`."""
    if CITUS_URL is not None:
        pytest.skip("it stands in for Citus, and here is Citus")
    location = new_location("pg18")
    with new_engine(location).begin() as connection:
        install_citus(connection)
    return location


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_face(location: Location, mode: str, loop: Loop) -> Iterator[Callable[..., Face]]:
    """Makes stores at `location`, with options of DocShelf, under this test's mode."""
    faces: list[Face] = []

    def make(collection: str = "default", **options: Any) -> Face:
        faces.append(Face(DocShelf(location.url, collection, **options), mode, loop))
        return faces[-1]

    yield make
    for face in faces:
        face.close()


@pytest.fixture
def face(new_face: Callable[..., Face]) -> Face:
    """A store at `location`, sync and async."""
    return new_face()


@pytest.fixture
def new_engine() -> Iterator[Callable[..., Engine]]:
    """Makes the caller's own engines, with options of `create_engine`; all are disposed after the test."""
    engines: list[Engine] = []

    def make(location: Location, **options: Any) -> Engine:
        engines.append(create_engine(location.sync_url, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def watch(new_engine: Callable[..., Engine]) -> Callable[[Location], tuple[str, Callable[[], set[int]]]]:
    """A PostgreSQL location's URL under an application name of its own, and the processes that serve that name now."""

    def named(location: Location) -> tuple[str, Callable[[], set[int]]]:
        name = f"docshelf test {next(_numbers)}"
        engine = new_engine(location)

        def pids() -> set[int]:
            with engine.connect() as connection:
                query = text("SELECT pid FROM pg_stat_activity WHERE application_name = :name")
                return set(connection.scalars(query, {"name": name}))

        url = make_url(location.url).update_query_dict({"application_name": name})
        return url.render_as_string(hide_password=False), pids

    return named


@pytest.fixture
def password_url(new_location: Callable[[str], Location], new_engine: Callable[..., Engine]) -> URL:
    """A fresh place for tables for a role whose password the server asks for (SCRAM)."""
    if CITUS_URL is not None:
        pytest.skip("the server's rules of authentication are its own")
    location = new_location("pg18")
    url = make_url(location.url)
    with new_engine(location).begin() as connection:
        quoted = "SELECT format(CAST(:form AS text), CAST(:role AS text), CAST(:password AS text))"
        if not connection.scalar(text("SELECT to_regrole(:role)"), {"role": PASSWORD_ROLE}):
            parameters = {"form": "CREATE ROLE %I LOGIN PASSWORD %L", "role": PASSWORD_ROLE, "password": PASSWORD}
            create = connection.scalar(text(quoted), parameters)
            connection.connection.cursor().execute(create)
        connection.execute(text(f"GRANT CREATE, USAGE ON SCHEMA {location.schema} TO {PASSWORD_ROLE}"))
    return url.set(username=PASSWORD_ROLE, password=PASSWORD)


@pytest.fixture
def proxy(new_location: Callable[[str], Location]) -> Iterator[Proxy]:
    """A network that can fail, in front of a fresh place for tables on the server of the wheel."""
    with Proxy(make_url(new_location("pg18").url)) as proxy:
        yield proxy


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than processors: many tests wait for servers, processes and retries."""
    return (os.cpu_count() or 1) + 2


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "no_citus(reason): what Citus refuses, or has otherwise than PostgreSQL")
    config.addinivalue_line("markers", "no_partitions(reason): what only a table without partitions has")
    if CITUS_URL is not None:
        distribute_every_table()
    if PARTITIONS:
        split_every_table(PARTITIONS)
    # Without this, LlamaIndex makes the process's first event loop and leaves it open, and whatever test runs when the
    # collector finds it fails.
    asyncio.set_event_loop(None)
    # A job in the background of a shell ignores Ctrl-C, and so would the commands that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # SQLite and PostgreSQL wait for the disk, thousands of times. Where the system has files in memory, take these.
    in_memory = Path("/dev/shm")
    if "TMPDIR" not in os.environ and in_memory.is_dir() and shutil.disk_usage(in_memory).free > _NEEDED_BYTES:
        os.environ["TMPDIR"] = str(in_memory)
        tempfile.tempdir = None  # Python remembers the folder that it chose


def _adds_nothing(path: Path, parameters: set[str], local: set[str]) -> bool:
    """True for what only `make test ALL=1` runs: the combinations that repeat what others show."""
    folder = path.parts[0]
    if path.name in _LONG and ({"sqlite", "async"} <= parameters or "pg18-psycopg" in parameters):
        return True
    if folder in _WITHOUT_SQL:  # each database once, and each mode once
        return {"sqlite", "async"} <= parameters or {"pg18", "sync"} <= parameters
    if parameters & local:
        return folder not in _ABOUT_VERSIONS or "async" in parameters
    if {"pg18-psycopg", "async"} <= parameters and folder not in _ABOUT_CONNECTIONS:
        return True
    return "pg18-psycopg" in parameters and folder not in _ABOUT_DRIVERS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    local = set(_FURTHER)
    kept, deselected = [], []
    for item in items:
        path = item.path.relative_to(_TESTS)
        folder = path.parts[0]
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        backends = {parameter for parameter in parameters if isinstance(parameter, str)}
        if (CITUS_URL is not None or PARTITIONS) and "sqlite" in backends:  # other runs have it
            deselected.append(item)
            continue
        if CITUS_URL is not None and (mark := item.get_closest_marker("no_citus")):
            item.add_marker(pytest.mark.skip(reason=f"Citus: {mark.args[0]}"))
        if PARTITIONS and (mark := item.get_closest_marker("no_partitions")):
            item.add_marker(pytest.mark.skip(reason=f"partitions: {mark.args[0]}"))
        if not ALL and _adds_nothing(path, backends, local):
            deselected.append(item)
            continue
        kept.append(item)
        # Measuring coverage makes tests half as slow again. Other tests run nearly all branches of property tests, the
        # server of the wheel those of further servers and of psycopg 3, and SQLite those of the adapters.
        further = local | {"url", "pg18-psycopg"} | ({"pg18"} if folder == "adapters" else set())
        repeats = item.path.name in _REPEATING or is_hypothesis_test(getattr(item, "obj", None))
        # Each operation is written once: where its sync form is measured, the asynchronous one is the same code. It
        # runs in greenlets, which coverage could only follow at a high price for all tests.
        repeats = repeats or folder in ("docs", "packaging") or "async" in backends
        if repeats or backends & further:
            item.add_marker("no_cover")
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = kept


def pytest_collection_finish() -> None:
    # Tests that collect garbage need not look through ten thousand tests each time, which takes a third of a second.
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    citus = "" if CITUS_URL is None else "; pg18 is a coordinator of Citus"
    partitions = f"; each table of PostgreSQL has {PARTITIONS} partitions" if PARTITIONS else ""
    return f"docshelf backends: {', '.join(BACKENDS)}{citus}{partitions}"
