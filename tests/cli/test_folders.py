"""Verbs on folders: sync and diff, their output and exit codes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from docshelf import DocShelf
from docshelf.cli.codes import DONE, FAILED, IN_PART, REFUSED, USAGE, WOULD_CHANGE
from tests.conftest import Location
from tests.folder.conftest import Tree
from tests.support.command import Command, Terminal, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A folder with three files."""
    tree = Tree(tmp_path / "docs")
    tree.write("a.md", "one\ntwo\nthree\n")
    tree.write("sub/b.txt", "text")
    tree.write("t.csv", "name,role\nAnn,CTO\nBob,CEO\n")
    return tree


def test_sync_makes_the_store_equal_to_a_folder(command: Command, location: Location, tree: Tree) -> None:
    tree.write("picture.png", b"\x89")
    ran = command("sync", str(tree.root))
    assert ran.code == DONE
    assert ran.rows == [["a.md", "INS", ""], ["sub/b.txt", "INS", ""], ["t.csv", "INS", ""]]
    assert ran.err == "3 new, 1 without a reader (.png)\n"
    ran = command("sync", str(tree.root))
    assert (ran.code, ran.out, ran.err.partition(",")[0]) == (DONE, "", "3 the same")
    assert len(command("sync", str(tree.root), "--all").rows) == 3
    tree.write("a.md", "one\n2\nthree\n")
    tree.move("sub/b.txt", "c.txt")
    ran = command("sync", str(tree.root))
    assert ran.rows == [["a.md", "UPD", ""], ["c.txt", "MOVE", "sub/b.txt"]]
    assert command("cat", "docs:sub/b.txt", "--raw").out == "text"
    with DocShelf(location.url) as shelf:
        assert [source.source for source in shelf.sources()] == ["docs:a.md", "docs:c.txt", "docs:t.csv"]
        assert not list(shelf.find(where={"source": "docs:sub/b.txt"}))
        assert [entry.key for entry in shelf.find(where={"source": "docs:c.txt"})] == ["docs:sub/b.txt"]


def test_diff_and_a_dry_run_say_what_would_change_and_write_nothing(
    command: Command, location: Location, tree: Tree
) -> None:
    for verb in (["diff"], ["sync", "-n"]):  # without tables: a plan needs none in a file that is to be made
        ran = command(*verb, str(tree.root))
        assert ran.code == (WOULD_CHANGE if location.dialect == "sqlite" else FAILED)
    assert command("sync", str(tree.root)).code == DONE
    assert command("diff", str(tree.root)).out == ""
    assert command("diff", str(tree.root)).code == DONE
    tree.write("a.md", "one\n2\nthree\n")
    tree.write("t.csv", "name,role\nAnn,CTO\nEve,CEO\n")
    tree.move("sub/b.txt", "c.txt")
    tree.write("new.md", "new")
    ran = command("diff", str(tree.root))
    assert ran.code == WOULD_CHANGE
    assert ran.lines == [
        "UPD a.md",
        "--- docs:a.md before",
        "+++ docs:a.md after",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
        "MOVE c.txt (sub/b.txt)",
        "INS new.md",
        "UPD t.csv",
        "--- docs:t.csv before",
        "+++ docs:t.csv after",
        "@@ -1,2 +1,2 @@",
        "-name: Bob",
        "+name: Eve",
        " role: CEO",
    ]
    objects = command("diff", str(tree.root), "--json").objects
    assert [(one["file"], one["op"], one["note"]) for one in objects] == [
        ("a.md", "UPD", ""),
        ("c.txt", "MOVE", "sub/b.txt"),
        ("new.md", "INS", ""),
        ("t.csv", "UPD", ""),
    ]
    assert "-two\n+2" in objects[0]["diff"]
    assert command("diff", str(tree.root), "--csv").lines[:2] == ["file,op,note", "a.md,UPD,"]
    ran = command("sync", str(tree.root), "--dry-run")
    assert (ran.code, len(ran.rows)) == (WOULD_CHANGE, 4)
    with DocShelf(location.url) as shelf:
        assert shelf.get("docs:a.md").text == "one\ntwo\nthree\n"


