"""Many writers of the same sources: callers see no deadlock, no row is lost, and the result is a serial one."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from docshelf import DocShelf, Item, Report
from docshelf.adapters import async_name
from docshelf.operations.plan import Scope
from docshelf.operations.upsert import ConditionalUpsert
from tests.conftest import Location
from tests.support.face import Face
from tests.support.waiting import wait_until
from tests.support.writers import KEYS, SOURCES, async_in_turns, process, set_of, sync_in_turns

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


@pytest.mark.parametrize("size", [3, 400], ids=["few", "many"])
def test_rows_inserted_after_the_probe_are_not_reported_as_ours(
    face: Face, location: Location, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    keys = [f"k{number:03}" for number in range(size)]
    face.mset([("old", 1), ("gone", 1), ("changed", 1)])
    apply, writes = ConditionalUpsert.apply, [("k000", "ours"), ("k001", "theirs"), ("changed", "theirs")]

    def apply_late(batch: ConditionalUpsert, connection: Any, known_states: bytearray) -> Any:
        if writes:
            coming, writes[:] = list(writes), []
            with DocShelf(location.url) as other:
                other.mset(coming)
                other.mdelete(["gone"])
        return apply(batch, connection, known_states)

    monkeypatch.setattr(ConditionalUpsert, "apply", apply_late)
    report = face.conditional_mset([*((key, "ours") for key in keys), ("old", 1), ("gone", 1), ("changed", 1)])
    assert {change.key: change.op for change in report} == {
        **dict.fromkeys(keys, "INS"),
        "k000": "SKIP",
        "k001": "UPD",
        "old": "SKIP",
        "gone": "INS",
        "changed": "UPD",
    }
    assert face.mget([*keys, "old", "gone", "changed"]) == [*["ours"] * size, 1, 1, 1]


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


# All operations in parallel: the reports of all writers together explain the final entries.

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
Balance = Counter[tuple[str, str]]


def mixed_calls(writer: int, turns: int) -> Iterator[Call]:
    """Syncs of every scope, upserts, deletes and labels over the same few keys and sources."""
    choice = random.Random(writer)
    for turn in range(turns):
        keys = choice.sample(KEYS, choice.randint(2, len(KEYS)))
        source = choice.choice(SOURCES)
        items = [(key, [writer, turn], choice.choice(SOURCES)) for key in keys]
        calls: list[Call] = [
            ("sync", ({key: [writer, turn] for key in keys},), {"source": source, "fingerprint": str(turn)}),
            ("sync", (items,), {"scope": "sources"}),
            ("sync", (items,), {"scope": "collection"}),
            ("conditional_mset", (items,), {}),
            ("conditional_mset", ([(key, [writer, turn]) for key in keys],), {"source": source, "move": True}),
            ("mdelete", (keys,), {}),
            ("mdelete", (keys[:3],), {"source": source}),
            ("delete_source", (source,), {}),
            ("set_versions", (dict.fromkeys(keys, str(turn)),), {}),
        ]
        yield choice.choice(calls)


def balance_of(report: Report) -> Balance:
    """Inserted minus deleted rows, by key and source."""
    balance: Balance = Counter()
    for change in report:
        balance[change.key, change.source] += {"INS": 1, "DEL": -1}.get(change.op, 0)
    return balance


def mixed(shelf: DocShelf, writer: int, turns: int) -> Balance:
    balance: Balance = Counter()
    for name, arguments, options in mixed_calls(writer, turns):
        balance.update(balance_of(getattr(shelf, name)(*arguments, **options)))
    return balance


async def amixed(shelf: DocShelf, writer: int, turns: int) -> Balance:
    balance: Balance = Counter()
    for name, arguments, options in mixed_calls(writer, turns):
        balance.update(balance_of(await getattr(shelf, async_name(name))(*arguments, **options)))
    return balance


def mixed_in_process(url: str, writer: int, turns: int) -> Balance:
    with DocShelf(url) as shelf:
        return mixed(shelf, writer, turns)


def assert_accounted_for(location: Location, balances: Iterable[Balance]) -> None:
    total: Balance = Counter()
    for balance in balances:
        total.update(balance)
    with DocShelf(location.url) as shelf:
        there = {(entry.key, entry.source) for entries in shelf.source_entries(["", *SOURCES]) for entry in entries}
        assert len(there) == shelf.count()
        assert shelf.verify() == []
    assert {identity: count for identity, count in total.items() if count} == dict.fromkeys(there, 1)


def test_the_reports_of_threads_account_for_what_is_there(shared: Location) -> None:
    with DocShelf(shared.url) as shelf, ThreadPoolExecutor(WRITERS) as threads:
        balances = list(threads.map(lambda writer: mixed(shelf, writer, 12), range(WRITERS)))
    assert_accounted_for(shared, balances)


def test_the_reports_of_tasks_account_for_what_is_there(shared: Location) -> None:
    async def main() -> list[Balance]:
        async with DocShelf(shared.url) as shelf:
            return await asyncio.gather(*(amixed(shelf, writer, 12) for writer in range(WRITERS)))

    assert_accounted_for(shared, asyncio.run(main()))


def test_the_reports_of_processes_account_for_what_is_there(shared: Location) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as processes:
        balances = list(processes.map(mixed_in_process, [shared.url] * 8, range(8), [15] * 8))
    assert_accounted_for(shared, balances)


# Isolation


def isolated(location: Location, new_engine: Callable[..., Engine], whose: str, level: str) -> DocShelf:
    """A store on an engine with this isolation level."""
    if whose == "given":
        return DocShelf(engine=new_engine(location, isolation_level=level))
    return DocShelf(f"{location.url}%20-cdefault_transaction_isolation%3D{level.replace(' ', '%5C%20')}")


def _changes(of: DocShelf) -> list[Callable[[], object]]:
    """A write of each kind. In this order each changes entries."""
    many = {f"k{number}": number for number in range(100)}
    copied, renamed = (of.view(f"{of.collection} {name}") for name in ("copied", "renamed"))
    return [
        lambda: of.mset({key: -number for key, number in many.items()}, source="f"),
        lambda: of.mset(dict.fromkeys(many, "new"), source="g"),
        lambda: of.set_versions(dict.fromkeys(many, "1"), source="g"),
        lambda: of.sync({"k1": "changed"}, source="f", metadata={"a": 1}, max_delete=1),
        lambda: of.sync([Item(key, number, key) for key, number in many.items()], scope="sources"),
        lambda: of.conditional_mset(dict.fromkeys(list(many)[:20], "moved"), source="h", move=True),
        lambda: of.mdelete(list(many)[:50]),
        lambda: of.delete_sources(["g", "k60"]),
        lambda: of.copy_collection(copied.collection),
        lambda: of.rename_collection(renamed.collection),
        lambda: renamed.delete_source("f"),
        lambda: copied.clear(),
    ]


@pytest.mark.parametrize("location", ["pg18"], indirect=True)
def test_a_write_waits_for_no_open_transaction_of_another_collection(
    location: Location, new_engine: Callable[..., Engine]
) -> None:
    engine = new_engine(location)
    with DocShelf(location.url) as shelf, engine.connect() as first:
        for name in ("one", "other"):
            shelf.view(name).sync({f"k{number}": number for number in range(100)}, source="f")
        for change in _changes(shelf.bind(first).view("one")):
            change()
        with engine.begin() as second:
            second.execute(text("SET lock_timeout = '5s'"))
            for change in _changes(shelf.bind(second).view("other")):
                change()
        first.rollback()
        assert shelf.view("one").count() == 100
        assert shelf.view("other renamed").count() > 0


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("whose", ["own", "given"])
@pytest.mark.parametrize("scope", ["source", "collection"])
def test_a_sync_that_waited_for_another_deletes_what_that_one_wrote(
    pg_location: Location, new_engine: Callable[..., Engine], whose: str, level: str, scope: Scope
) -> None:
    rival = new_engine(pg_location)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    def someone_waits() -> bool:
        with rival.connect() as connection:
            return bool(connection.scalar(text(waiting)))

    with isolated(pg_location, new_engine, whose, level) as shelf, ThreadPoolExecutor(1) as threads:
        shelf.setup()
        with rival.begin() as connection:
            shelf.bind(connection).sync({"first": 1}, source="f", scope=scope)
            pending = threads.submit(shelf.sync, {"second": 2}, source="f", scope=scope)
            wait_until(someone_waits, "the sync waits for the one before it")
        report = pending.result(30)
        # One after the other: a snapshot from before the wait would leave both.
        assert dict(shelf.yield_items()) == {"second": 2}
        assert [tuple(change) for change in report] == [("second", "INS", "f"), ("first", "DEL", "f")]
