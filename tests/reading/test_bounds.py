"""A statement that reads values carries a bounded number of rows and bytes, and the results stay whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from docshelf import Item
from tests.support.face import Face

ROWS, BYTES = 4, 1_000
SIZES = {"a": 10, "b": 240, "c": 450, "d": 5_000, "e": 700, "f": 0, "g": 1_500, "h": 260, "i": 990}


@pytest.fixture
def carried(face: Face, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[int]]]:
    """Rows and the sizes of the values of each statement that was read, under small limits."""
    seen: list[tuple[int, list[int]]] = []
    dialect = type(face.shelf._context.dialect)
    monkeypatch.setattr(dialect, "chunk_rows", ROWS)
    monkeypatch.setattr(dialect, "chunk_bytes", BYTES)
    of_face = face.shelf._context.queries
    original = of_face._rows

    def watched(connection: Any, name: Any, *args: Any) -> Iterator[Any]:
        rows = [tuple(row) for row in original(connection, name, *args)]
        values = [bytes(part) for row in rows for part in row[2:3] if isinstance(part, bytes | memoryview)]
        seen.append((len(rows), [len(value) for value in values]))
        return iter(rows)

    for reader in (of_face, of_face._values):
        monkeypatch.setattr(reader, "_rows", watched)
    return seen


def test_no_statement_carries_more_values_than_its_limits_say(face: Face, carried: list[tuple[int, list[int]]]) -> None:
    values = {key: os.urandom(size) for key, size in SIZES.items()}
    face.sync(values, source="s")
    face.set_versions({"label": "only"}, source="s")
    keys = [*values, "label", "absent"]
    expected = [*values.values(), None, None]
    reads: dict[str, Any] = {
        "mget": lambda: face.mget(keys),
        "mget of a source": lambda: face.mget(keys, source="s"),
        "mget_entries": lambda: [entry and entry.value for entry in face.mget_entries(keys)],
        "source_entries": lambda: [*(entry.value for entry in face.source_entries(["s"])[0]), None],
        "get": lambda: [face.get(key) for key in keys],
    }
    for name, read in reads.items():
        carried.clear()
        assert read() == expected, name
        for _, sizes in carried:
            assert len(sizes) <= ROWS
            assert sum(sizes) <= BYTES or len(sizes) == 1, (name, sizes)
        # To see that a source has too many rows for one statement, the first ones are read.
        again = ROWS + 1 if name == "source_entries" else 0
        assert sum(len(sizes) for _, sizes in carried) <= len(SIZES) + again, name


def test_a_key_in_several_sources_is_read_whole(face: Face, carried: list[tuple[int, list[int]]]) -> None:
    value = {source: os.urandom(400) for source in "stu"}
    face.mset([Item("k", value[source], source) for source in "stu"])
    face.set("k", value["t"][::-1], source="t")
    assert face.get("k") == value["t"][::-1]
    assert [face.get("k", source=source) for source in "su"] == [value["s"], value["u"]]
    assert [[entry.value for entry in one] for one in face.source_entries(["u", "s"])] == [[value["u"]], [value["s"]]]


def test_the_order_of_a_large_source_is_that_of_insertion(face: Face, carried: list[tuple[int, list[int]]]) -> None:
    values = {f"k{9 - number}": os.urandom(100 * number) for number in range(10)}
    face.sync(values, source="s")
    assert [(entry.key, entry.value) for entry in face.source_entries(["s"])[0]] == list(values.items())
    assert list(face.yield_items()) == sorted(values.items())
    assert face.verify() == []
