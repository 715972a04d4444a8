"""`sync_folder` into a plain shelf: what is written, what is left alone, what is read at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigurationError,
    DocShelf,
    Document,
    Item,
)
from docshelf.folder import FileOutcome
from docshelf.folder import run as folder_run
from tests.conftest import Location
from tests.folder.conftest import Syncing, Tree, texts_of


def ops(report: Any) -> dict[str, str]:
    return {outcome.name: outcome.op for outcome in report.files}


def words(document: Document) -> list[str]:
    return document.text.split()


def test_a_folder_and_its_entries_are_kept_equal(any_shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", "one")
    tree.write("sub/b.txt", "two")
    tree.write("sub/c.txt", "three")
    any_shelf.mset([Item("mine", "text", source="other")])

    planned = sync(any_shelf, dry_run=True)
    assert any_shelf.count() == 1
    first = sync(any_shelf)
    assert (
        first.files
        == planned.files
        == tuple(FileOutcome(name, "INS", f"docs:{name}") for name in ("a.md", "sub/b.txt", "sub/c.txt"))
    )
    assert first.changes.changes == planned.changes.changes
    assert planned.dry_run
    assert any_shelf.get("docs:a.md") == Document("one", {"source": "docs:a.md"})

    tree.write("a.md", "one and more")
    tree.remove("sub/b.txt")
    tree.write("new.rst", "four")
    planned = sync(any_shelf, max_delete=0.5, dry_run=True, diff=True)
    report = sync(any_shelf, max_delete=0.5)
    assert ops(report) == ops(planned) == {"a.md": "UPD", "new.rst": "INS", "sub/b.txt": "DEL", "sub/c.txt": "SKIP"}
    assert report.counts == {"INS": 1, "UPD": 1, "MOVE": 0, "SKIP": 1, "DEL": 1, "FAIL": 0}
    assert [(diff.old, diff.new) for diff in planned.changes.diffs] == [("one", "one and more")]
    assert sorted(any_shelf.yield_keys()) == ["docs:a.md", "docs:new.rst", "docs:sub/c.txt", "mine"]
    assert "docs:sub/b.txt" not in {source.source for source in any_shelf.sources()}
    assert not sync(any_shelf).changed


def test_a_file_with_the_same_size_and_time_is_not_read(
    shelf: DocShelf, tree: Tree, sync: Syncing, reads: list[str]
) -> None:
    for name in ("a.md", "b.md"):
        tree.write(name, name)
    sync(shelf)
    reads.clear()
    assert ops(sync(shelf)) == {"a.md": "SKIP", "b.md": "SKIP"}
    assert reads == []
    tree.write("b.md", "B.md")  # another time
    assert ops(sync(shelf)) == {"a.md": "SKIP", "b.md": "UPD"}
    assert reads == ["b.md"]
    reads.clear()
    sync(shelf, trust_mtime=False)
    assert reads == ["a.md", "b.md"]


def test_a_file_with_the_same_bytes_is_read_but_not_split(
    shelf: DocShelf, tree: Tree, sync: Syncing, reads: list[str]
) -> None:
    tree.write("a.md", "one two")
    split: list[str] = []

    def splitter(document: Document) -> list[str]:
        split.append(document.text)
        return words(document)

    sync(shelf, splitter=splitter)
    tree.touch("a.md")
    assert ops(sync(shelf, splitter=splitter)) == {"a.md": "SKIP"}
    assert split == ["one two"]
    reads.clear()
    sync(shelf, splitter=splitter)  # the new time is known now
    assert reads == []


def test_a_file_that_was_just_written_is_hashed_again(
    shelf: DocShelf, tree: Tree, sync_once: Syncing, reads: list[str]
) -> None:
    # It may change within the same tick of the clock of its file system, without another size or time.
    path = tree.write("a.md", "1")
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    sync_once(shelf)
    path.write_text("2")
    os.utime(path, ns=(now, now))
    assert ops(sync_once(shelf)) == {"a.md": "UPD"}
    assert shelf.get("docs:a.md").text == "2"


class Splitter:
    def __init__(self, size: int) -> None:
        self.size = size

    def split_text(self, text: str) -> list[str]:
        return [text[start : start + self.size] for start in range(0, len(text), self.size)]


def shout(file: Any) -> str:
    return str(file.text.upper())


@pytest.mark.parametrize(
    "options",
    [
        {"splitter": Splitter(3)},
        {"readers": {".md": shout}},
        {"version": "2"},
        {"encoding": "latin-1"},
    ],
    ids=["splitter", "reader", "version", "encoding"],
)
def test_other_settings_read_the_files_again(
    shelf: DocShelf, tree: Tree, sync_once: Syncing, reads: list[str], options: dict[str, Any]
) -> None:
    tree.write("a.md", "abcdef")
    base: dict[str, Any] = {"splitter": Splitter(2)}
    sync_once(shelf, **base)
    reads.clear()
    sync_once(shelf, splitter=Splitter(2))
    assert reads == []
    sync_once(shelf, **{**base, **options})
    assert reads == ["a.md"]
    reads.clear()
    sync_once(shelf, **{**base, **options})
    assert reads == []


def test_an_inserted_piece_leaves_the_others_as_they_are(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", "one two two three")
    sync(shelf, splitter=words)
    assert sorted(text for text in texts_of(shelf).values()) == ["one", "three", "two", "two"]
    tree.write("a.md", "zero one two two three")
    report = sync(shelf, splitter=words, diff=True)
    assert report.changes.counts == {"INS": 1, "UPD": 0, "SKIP": 4, "DEL": 0}
    assert report.keys_to_embed == [change.key for change in report.changes.inserted]
    [diff] = report.changes.diffs
    assert (diff.key, diff.old, diff.new) == ("docs:a.md", "", "zero")
    tree.write("a.md", "zero one two three")
    report = sync(shelf, splitter=words, diff=True)
    assert report.changes.counts == {"INS": 0, "UPD": 0, "SKIP": 4, "DEL": 1}
    assert report.keys_to_remove == [change.key for change in report.changes.deleted]
    assert [(diff.old, diff.new) for diff in report.changes.diffs] == [("two", "")]


def test_a_file_that_cannot_be_read_keeps_its_entries_and_is_reported(
    shelf: DocShelf, tree: Tree, sync: Syncing
) -> None:
    tree.write("a.md", "good")
    tree.write("b.md", "good")
    sync(shelf)
    tree.write("a.md", b"\xff\xfe\x00bad"[2:] + b"\x80")
    tree.write("b.md", "better")
    report = sync(shelf)
    assert ops(report) == {"a.md": "FAIL", "b.md": "UPD"}
    [failed] = report.failed
    assert "a.md" in str(report)
    assert failed.source == "docs:a.md"
    assert shelf.get("docs:a.md").text == "good"
    tree.write("a.md", "mended")
    assert ops(sync(shelf)) == {"a.md": "UPD", "b.md": "SKIP"}


def test_a_file_whose_documents_cannot_be_stored_does_not_stop_the_others(
    shelf: DocShelf, tree: Tree, sync: Syncing
) -> None:
    tree.write("a.md", "good")
    tree.write("b.md", "bad")
    tree.write("c.md", "good")

    def reader(file: Any) -> Document:
        return Document(file.text, {"loc": 1j if file.text == "bad" else 1})

    report = sync(shelf, readers={".md": reader})
    assert ops(report) == {"a.md": "INS", "b.md": "FAIL", "c.md": "INS"}
    assert "complex" in report.failed[0].reason
    assert sorted(shelf.yield_keys()) == ["docs:a.md", "docs:c.md"]


def test_a_reader_that_fails_is_reported_with_its_error(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "text")
    tree.write("b.txt", "text")

    def fails(_file: Any) -> str:
        raise KeyError("no such page")

    report = sync_once(shelf, readers={".md": fails})
    assert ops(report) == {"a.md": "FAIL", "b.txt": "INS"}
    assert report.failed[0].reason == "KeyError: 'no such page'"
    report = sync_once(shelf, readers={".md": lambda file: [5]})
    assert "gave a int" in report.failed[0].reason
    report = sync_once(shelf, readers={".md": lambda file: [Document("x", id="1"), Document("y", id="1")]})
    assert "two of its documents have the id '1'" in report.failed[0].reason


def test_documents_with_ids_of_their_own_are_updated_in_place(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    def pages(file: Any) -> list[Document]:
        return [Document(text, {"page": n}, id=f"p{n}") for n, text in enumerate(file.text.split("|"))]

    tree.write("a.md", "one|two")
    sync_once(shelf, readers={".md": pages})
    tree.write("a.md", "one|2")
    report = sync_once(shelf, readers={".md": pages})
    assert [(change.key, change.op) for change in report.changes] == [("docs:a.md#p0", "SKIP"), ("docs:a.md#p1", "UPD")]


def test_a_file_without_text_has_no_entries_and_is_not_read_again(
    shelf: DocShelf, tree: Tree, sync_once: Syncing, reads: list[str]
) -> None:
    tree.write("a.md", " \n")
    assert ops(sync_once(shelf)) == {"a.md": "INS"}
    assert shelf.count() == 0
    reads.clear()
    assert ops(sync_once(shelf)) == {"a.md": "SKIP"}
    assert reads == []


def test_entries_that_somebody_deleted_come_back(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", "one")
    sync(shelf)
    shelf.mdelete(["docs:a.md"])
    assert ops(sync(shelf)) == {"a.md": "UPD"}
    assert shelf.get("docs:a.md").text == "one"


def test_notes_that_others_broke_are_written_again(tmp_path: Path, tree: Tree, sync_once: Syncing) -> None:
    path = tmp_path / "shelf.db"
    sqlite_shelf = DocShelf(path)
    for name in ("a.md", "b.md", "c.md"):
        tree.write(name, name)
    sync_once(sqlite_shelf)
    with sqlite3.connect(path) as connection:
        execute = connection.execute
        execute("UPDATE docshelf_sources SET fingerprint = x'00' WHERE source = 'docs:a.md'")
        execute("UPDATE docshelf_sources SET metadata = '{' WHERE source = 'docs:b.md'")
        execute(
            "INSERT INTO docshelf_sources (collection, source, synced_at) "
            "SELECT collection, x'646F63733A', synced_at FROM docshelf_sources LIMIT 1"
        )
    report = sync_once(sqlite_shelf)
    assert not report.changed
    assert not report.failed
    notes = sqlite_shelf.source_notes(["docs:a.md", "docs:b.md"])
    assert [(note.metadata or {})["path"] for note in notes.values()] == ["a.md", "b.md"]
    assert all(note.fingerprint for note in notes.values())
    sqlite_shelf.close()


def test_two_folders_never_touch_each_other(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "one")
    other = Tree(tree.root.parent / "others" / "docs")
    other.write("a.md", "two")
    sync_once(shelf, name="first")
    sync_once(shelf, other.root, name="second")
    # A source of the user's own under the same prefix is not the folder's.
    shelf.sync({"k": "mine"}, source="first:mine.md")
    assert not sync_once(shelf, name="first").changed
    assert [source.source for source in shelf.sources()] == ["first:a.md", "first:mine.md", "second:a.md"]


def test_many_files_go_in_several_transactions(
    shelf: DocShelf, tree: Tree, sync: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_run, "_BATCH_FILES", 3)
    for number in range(8):
        tree.write(f"{number}.md", f"text {number}")
    report = sync(shelf)
    assert report.counts["INS"] == report.changes.counts["INS"] == 8
    for number in range(7):
        tree.remove(f"{number}.md")
    assert sync(shelf, max_delete=1.0).counts["DEL"] == 7
    assert [source.source for source in shelf.sources()] == ["docs:7.md"]


def test_a_bound_shelf_writes_in_the_callers_transaction(
    tree: Tree, sync_once: Syncing, new_location: Callable[[str], Location], new_engine: Callable[..., Engine]
) -> None:
    tree.write("a.md", "one")
    engine = new_engine(new_location("sqlite"))
    with DocShelf(engine=engine) as whole:
        whole.setup()
        with engine.connect() as connection, connection.begin() as transaction:
            sync_once(whole.bind(connection))
            assert whole.bind(connection).count() == 1
            transaction.rollback()
        assert whole.count() == 0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"name": "a:b"}, ArgumentValueError, "without colon and slash"),
        ({"name": ""}, ArgumentValueError, "1 to 128 bytes"),
        ({"name": 5}, ArgumentTypeError, "name is a int"),
        ({"max_delete": 2}, ArgumentValueError, "from 0 to 1"),
        ({"max_delete": "all"}, ArgumentTypeError, "from 0 to 1"),
        ({"max_file_bytes": 0}, ArgumentValueError, "1 or more"),
        ({"encoding": "klingon"}, ConfigurationError, "klingon"),
        ({"readers": {"pdf": str}}, ArgumentValueError, "as '.pdf'"),
        ({"readers": {".pdf": 5}}, ArgumentTypeError, "the reader of '.pdf' is a int"),
        ({"splitter": 5}, ArgumentTypeError, "split_text"),
        ({"include": 5}, ArgumentTypeError, "include is a int"),
        ({"exclude": [5]}, ArgumentTypeError, "exclude has a int"),
        ({"version": 2}, ArgumentTypeError, "version is a int"),
        ({"path": 5}, ArgumentTypeError, "path is a int"),
        ({"path": "nowhere"}, ArgumentValueError, "does not exist"),
        ({"target": "docs.db"}, ConfigurationError, "cannot be synced into a str"),
    ],
)
def test_a_wrong_argument_is_named(
    shelf: DocShelf, tree: Tree, sync: Syncing, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    tree.write("a.md", "one")
    given = dict(options)
    with pytest.raises(error, match=said):
        sync(given.pop("target", shelf), given.pop("path", None), **given)
    assert shelf.count() == 0


def test_a_folder_that_is_copied_elsewhere_needs_no_writes(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "one")
    sync_once(shelf)
    copied = tree.root.parent / "elsewhere" / "docs"
    shutil.copytree(tree.root, copied)
    assert not sync_once(shelf, copied).changed
