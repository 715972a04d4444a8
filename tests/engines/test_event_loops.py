"""One store in several event loops: one after another, in parallel, with sync calls, and at the end of a loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, text

from docshelf import ClosedError, DocShelf
from tests.conftest import Location
from tests.support.waiting import wait_until

T = TypeVar("T")
Sessions = tuple[str, Callable[[], set[int]]]


@pytest.fixture(autouse=True)
def open_ends_are_found() -> Iterator[None]:
    """What a test leaves open warns before its end, and a warning is an error."""
    yield
    gc.collect()


@pytest.fixture(params=["pg18", "pg18-psycopg"])
def place(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    """A fresh place for tables by way of each asynchronous driver."""
    return new_location(request.param)


@pytest.fixture
def idle() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs only on request."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def sessions(place: Location, watch: Callable[[Location], Sessions]) -> Sessions:
    """A URL, and the processes that serve it now."""
    return watch(place)


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._started.set()
        await self._end.wait()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.start(coroutine).result(60)

    def __enter__(self) -> LoopThread:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


async def use(shelf: DocShelf) -> None:
    """Enough at once for several connections."""
    await asyncio.gather(*(shelf.aset(f"k{number}", number) for number in range(5)))
    assert await shelf.aget("k3") == 3


def finished(sessions: Sessions) -> bool:
    wait_until(lambda: not sessions[1](), "the server has ended the sessions")
    return True


def test_asyncio_run_may_run_twice_and_leaves_no_connection(sessions: Sessions) -> None:
    complaints: list[dict[str, Any]] = []

    async def main(shelf: DocShelf) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        await use(shelf)
        assert len(sessions[1]()) > 1

    with DocShelf(sessions[0]) as shelf:
        for _ in range(3):
            asyncio.run(main(shelf), debug=True)
            assert finished(sessions)
    assert not complaints


def test_a_run_that_fails_leaves_no_connection(sessions: Sessions) -> None:
    async def main(shelf: DocShelf) -> None:
        await use(shelf)
        raise KeyError

    with DocShelf(sessions[0]) as shelf:
        with pytest.raises(KeyError):
            asyncio.run(main(shelf))
        assert finished(sessions)


def test_an_unclosed_store_closes_its_connections_with_its_loop(sessions: Sessions) -> None:
    async def main() -> None:
        await use(DocShelf(sessions[0]))

    asyncio.run(main())
    assert finished(sessions)


def test_sync_and_async_calls_alternate_in_a_running_loop(location: Location) -> None:
    # A notebook's cells run in a loop that never stops between them.
    async def cells(shelf: DocShelf) -> list[Any]:
        shelf.set("a", 1)
        seen = [await shelf.aget("a"), shelf.get("a")]
        await shelf.async_({"a": 2, "b": 3})
        seen += [shelf.get("b"), *[key async for key in shelf.ayield_keys()], *shelf.yield_keys()]
        return [*seen, await shelf.aget("a")]

    with DocShelf(location.url) as shelf:
        assert asyncio.run(cells(shelf)) == [1, 1, 3, "a", "b", "a", "b", 2]


def test_two_loops_in_two_threads_use_a_store_at_once(location: Location) -> None:
    async def main(shelf: DocShelf, name: str) -> int:
        await asyncio.gather(*(shelf.aset(f"{name}{number}", number) for number in range(20)))
        return sum(await shelf.amget([f"{name}{number}" for number in range(20)]))

    with DocShelf(location.url) as shelf, LoopThread() as one, LoopThread() as other:
        pending = [loop.start(main(shelf, name)) for loop, name in ((one, "a"), (other, "b"))]
        assert [one.result(60) for one in pending] == [190, 190]
        assert shelf.count() == 40


def test_more_tasks_than_connections_take_turns(place: Location) -> None:
    async def main(shelf: DocShelf) -> list[Any]:
        await asyncio.gather(*(shelf.aset(f"k{number}", number) for number in range(60)))
        return await asyncio.gather(*(shelf.aget(f"k{number}") for number in range(60)))

    with DocShelf(place.url) as shelf:
        assert asyncio.run(main(shelf)) == list(range(60))


# Closing


def test_close_ends_the_connections_of_an_idle_loop(sessions: Sessions, idle: asyncio.AbstractEventLoop) -> None:
    shelf = DocShelf(sessions[0])
    idle.run_until_complete(use(shelf))
    shelf.close()
    assert finished(sessions)


def test_close_ends_the_connections_of_a_loop_in_another_thread(sessions: Sessions) -> None:
    with LoopThread() as other:
        shelf = DocShelf(sessions[0])
        other.run(use(shelf))
        shelf.close()
        assert finished(sessions)
        with pytest.raises(ClosedError):
            other.run(shelf.aget("k"))


def test_close_within_the_running_loop_ends_its_connections(sessions: Sessions) -> None:
    async def main() -> None:
        shelf = DocShelf(sessions[0])
        await use(shelf)
        shelf.close()
        with pytest.raises(ClosedError):
            await shelf.aget("k")
        await asyncio.to_thread(finished, sessions)

    asyncio.run(main())


def test_close_as_the_last_act_of_a_loop_ends_its_connections(sessions: Sessions) -> None:
    async def main() -> None:
        shelf = DocShelf(sessions[0])
        await use(shelf)
        shelf.close()

    asyncio.run(main())
    assert finished(sessions)


def test_close_within_one_loop_ends_the_connections_of_another_that_is_idle(
    sessions: Sessions, idle: asyncio.AbstractEventLoop
) -> None:
    shelf = DocShelf(sessions[0])
    idle.run_until_complete(use(shelf))

    async def main() -> None:
        shelf.close()

    asyncio.run(main())
    assert finished(sessions)


def test_aclose_within_one_loop_ends_the_connections_of_another_that_is_idle(
    sessions: Sessions, idle: asyncio.AbstractEventLoop
) -> None:
    shelf = DocShelf(sessions[0])
    idle.run_until_complete(use(shelf))
    asyncio.run(shelf.aclose())
    assert finished(sessions)


def test_aclose_within_one_loop_ends_the_connections_of_another_that_runs(sessions: Sessions) -> None:
    shelf = DocShelf(sessions[0])
    with LoopThread() as other:
        other.run(use(shelf))
        asyncio.run(shelf.aclose())
        assert finished(sessions)


def test_aclose_may_be_called_twice_and_closes_sync_connections_too(sessions: Sessions) -> None:
    async def main() -> None:
        async with DocShelf(sessions[0]) as shelf:
            await use(shelf)
            shelf.set("k", "v")
            await shelf.aclose()
            await shelf.aclose()
            with pytest.raises(ClosedError):
                shelf.get("k")
            await asyncio.to_thread(finished, sessions)

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_was_closed_without_ceremony_does_not_hinder_the_next(sessions: Sessions) -> None:
    # `loop.close()` alone runs no clean-up. Garbage collection closes its connections.
    with DocShelf(sessions[0]) as shelf:
        rough = asyncio.new_event_loop()
        rough.run_until_complete(use(shelf))
        rough.close()
        asyncio.run(use(shelf))
        shelf.set("k", "v")
    del rough
    gc.collect()


# Cancelling


@pytest.mark.no_citus("the lock is waited for on a worker, which the coordinator does not show")
@pytest.mark.parametrize("by", ["cancel", "timeout"])
def test_a_cancelled_write_leaves_the_old_state_and_a_store_that_works(
    sessions: Sessions, place: Location, new_engine: Callable[..., Engine], by: str
) -> None:
    engine = new_engine(place)

    def waiting() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = ANY(:pids)"
        with engine.connect() as connection:
            return bool(connection.scalar(text(query), {"pids": list(sessions[1]())}))

    async def main(shelf: DocShelf) -> None:
        await shelf.async_({"a": 1})
        with engine.begin() as connection:
            shelf.bind(connection).sync({"a": 2})
            blocked = asyncio.create_task(shelf.async_({"b": 3}))
            await asyncio.to_thread(wait_until, waiting, "the sync waits for the lock")
            if by == "cancel":
                blocked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await blocked
            else:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(blocked, 0.01)
            await asyncio.to_thread(wait_until, lambda: not waiting(), "nobody waits for the lock any more")
        assert [item async for item in shelf.ayield_items()] == [("a", 2)]
        await shelf.async_({"b": 3})
        assert [item async for item in shelf.ayield_items()] == [("b", 3)]

    with DocShelf(sessions[0]) as shelf:
        asyncio.run(main(shelf))
        wait_until(lambda: not sessions[1](), "the server has ended the sessions")


def test_a_cancelled_write_on_sqlite_leaves_the_old_state_or_the_new(new_location: Callable[[str], Location]) -> None:
    old, new = {f"k{number}": "old" for number in range(500)}, {f"k{number}": "new" for number in range(250)}

    async def main(shelf: DocShelf) -> None:
        await shelf.async_(old)
        for steps in range(6):
            task = asyncio.create_task(shelf.async_(new))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert {key: value async for key, value in shelf.ayield_items()} in (old, new)
        await shelf.async_(new)
        assert {key: value async for key, value in shelf.ayield_items()} == new

    with DocShelf(new_location("sqlite").url) as shelf:
        asyncio.run(main(shelf))
