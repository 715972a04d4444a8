"""A part of the suite behind a real PgBouncer in transaction mode, on every driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from docshelf import DatabaseError, DocShelf, TooManyConnectionsError, UnreachableError
from tests.support.face import Face, Loop
from tests.support.operations import OPERATIONS, fill
from tests.support.pages import ROOT, check_blocks
from tests.support.pgbouncer import running_pgbouncer
from tests.support.proxy import Proxy
from tests.support.statements import recorded_statements


@pytest.fixture(params=["postgresql", "postgresql+psycopg"])
def drivername(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pgbouncer(proxy: Proxy) -> Iterator[str]:
    with running_pgbouncer(proxy.port, proxy.database) as url:
        yield url


def test_a_store_works_through_pgbouncer(proxy: Proxy, pgbouncer: str, mode: str, loop: Loop, drivername: str) -> None:
    face = Face(DocShelf(drivername + pgbouncer, schema=proxy.schema, pooler=True), mode, loop)
    for round_number in range(3):
        face.of(face.shelf.view("copied")).clear()  # a copy takes no name that a collection has
        for operation in OPERATIONS:
            fill(face)
            operation.call(face)
        items = {f"k{number:04}": f"{round_number} {number}" for number in range(2_500)}
        report = face.sync(items, source="f")
        assert report.counts["SKIP"] == 0
        assert dict(face.yield_items(source="f")) == items
        assert face.mdelete(list(items)[:10]).counts["DEL"] == 10
    face.close()


def test_the_page_about_workers_runs_through_pgbouncer(proxy: Proxy, tmp_path: Path) -> None:
    with running_pgbouncer(proxy.port, proxy.database, search_path=proxy.schema) as url:
        check_blocks(ROOT / "docs" / "how-to" / "workers.md", tmp_path, url=f"postgresql{url}")


def test_many_clients_work_through_pgbouncer_at_once(proxy: Proxy, pgbouncer: str, loop: Loop) -> None:
    with DocShelf(f"postgresql{pgbouncer}", schema=proxy.schema, pooler=True) as shelf:

        async def task(number: int) -> list[Any]:
            for part in range(4):
                await shelf.async_({f"{number}/{part}": part}, source=f"s{number}")
            return await shelf.amget([f"{number}/2", f"{number}/3"])

        async def main() -> list[Any]:
            # A task that fails is not to leave the others behind with their transactions open.
            results: list[Any] = await asyncio.gather(*(task(number) for number in range(12)), return_exceptions=True)
            return results

        def work(number: int) -> list[Any]:
            for part in range(4):
                shelf.sync({f"{number}/{part}": part}, source=f"s{number}")
            return shelf.mget([f"{number}/2", f"{number}/3"])

        with ThreadPoolExecutor(8) as threads:
            pending = threads.map(work, range(100, 112))
            assert loop.run(main()) == [[None, 3]] * 12
            assert list(pending) == [[None, 3]] * 12
        loop.run(shelf.aclose())


def test_the_option_pgbouncer_true_is_enough(
    proxy: Proxy, pgbouncer: str, mode: str, loop: Loop, drivername: str
) -> None:
    face = Face(DocShelf(f"{drivername}{pgbouncer}?pgbouncer=true", schema=proxy.schema), mode, loop)
    for number in range(10):
        face.mset({"k": number, **{f"k{part}": part for part in range(60)}})
        assert face.mget(["k", "k1"]) == [number, 1]
    face.close()


def test_many_new_rows_are_copied_through_pgbouncer(
    proxy: Proxy, pgbouncer: str, mode: str, loop: Loop, drivername: str
) -> None:
    # PgBouncer repeats the encoding as the client wrote it, and asyncpg writes quotes. Citus refuses other encodings.
    face = Face(DocShelf(drivername + pgbouncer, schema=proxy.schema, pooler=True), mode, loop)
    face.setup()
    with recorded_statements() as sent:
        face.mset({f"ü{number}": number for number in range(60)})
    assert not any("INSERT INTO" in statement and "_entries" in statement for statement in sent)
    assert face.mget(["ü1", "ü59"]) == [1, 59]
    face.close()


def test_without_pooler_no_read_gives_the_rows_of_another_statement(
    proxy: Proxy, pgbouncer: str, mode: str, loop: Loop, drivername: str
) -> None:
    # Two programs, each with its own order of statements: their first prepared ones differ, with alike parameters.
    with DocShelf(f"postgresql{pgbouncer}", schema=proxy.schema, pooler=True) as shelf:
        shelf.mset({f"k{number}": number for number in range(20)})
    one, two = (Face(DocShelf(f"{drivername}{pgbouncer}", schema=proxy.schema), mode, loop) for _ in range(2))
    reads: list[tuple[Callable[[], Any], Any]] = [
        (lambda: one.mget(["k1", "k2"]), [1, 2]),
        (lambda: two.mexists(["k1", "x"]), [True, False]),
    ]
    refused = []
    for _ in range(40):
        for read, expected in reads:
            try:
                assert read() == expected
            except DatabaseError as exc:
                refused.append(str(exc))
    assert all("pooler=True" in message for message in refused), refused
    for face in (one, two):
        face.close()


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"default_pool_size": 1, "min_pool_size": 0, "query_wait_timeout": 1}, "default_pool_size"),
        ({"max_client_conn": 1}, "pool_size="),
    ],
    ids=["query_wait_timeout", "max_client_conn"],
)
def test_a_full_pgbouncer_has_too_many_connections(
    proxy: Proxy, mode: str, loop: Loop, drivername: str, settings: dict[str, Any], hint: str
) -> None:
    import psycopg2

    with running_pgbouncer(proxy.port, proxy.database, **settings) as url:
        host, port = url.rpartition("@")[2].partition("/")[0].split(":")
        rival = psycopg2.connect(host=host, port=port, user="postgres", dbname="shelf")
        rival.cursor().execute("SELECT 1")  # an open transaction holds a session of the server
        face = Face(DocShelf(drivername + url, schema=proxy.schema, pooler=True, retry_seconds=0), mode, loop)
        with pytest.raises(UnreachableError) as failure:
            face.get("k")
        # Where a session ends, psycopg2 drops what the server said last, and tells only the end.
        is_told = "max_client_conn" in settings or (drivername, mode) != ("postgresql", "sync")
        assert type(failure.value) is (TooManyConnectionsError if is_told else UnreachableError)
        assert (hint in str(failure.value)) == is_told
        rival.close()
        face.close()
