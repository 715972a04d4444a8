"""Rows that were changed by hand: reported by key, never returned or executed; other rows still work."""

from __future__ import annotations

import hashlib
import sqlite3
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlalchemy import Engine, create_engine, select, text, update

from docshelf import ContentType, CorruptEntryError, CorruptEntryWarning, DocShelf, DocShelfError, SourceNote
from docshelf.schema import define_tables
from tests.conftest import Location
from tests.support.face import Face, Loop

Alter = Callable[..., None]
MIB = 1024 * 1024


@dataclass
class Page:
    text: str
    metadata: dict[str, Any]


def _page_type(name: str) -> ContentType:
    return ContentType(
        name,
        (Page,),
        lambda page: {"text": page.text, "metadata": page.metadata},
        lambda content: Page(content["text"], content["metadata"]),
        text_field="text",
        metadata_field="metadata",
    )


# Both build the same class: only the hash knows that a row of one was not written as the other.
TYPES = [_page_type("test/page"), _page_type("test/note")]

WRITERS: dict[str, dict[str, Any]] = {
    "default": {},
    "hash_on text": {"hash_on": "text"},
    "hash_on callable": {"hash_on": lambda value: value.text if isinstance(value, Page) else repr(value)},
    "hash_exclude": {"hash_exclude": ("mtime",)},
    "uncompressed": {"compression": None},
}
each_writer = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)

GOOD: dict[str, Any] = {
    "good": Page("short", {"mtime": 1}),
    "good, long": Page("word " * 400, {"mtime": 2, "page": (1, 2)}),
    "good bytes": b"\0\xff" * 400,
    "good dict": {"mtime": 3, "list": [1, 2]},
    "good text": "text",
}


@pytest.fixture
def alter(location: Location) -> Iterator[Alter]:
    """Sets columns of the row of a key, without docshelf. A callable gets the existing row."""
    engine = create_engine(location.sync_url)
    entries = define_tables().entries

    def run(key: str, **columns: Any) -> None:
        with engine.begin() as connection:
            row = connection.execute(select(entries).where(entries.c.key == key)).one()
            values = {name: value(row) if callable(value) else value for name, value in columns.items()}
            connection.execute(update(entries).where(entries.c.key == key).values(values))

    yield run
    engine.dispose()


def sha(content_type: str, data: bytes) -> bytes:
    """The hash of a whole value: an attacker who changes a row can also set the right hash."""
    return hashlib.sha256(f"{content_type}\n".encode() + data).digest()


def forged(content_type: str, data: bytes) -> dict[str, Any]:
    """The columns of a row that was made from nothing, with the hash that belongs to it."""
    made = {"value": data, "value_hash": sha(content_type, data), "content_type": content_type}
    return {**made, "encoding": "plain", "checksum": None}


@cache
def bomb(*, tells_its_size: bool) -> tuple[bytes, bytes]:
    """A frame with 257 MiB of zeros, more than the largest limit, and the hash of the zeros."""
    size, block = 257 * MIB, bytes(MIB)
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=tells_its_size)
    stream = compressor.compressobj(size=size if tells_its_size else -1)
    digest = hashlib.sha256(b"bytes\n")
    parts = []
    for _ in range(257):
        parts.append(stream.compress(block))
        digest.update(block)
    return b"".join([*parts, stream.flush()]), digest.digest()


def bomb_row(*, tells_its_size: bool) -> dict[str, Any]:
    frame, value_hash = bomb(tells_its_size=tells_its_size)
    made = {"value": frame, "value_hash": value_hash, "content_type": "bytes"}
    return {**made, "encoding": "zstd", "checksum": None}


