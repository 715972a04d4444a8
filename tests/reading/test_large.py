"""Large batches and long listings: they meet no limit of parameters, and memory stays bounded."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from docshelf import DocShelf
from docshelf.adapters import async_name
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.tables import connected

KEYS = 100_000
# One server for each driver: the limits are the drivers'.
DRIVERS = {
    "SQLite": ("sqlite", "sync"),
    "psycopg2": ("pg18", "sync"),
    "asyncpg": ("pg18", "async"),
    "psycopg 3": ("pg18-psycopg", "sync"),
}


@pytest.fixture
def opened(
    new_location: Callable[[str], Location], loop: Loop
) -> Iterator[Callable[[str, str], tuple[Face, Location]]]:
    """Opens stores by backend and mode; all are closed after the test."""
    faces: list[Face] = []

    def open_one(backend: str, mode: str) -> tuple[Face, Location]:
        location = new_location(backend)
        faces.append(Face(DocShelf(location.url), mode, loop))
        return faces[-1], location

    yield open_one
    for face in faces:
        face.close()


@pytest.mark.no_cover  # half of the time
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_hundred_thousand_keys_are_written_and_read_in_one_call(
    opened: Callable[[str, str], tuple[Face, Location]], driver: str
) -> None:
    face, _ = opened(*DRIVERS[driver])
    values = {f"key {number}": number for number in range(KEYS)}
    face.mset(values)
    keys = list(values)
    random.Random(0).shuffle(keys)
    assert face.mget([*keys, "nowhere"]) == [*(values[key] for key in keys), None]
    assert face.mexists(keys) == [True] * KEYS
    assert face.count() == KEYS


def fill(location: Location, size: int) -> None:
    """So many entries, put into the table by the database itself."""
    fields = "collection, key, source, seq, created_at, updated_at, value, value_hash, content_type, encoding"
    if location.dialect == "sqlite":
        statement = f"""
            WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {size})
            INSERT INTO docshelf_entries ({fields})
            SELECT 'default', printf('key %07d', n), '', n, '2024-01-01 00:00:00.000000', '2024-01-01 00:00:00.000000',
                   x'31', x'00', 'json', 'plain' FROM numbers
        """
    else:
        statement = f"""
            INSERT INTO docshelf_entries ({fields})
            SELECT 'default', 'key ' || lpad(n::text, 7, '0'), '', n, now(), now(),
                   '\\x31'::bytea, '\\x00'::bytea, 'json', 'plain' FROM generate_series(1, {size}) AS n
        """
    with connected(location) as connection:
        # The listing does not use this index, and keeping it takes half of the time.
        connection.execute(text("DROP INDEX docshelf_entries_source_idx"))
        connection.execute(text(statement.replace("::", r"\:\:")))
        # Autovacuum would do this later. Without statistics each page would sort all rows after it.
        connection.execute(text("ANALYZE docshelf_entries"))


def peak_of(shelf: DocShelf, listing: str, mode: str, loop: Loop, prefix: str = "") -> tuple[int, int]:
    """How many a listing has, and the most memory, in bytes, that Python held while it was gone through."""

    async def count() -> int:
        number = 0
        async for _ in getattr(shelf, async_name(listing))(prefix):
            number += 1
        return number

    tracemalloc.start()
    try:
        number = loop.run(count()) if mode == "async" else sum(1 for _ in getattr(shelf, listing)(prefix))
        return number, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.no_cover
@pytest.mark.parametrize("backend", ["sqlite", "pg18"])
def test_a_million_keys_take_the_memory_of_a_hundred_thousand(
    opened: Callable[[str, str], tuple[Face, Location]], loop: Loop, backend: str
) -> None:
    face, location = opened(backend, "sync")
    face.setup()
    fill(location, 10 * KEYS)
    listings = {
        "sync": [("key 0000", 999), ("key 00", KEYS - 1), ("", 10 * KEYS)],
        # Each step of an asynchronous iteration is slow while memory is traced: a tenth shows the same.
        "async": [("key 00000", 99), ("key 000", KEYS // 10 - 1), ("key 00", KEYS - 1)],
    }
    for mode, prefixes in listings.items():
        peaks = []
        for prefix, number in prefixes:
            count, peak = peak_of(face.shelf, "yield_keys", mode, loop, prefix)
            assert count == number
            peaks.append(peak)
        # A page and what the driver makes of it: far below the 60 MB that a list of the keys takes.
        assert peaks[2] < 1.25 * peaks[1] < 8_000_000


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("backend", ["sqlite", "pg18"])
def test_large_values_are_listed_in_bounded_memory(
    opened: Callable[[str, str], tuple[Face, Location]], loop: Loop, backend: str, mode: str
) -> None:
    face, _ = opened(backend, mode)
    size, number = 1_000_000, 80
    for position in range(number):
        face.set(f"key {position}", random.Random(position).randbytes(size))
    count, peak = peak_of(face.shelf, "yield_items", mode, loop)
    assert count == number
    # The entries of one batch (16 MiB), as packed and as read.
    assert peak < 40_000_000
