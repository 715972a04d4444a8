"""A row of another program, with a column that Python or docshelf cannot hold, is named and stops nobody else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from docshelf import CorruptEntryError, CorruptEntryWarning, Item
from docshelf.values.hashing import hash_prefix
from tests.conftest import Location
from tests.support.face import Face
from tests.support.tables import connected

DEEP = ("[" * 1_000 + "]" * 1_000).encode()
# By name: the columns to set, on which databases, and a part of the reason.
TIME = "a time that Python lacks"
ODD: dict[str, tuple[dict[str, Any], str, str]] = {
    "year 20000": ({"created_at": "20000-01-01 00:00:00+00"}, "postgresql", TIME),
    "before Christ": ({"updated_at": "0044-03-15 00:00:00+00 BC"}, "postgresql", TIME),
    "infinity": ({"created_at": "infinity", "updated_at": "-infinity"}, "postgresql", TIME),
    "the last second": ({"created_at": "9999-12-31 23:59:59.999999-14"}, "postgresql", TIME),
    "an offset beyond the last day": ({"updated_at": "9999-12-31T23:59:59-23:59"}, "sqlite", TIME),
    "an offset before the first day": ({"created_at": "0001-01-01T00:00:00+23:59"}, "sqlite", TIME),
    "no time": ({"created_at": "yesterday"}, "sqlite", TIME),
    "a number for a time": ({"created_at": 7}, "sqlite", TIME),
    "bytes for a version": ({"version": b"v"}, "sqlite", "a version that is not text"),
    "bytes for a seq": ({"seq": b"7"}, "sqlite", "a seq that is not a whole number"),
    "bytes for a content type": ({"content_type": b"json"}, "sqlite", "a content_type that is not text"),
}


def spoil(location: Location, table: str, columns: dict[str, Any], where: str) -> None:
    """Set columns of a row as another program may."""
    assigned = ", ".join(
        f"{name} = CAST(:{name} AS timestamptz)" if location.dialect == "postgresql" else f"{name} = :{name}"
        for name in columns
    )
    with connected(location) as connection:
        assert connection.execute(text(f"UPDATE docshelf_{table} SET {assigned} WHERE {where}"), columns).rowcount == 1


@pytest.mark.parametrize("name", ODD)
def test_an_odd_column_is_named_and_stops_nobody_else(face: Face, location: Location, name: str) -> None:
    columns, dialect, reason = ODD[name]
    if dialect != location.dialect:
        pytest.skip(f"a column of {location.dialect} cannot hold it")
    face.mset([Item("bad", {"n": 1}, "s"), Item("good", {"n": 2}, "s")])
    spoil(location, "entries", columns, "key = 'bad'")
    reads: dict[str, Callable[[Face], Any]] = {
        "get_entry": lambda face: face.get_entry("bad"),
        "mget_entries": lambda face: face.mget_entries(["good", "bad"]),
        "without values": lambda face: list(face.yield_entries(values=False)),
        "source_entries": lambda face: face.source_entries(["s"]),
        "yield_entries": lambda face: list(face.yield_entries()),
    }
    for read in reads.values():
        with pytest.raises(CorruptEntryError, match=reason) as caught:
            read(face)
        assert [(one.key, one.source) for one in caught.value.problems] == [("bad", "s")]
    skipping = face.of(face.shelf.view(on_corrupt="skip"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptEntryWarning)
        assert [entry and entry.value for entry in skipping.mget_entries(["bad", "good"])] == [None, {"n": 2}]
        assert [entry.key for entry in skipping.yield_entries()] == ["good"]
        assert [[entry.key for entry in one] for one in skipping.source_entries(["s"])] == [["good"]]
    assert [one.key for one in face.verify()] == ["bad"]
    # Writes of other entries, and the mend that the error names.
    assert face.conditional_mset([Item("good", {"n": 3}, "s"), Item("new", 1, "s")]).counts["UPD"] == 1
    assert face.sync([Item("bad", {"n": 5}), Item("good", 1)], source="s", diff=True).counts["DEL"] == 1
    face.set_versions({"bad": "v", "good": "v"})
    assert face.mdelete(["bad"]).counts["DEL"] == 1
    face.set("bad", {"n": 1})
    assert face.get_entry("bad").value == {"n": 1}
    assert face.verify() == []


def test_a_number_at_the_end_of_the_range_stops_no_writer(face: Face, location: Location) -> None:
    face.mset({"a": 1, "b": 2})
    with connected(location) as connection:
        connection.execute(text("UPDATE docshelf_entries SET seq = 9223372036854775807 WHERE key = 'b'"))
    assert face.conditional_mset({"b": 3, "c": 4, "d": 5}).counts["INS"] == 2
    face.set("e", 6)
    assert face.mget(list("abcde")) == [1, 3, 4, 5, 6]
    seqs = [entry.seq for entry in face.mget_entries(list("acde"))]
    assert seqs == sorted(seqs)
    assert face.verify() == []


@pytest.mark.parametrize("name", ["year 20000", "no time", "bytes"])
def test_an_odd_note_of_a_source_is_named(face: Face, location: Location, name: str) -> None:
    notes: dict[str, tuple[dict[str, Any], str]] = {
        "year 20000": ({"synced_at": "20000-01-01 00:00:00+00"}, "postgresql"),
        "no time": ({"synced_at": "yesterday"}, "sqlite"),
        "bytes": ({"fingerprint": b"f", "metadata": b"m"}, "sqlite"),
    }
    columns, dialect = notes[name]
    if dialect != location.dialect:
        pytest.skip(f"a column of {location.dialect} cannot hold it")
    for source in ("s", "t"):
        face.sync({source: 1}, source=source, fingerprint="f", metadata={"n": 1})
    spoil(location, "sources", columns, "source = 's'")
    with pytest.raises(CorruptEntryError, match=r"the source's (synced_at|fingerprint)") as caught:
        face.sources()
    assert {one.source for one in caught.value.problems} == {"s"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptEntryWarning)
        skipped = face.of(face.shelf.view(on_corrupt="skip")).sources()
    assert [(one.source, one.entries) for one in skipped] == [("s", 1), ("t", 1)]
    assert face.changed_sources({"s": "f", "t": "f"}) == (["s"] if name == "bytes" else [])
    face.sync({"s": 2}, source="s", fingerprint="g", metadata={"n": 2})
    assert [one.source for one in face.sources()] == ["s", "t"]


def forge(location: Location, data: bytes) -> None:
    """Give the row of `bad` other bytes with a hash that fits."""
    digest = sha256(hash_prefix("json") + data).digest()
    with connected(location) as connection:
        changed = "UPDATE docshelf_entries SET value = :value, value_hash = :hash, encoding = 'plain' WHERE key = 'bad'"
        connection.execute(text(changed), {"value": data, "hash": digest})


FORGED = {
    "nested 1,000 deep": DEEP,
    "nested 255 deep": b"[" * 255 + b"]" * 255,
    "nested 255 deep beside others": b"[" + b"1," * 60 + b'{"a":1,"b":' * 254 + b"1" + b"}" * 254 + b"]",
    "a set of one hash": orjson.dumps({"$set": [{"$int": hex(n * (2**61 - 1))} for n in range(20_000)]}),
    "a dict of one hash": orjson.dumps({"$dict": [[{"$int": hex(n * (2**61 - 1))}, 1] for n in range(20_000)]}),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_value_that_nobody_could_have_written_is_named(face: Face, location: Location, name: str) -> None:
    face.mset({"bad": 1, "good": 2})
    forge(location, FORGED[name])
    for read in (lambda: face.get("bad"), lambda: face.get_entry("bad"), lambda: list(face.yield_items())):
        with pytest.raises(CorruptEntryError, match=r"nested deeper|of one hash"):
            read()
    assert [one.key for one in face.verify()] == ["bad"]
    assert face.sync({"bad": 3, "good": 2}, diff=True).diffs[0].key == "bad"
    assert face.mget(["bad", "good"]) == [3, 2]
