"""Tables of other programs: read in pages that fit in memory, by short queries, and never written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from docshelf import ConfigurationError, DatabaseError, Item
from docshelf.moving import OldDatabase, PageSize, Record, TableSource
from docshelf.steps import Flow, aperform, perform
from tests.conftest import Location

ROWS = [(f"k{number % 7}", f"f{number // 7}.md", number) for number in range(50)]


@pytest.fixture(params=["sqlite", "pg18"])
def place(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    return new_location(request.param)


@pytest.fixture
def engine(place: Location, new_engine: Callable[..., Engine]) -> Engine:
    """An engine on a table of two columns that are unique together."""
    engine = new_engine(place)
    with engine.begin() as connection:
        connection.execute(text('CREATE TABLE "Old table" (name TEXT, file TEXT, n INTEGER, part TEXT)'))
        for name, file, number in ROWS:
            values = {"name": name, "file": file, "n": number, "part": "x" if number % 2 else None}
            connection.execute(text('INSERT INTO "Old table" VALUES (:name, :file, :n, :part)'), values)
    return engine


@pytest.fixture
def database(engine: Engine) -> Iterator[OldDatabase]:
    with OldDatabase(engine) as opened:
        yield opened


@pytest.mark.parametrize("rows", [1, 2, 3, 49, 50, 51])
def test_every_row_comes_once_and_in_order(database: OldDatabase, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("docshelf.moving.tables._FIRST_ROWS", rows)
    monkeypatch.setattr("docshelf.moving.tables._MOST_ROWS", rows)
    pages = list(database.pages("Old table", ["name", "file", "n"], {}, ["name", "file"]))
    assert [row for page in pages for row in page] == sorted(ROWS)
    assert max(map(len, pages)) <= rows


def test_rows_are_chosen_by_values_and_by_null(database: OldDatabase) -> None:
    for part, wanted in (("x", 1), (None, 0)):
        where = {"part": part}
        pages = database.pages("Old table", ["n"], where, ["name", "file"])
        assert sorted(number for page in pages for (number,) in page) == list(range(wanted, 50, 2))
        assert database.count("Old table", where) == 25
    assert database.distinct("Old table", "file") == [f"f{number}.md" for number in range(8)]
    assert database.columns("Old table") == {"name", "file", "n", "part"}
    assert database.columns("no table") == set()
    assert "Old table" in database.tables()


def test_nothing_can_be_written(place: Location, engine: Engine) -> None:
    for origin in (place.url, engine):
        if origin is engine and engine.dialect.name == "sqlite":
            continue  # an Engine on SQLite is the caller's; nothing here sends it a write
        with OldDatabase(origin) as database, database._connected() as connection:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                connection.execute(text('DELETE FROM "Old table"'))
            connection.rollback()


def test_a_source_reads_all_rows_sync_and_async(engine: Engine) -> None:
    source = TableSource(
        engine,
        "Old table",
        ["name", "n", "file"],
        where={"part": "x"},
        order=["name", "file"],
        record=lambda name, number, file: Item(name, number, file),
    )
    found: list[Any] = []

    def take(page: Sequence[Record]) -> Flow[None]:
        found.extend(page)
        yield from ()

    wanted = [Item(name, number, file) for name, file, number in sorted(ROWS) if number % 2]
    perform(source.read(take))
    assert found == wanted
    assert perform(source.count()) == 25
    found.clear()
    asyncio.run(aperform(source.read(take)))
    assert found == wanted


def test_what_is_not_there_is_told(place: Location, engine: Engine, tmp_path: Path) -> None:
    def read(table: str, column: str) -> None:
        source = TableSource(engine, table, [column], where={}, order=[column], record=lambda value: Item("k", value))
        perform(source.read(lambda page: iter(())))  # type: ignore[arg-type, return-value]

    with pytest.raises(ConfigurationError, match="there is no table 'none' with a column 'name'"):
        read("none", "name")
    with pytest.raises(ConfigurationError, match="there is no table 'Old table' with a column 'other'"):
        read("Old table", "other")
    with pytest.raises(ConfigurationError, match=r"there is no file '.*no\.db' to move from"):
        OldDatabase(tmp_path / "no.db")
    (tmp_path / "odd.db").write_bytes(b"this is no database, but a text of some length" * 50)
    with OldDatabase(tmp_path / "odd.db") as database, pytest.raises(DatabaseError, match="the source cannot be read"):
        database.columns("x")


def test_a_page_grows_slowly_and_shrinks_at_once() -> None:
    size = PageSize()
    assert size.items == 100
    size.learn(100, 100)
    assert size.items == 400
    size.learn(400, 400)
    size.learn(1_600, 1_600)
    assert size.items == 2_000
    size.learn(2_000, 2_000 * 1024 * 1024)
    assert size.items == 8
    size.learn(1, 100 * 1024 * 1024)
    assert size.items == 1
    size.learn(0, 0)
    assert size.items == 1
