"""The guard: a folder that is missing, empty or half there deletes nothing."""

from __future__ import annotations

import shutil

import pytest

from docshelf import DocShelf, MassDeleteError
from tests.folder.conftest import Syncing, Tree


@pytest.fixture
def full(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> Tree:
    for number in range(10):
        tree.write(f"{number % 2}/{number}.md", f"text {number}")
    sync_once(shelf)
    return tree


def test_a_folder_that_is_gone_is_refused_whatever_is_allowed(shelf: DocShelf, full: Tree, sync: Syncing) -> None:
    shutil.rmtree(full.root)
    for options in ({}, {"allow_mass_delete": True}, {"max_delete": 1.0}, {"dry_run": True}):
        with pytest.raises(MassDeleteError, match="does not exist, and the entries of its files 'docs' stay"):
            sync(shelf, **options)
    full.root.write_text("a file")
    with pytest.raises(MassDeleteError, match="is no folder"):
        sync(shelf)
    assert shelf.count() == 10


def test_an_empty_folder_is_refused(shelf: DocShelf, full: Tree, sync: Syncing) -> None:
    shutil.rmtree(full.root)
    full.root.mkdir()
    with pytest.raises(MassDeleteError, match="has no files any more"):
        sync(shelf, max_delete=1.0)
    planned = sync(shelf, dry_run=True)
    assert planned.counts["DEL"] == 10
    assert planned.refused is not None
    assert "refused: " in str(planned)
    assert shelf.count() == 10
    assert sync(shelf, allow_mass_delete=True).counts["DEL"] == 10
    assert shelf.count() == 0
    assert list(shelf.sources()) == []


def test_a_folder_that_is_half_there_is_refused_and_nothing_is_written(
    shelf: DocShelf, full: Tree, sync: Syncing
) -> None:
    shutil.rmtree(full.root / "1")
    full.write("0/new.md", "new")
    with pytest.raises(MassDeleteError, match=r"has lost 5 of 10 files.*max_delete=0\.2"):
        sync(shelf)
    assert shelf.count() == 10
    assert sync(shelf, max_delete=0.5).counts == {"INS": 1, "UPD": 0, "MOVE": 0, "SKIP": 5, "DEL": 5, "FAIL": 0}


def test_the_share_of_files_counts_and_one_may_always_go(shelf: DocShelf, full: Tree, sync_once: Syncing) -> None:
    full.remove("0/0.md")
    full.remove("1/1.md")
    with pytest.raises(MassDeleteError):
        sync_once(shelf, max_delete=0.19)
    assert sync_once(shelf).counts["DEL"] == 2
    full.remove("0/2.md")
    with pytest.raises(MassDeleteError):
        sync_once(shelf, max_delete=0)
    assert sync_once(shelf, max_delete=0.01).counts["DEL"] == 1


def test_another_selection_of_files_is_guarded_too(shelf: DocShelf, full: Tree, sync_once: Syncing) -> None:
    with pytest.raises(MassDeleteError):
        sync_once(shelf, exclude="1/")
    full.write(".gitignore", "*.md\n")
    with pytest.raises(MassDeleteError):
        sync_once(shelf)


def test_another_folder_of_the_same_name_is_refused(shelf: DocShelf, full: Tree, sync_once: Syncing) -> None:
    other = Tree(full.root.parent / "other" / "docs")
    other.write("readme.md", "another project")
    with pytest.raises(MassDeleteError, match="no other folder has this name"):
        sync_once(shelf, other.root)
