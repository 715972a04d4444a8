"""Files that move: the same bytes under another path keep their keys."""

from __future__ import annotations

import pytest

from docshelf import DocShelf, Document
from docshelf.folder.known import Known, read_known
from docshelf.steps import perform
from tests.folder.conftest import Syncing, Tree, texts_of


def words(document: Document) -> list[str]:
    return document.text.split()


def test_a_move_keeps_the_keys_and_has_nothing_to_embed(any_shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", "one two")
    tree.write("b.md", "three")
    sync(any_shelf, splitter=words)
    before = {key: text for (_, key), text in texts_of(any_shelf).items()}
    tree.move("a.md", "x/y/c.md")
    planned = sync(any_shelf, splitter=words, dry_run=True)
    report = sync(any_shelf, splitter=words)
    for one in (planned, report):
        assert [(outcome.name, outcome.op, outcome.moved_from) for outcome in one.files] == [
            ("b.md", "SKIP", ""),
            ("x/y/c.md", "MOVE", "a.md"),
        ]
        assert one.keys_to_embed == one.keys_to_remove == []
    assert {key: text for (_, key), text in texts_of(any_shelf).items()} == before
    assert [source.source for source in any_shelf.sources()] == ["docs:b.md", "docs:x/y/c.md"]
    assert any_shelf.source_entries(["docs:x/y/c.md"])[0][0].value.metadata == {"source": "docs:x/y/c.md"}
    assert not sync(any_shelf, splitter=words).changed


def test_a_new_file_in_the_place_of_a_moved_one_gets_other_keys(
    shelf: DocShelf, tree: Tree, sync_once: Syncing
) -> None:
    tree.write("a.md", "one")
    sync_once(shelf)
    tree.move("a.md", "b.md")
    sync_once(shelf)
    tree.write("a.md", "two")
    sync_once(shelf)
    assert texts_of(shelf) == {("docs:a.md", "docs:a.md~2"): "two", ("docs:b.md", "docs:a.md"): "one"}
    tree.write("b.md", "one, edited")
    report = sync_once(shelf)
    assert [(change.key, change.op) for change in report.changes] == [("docs:a.md", "UPD")]
    tree.remove("b.md")
    tree.write("c.md", "three")
    sync_once(shelf)
    assert not sync_once(shelf).changed
    assert sorted(texts_of(shelf).values()) == ["three", "two"]


def test_a_whole_folder_may_be_renamed(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    for number in range(30):
        tree.write(f"old/{number}.md", f"text {number}")
    sync(shelf)
    tree.move("old", "new")
    report = sync(shelf)  # all sources vanish, and no guard minds
    assert report.counts["MOVE"] == 30
    assert report.keys_to_embed == []
    assert not sync(shelf).changed


def test_a_copy_and_files_of_equal_bytes_are_told_apart(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "same")
    tree.write("b.md", "same")
    sync_once(shelf)
    tree.write("copy.md", "same")
    assert sync_once(shelf).counts == {"INS": 1, "UPD": 0, "MOVE": 0, "SKIP": 2, "DEL": 0, "FAIL": 0}
    tree.move("a.md", "x.md")
    tree.move("b.md", "y.md")
    report = sync_once(shelf)
    assert [(one.name, one.moved_from) for one in report.moved] == [("x.md", "a.md"), ("y.md", "b.md")]
    assert len(texts_of(shelf)) == 3


def test_a_file_that_moves_and_changes_is_another_file(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "one")
    tree.write("b.md", "two")
    sync_once(shelf)
    tree.remove("a.md")
    tree.write("c.md", "ONE")  # of the same size
    assert sync_once(shelf).counts == {"INS": 1, "UPD": 0, "MOVE": 0, "SKIP": 1, "DEL": 1, "FAIL": 0}


class KilledError(BaseException):
    """Ends a run where its process would end."""


def test_a_run_that_is_killed_between_a_move_and_its_end_is_no_mass_deletion(
    shelf: DocShelf, tree: Tree, sync_once: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        tree.write(f"old/{number}.md", f"text {number}")
    sync_once(shelf)
    before = {key: text for (_, key), text in texts_of(shelf).items()}
    tree.move("old", "new")

    def delete_sources(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(DocShelf, "delete_sources", delete_sources)
        with pytest.raises(KilledError):
            sync_once(shelf)
    known: dict[str, Known] = perform(read_known(shelf, "docs"))
    assert sum(one.gone for one in known.values()) == 5
    report = sync_once(shelf)
    assert report.counts == {"INS": 0, "UPD": 0, "MOVE": 0, "SKIP": 5, "DEL": 0, "FAIL": 0}
    assert {source.source for source in shelf.sources()} == {f"docs:new/{number}.md" for number in range(5)}
    assert {key: text for (_, key), text in texts_of(shelf).items()} == before
