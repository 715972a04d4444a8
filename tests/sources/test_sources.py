"""Sources: their entries, fingerprints and metadata."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text

from docshelf import Item, MassDeleteError, Source, SourceNote, file_fingerprint
from docshelf.operations import reading
from tests.conftest import Location
from tests.support.face import Face
from tests.support.statements import recorded_statements
from tests.support.tables import connected


def listed(face: Face) -> list[tuple[str, int, str | None]]:
    return [(source.source, source.entries, source.fingerprint) for source in face.sources()]


def test_sources_lists_sources_with_entries_or_a_sync_in_order(face: Face) -> None:
    face.set("a", 1)
    face.mset([Item("a", 1, "z"), Item("b", 1, "z")])
    face.sync({"a": 1, "b": 1, "c": 1}, source="é", fingerprint="f1", metadata={"pages": (1, Decimal("2.50"))})
    face.sync([], source="empty", fingerprint="f2")
    assert listed(face) == [("", 1, None), ("empty", 0, "f2"), ("z", 2, None), ("é", 3, "f1")]
    never, _, _, synced = face.sources()
    assert never == Source("", 1)
    assert synced.metadata == {"pages": (1, Decimal("2.50"))}
    assert synced.synced_at.tzinfo is timezone.utc


def test_a_source_is_unchanged_only_after_a_sync_with_that_fingerprint(face: Face) -> None:
    assert face.source_changed("f", "one")
    face.sync({"a": 1}, source="f")
    assert face.source_changed("f", "one")
    face.sync({"a": 1}, source="f", fingerprint="one")
    assert not face.source_changed("f", "one")
    assert face.source_changed("f", "two")
    assert face.source_changed("g", "one")
    face.sync({"a": 1}, source="f", fingerprint="two")
    assert face.source_changed("f", "one")
    assert not face.source_changed("f", "two")


def test_changed_sources_answers_many_at_once_in_input_order(face: Face) -> None:
    face.sync({"a": 1}, source="x", fingerprint="x1")
    face.sync([], source="y", fingerprint="y1")
    assert face.changed_sources({"z": "z1", "y": "y1", "x": "x2", "a": "a1"}) == ["z", "x", "a"]
    assert face.changed_sources({"y": "y1", "x": "x1"}) == []
    assert face.changed_sources({}) == []


def test_a_question_about_fingerprints_reads_no_metadata(face: Face, location: Location) -> None:
    face.sync({"a": 1}, source="x", fingerprint="x1", metadata={"title": "X"})
    with connected(location) as connection:
        connection.execute(text("UPDATE docshelf_sources SET metadata = '{'"))
    with recorded_statements() as statements:
        assert face.changed_sources({"x": "x1"}) == []
        assert face.source_changed("x", "x2")
    assert len(statements) == 2
    assert not any("metadata" in statement for statement in statements)


FORGETTING: dict[str, Callable[[Face], object]] = {
    "mdelete": lambda face: face.mdelete(["a of f"]),
    "mdelete in source": lambda face: face.mdelete(["a of f"], source="f"),
    "delete_source": lambda face: face.delete_source("f"),
    "sync": lambda face: face.sync({"a of f": 1}, source="f"),
    "sync of sources": lambda face: face.sync([Item("a of f", 2, "f"), Item("b of f", 1, "f")], scope="sources"),
    "sync of the collection": lambda face: face.sync(
        [Item("a of f", 2, "f"), Item("b of f", 1, "f"), Item("a of g", 1, "g"), Item("b of g", 1, "g")],
        scope="collection",
    ),
    "move": lambda face: face.conditional_mset([Item("a of f", 1, "h")], move=True),
}


def refused_sync(face: Face) -> None:
    with pytest.raises(MassDeleteError):
        face.sync([], source="f")


KEEPING: dict[str, Callable[[Face], object]] = {
    "unchanged sync": lambda face: face.sync({"b of f": 1, "a of f": 1}, source="f"),
    "dry run": lambda face: face.sync({"a of f": 2}, source="f", fingerprint="two", dry_run=True),
    "refused sync": refused_sync,
    "mdelete of the absent": lambda face: face.mdelete(["nowhere"]),
    "mdelete in another source": lambda face: face.mdelete(["a of f"], source="g"),
    "move of others": lambda face: face.conditional_mset([Item("c", 1, "h")], move=True),
    "reading": lambda face: (face.get("a of f"), list(face.yield_items()), face.sources(), face.stats()),
}


def test_a_fingerprint_is_forgotten_when_its_entries_went_otherwise_and_only_then(face: Face) -> None:
    changed = {}
    for name, call in (FORGETTING | KEEPING).items():
        view = face.of(face.shelf.view(name))
        for source in ("f", "g"):
            view.sync({f"a of {source}": 1, f"b of {source}": 1}, source=source, fingerprint="one")
        call(view)
        changed[name] = view.changed_sources({"f": "one", "g": "one"})
    assert changed == {name: ["f"] if name in FORGETTING else [] for name in changed}


def test_metadata_stays_until_other_metadata_is_given(face: Face) -> None:
    def metadata() -> object:
        [source] = face.sources()
        return source.metadata

    face.sync({"a": 1}, source="f", fingerprint="one", metadata={"title": "One", "seen": {"a", "b"}})
    face.sync({"a": 2}, source="f", fingerprint="two")
    assert metadata() == {"title": "One", "seen": {"a", "b"}}
    face.sync({"a": 2}, source="f", metadata={})
    assert metadata() == {}
    assert not face.source_changed("f", "two")
    face.sync({"a": 3}, source="f")
    assert metadata() == {}


def test_synced_at_moves_only_when_something_changed(face: Face) -> None:
    def synced_at() -> datetime:
        [source] = face.sources()
        assert source.synced_at is not None
        return cast("datetime", source.synced_at)

    face.sync({"a": 1}, source="f", fingerprint="one")
    first = synced_at()
    face.sync({"a": 1}, source="f", fingerprint="one")
    assert synced_at() == first
    face.sync({"a": 1}, source="f", fingerprint="two")
    second = synced_at()
    face.sync({"a": 2}, source="f", fingerprint="two")
    assert first < second < synced_at()


def test_notes_are_written_with_the_items_of_many_sources(face: Face) -> None:
    report = face.conditional_mset(
        [Item("a", 1, "x")], notes={"x": SourceNote("x1"), "only noted": SourceNote("n1", {"title": "N"})}
    )
    assert report.counts["INS"] == 1
    assert listed(face) == [("only noted", 0, "n1"), ("x", 1, "x1")]
    face.conditional_mset([], notes={"x": SourceNote(metadata={"title": "X"})})
    assert not face.source_changed("x", "x1")
    assert face.sources()[1].metadata == {"title": "X"}


def test_delete_source_deletes_its_entries_and_its_note(face: Face) -> None:
    face.sync({"b": 1, "a": 1}, source="f", fingerprint="one")
    face.sync({"a": 2}, source="g", fingerprint="one")
    assert [tuple(change) for change in face.delete_source("f")] == [("a", "DEL", "f"), ("b", "DEL", "f")]
    assert listed(face) == [("g", 1, "one")]
    assert face.get("a") == 2
    assert not face.delete_source("f")
    assert not face.delete_source("never there")
    face.sync([], source="empty", fingerprint="one")
    assert not face.delete_source("empty")
    assert listed(face) == [("g", 1, "one")]


def test_several_sources_and_some_keys_go_in_one_call(face: Face) -> None:
    for source in ("f", "g", "h"):
        face.sync({"a": source, f"only {source}": 1}, source=source, fingerprint="one")
    face.set("own", 1)
    report = face.delete_sources(iter(["g", "f", "never there"]), keys=["own", "only h", "f"])
    assert [tuple(change) for change in report] == [
        ("a", "DEL", "f"),
        ("a", "DEL", "g"),
        ("only f", "DEL", "f"),
        ("only g", "DEL", "g"),
        ("only h", "DEL", "h"),
        ("own", "DEL", ""),
    ]
    assert listed(face) == [("h", 1, None)]
    assert not face.delete_sources([])
    assert [change.key for change in face.delete_sources([], keys=["a"])] == ["a"]


def test_an_unchanged_file_need_not_be_parsed(face: Face, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("first\nsecond\n")
    face.sync(dict(enumerate_lines(file)), source="notes.txt", fingerprint=file_fingerprint(file))
    assert not face.source_changed("notes.txt", file_fingerprint(file))
    file.write_text("first\nsecond, edited\n")
    assert face.source_changed("notes.txt", file_fingerprint(file))
    report = face.sync(dict(enumerate_lines(file)), source="notes.txt", fingerprint=file_fingerprint(file))
    assert [change.op for change in report] == ["SKIP", "UPD"]
    assert not face.source_changed("notes.txt", file_fingerprint(file))


def enumerate_lines(file: Path) -> list[tuple[str, str]]:
    return [(f"line {number}", line) for number, line in enumerate(file.read_text().splitlines())]


def test_source_notes_are_those_of_the_sources_asked_for(face: Face) -> None:
    face.sync({"a": 1}, source="f", fingerprint="one", metadata={"title": "F"})
    face.sync({"b": 1}, source="g", metadata={"title": "G"})
    face.set("c", 1, source="never synced")
    notes = face.source_notes(iter(["g", "f", "never synced", "missing", "g"]))
    assert list(notes.items()) == [("g", SourceNote(None, {"title": "G"})), ("f", SourceNote("one", {"title": "F"}))]
    assert face.source_notes([]) == {}


def test_yield_sources_streams_what_sources_lists(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE_SOURCES", 2)
    # With entries and notes, with either alone, and in an order that mixes them: each kind of page end occurs.
    face.mset([Item("a", 1, name) for name in ("", "b", "c", "d%", "d1", "é", "\U0010ffff")])
    for name in ("a", "b", "c1", "d_", "d1", "z"):
        face.sync({"a": 1} if name in "b d1" else [], source=name, fingerprint=f"of {name}", metadata={"name": name})
    face.view("another").set("a", 1, source="aa")
    expected = [Source("", 1), *(source for source in face.sources() if source.source)]
    names = ["", "a", "b", "c", "c1", "d%", "d1", "d_", "z", "é", "\U0010ffff"]
    assert [source.source for source in expected] == names
    assert list(face.yield_sources()) == expected
    for prefix in ("", "a", "d", "d%", "d_", "c1", "é", "\U0010ffff", "nothing"):
        assert list(face.yield_sources(prefix)) == [one for one in expected if one.source.startswith(prefix)]
    assert [(one.entries, one.fingerprint) for one in face.yield_sources("d")] == [
        (1, None),
        (1, "of d1"),
        (0, "of d_"),
    ]
    monkeypatch.setattr(reading, "_PAGE_SOURCES", 1)
    assert list(face.yield_sources()) == face.sources() == expected
    with closing(face.yield_sources()) as some:
        assert next(some).source == ""
