"""A process that is killed in the middle of a sync leaves the old state or the new one."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from docshelf import DocShelf
from docshelf.sql.dialects.postgresql import PostgreSQL
from docshelf.sql.dialects.sqlite import SQLite
from tests.conftest import Location
from tests.support.waiting import wait_until
from tests.support.writers import large_sync

ITEMS = 3_000
OLD = {f"k{number:03}": "old" for number in range(300)}
NEW = {f"k{number:03}": "new" for number in range(100, 400)}

forking = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.mark.parametrize("backend", ["sqlite", "pg18"])
def test_a_sync_that_is_killed_leaves_the_old_state_or_the_new_one(
    backend: str, new_location: Callable[[str], Location]
) -> None:
    location = new_location(backend)
    context = multiprocessing.get_context("spawn")
    with DocShelf(location.url) as shelf:
        large_sync(location.url, 0, ITEMS)
        existing = 0
        for attempt, patience in enumerate(random.Random(5).sample(range(300, 1_200), 6), start=1):
            victim = context.Process(target=large_sync, args=(location.url, attempt, ITEMS))
            victim.start()
            victim.join(patience / 1_000)
            victim.kill()
            victim.join()
            [entries] = shelf.source_entries(["large"])
            assert len(entries) == ITEMS
            [value] = {entry.value[0] for entry in entries}
            assert value in (existing, attempt)
            existing = value
        large_sync(location.url, 99, ITEMS)
        [entries] = shelf.source_entries(["large"])
        assert {entry.value[0] for entry in entries} == {99}
        assert shelf.verify() == []


def sync_in_chunks(url: str, die_at: int | None) -> None:
    """A sync of many statements; the process kills itself as it is about to send one of them, or to commit."""
    with DocShelf(url) as shelf:
        shelf.setup()
        PostgreSQL.chunk_rows = SQLite.chunk_rows = 50
        moments = itertools.count()

        def note(*_: Any) -> None:
            if next(moments) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        for moment in ("before_cursor_execute", "commit"):
            event.listen(Engine, moment, note)
        shelf.sync(NEW, source="f", fingerprint="new")


@pytest.mark.parametrize("backend", [pytest.param(backend, marks=forking) for backend in ("sqlite", "pg18")])
def test_a_sync_killed_at_any_moment_leaves_nothing_behind(
    backend: str, new_location: Callable[[str], Location]
) -> None:
    location = new_location(backend)
    context = multiprocessing.get_context("fork")
    with DocShelf(location.url) as shelf:
        shelf.sync(OLD, source="f", fingerprint="old")
    for die_at in itertools.count():
        victim = context.Process(target=sync_in_chunks, args=(location.url, die_at))
        victim.start()
        victim.join()
        with DocShelf(location.url) as shelf:
            assert shelf.verify() == []
            found = dict(shelf.yield_items())
            if victim.exitcode == 0:
                break
            assert victim.exitcode == -signal.SIGKILL
            assert found == OLD, f"killed at moment {die_at}"
            assert not shelf.source_changed("f", "old")
    assert found == NEW
    assert die_at > 12  # probe, locks, six chunks of upserts, two of deletions, the source, commits


@pytest.mark.no_citus("the lock is waited for on a worker, which the coordinator does not show")
@pytest.mark.parametrize("backend", [pytest.param(backend, marks=forking) for backend in ("pg18", "pg18-psycopg")])
def test_a_sync_that_is_killed_while_the_server_works_on_it_leaves_the_old_state(
    backend: str, new_location: Callable[[str], Location], new_engine: Callable[..., Engine]
) -> None:
    location = new_location(backend)
    engine = new_engine(location)
    with DocShelf(location.url) as shelf:
        shelf.sync(OLD, source="f")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%docshelf_entries%'"

    def waits() -> list[int]:
        with engine.connect() as connection:
            return list(connection.scalars(text(waiting)))

    with engine.connect() as connection:
        # Somebody holds a row in the middle of what the sync is to update.
        connection.execute(text("UPDATE docshelf_entries SET version = 'held' WHERE key = 'k250'"))
        victim = multiprocessing.get_context("fork").Process(target=sync_in_chunks, args=(location.url, None))
        victim.start()
        wait_until(waits, "the sync waits for the row")
        victim.kill()
        victim.join()
        connection.rollback()
    with DocShelf(location.url) as shelf:
        # Its session ends when the server notices. The next writer waits only until then.
        assert shelf.sync(OLD, source="f").counts["SKIP"] == len(OLD)
        assert shelf.sync(NEW, source="f").counts == {"INS": 100, "UPD": 200, "SKIP": 0, "DEL": 100}
        assert dict(shelf.yield_items()) == NEW
