"""Fixtures. `location` is a new place for tables on each backend; `face` is a store there, sync and async."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import is_hypothesis_test
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Engine, make_url

from docshelf import DocShelf
from tests.support.face import Face, Loop
from tests.support.proxy import Proxy
from tests.support.servers import PASSWORD_ROLE, local_versions, named_server

_SERVERS = [
    "pg18",
    *(f"pg{version}" for version in local_versions()),
    *(["url"] if "DOCSHELF_TEST_URL" in os.environ else []),
]
# Databases, logs and files of all workers together.
_NEEDED_BYTES = 4 * 1024**3
# psycopg 3 is an extra: it runs on the server of the wheel only, to keep the suite short.
BACKENDS = ["sqlite", *_SERVERS, "pg18-psycopg"]
POSTGRESQL = [backend for backend in BACKENDS if backend != "sqlite"]
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

    def url(self, name: str) -> URL:
        if name not in self._urls:
            self._urls[name] = self._stack.enter_context(named_server(name))
        return self._urls[name]

    def execute(self, name: str, *statements: str) -> None:
        """Execute statements on a server, as the role of its URL."""
        if name not in self._engines:
            self._engines[name] = create_engine(
                self.url(name).set(drivername="postgresql+psycopg2"), pool_pre_ping=True
            )
            self._stack.callback(self._engines[name].dispose)
        with self._engines[name].begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

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
        url = servers.url(server)
        schema = f"test_{os.getpid()}_{number}"
        servers.execute(server, f"CREATE SCHEMA {schema}")
        stack.callback(servers.execute, server, "SET LOCAL lock_timeout = '20s'", f"DROP SCHEMA {schema} CASCADE")
        placed = url.update_query_dict({"options": f"-csearch_path={schema}"})
        if driver:
            placed = placed.set(drivername=f"postgresql+{driver}")
        return Location(backend, placed.render_as_string(hide_password=False), schema)

    yield make
    stack.close()


@pytest.fixture(params=BACKENDS)
def location(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    """A fresh place for tables, on each backend."""
    return new_location(request.param)


@pytest.fixture(params=POSTGRESQL)
def pg_location(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    """A fresh place for tables, on each PostgreSQL server and driver."""
    return new_location(request.param)


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
    """One worker more than processors: many tests wait for servers, processes and retries."""
    return (os.cpu_count() or 1) + 1


def pytest_configure() -> None:
    # SQLite and PostgreSQL wait for the disk, thousands of times. Where the system has files in memory, take these.
    in_memory = Path("/dev/shm")
    if "TMPDIR" not in os.environ and in_memory.is_dir() and shutil.disk_usage(in_memory).free > _NEEDED_BYTES:
        os.environ["TMPDIR"] = str(in_memory)
        tempfile.tempdir = None  # Python remembers the folder that it chose


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Measuring coverage makes tests about twice as slow. Other tests run nearly all branches of property tests, and the
    # server of the wheel those of further servers.
    further = {*_SERVERS} - {"pg18"}
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        on_further = any(isinstance(parameter, str) and parameter in further for parameter in parameters)
        if on_further or is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("no_cover")


def pytest_report_header() -> str:
    return f"docshelf backends: {', '.join(BACKENDS)}"