def test_a_folder_that_lost_too_much_is_refused(command: Command, location: Location, tree: Tree) -> None:
    command("sync", str(tree.root))
    tree.remove("a.md")
    tree.remove("sub/b.txt")
    for verb in (["sync"], ["sync", "-n"], ["diff"]):
        ran = command(*verb, str(tree.root))
        assert ran.code == REFUSED
        assert "has lost 2 of 3 files" in ran.err
        assert "give --allow-mass-delete" in ran.err
    with DocShelf(location.url) as shelf:
        assert shelf.count() == 4
    assert command("sync", str(tree.root), "--max-delete", "0.7").code == DONE
    shutil.rmtree(tree.root)
    ran = command("sync", str(tree.root), "--allow-mass-delete")
    assert (ran.code, ran.out) == (REFUSED, "")
    assert "does not exist" in ran.err
    assert command("sync", str(tree.root), "--name", "other").code == USAGE


def test_a_file_that_cannot_be_read_makes_it_done_in_part(command: Command, tree: Tree) -> None:
    tree.write("bad.md", b"\xe4\xf6")
    ran = command("sync", str(tree.root))
    assert ran.code == IN_PART
    assert ran.rows[1][:2] == ["bad.md", "FAIL"]
    assert "encoding" in ran.rows[1][2]
    assert ran.err == "3 new, 1 failed\n"
    ran = command("sync", str(tree.root), "--encoding", "latin-1", "--exclude", "t.csv", "--max-delete", "1")
    assert (ran.code, ran.rows) == (DONE, [["bad.md", "INS", ""], ["t.csv", "DEL", ""]])


def test_files_are_chosen_and_stores_of_frameworks_written(command: Command, location: Location, tree: Tree) -> None:
    tree.write(".hidden.md", "h")
    tree.write(".gitignore", "sub/\n")
    assert [row[0] for row in command("sync", str(tree.root), "--name", "x").rows] == ["a.md", "t.csv"]
    ran = command("sync", str(tree.root), "--name", "y", "--hidden", "--no-gitignore", "--include", "*.md")
    assert [row[0] for row in ran.rows] == [".hidden.md", "a.md"]
    assert command("-c", "lc", "sync", str(tree.root), "--store", "langchain").code == DONE
    with DocShelf(location.url, "lc") as shelf:
        [entry] = shelf.mget_entries(["docs:a.md"])
        assert entry is not None
        assert entry.content_type == "langchain/document"
    assert command("sync", str(tree.root), "--store", "nope").code == USAGE


def test_a_newcomer_needs_one_line(tree: Tree, tmp_path: Path) -> None:
    ran = run("sync", "docs", cwd=tmp_path)
    assert (ran.code, ran.err) == (DONE, "3 new\n")
    assert (tmp_path / "docshelf.db").exists()
    assert run("find", "--source", "docs:t.csv", "--json", cwd=tmp_path).objects[0]["source"] == "docs:t.csv"
    assert json.loads(run("cat", "docs:a.md", "--json", cwd=tmp_path).out)["key"] == "docs:a.md"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there is no pty")
def test_on_a_terminal_lines_have_colours_and_names_cannot_act(tree: Tree, tmp_path: Path) -> None:
    tree.write("red\x1b[31m.md", "x")
    terminal = Terminal(["sync", "docs", "-q"], cwd=tmp_path)
    assert terminal.end() == DONE
    assert "\x1b[32mINS" in terminal.seen
    assert "red\\x1b[31m.md" in terminal.seen
    tree.write("a.md", "one\n2\nthree\n")
    terminal = Terminal(["diff", "docs", "-q"], cwd=tmp_path)
    assert terminal.end() == WOULD_CHANGE
    assert "\x1b[31m-two\x1b[0m" in terminal.seen
    assert "\x1b[32m+2\x1b[0m" in terminal.seen
