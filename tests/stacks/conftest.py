"""Real vector stores at fresh places, in sync and in async. Without their packages nothing is collected here."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Engine

from docshelf.adapters import Flow, aperform, perform
from langchain_docshelf import DocShelfStore
from tests.adapters.langchain.twins import Twin
from tests.conftest import Location, Servers
from tests.support.face import Loop

if TYPE_CHECKING:
    from tests.stacks.stores import Stack

_PACKAGES = ("chromadb", "faiss", "langchain_chroma", "langchain_community", "langchain_postgres", "langchain_qdrant")
_MISSING = [name for name in _PACKAGES if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if _MISSING else []

KINDS = ("memory", "chroma", "faiss", "qdrant", "pgvector", "pgvectorstore")
_numbers = itertools.count()


def pytest_report_header() -> str | None:
    return f"vector stores: not installed here ({', '.join(_MISSING)})" if _MISSING else None


@pytest.fixture
def new_database(servers: Servers) -> Iterator[Callable[[], URL]]:
    """Makes fresh databases with pgvector, on the server of the wheel; all are gone after the test."""
    clean = contextlib.ExitStack()

    def make() -> URL:
        url = servers.url("pg18")
        name = f"stack_{os.getpid()}_{next(_numbers)}"
        engine = create_engine(url.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
        clean.callback(engine.dispose)
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            # PGVectorStore commits after each child.
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        clean.callback(_drop_database, engine, name)
        fresh = create_engine(engine.url.set(database=name))
        with fresh.begin() as connection:
            connection.execute(text("CREATE EXTENSION vector"))
        fresh.dispose()
        return url.set(database=name)

    yield make
    clean.close()


def _drop_database(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def new_stack(mode: str, loop: Loop, new_database: Callable[[], URL]) -> Iterator[Callable[[str], Stack]]:
    """Makes places for vector stores of a kind, for this test's mode."""
    from tests.stacks.stores import Stack

    stacks: list[Stack] = []

    def make(kind: str) -> Stack:
        stacks.append(Stack(kind, mode, loop, new_database() if kind.startswith("pg") else None))
        return stacks[-1]

    yield make
    for stack in stacks:
        stack.close()


@pytest.fixture(params=KINDS)
def stack(request: pytest.FixtureRequest, new_stack: Callable[[str], Stack]) -> Stack:
    """A place for vector stores, of each kind."""
    return new_stack(request.param)


@pytest.fixture
def run(mode: str, loop: Loop) -> Callable[[Flow[Any]], Any]:
    """Performs a flow to its end, in sync or in async."""
    return perform if mode == "sync" else lambda flow: loop.run(aperform(flow))


@pytest.fixture
def twin(mode: str, loop: Loop) -> Callable[[Any], Twin]:
    """An object under this test's mode."""
    return lambda of: Twin(of, mode, loop)


@pytest.fixture
def new_docstore(new_location: Callable[[str], Location], tmp_path: Path) -> Iterator[Callable[..., DocShelfStore]]:
    """Makes document stores, each in a database of its own unless a place is named."""
    stores: list[DocShelfStore] = []

    def make(url: str | None = None, **options: Any) -> DocShelfStore:
        stores.append(DocShelfStore(url or new_location("sqlite").url, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