def flipped(column: str) -> Callable[[Any], bytes]:
    def flip(row: Any) -> bytes:
        value = bytearray(getattr(row, column) or bytes(32))
        value[len(value) // 2] ^= 1
        return bytes(value)

    return flip


PAGE = Page("word " * 400, {"mtime": 1})


def damages(marker: Path) -> dict[str, tuple[Any, dict[str, Any], str]]:
    """By name: the value that was written, the columns to change, and words of the problem."""
    run = f"open({str(marker)!r}, 'w')"
    pickled = f"cbuiltins\neval\n(V{run}\ntR.".encode()
    tagged = f'{{"$eval":"{run}"}}'.encode()
    no_match = "do not match"
    return {
        "value: one bit": (PAGE, {"value": flipped("value")}, ""),
        "value: one bit, short": (Page("short", {}), {"value": flipped("value")}, no_match),
        "value: one bit of bytes": (b"bytes", {"value": flipped("value")}, no_match),
        "value: cut": (PAGE, {"value": lambda row: row.value[:-1]}, ""),
        "value: empty": (PAGE, {"value": b"", "encoding": "plain"}, no_match),
        "value: NULL": (PAGE, {"value": None}, "a hash without a value"),
        "value: of another row": ({"a": 1}, {"value": b'{"a":2}', "encoding": "plain"}, no_match),
        "value: a pickle": (PAGE, {"value": pickled, "encoding": "plain"}, no_match),
        "value_hash: one bit": (PAGE, {"value_hash": flipped("value_hash")}, no_match),
        "value_hash: NULL": (PAGE, {"value_hash": None}, no_match),
        "value_hash: short": (PAGE, {"value_hash": lambda row: row.value_hash[:16]}, no_match),
        "checksum: one bit": (PAGE, {"checksum": flipped("checksum")}, no_match),
        "content_type: json": (PAGE, {"content_type": "json"}, no_match),
        "content_type: bytes": (PAGE, {"content_type": "bytes"}, no_match),
        "content_type: json of bytes": (b"1", {"content_type": "json"}, no_match),
        "content_type: another document": (PAGE, {"content_type": "test/note"}, no_match),
        "content_type: unknown": (PAGE, {"content_type": "no/such"}, no_match),
        "content_type: a class path": ("1 + 1", {"content_type": "builtins.eval"}, no_match),
        "content_type: NULL": (PAGE, {"content_type": None}, no_match),
        "encoding: zstd of plain": (Page("short", {}), {"encoding": "zstd"}, "zstd"),
        "encoding: unknown": (PAGE, {"encoding": "gzip"}, "unknown encoding 'gzip'"),
        "encoding: pickle": (PAGE, {"encoding": "pickle"}, "unknown encoding 'pickle'"),
        "encoding: NULL": (PAGE, {"encoding": None}, "unknown encoding"),
        "forged: a class path": (PAGE, forged("builtins.eval", run.encode()), "not canonical JSON"),
        "forged: a class path, json": (PAGE, forged("builtins.eval", tagged), "unknown tag '$eval'"),
        "forged: a tag": (PAGE, forged("json", tagged), "unknown tag '$eval'"),
        "forged: a pickle as json": (PAGE, forged("json", pickled), "not canonical JSON"),
        "forged: deep": (PAGE, forged("json", b"[" * 100_000), "not canonical JSON"),
        "forged: a document that is none": (PAGE, forged("test/page", b'{"text":"a"}'), "not a test/page (KeyError"),
        "forged: a document that is a list": (
            PAGE,
            forged("test/page", b"[]"),
            "the content of a test/page is not an object",
        ),
        "forged: a bomb": (PAGE, bomb_row(tells_its_size=True), "over the limit"),
        "forged: a bomb without a size": (PAGE, bomb_row(tells_its_size=False), "does not state its size"),
    }


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that will exist if the content of a row is executed."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@dataclass
class Damaged:
    """A collection with good rows and altered ones.

    Attributes:
        keys: all keys, good and bad between each other.
        reasons: of each bad key, what its problem says.
    """

    keys: list[str]
    reasons: dict[str, str]


def damage(face: Face, alter: Alter, marker: Path) -> Damaged:
    """Write good rows and bad ones through `face`, and alter the bad."""
    broken = damages(marker)
    items = GOOD | {name: value for name, (value, _, _) in broken.items()}
    face.mset(items, source="f")
    for name, (_, columns, _) in broken.items():
        alter(name, **columns)
    keys = sorted(items, key=lambda key: hashlib.md5(key.encode()).digest())
    return Damaged(keys, {name: reason for name, (_, _, reason) in broken.items()})


def of_kind(kind: type[Warning], caught: list[warnings.WarningMessage]) -> list[str]:
    assert {warning.category for warning in caught} <= {kind}
    return [str(warning.message) for warning in caught]


@each_writer
def test_a_reader_with_default_options_takes_every_writer_s_rows(
    new_face: Callable[..., Face], writer: dict[str, Any]
) -> None:
    new_face(content_types=TYPES, **writer).mset(GOOD, source="f")
    reader = new_face(content_types=TYPES)
    assert reader.mget(GOOD) == list(GOOD.values())
    assert reader.verify() == []


@each_writer
def test_under_raise_every_altered_row_is_named_and_no_other(
    new_face: Callable[..., Face], alter: Alter, marker: Path, writer: dict[str, Any]
) -> None:
    damaged = damage(new_face(content_types=TYPES, **writer), alter, marker)
    reader = new_face(content_types=TYPES)
    with pytest.raises(CorruptEntryError) as caught:
        reader.mget(damaged.keys)
    problems = caught.value.problems
    assert {problem.key for problem in problems} == damaged.reasons.keys()
    assert len(problems) == len(damaged.reasons)
    assert {problem.source for problem in problems} == {"f"}
    assert [problem for problem in problems if damaged.reasons[problem.key] not in problem.reason] == []
    assert set(reader.verify()) == set(problems)
    assert len(reader.verify()) == len(problems)
    assert reader.mget(GOOD) == list(GOOD.values())


@each_writer
def test_under_skip_the_good_rows_are_served_and_each_bad_one_gives_a_warning(
    new_face: Callable[..., Face], alter: Alter, marker: Path, writer: dict[str, Any]
) -> None:
    damaged = damage(new_face(content_types=TYPES, **writer), alter, marker)
    reader = new_face(content_types=TYPES, on_corrupt="skip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        served = dict(zip(damaged.keys, reader.mget(damaged.keys), strict=True))
    assert served == dict.fromkeys(damaged.keys) | GOOD
    said = of_kind(CorruptEntryWarning, caught)
    assert len(said) == len(damaged.reasons)
    for key, reason in damaged.reasons.items():
        [one] = [text for text in said if text.startswith(f"left out the entry with key {key!r} and source 'f': ")]
        assert reason in one
    assert {problem.key for problem in reader.verify()} == damaged.reasons.keys()


READS: dict[str, Callable[[Face, list[str]], Any]] = {
    "mget": lambda face, keys: dict(zip(keys, face.mget(keys), strict=True)),
    "mget of a source": lambda face, keys: dict(zip(keys, face.mget(keys, source="f"), strict=True)),
    "get": lambda face, keys: {key: face.get(key) for key in keys},
    "mget_entries": lambda face, keys: {entry.key: entry.value for entry in face.mget_entries(keys) if entry},
    "pair_entries": lambda face, keys: {
        entry.key: entry.value for entry in face.pair_entries([(key, "f") for key in keys]) if entry
    },
    "source_entries": lambda face, keys: {entry.key: entry.value for entry in face.source_entries(["f"])[0]},
    "yield_items": lambda face, keys: dict(face.yield_items()),
    "yield_entries": lambda face, keys: {entry.key: entry.value for entry in face.yield_entries()},
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_way_to_read_values_follows_the_policy(
    new_face: Callable[..., Face], alter: Alter, read: Callable[[Face, list[str]], Any]
) -> None:
    face = new_face()
    values = {f"key {number}": number for number in range(6)}
    face.mset(values, source="f")
    alter("key 1", value=b"11")
    alter("key 4", content_type="bytes")
    with pytest.raises(CorruptEntryError) as caught:
        read(face, list(values))
    assert {problem.key for problem in caught.value.problems} <= {"key 1", "key 4"}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        served = read(face.of(face.shelf.view(on_corrupt="skip")), list(values))
    assert {key: value for key, value in served.items() if value is not None} == {
        key: value for key, value in values.items() if key not in ("key 1", "key 4")
    }
    assert len(of_kind(CorruptEntryWarning, warned)) == 2


def test_calls_that_read_no_values_work_beside_corrupt_rows(
    new_face: Callable[..., Face], alter: Alter, marker: Path
) -> None:
    face = new_face(content_types=TYPES)
    damaged = damage(face, alter, marker)
    keys = sorted(damaged.keys, key=str.encode)
    assert list(face.yield_keys()) == keys
    assert face.count() == len(keys)
    assert face.mexists(keys) == [True] * len(keys)
    assert [entry.key for entry in face.mget_entries(keys, values=False)] == keys
    assert [entry.key for entry in face.yield_entries(values=False)] == keys
    assert face.stats().entries == len(keys)


def test_an_altered_row_deleted_and_written_again_is_as_new(
    new_face: Callable[..., Face], alter: Alter, marker: Path
) -> None:
    face = new_face(content_types=TYPES)
    damaged = damage(face, alter, marker)
    report = face.mdelete(problem.key for problem in face.verify())
    assert {change.key for change in report.deleted} == damaged.reasons.keys()
    assert face.verify() == []
    again = dict.fromkeys(damaged.reasons, "again")
    assert face.conditional_mset(again, source="f").counts["INS"] == len(again)
    assert face.mget(again) == list(again.values())
    assert face.verify() == []


def test_an_altered_hash_counts_as_a_change_and_writing_mends_it(face: Face, alter: Alter) -> None:
    face.set("k", "value")
    alter("k", value_hash=bytes(32))
    assert face.conditional_set("k", "value") == ("k", "UPD")
    assert face.get("k") == "value"


def test_a_bomb_costs_no_memory(new_face: Callable[..., Face], alter: Alter) -> None:
    face = new_face()
    face.mset({"sized": 1, "unsized": 1, "good": 1})
    alter("sized", **bomb_row(tells_its_size=True))
    alter("unsized", **bomb_row(tells_its_size=False))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptEntryError) as caught:
            face.mget(["sized", "unsized", "good"])
        assert [problem.key for problem in face.verify()] == ["sized", "unsized"]
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert {problem.key for problem in caught.value.problems} == {"sized", "unsized"}


def test_broken_metadata_of_a_source_is_an_error_that_names_the_source(face: Face, location: Location) -> None:
    face.sync({"a": 1}, source="good", metadata={"n": 1})
    face.sync({"b": 1}, source="bad", metadata={"n": 2})
    sources = define_tables().sources
    engine = create_engine(location.sync_url)
    with engine.begin() as connection:
        connection.execute(update(sources).where(sources.c.source == "bad").values(metadata='{"$eval":"1"}'))
    engine.dispose()
    with pytest.raises(DocShelfError, match="'bad'"):
        face.sources()
    face.delete_source("bad")
    assert [(source.source, source.metadata) for source in face.sources()] == [("good", {"n": 1})]


# SQLite lets any column hold any type.


@pytest.fixture
def sqlite_face(new_location: Callable[[str], Location], mode: str, loop: Loop) -> Iterator[tuple[Face, str]]:
    """A store on SQLite, and the path of its file."""
    path = new_location("sqlite").url
    face = Face(DocShelf(path), mode, loop)
    yield face, path
    face.close()


def alter_sqlite(path: str, assignment: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"UPDATE docshelf_entries SET {assignment} WHERE key = 'bad'")
    connection.close()


@pytest.mark.parametrize(
    "assignment",
    [
        "value = '\"text\"'",
        "value = 7",
        "value = 1.5",
        "value_hash = 'text'",
        "value_hash = 32",
        "value_hash = 1000000000000",
        "checksum = 'text'",
        "checksum = 32",
        "content_type = x'6a736f6e'",
        "content_type = 7",
        "encoding = x'706c61696e'",
        "encoding = 7",
    ],
)
def test_a_column_of_another_type_is_a_corrupt_row(sqlite_face: tuple[Face, str], assignment: str) -> None:
    face, path = sqlite_face
    face.mset({"bad": "value", "good": "value"})
    alter_sqlite(path, assignment)
    with pytest.raises(CorruptEntryError) as caught:
        face.mget(["bad", "good"])
    assert [problem.key for problem in caught.value.problems] == ["bad"]
    assert [problem.key for problem in face.verify()] == ["bad"]
    with pytest.warns(CorruptEntryWarning, match="'bad'"):
        assert face.of(face.shelf.view(on_corrupt="skip")).mget(["bad", "good"]) == [None, "value"]


@pytest.mark.parametrize("assignment", ["created_at = 'yesterday'", "updated_at = 'yesterday'", "updated_at = x'00'"])
def test_an_entry_with_a_time_that_is_none_is_a_corrupt_row(sqlite_face: tuple[Face, str], assignment: str) -> None:
    face, path = sqlite_face
    face.mset({"bad": "value", "good": "value"})
    alter_sqlite(path, assignment)
    with pytest.raises(CorruptEntryError) as caught:
        face.mget_entries(["bad", "good"])
    assert [problem.key for problem in caught.value.problems] == ["bad"]
    assert [problem.key for problem in face.verify()] == ["bad"]
    with pytest.warns(CorruptEntryWarning, match="'bad'"):
        entries = face.of(face.shelf.view(on_corrupt="skip")).mget_entries(["bad", "good"])
    assert [entry and entry.key for entry in entries] == [None, "good"]


@pytest.mark.parametrize("column", ["key", "source"])
def test_in_sqlite_a_name_that_is_not_text_is_reported(
    new_location: Callable[[str], Location], mode: str, loop: Loop, new_engine: Callable[..., Engine], column: str
) -> None:
    location = new_location("sqlite")
    face = Face(DocShelf(location.url), mode, loop)
    face.sync({f"k{number}": number for number in range(4)}, source="f")
    with new_engine(location).begin() as connection:
        connection.execute(text(f"UPDATE docshelf_entries SET {column} = x'fffe' WHERE key = 'k0'"))
    [problem] = face.verify()
    assert problem.reason.endswith("not text")
    assert face.mget(["k1", "k2"]) == [1, 2]
    calls: list[Callable[[], object]] = [
        lambda: face.sync([("x", 1)], scope="collection"),
        lambda: list(face.yield_items()),
    ]
    calls += (
        [face.sources]
        if column == "source"
        else [lambda: face.sync({"k3": 3}, source="f"), lambda: face.delete_source("f")]
    )
    calls += [lambda: face.mdelete(["k0"]), lambda: face.get("k0")] if column == "source" else []
    for call in calls:
        with pytest.raises(CorruptEntryError, match="not text"):
            call()
    assert face.clear() == 4
    face.close()


def test_metadata_of_a_source_that_cannot_be_read_follow_the_policy(
    face: Face, location: Location, new_engine: Callable[..., Engine]
) -> None:
    face.sync({"a": 1}, source="f", metadata={"n": 1})
    face.sync({"b": 1}, source="g", metadata={"n": 2})
    with new_engine(location).begin() as connection:
        connection.execute(text("""UPDATE docshelf_sources SET metadata = '{"$import":"os"}' WHERE source = 'f'"""))
    with pytest.raises(CorruptEntryError, match=r"source 'f' .*the source's metadata: unknown tag"):
        face.sources()
    skipping = face.of(face.shelf.view(on_corrupt="skip"))
    with pytest.warns(CorruptEntryWarning, match="the source's metadata"):
        found = skipping.sources()
    assert [(source.source, source.entries, source.metadata) for source in found] == [
        ("f", 1, None),
        ("g", 1, {"n": 2}),
    ]
    with pytest.raises(CorruptEntryError, match="the source's metadata"):
        face.source_notes(["f"])
    with pytest.warns(CorruptEntryWarning, match="the source's metadata"):
        assert skipping.source_notes(["g", "f"]) == {"g": SourceNote(None, {"n": 2}), "f": SourceNote()}
    face.delete_source("f")
    assert [source.source for source in face.sources()] == ["g"]


def test_a_source_whose_metadata_cannot_be_read_can_be_synced(
    face: Face, location: Location, new_engine: Callable[..., Engine]
) -> None:
    face.sync({"a": 1}, source="f", fingerprint="one", metadata={"n": 1})
    with new_engine(location).begin() as connection:
        connection.execute(text("""UPDATE docshelf_sources SET metadata = '{"$import":"os"}' WHERE source = 'f'"""))
    assert not face.source_changed("f", "one")
    skipping = face.of(face.shelf.view(on_corrupt="skip"))
    assert not skipping.source_changed("f", "one")
    with pytest.raises(CorruptEntryError, match="the source's metadata"):
        face.sync({"a": 2}, source="f", fingerprint="two")
    with pytest.warns(CorruptEntryWarning, match="the source's metadata"):
        assert skipping.sync({"a": 2}, source="f", fingerprint="two").counts["UPD"] == 1
    with new_engine(location).begin() as connection:
        connection.execute(text("""UPDATE docshelf_sources SET metadata = '{"$import":"os"}' WHERE source = 'f'"""))
    # New metadata takes the place of what cannot be read.
    face.sync({"a": 3}, source="f", fingerprint="three", metadata={"n": 3})
    assert face.source_notes(["f"]) == {"f": SourceNote("three", {"n": 3})}
