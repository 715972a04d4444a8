"""Every collection of a table with its counts; a store as a container of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from docshelf import ArgumentTypeError, Collection, CorruptEntryError, DocShelf, EstimatedStats
from tests.conftest import Location
from tests.support.face import Face
from tests.support.statements import recorded_statements
from tests.support.tables import connected


@pytest.fixture
def shelves(face: Face) -> Face:
    """Three collections: entries of two sources, one that was only synced, and one whose name is not ASCII."""
    docs = face.of(face.shelf.view("docs"))
    docs.sync({"a": "text", "b": b"bytes"}, source="f", fingerprint="1")
    docs.sync({"a": "other"}, source="g")
    emptied = face.of(face.shelf.view("emptied"))
    emptied.sync({"k": 1}, source="f")
    emptied.sync({}, source="f", allow_mass_delete=True)
    face.of(face.shelf.view("Ünï")).set("k", {"a": 1})
    return face


def test_collections_are_counted_in_the_order_of_their_names(shelves: Face) -> None:
    found = shelves.collections()
    assert [(one.name, one.entries, one.sources) for one in found] == [
        ("docs", 3, 2),
        ("emptied", 0, 0),
        ("Ünï", 1, 1),
    ]
    for one in found:
        stats = shelves.of(shelves.shelf.view(one.name)).stats()
        assert one == Collection(one.name, stats.entries, stats.sources, stats.stored_bytes)


def test_a_table_without_entries_has_no_collections(face: Face) -> None:
    assert face.collections() == []
    assert face.collections(exact=False) == []


def test_estimates_name_the_same_collections_and_read_no_values(shelves: Face) -> None:
    with recorded_statements() as statements:
        found = shelves.collections(exact=False)
    assert [one.name for one in found] == ["docs", "emptied", "Ünï"]
    assert {(one.sources, one.stored_bytes) for one in found} == {(None, None)}
    assert all(one.entries >= 0 for one in found)
    assert not [statement for statement in statements if "length(" in statement]


def test_estimates_come_near_once_the_database_knows_its_rows(face: Face, location: Location) -> None:
    for name, count in (("few", 40), ("many", 2000)):
        face.of(face.shelf.view(name)).mset({f"k{n}": n for n in range(count)})
    if location.dialect == "postgresql":
        with connected(location) as connection:
            connection.exec_driver_sql("ANALYZE docshelf_entries")
    found = {one.name: one.entries for one in face.collections(exact=False)}
    assert found == pytest.approx({"few": 40, "many": 2000}, rel=0.2)
    many = face.of(face.shelf.view("many"))
    with recorded_statements() as statements:
        estimated = many.count(exact=False)
        stats = many.stats(exact=False)
    assert estimated == found["many"]
    assert stats == EstimatedStats(found["many"], many.stats().disk_bytes)
    if location.dialect == "postgresql":
        assert not [one for one in statements if "count(" in one]


def test_an_estimate_is_of_the_whole_collection(face: Face) -> None:
    narrowings: list[dict[str, Any]] = [{"prefix": "k"}, {"source": ""}, {"where": {}}, {"at_most": 1}]
    for narrowing in narrowings:
        with pytest.raises(ArgumentTypeError, match="whole collection"):
            face.count(**narrowing, exact=False)


def test_a_name_that_is_no_text_is_reported(new_location: Callable[[str], Location]) -> None:
    location = new_location("sqlite")
    with DocShelf(location.url) as shelf:
        shelf.set("k", 1)
        with connected(location) as connection:
            connection.exec_driver_sql("UPDATE docshelf_entries SET collection = x'00ff'")
        with pytest.raises(CorruptEntryError, match="is not text"):
            shelf.collections()


def test_a_store_is_a_container_of_its_keys(location: Location) -> None:
    with DocShelf(location.url) as shelf:
        assert len(shelf) == 0
        assert bool(shelf)
        shelf.mset({"b": 1, "a": 2})
        shelf.set("a", 3, source="f")
        assert len(shelf) == 3
        assert "a" in shelf
        assert "c" not in shelf
        assert 1 not in shelf
        assert isinstance(iter(shelf), Iterator)
        assert list(shelf) == ["a", "b"]
        assert bool(shelf)


async def test_a_store_gives_its_keys_to_async_code(location: Location) -> None:
    async with DocShelf(location.url) as shelf:
        await shelf.amset({"b": 1, "a": 2})
        assert isinstance(aiter(shelf), AsyncIterator)
        assert [key async for key in shelf] == ["a", "b"]
