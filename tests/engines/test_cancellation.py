"""What a cancelled async call promises: `docs/errors.md`."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from docshelf import DocShelf
from tests.conftest import Location
from tests.support.face import Loop
from tests.support.waiting import wait_until


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(result, asyncio.CancelledError) for result in await asyncio.gather(*tasks, return_exceptions=True)
    )


async def started(tasks: list[asyncio.Task[Any]]) -> None:
    """Let each task run to where it waits for the database."""
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


def test_a_cancelled_write_does_not_land_after_a_later_one(
    location: Location, new_engine: Callable[..., Engine], loop: Loop
) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("k", "old")
        engine = new_engine(location)

        async def main() -> None:
            with engine.connect() as rival:
                if location.dialect == "sqlite":
                    rival.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
                    rival.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    shelf.bind(rival).set("k", "rival")
                waiting = [asyncio.create_task(shelf.aset("k", f"cancelled {number}")) for number in range(40)]
                await started(waiting)
                await cancelled(waiting)
                # The loop's own executor is free, and so are reads.
                assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 20) == "free"
                assert await asyncio.wait_for(shelf.aget("k"), 20) == "old"
                rival.rollback()
                rival.connection.driver_connection.rollback()  # type: ignore[union-attr]
            await shelf.aset("k", "acknowledged")

        loop.run(main())
        loop.run(shelf.aclose())
    # Closing let all threads end: nothing can land any more.
    wait_until(lambda: not any(t.name.startswith("docshelf-sqlite") for t in threading.enumerate()), "threads end")
    with DocShelf(location.url) as shelf:
        assert shelf.get("k") == "acknowledged"


def test_a_write_cancelled_before_its_commit_does_not_commit(tmp_path: Path, loop: Loop) -> None:
    running, go_on = threading.Event(), threading.Event()

    def wait(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO docshelf_entries"):
            running.set()
            go_on.wait(20)

    with DocShelf(tmp_path / "shelf.db") as shelf:
        shelf.set("k", "old")

        async def main() -> None:
            event.listen(Engine, "after_cursor_execute", wait)
            try:
                task = asyncio.create_task(shelf.aset("k", "cancelled"))
                assert await asyncio.to_thread(running.wait, 20)
                await cancelled([task])
                go_on.set()
                await shelf.aset("other", 1)  # begins after the cancelled one has ended
            finally:
                event.remove(Engine, "after_cursor_execute", wait)
            assert await shelf.aget("k") == "old"

        loop.run(main())


def test_a_store_that_is_closed_and_dropped_leaves_no_thread(tmp_path: Path, loop: Loop) -> None:
    shelf = DocShelf(tmp_path / "shelf.db")
    loop.run(shelf.aset("k", "v"))
    assert any(thread.name.startswith("docshelf-sqlite") for thread in threading.enumerate())
    del shelf
    gc.collect()
    wait_until(lambda: not any(t.name.startswith("docshelf-sqlite") for t in threading.enumerate()), "threads end")
