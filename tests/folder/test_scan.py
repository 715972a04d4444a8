"""Which files of a folder are read: patterns, .gitignore, hidden files, links, odd names, what is out of reach."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from docshelf import ConfigurationError, DocShelf
from docshelf.folder.scan import Rules, Scan, scan
from tests.folder.conftest import Syncing, Tree

SUFFIXES = frozenset({".md", ".txt"})


def found(tree: Tree, **options: Any) -> Scan:
    return scan(tree.root, Rules(**{"include": ("**/*",), "exclude": (), "suffixes": SUFFIXES, **options}))


def names(tree: Tree, **options: Any) -> list[str]:
    return list(found(tree, **options).files)


def test_the_files_with_a_reader_are_found_in_order(tree: Tree) -> None:
    for name in ("b.md", "a/z.TXT", "a.b/c.md", "a/picture.PNG", "notes"):
        tree.write(name, "x")
    scanned = found(tree)
    assert list(scanned.files) == ["a.b/c.md", "a/z.TXT", "b.md"]
    assert scanned.without_reader == {".png": 1, "": 1}
    assert names(tree, suffixes={""}) == ["notes"]


def test_patterns_are_those_of_a_gitignore(tree: Tree) -> None:
    for name in ("a.md", "a.txt", "drafts/b.md", "x/drafts/c.md", "x/d.md"):
        tree.write(name, "x")
    assert names(tree, include=("*.md",)) == ["a.md", "drafts/b.md", "x/d.md", "x/drafts/c.md"]
    assert names(tree, include=("/*.md", "x/d.md")) == ["a.md", "x/d.md"]
    assert names(tree, include=("x",)) == ["x/d.md", "x/drafts/c.md"]
    assert names(tree, exclude=("drafts/",)) == ["a.md", "a.txt", "x/d.md"]
    assert names(tree, exclude=("/drafts", "*.txt")) == ["a.md", "x/d.md", "x/drafts/c.md"]


def test_each_gitignore_holds_for_its_folder_and_the_deepest_wins(tree: Tree) -> None:
    tree.write(".gitignore", "\ufeff# built\nbuild/\n*.txt\n!keep.txt\n/top.md\n\\\n")
    tree.write("x/.gitignore", "!*.txt\nnot.md\n")
    for name in (
        "top.md",
        "a.txt",
        "keep.txt",
        "x/a.txt",
        "x/not.md",
        "x/top.md",
        "build/a.md",
        "x/build/a.md",
        "not.md",
    ):
        tree.write(name, "x")
    assert names(tree) == ["keep.txt", "not.md", "x/a.txt", "x/top.md"]
    assert len(names(tree, gitignore=False)) == 9


def test_hidden_files_are_read_only_on_request_and_git_never(tree: Tree) -> None:
    for name in (".a.md", ".venv/b.md", ".git/c.md", "d.md"):
        tree.write(name, "x")
    assert names(tree) == ["d.md"]
    assert names(tree, hidden=True) == [".a.md", ".venv/b.md", "d.md"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_only_on_request_and_each_folder_once(tree: Tree, tmp_path: Path) -> None:
    outside = Tree(tmp_path / "outside")
    outside.write("far.md", "x")
    tree.write("z/real.md", "x")
    (tree.root / "a").symlink_to("z")  # sorts before what it leads to
    (tree.root / "z" / "loop").symlink_to("..")
    (tree.root / "file.md").symlink_to("z/real.md")
    (tree.root / "out").symlink_to(outside.root)
    (tree.root / "broken.md").symlink_to("nowhere")
    scanned = found(tree)
    assert list(scanned.files) == ["z/real.md"]
    assert scanned.links == 5
    scanned = found(tree, follow_symlinks=True)
    assert list(scanned.files) == ["file.md", "out/far.md", "z/real.md"]
    assert list(scanned.failures) == ["broken.md"]
    assert scanned.links == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_regular_file_is_never_opened(tree: Tree) -> None:
    os.mkfifo(tree.root / "pipe.md")  # opening it would block
    tree.write("a.md", "x")
    assert names(tree) == ["a.md"]


ODD = ["with space.md", "ünï/çödé.md", "line\nend.md", "100%.md", "a:b.md", "quote'\".md", "-rf.md", "# [x](y).md"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such names")
def test_odd_names_are_names(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    for name in ODD:
        tree.write(name, name)
    assert sync(shelf).counts["INS"] == len(ODD)
    assert {source.source for source in shelf.sources()} == {f"docs:{name}" for name in ODD}
    assert not sync(shelf).changed
    tree.remove("a:b.md")
    assert [one.name for one in sync(shelf).files if one.op == "DEL"] == ["a:b.md"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_no_source_can_have_are_reported(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    (tree.root / "\udcff.md").write_bytes(b"x")
    deep = "/".join(["d" * 200] * 4) + "/x.md"
    tree.write(deep, "x")
    tree.write("a.md", "x")
    report = sync_once(shelf)
    reasons = {outcome.name: outcome.reason for outcome in report.failed}
    assert set(reasons) == {"\udcff.md", deep}
    assert "not UTF-8" in reasons["\udcff.md"]
    assert "808 bytes" in reasons[deep]
    assert "\\udcff.md" in str(report)  # it prints on any terminal
    assert report.counts["INS"] == 1


def test_files_below_a_folder_that_cannot_be_listed_keep_their_entries(
    shelf: DocShelf, tree: Tree, sync: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.md", "x/b.md", "x/y/c.md", "xy.md"):
        tree.write(name, "text")
    sync(shelf)
    tree.remove("xy.md")
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "x":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = sync(shelf, max_delete=0.3)
    assert [(one.name, one.op, one.reason) for one in report.files if one.op != "SKIP"] == [
        ("x/", "FAIL", "Permission denied"),
        ("xy.md", "DEL", ""),
    ]
    assert sorted(shelf.yield_keys()) == ["docs:a.md", "docs:x/b.md", "docs:x/y/c.md"]


def test_a_pattern_that_is_none_is_named(tree: Tree) -> None:
    tree.write("a.md", "x")
    with pytest.raises(ConfigurationError, match="exclude has an invalid pattern"):
        names(tree, exclude=("!",))


def test_a_folder_may_be_deeper_than_python_calls_functions(tree: Tree) -> None:
    tree.write("/".join(["d"] * 300) + "/a.md", "x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(250)
    try:
        assert len(names(tree)) == 1
    finally:
        sys.setrecursionlimit(limit)
