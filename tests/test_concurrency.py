"""Many writers of the same sources: no deadlock reaches a caller, no row is lost, the end is that of some order."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from docshelf import DocShelf
from tests.conftest import Location
from tests.support.writers import SOURCES, async_in_turns, process, set_of, sync_in_turns

WRITERS = 16
TURNS = 4


@pytest.fixture(params=["sqlite", "pg18"])
def shared(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    location = new_location(request.param)
    with DocShelf(location.url) as shelf:
        shelf.setup()
    return location


def assert_some_serial_order(location: Location) -> None:
    """Each source holds exactly what the last sync of it, whichever that was, gave it."""
    with DocShelf(location.url) as shelf:
        for source, entries in zip(SOURCES, shelf.source_entries(SOURCES), strict=True):
            held = {entry.key: entry.value for entry in entries}
            [(writer, turn)] = {(value[0], value[1]) for value in held.values()}
            assert held == set_of(writer, turn), source
        assert shelf.verify() == []
        assert shelf.view("beside").verify() == []


def test_threads_that_sync_overlapping_sources_end_in_some_serial_order(shared: Location) -> None:
    with DocShelf(shared.url) as shelf, ThreadPoolExecutor(WRITERS) as threads:
        for done in [threads.submit(sync_in_turns, shelf, writer, TURNS) for writer in range(WRITERS)]:
            done.result()
    assert_some_serial_order(shared)


def test_processes_that_sync_overlapping_sources_end_in_some_serial_order(shared: Location) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=process, args=(shared.url, writer, TURNS)) for writer in range(WRITERS)]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    assert [one.exitcode for one in processes] == [0] * WRITERS
    assert_some_serial_order(shared)


def test_tasks_that_sync_overlapping_sources_end_in_some_serial_order(shared: Location) -> None:
    async def main() -> None:
        async with DocShelf(shared.url) as shelf:
            await asyncio.gather(*(async_in_turns(shelf, writer, TURNS) for writer in range(WRITERS)))

    asyncio.run(main())
    assert_some_serial_order(shared)


def test_threads_that_upsert_the_same_keys_in_other_orders_lose_nothing(shared: Location) -> None:
    keys = [f"key-{number}" for number in range(200)]

    def upsert(writer: int) -> list[str]:
        order = keys if writer % 2 else keys[::-1]
        report = shelf.conditional_mset([(key, writer) for key in order])
        return [change.key for change in report.inserted]

    with DocShelf(shared.url) as shelf, ThreadPoolExecutor(WRITERS) as threads:
        inserted = [key for keys in threads.map(upsert, range(WRITERS)) for key in keys]
        assert sorted(inserted) == sorted(keys)  # each was inserted once, as far as the reports say
        assert len(set(shelf.mget(keys))) == 1


def test_one_key_set_by_all_is_inserted_once(shared: Location) -> None:
    start = threading.Barrier(WRITERS)

    def set_it(writer: int) -> Any:
        start.wait()
        return shelf.conditional_set("key", writer)

    with DocShelf(shared.url) as shelf, ThreadPoolExecutor(WRITERS) as threads:
        changes = list(threads.map(set_it, range(WRITERS)))
        assert sorted(op for _, op in changes) == ["INS"] + ["UPD"] * (WRITERS - 1)
        assert shelf.count() == 1
