"""Exports and imports: bit for bit, refused when damaged, resumed when interrupted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Engine, text

from docshelf import (
    ArgumentTypeError,
    BadFileError,
    ConfigurationError,
    CorruptEntryWarning,
    DocShelf,
    DocShelfError,
    Document,
    UnknownDocument,
)
from docshelf.moving import ExportReport, export_jsonl, files, import_jsonl, jsonl
from tests.conftest import Location
from tests.moving.conftest import Moving
from tests.moving.contents import by_key, contents, fill
from tests.support.effort import examples
from tests.support.values import storable

NAMES = ["export.jsonl", "export.jsonl.zst"]
Line = dict[str, Any]


def lines_of(path: Path) -> list[Line]:
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return [json.loads(line) for line in data.splitlines()]


def written(path: Path, lines: list[Line]) -> Path:
    """A file of lines, with the last line that they need."""
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    counts = {kind: sum(line.get("kind") == kind for line in lines) for kind in ("entry", "source")}
    end = {"kind": "end", "lines": len(lines), "entries": counts["entry"], "sources": counts["source"]}
    path.write_bytes(data + json.dumps({**end, "sha256": hashlib.sha256(data).hexdigest()}).encode() + b"\n")
    return path


HEADER: Line = {"kind": "header", "format": 1}


@pytest.mark.parametrize("name", NAMES)
class TestRoundTrip:
    def test_every_entry_arrives_bit_for_bit(
        self, shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path, name: str
    ) -> None:
        fill(shelf)
        report = move.export_jsonl(shelf, tmp_path / name)
        assert (report.entries, report.sources, report.collections) == (14, 0, 1)
        there = new_shelf()
        assert move.import_jsonl(tmp_path / name, there).counts == {"INS": 14, "UPD": 0, "SKIP": 0, "DEL": 0}
        assert contents(there) == contents(shelf)
        assert by_key(there) == by_key(shelf)
        assert there.verify() == []
        assert move.import_jsonl(tmp_path / name, there).counts == {"INS": 0, "UPD": 0, "SKIP": 14, "DEL": 0}

    def test_and_back_into_each_database(
        self, shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path, name: str
    ) -> None:
        there = new_shelf()
        fill(there)
        move.export_jsonl(there, tmp_path / name)
        move.import_jsonl(tmp_path / name, shelf)
        assert contents(shelf) == contents(there)
        assert by_key(shelf) == by_key(there)
        assert shelf.verify() == []
        shelf.set("new", 1)
        assert contents(shelf)[-1][0] == "new"


def test_a_whole_shelf_travels_with_its_sources_ledgers_and_owners(
    shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path
) -> None:
    fill(shelf)
    ledger = shelf.companion("/children", hash_on="value")
    ledger.mset({"row": {"children": ["a"]}}, source="f.md")
    index = shelf.view("index_store")
    index.set("i", {"__type__": "vector_store"})
    path = tmp_path / "shelf.jsonl.zst"
    report = move.export_jsonl(shelf, path, everything=True)
    assert (report.entries, report.sources, report.collections) == (16, 2, 3)
    there = new_shelf(collection="unused")
    counted = move.import_jsonl(path, there)
    assert (counted.counts["INS"], counted.sources, counted.collections) == (16, 2, 3)
    for one in (shelf, ledger, index):
        copy = there.view(one.collection)
        assert contents(copy) == contents(one)
        assert copy.sources() == one.sources()
    assert not there.view("default").source_changed("f.md", "f1")
    there.view("default").rename_collection("moved")
    assert there.view("moved/children").count() == 1
    back = new_shelf()
    move.export_jsonl(there, tmp_path / "again.jsonl", everything=True, collections=["moved"])
    move.import_jsonl(tmp_path / "again.jsonl", back)
    assert contents(back.view("moved")) == contents(shelf)
    assert move.import_jsonl(path, there, dry_run=True).counts["INS"] == 15


def test_what_counts_as_change_travels_with_each_entry(
    move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path
) -> None:
    by_text = new_shelf(hash_on="text", hash_exclude=("mtime",))
    by_text.mset({"a": Document("text", {"n": 1}), "b": "text", "c": {"mtime": 1, "x": 2}})
    move.export_jsonl(by_text, tmp_path / "a.jsonl")
    header = lines_of(tmp_path / "a.jsonl")[0]
    assert (header["hash_on"], header["hash_exclude"]) == ("text", ["mtime"])
    there = new_shelf(hash_on="text", hash_exclude=("mtime",))
    move.import_jsonl(tmp_path / "a.jsonl", there)
    changed = {"a": Document("text", {"n": 2}), "b": "text", "c": {"mtime": 2, "x": 2}}
    assert there.conditional_mset(changed).counts["SKIP"] == 3


class TestFilters:
    @pytest.fixture
    def filled(self, new_shelf: Callable[..., DocShelf]) -> DocShelf:
        shelf = new_shelf()
        fill(shelf)
        return shelf

    @pytest.mark.parametrize(
        ("options", "keys"),
        [
            ({"prefix": "k1"}, ["k1", "k1"]),
            ({"source": "g.md"}, ["k1", "framework", "only a version"]),
            ({"prefix": "k", "source": "f.md"}, ["k0", "k1", "k2", "k3", "k4"]),
            ({"prefix": "%"}, []),
        ],
        ids=str,
    )
    def test_an_export_holds_what_is_asked_for(
        self, filled: DocShelf, move: Moving, tmp_path: Path, options: dict[str, Any], keys: list[str]
    ) -> None:
        move.export_jsonl(filled, tmp_path / "a.jsonl", **options)
        header, *entries, _ = lines_of(tmp_path / "a.jsonl")
        assert [entry["key"] for entry in entries] == keys
        assert header.items() >= options.items()

    def test_an_import_takes_what_is_asked_for(
        self, filled: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path
    ) -> None:
        move.export_jsonl(filled, tmp_path / "a.jsonl")
        there = new_shelf()
        report = move.import_jsonl(tmp_path / "a.jsonl", there, prefix="k", source="f.md")
        assert report.entries == there.count() == 5
        assert {source.source for source in there.sources()} == {"f.md"}

    def test_collections_of_a_whole_shelf(
        self, filled: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path
    ) -> None:
        filled.view("other").set("k", 1)
        move.export_jsonl(filled, tmp_path / "a.jsonl", everything=True)
        there = new_shelf()
        assert move.import_jsonl(tmp_path / "a.jsonl", there, collections=["other"]).entries == 1
        assert (there.view("other").get("k"), there.count()) == (1, 0)

    def test_filters_that_mean_nothing_are_refused(self, filled: DocShelf, move: Moving, tmp_path: Path) -> None:
        with pytest.raises(ArgumentTypeError, match="leave out everything=True"):
            move.export_jsonl(filled, tmp_path / "a.jsonl", everything=True, prefix="k")
        with pytest.raises(ArgumentTypeError, match="collections= is for everything=True"):
            move.export_jsonl(filled, tmp_path / "a.jsonl", collections=["a"])
        with pytest.raises(ArgumentTypeError, match="is no shelf"):
            move.export_jsonl({"a": 1}, tmp_path / "a.jsonl")
        assert list(tmp_path.glob("a.jsonl*")) == []


class TestTheFile:
    def test_documents_have_text_and_metadata_on_their_lines_and_other_values_a_value(
        self, new_shelf: Callable[..., DocShelf], tmp_path: Path
    ) -> None:
        shelf = new_shelf(collection="docs")
        page = UnknownDocument(
            "langchain/document", {"page_content": "page", "metadata": {"n": 1}, "id": None, "type": "Document"}
        )
        shelf.mset({"a": Document("text", {"n": (1,)}, "i"), "b": page, "c": {"x": b"\xff"}, "d": b"\xff", "e": None})
        shelf.set_versions({"f": "v"})
        export_jsonl(shelf, tmp_path / "a.jsonl")
        header, *entries, end = lines_of(tmp_path / "a.jsonl")
        assert header == {
            **{"kind": "header", "format": 1, "made_by": "docshelf", "everything": False, "collection": "docs"},
            **{"hash_on": "value", "hash_exclude": []},
        }
        told = ("type", "text", "metadata", "fields", "value", "version")
        assert [{name: entry[name] for name in told if name in entry} for entry in entries] == [
            {"type": "document", "text": "text", "metadata": {"n": {"$tuple": [1]}}, "fields": {"id": "i"}},
            {
                **{"type": "langchain/document", "text": "page", "metadata": {"n": 1}},
                **{"fields": {"id": None, "type": "Document"}},
            },
            {"type": "json", "value": {"x": {"$bytes": "/w=="}}},
            {"type": "bytes", "value": {"$bytes": "/w=="}},
            {"type": "json", "value": None},
            {"version": "v"},
        ]
        assert {entry["collection"] for entry in entries} == {"docs"}
        assert entries[0]["hash"] == shelf.get_entry("a").value_hash.hex()  # type: ignore[union-attr]
        assert entries[0]["updated_at"] == shelf.get_entry("a").updated_at.isoformat()  # type: ignore[union-attr]
        body = (tmp_path / "a.jsonl").read_bytes().rsplit(b"\n", 2)[0] + b"\n"
        assert end == {
            **{"kind": "end", "lines": 7, "entries": 6, "sources": 0},
            "sha256": hashlib.sha256(body).hexdigest(),
        }

    def test_a_file_from_another_program_needs_only_what_it_knows(
        self, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path
    ) -> None:
        entries: list[Line] = [
            {"kind": "entry", "key": "a", "text": "a text"},
            {"kind": "entry", "key": "b", "source": "f.md", "text": "t", "metadata": {"when": {"$date": "2026-03-01"}}},
            {"kind": "entry", "key": "c", "value": {"n": [1.5, {"$int": "0x5"}]}, "updated_at": "2026-03-01T12:00:00Z"},
            {"kind": "entry", "key": "d", "type": "bytes", "value": {"$bytes": "/w=="}},
            {"kind": "entry", "key": "e", "version": "v"},
        ]
        shelf = new_shelf()
        assert move.import_jsonl(written(tmp_path / "a.jsonl", [HEADER, *entries]), shelf).counts["INS"] == 5
        assert shelf.get("a") == Document("a text")
        assert shelf.get("b", source="f.md").metadata["when"].isoformat() == "2026-03-01"
        assert shelf.get("c") == {"n": [1.5, 5]}
        assert shelf.get("d") == b"\xff"
        assert shelf.get_entry("e").version == "v"  # type: ignore[union-attr]
        assert shelf.get_entry("c").created_at.isoformat() == "2026-03-01T12:00:00+00:00"  # type: ignore[union-attr]
        assert shelf.verify() == []
        assert shelf.conditional_set("a", Document("a text")) == ("a", "SKIP")

    @pytest.mark.parametrize("name", NAMES)
    def test_a_pipe_and_an_open_file_are_read_too(
        self, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path, name: str
    ) -> None:
        shelf, there = new_shelf(), new_shelf()
        fill(shelf)
        move.export_jsonl(shelf, tmp_path / name)
        data = (tmp_path / name).read_bytes()
        assert move.import_jsonl(io.BytesIO(data), there).counts["INS"] == 14
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
        writer.start()
        assert move.import_jsonl(tmp_path / "pipe", there).counts["SKIP"] == 14
        writer.join()

    def test_an_open_file_is_written_too(self, move: Moving, new_shelf: Callable[..., DocShelf]) -> None:
        shelf, there, file = new_shelf(), new_shelf(), io.BytesIO()
        fill(shelf)
        move.export_jsonl(shelf, file)
        file.seek(0)
        move.import_jsonl(file, there)
        assert contents(there) == contents(shelf)

    def test_another_suffix_is_refused(self, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"'a\.json' has another suffix than \.jsonl or \.jsonl\.zst"):
            move.export_jsonl(new_shelf(), tmp_path / "a.json")
        with pytest.raises(DocShelfError, match=r"cannot be written: No such file or directory"):
            move.export_jsonl(new_shelf(), tmp_path / "no" / "a.jsonl")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_last_line(data: bytes) -> bytes:
    return data[: data.rindex(b"\n", 0, -1) + 1]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "the file is empty"),
    "cut short within a line": (cut, "cut short|not JSON|compression"),
    "cut short after a line": (without_last_line, "the file is cut short: its last line is missing"),
    "no newline at the end": (lambda data: data[:-1], "cut short"),
    "another text": (lambda data: data.replace(b"text 3", b"text 9"), "does not match its hash"),
    "another source": (lambda data: data.replace(b'"f.md"', b'"x.md"', 1), "the file was altered"),
    "a line less": (lambda data: b"".join(data.splitlines(True)[:3] + data.splitlines(True)[4:]), "was altered"),
    "lines in another order": (
        lambda data: b"".join(
            [*data.splitlines(True)[:1], *reversed(data.splitlines(True)[1:-1]), data.splitlines(True)[-1]]
        ),
        "was altered",
    ),
    "lines after the end": (lambda data: data + data.splitlines(True)[1], "lines after the last one"),
    "no header": (lambda data: b"".join(data.splitlines(True)[1:]), "the first line is no header"),
    "a newer format": (lambda data: data.replace(b'"format":1', b'"format":2'), "has the format 2.*reads format 1"),
    "not JSON": (lambda data: data.replace(b'{"kind":"entry"', b'{"kind":"entry', 1), "line 2: not JSON"),
    "another kind": (lambda data: data.replace(b'"kind":"entry"', b'"kind":"row"', 1), 'line 2: .*a "kind" of'),
    "a list": (lambda data: data.replace(b"\n", b"\n[]\n", 1), "line 2: a JSON object"),
}


class TestDamagedFiles:
    @pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES)
    def test_nothing_is_written_of_a_damaged_file(
        self,
        move: Moving,
        new_shelf: Callable[..., DocShelf],
        tmp_path: Path,
        damage: Callable[[bytes], bytes],
        told: str,
    ) -> None:
        shelf, there = new_shelf(), new_shelf()
        fill(shelf)
        export_jsonl(shelf, tmp_path / "a.jsonl")
        (tmp_path / "a.jsonl").write_bytes(damage((tmp_path / "a.jsonl").read_bytes()))
        with pytest.raises(BadFileError, match=told):
            move.import_jsonl(tmp_path / "a.jsonl", there)
        assert there.count() == 0

    @pytest.mark.parametrize("position", [0.2, 0.5, 0.99])
    def test_nothing_is_written_of_a_compressed_file_that_was_cut_or_altered(
        self, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path, position: float
    ) -> None:
        shelf, there = new_shelf(), new_shelf()
        fill(shelf)
        export_jsonl(shelf, tmp_path / "a.jsonl.zst")
        data = bytearray((tmp_path / "a.jsonl.zst").read_bytes())
        place = int(len(data) * position)
        (tmp_path / "a.jsonl.zst").write_bytes(data[:place])
        with pytest.raises(BadFileError):
            move.import_jsonl(tmp_path / "a.jsonl.zst", there)
        data[place] ^= 0xFF
        (tmp_path / "a.jsonl.zst").write_bytes(data)
        with pytest.raises(BadFileError):
            move.import_jsonl(tmp_path / "a.jsonl.zst", there)
        assert there.count() == 0

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"key": 1, "text": "t"}, "line 2: the key 1 is a int"),
            ({"text": "t"}, "line 2: the key None is a NoneType"),
            ({"key": "k", "source": "x" * 2000, "text": "t"}, "line 2: the source .* the limit is 1,024"),
            ({"key": "k", "text": 1}, "line 2, key 'k': a document with a field of another type"),
            ({"key": "k", "text": "t", "metadata": []}, "line 2, key 'k': a document with a field of another type"),
            ({"key": "k", "text": "t", "fields": []}, '"fields" is a list; it has to be an object'),
            ({"key": "k", "text": "t", "fields": {"x": 1}}, "a document with other fields"),
            ({"key": "k", "text": "t", "type": "json"}, "has no text of its own"),
            ({"key": "k", "value": 1, "type": ""}, "is no name of a content type"),
            ({"key": "k", "value": 1, "type": "x" * 300}, "is no name of a content type"),
            ({"key": "k", "value": 1, "type": "bytes"}, "bytes are written as"),
            ({"key": "k", "value": {"$bytes": "?"}, "type": "bytes"}, "line 2, key 'k': "),
            ({"key": "k", "value": {"$eval": "1"}}, r"unknown tag '\$eval'"),
            ({"key": "k", "value": [], "type": "test/page"}, "the content of a test/page is not an object"),
            ({"key": "k", "value": 1, "hash": "00"}, '"hash" is no SHA-256'),
            ({"key": "k", "value": 1, "hash": "0" * 64}, "the value does not match its hash"),
            ({"key": "k", "value": 1, "updated_at": "soon"}, "\"updated_at\" is 'soon'; give a time"),
            ({"key": "k", "value": 1, "updated_at": 12}, '"updated_at" is 12; give a time'),
            ({"key": "k", "value": 1, "version": 1}, "line 2: the version 1 is a int"),
        ],
        ids=str,
    )
    def test_a_line_with_something_wrong_is_named(
        self, new_shelf: Callable[..., DocShelf], tmp_path: Path, fields: Line, told: str
    ) -> None:
        shelf = new_shelf()
        with pytest.raises(BadFileError, match=told) as caught:
            import_jsonl(written(tmp_path / "a.jsonl", [HEADER, {"kind": "entry", **fields}]), shelf)
        assert len(str(caught.value)) < 500
        assert shelf.count() == 0

    def test_a_hash_that_fits_an_unknown_tag_does_not_help(
        self, new_shelf: Callable[..., DocShelf], tmp_path: Path
    ) -> None:
        value = {"$eval": "1"}
        digest = hashlib.sha256(b"json\n" + json.dumps(value, separators=(",", ":")).encode()).hexdigest()
        line = {"kind": "entry", "key": "k", "value": value, "hash": digest}
        with pytest.raises(BadFileError, match="a tag that docshelf does not know"):
            import_jsonl(written(tmp_path / "a.jsonl", [HEADER, line]), new_shelf())

    def test_a_line_without_end_costs_no_memory(
        self, new_shelf: Callable[..., DocShelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bomb = zstandard.ZstdCompressor().compress(b'{"kind":"header","format":1,"x":"' + b"x" * 50_000_000)
        (tmp_path / "a.jsonl.zst").write_bytes(bomb)
        shelf = new_shelf(max_value_bytes=1_000_000)
        with pytest.raises(BadFileError, match="a line of more than 3,048,576 bytes"):
            import_jsonl(tmp_path / "a.jsonl.zst", shelf)

    def test_a_file_that_is_not_there_is_told(self, new_shelf: Callable[..., DocShelf], tmp_path: Path) -> None:
        with pytest.raises(BadFileError, match="cannot be read: No such file"):
            import_jsonl(tmp_path / "a.jsonl", new_shelf())
        with pytest.raises(BadFileError, match="cannot be read: Is a directory"):
            import_jsonl(tmp_path, new_shelf())


class Stop(Exception):  # noqa: N818
    """Stands for a process that dies."""


@pytest.mark.parametrize("name", NAMES)
class TestInterrupted:
    @pytest.fixture
    def filled(self, new_shelf: Callable[..., DocShelf]) -> DocShelf:
        shelf = new_shelf()
        shelf.sync(
            {f"k{n:04}": Document(f"text {n} " * 9, {"n": n}) for n in range(1_200)}, source="f.md", fingerprint="1"
        )
        shelf.companion("/ledger").mset({f"l{n}": n for n in range(3)}, source="f.md")
        for number in range(8):
            shelf.view("other").sync({f"o{number}": number}, source=f"{number}.md", fingerprint="1")
        return shelf

    @pytest.mark.parametrize("writes", range(1, 12, 2))
    def test_an_export_goes_on_where_it_stopped(
        self,
        filled: DocShelf,
        move: Moving,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        writes: int,
    ) -> None:
        expected = move.export_jsonl(filled, tmp_path / f"whole.{name}", everything=True)
        with monkeypatch.context() as patch:
            die_after(patch, writes)
            with pytest.raises(Stop):
                move.export_jsonl(filled, tmp_path / name, everything=True)
        assert not (tmp_path / name).exists()
        with (tmp_path / f"{name}.part").open("ab") as part:
            part.write(b'{"kind":"entry","coll' if name.endswith("l") else b"\x28\xb5\x2f\xfd\x04")
        assert move.export_jsonl(filled, tmp_path / name, everything=True) == expected
        assert lines_of(tmp_path / name) == lines_of(tmp_path / f"whole.{name}")
        assert not list(tmp_path.glob("*.part"))

    def test_another_export_of_that_name_begins_anew(
        self, filled: DocShelf, move: Moving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        with monkeypatch.context() as patch:
            die_after(patch, 3)
            with pytest.raises(Stop):
                move.export_jsonl(filled, tmp_path / name)
        report = move.export_jsonl(filled, tmp_path / name, prefix="k000")
        assert report.entries == 10
        assert len(lines_of(tmp_path / name)) == 12

    def test_resume_false_begins_anew(
        self, filled: DocShelf, move: Moving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        with monkeypatch.context() as patch:
            die_after(patch, 3)
            with pytest.raises(Stop):
                move.export_jsonl(filled, tmp_path / name)
        filled.set("k0000", "changed", source="f.md")
        move.export_jsonl(filled, tmp_path / name, resume=False)
        assert lines_of(tmp_path / name)[1]["value"] == "changed"

    def test_an_import_goes_on_where_it_stopped(
        self,
        filled: DocShelf,
        move: Moving,
        new_shelf: Callable[..., DocShelf],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        move.export_jsonl(filled, tmp_path / name)
        there = new_shelf()
        with monkeypatch.context() as patch:
            die_in_import(patch, 2)
            with pytest.raises(Stop):
                move.import_jsonl(tmp_path / name, there)
        assert 0 < there.count() < 1_200
        report = move.import_jsonl(tmp_path / name, there)
        assert report.counts["SKIP"] > 0
        assert report.entries == 1_200
        assert contents(there) == contents(filled)


def die_after(patch: pytest.MonkeyPatch, writes: int) -> None:
    """Let the writer of exports fail after so many calls of `write`."""
    write = files.Writer.write
    left = [writes]

    def dying(self: Any, lines: Any) -> None:
        if not left[0]:
            raise Stop
        left[0] -= 1
        write(self, lines)

    patch.setattr(files.Writer, "write", dying)


def die_in_import(patch: pytest.MonkeyPatch, pages: int) -> None:
    write = jsonl._Import.write
    left = [pages]

    def dying(self: Any, page: Any) -> Any:
        if not left[0]:
            raise Stop
        left[0] -= 1
        return (yield from write(self, page))

    patch.setattr(jsonl._Import, "write", dying)


def test_a_row_that_cannot_be_read_is_named_or_left_out(
    move: Moving, shelf: DocShelf, location: Location, new_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    shelf.mset({"good": 1, "bad": 2})
    with new_engine(location).begin() as connection:
        values = {"value": b"3", "key": "bad"}
        connection.execute(text("UPDATE docshelf_entries SET value = :value WHERE key = :key"), values)
    with pytest.raises(DocShelfError, match="'bad'"):
        move.export_jsonl(shelf, tmp_path / "a.jsonl")
    with pytest.warns(CorruptEntryWarning, match="'bad'"):
        report = move.export_jsonl(shelf.view(on_corrupt="skip"), tmp_path / "a.jsonl")
    assert report.entries == 1


@given(storable)
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_arrives(tmp_path: Path, value: Any) -> None:
    with DocShelf(":memory:") as shelf, DocShelf(":memory:") as there:
        shelf.mset({"k": value, "d": Document("t", {"v": value})})
        export_jsonl(shelf, tmp_path / "a.jsonl", resume=False)
        assert import_jsonl(tmp_path / "a.jsonl", there).counts["INS"] == 2
        assert contents(there) == contents(shelf)


def test_a_report_is_what_is_in_the_file(new_shelf: Callable[..., DocShelf], tmp_path: Path) -> None:
    report = export_jsonl(new_shelf(), tmp_path / "a.jsonl")
    assert report == ExportReport(0, 0, 1, lines_of(tmp_path / "a.jsonl")[-1]["sha256"])
    assert import_jsonl(tmp_path / "a.jsonl", new_shelf()).entries == 0
