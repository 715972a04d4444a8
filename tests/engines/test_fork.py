"""A store that was used before a fork works in the child and in the parent. They share no connection."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from docshelf import DocShelf
from tests.conftest import Location

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

Sessions = tuple[str, Callable[[], set[int]]]
Work = Callable[[], Any]


class Child:
    """A forked process that does one piece of work, sends its result and waits until it may end."""

    def __init__(self, work: Work) -> None:
        gc.collect()  # the parent's garbage is none of the child's
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(target=self._main, args=(work, there))
        self._process.start()
        there.close()

    @staticmethod
    def _main(work: Work, there: Connection) -> None:
        noted: list[str] = []
        sys.unraisablehook = lambda about: noted.append(repr(about.exc_value))
        try:
            result = work()
            gc.collect()
            there.send((result, noted))
        except BaseException:
            there.send((None, [*noted, traceback.format_exc()]))
        there.recv()

    def result(self) -> Any:
        assert self._here.poll(20), "the child hangs"
        result, noted = self._here.recv()
        assert noted == []
        return result

    def end(self) -> None:
        """Let it end, and see that it could."""
        self._here.send("end")
        self._process.join(30)
        assert self._process.exitcode == 0

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._here.close()


def in_child(work: Work) -> Any:
    with Child(work) as child:
        result = child.result()
        child.end()
        return result


@pytest.fixture(params=["pg18", "pg18-psycopg"])
def sessions(
    request: pytest.FixtureRequest,
    new_location: Callable[[str], Location],
    watch: Callable[[Location], Sessions],
) -> Sessions:
    """A URL, and the processes that serve it now."""
    return watch(new_location(request.param))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The parent's loop, idle while it forks."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_parent_child_and_parent_again_use_a_store(location: Location) -> None:
    with DocShelf(location.url) as shelf:
        shelf.sync({"a": 1, "b": 2})

        def work() -> Any:
            seen = shelf.mget(["a", "b"])
            shelf.sync({"b": 3, "c": 4})
            return [*seen, *shelf.yield_keys()]

        assert in_child(work) == [1, 2, "b", "c"]
        assert shelf.mget(["a", "b", "c"]) == [None, 3, 4]
        shelf.set("d", 5)
        assert in_child(lambda: shelf.get("d")) == 5


def test_a_child_in_a_loop_of_its_own_uses_a_store(location: Location, loop: asyncio.AbstractEventLoop) -> None:
    shelf = DocShelf(location.url)
    loop.run_until_complete(shelf.async_({"a": 1, "b": 2}))

    async def main() -> Any:
        seen = await shelf.amget(["a", "b"])
        await shelf.async_({"b": 3, "c": 4})
        return [*seen, *[key async for key in shelf.ayield_keys()]]

    assert in_child(lambda: asyncio.run(main())) == [1, 2, "b", "c"]
    assert loop.run_until_complete(shelf.amget(["a", "b", "c"])) == [None, 3, 4]
    shelf.close()


def test_a_child_forked_within_a_running_loop_uses_a_store(location: Location) -> None:
    async def parent(shelf: DocShelf) -> Any:
        await shelf.aset("a", 1)
        # The fork is to happen in the loop's own thread, while it runs.
        seen = in_child(lambda: [shelf.get("a"), asyncio.run(shelf.aget("a"))])
        await shelf.aset("b", 2)
        return [*seen, await shelf.aget("b")]

    with DocShelf(location.url) as shelf:
        assert asyncio.run(parent(shelf)) == [1, 1, 2]


@pytest.mark.parametrize("half", ["sync", "async"])
def test_no_connection_is_shared_and_none_dies_with_the_child(
    sessions: Sessions, loop: asyncio.AbstractEventLoop, half: str
) -> None:
    url, pids = sessions
    shelf = DocShelf(url)

    def use() -> None:
        if half == "sync":
            shelf.set("k", "parent")
        else:
            loop.run_until_complete(shelf.aset("k", "parent"))

    def use_in_child() -> None:
        if half == "sync":
            shelf.set("k", "child")
        else:
            asyncio.run(shelf.aset("k", "child"))
            asyncio.set_event_loop(asyncio.new_event_loop())

    use()
    [parents] = pids()
    with Child(use_in_child) as child:
        child.result()
        during = pids()
        child.end()
    # An asynchronous child has hung up already, at the end of its loop.
    assert parents in during
    assert len(during) == (2 if half == "sync" else 1)
    use()
    assert pids() == {parents}
    shelf.close()


def test_two_children_write_in_parallel_with_their_parent(location: Location) -> None:
    with DocShelf(location.url) as shelf:
        shelf.setup()

        def work(name: str) -> None:
            for number in range(20):
                shelf.set(f"{name}{number}", number)

        with Child(lambda: work("a")) as one, Child(lambda: work("b")) as other:
            work("c")
            for child in (one, other):
                child.result()
                child.end()
        work("d")
        assert shelf.count() == 80
        assert shelf.verify() == []


def test_a_store_first_used_in_a_child_is_whole_in_its_parent(location: Location) -> None:
    with DocShelf(location.url) as shelf:
        in_child(lambda: shelf.set("k", "v"))
        assert shelf.get("k") == "v"


def test_a_child_may_close_the_store_without_closing_it_for_its_parent(location: Location) -> None:
    with DocShelf(location.url) as shelf:
        shelf.set("k", "v")
        in_child(shelf.close)
        assert shelf.get("k") == "v"


def test_a_child_has_a_copy_of_a_store_in_memory() -> None:
    with DocShelf(":memory:") as shelf:
        shelf.set("k", "parent")

        def work() -> Any:
            seen = shelf.get("k")
            shelf.set("k", "child")
            return seen, shelf.get("k")

        assert in_child(work) == ("parent", "child")
        assert shelf.get("k") == "parent"


@pytest.mark.parametrize("backend", ["sqlite", "pg18", ":memory:"])
def test_a_lock_that_another_thread_holds_at_the_fork_does_not_hang_the_child(
    new_location: Callable[[str], Location], backend: str
) -> None:
    url = backend if backend == ":memory:" else new_location(backend).url
    with DocShelf(url) as shelf:
        shelf.set("k", "v")
        taken, done = threading.Event(), threading.Event()

        def hold() -> None:
            # Threads hold it for moments only: to meet one, it is taken here by its name.
            with shelf._backend._lock:  # type: ignore[attr-defined]
                taken.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()
        try:
            assert in_child(lambda: [shelf.exists("k"), asyncio.run(shelf.aexists("k"))]) == [True, True]
        finally:
            done.set()
            thread.join()


def test_children_forked_while_threads_work_do_not_hang(pg_location: Location) -> None:
    # Not on SQLite: its library has locks of its own, and a thread may hold one at the fork.
    stop = threading.Event()
    with DocShelf(pg_location.url) as shelf:
        shelf.set("k", "v")

        def work(number: int) -> None:
            while not stop.is_set():
                shelf.set(f"thread{number}", os.urandom(4))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                assert in_child(lambda: shelf.get("k")) == "v"
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert shelf.verify() == []
