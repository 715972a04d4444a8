"""The command on a terminal, in a pipe that closes, and interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docshelf import DocShelf, Document, Item
from docshelf.cli.codes import DONE, FAILED, INTERRUPTED, USAGE
from docshelf.cli.output import display_width, fitted
from tests.support.command import COMMAND, Terminal, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store of 2,000 documents in docshelf.db."""
    with DocShelf(tmp_path / "docshelf.db") as shelf:
        shelf.mset(
            [
                Item(f"guide/{number:04}", Document(f"Text {number} " * 30, {"n": number}), f"file {number % 7}.md")
                for number in range(2_000)
            ]
        )
        shelf.set("zz 漢字", "wide \x1b[31mred\x1b[0m text")
    return tmp_path


def on_terminal(*arguments: str, cwd: Path, columns: int = 80, **environment: str) -> tuple[int, str]:
    terminal = Terminal(arguments, cwd=cwd, columns=columns, **environment)
    return terminal.end(), terminal.seen


def test_a_table_has_a_header_and_fits_the_width(folder: Path) -> None:
    code, seen = on_terminal("find", "n<30", cwd=folder, columns=60)
    assert code == DONE
    lines = seen.splitlines()
    assert lines[0] == "\x1b[1mkey         source     text\x1b[0m"
    assert len(lines) == 31
    assert all(display_width(line) <= 60 for line in lines[1:])
    assert lines[1].startswith("guide/0000  file 0.md  Text 0 Text 0 ")
    assert lines[1].endswith("…")


def test_what_a_row_holds_cannot_act_on_the_terminal(folder: Path) -> None:
    _, seen = on_terminal("cat", "zz 漢字", cwd=folder, NO_COLOR="1")
    assert "\x1b" not in seen
    assert "wide \\x1b[31mred" in seen
    _, seen = on_terminal("find", "--prefix", "zz", cwd=folder, NO_COLOR="1")
    assert "\x1b" not in seen


def test_no_colour_and_no_header_where_they_are_not_wanted(folder: Path) -> None:
    _, seen = on_terminal("ls", "-l", "--prefix", "guide/000", cwd=folder, NO_COLOR="1")
    assert seen.startswith("key")
    assert "\x1b" not in seen
    assert "\x1b" in on_terminal("ls", "-l", "--prefix", "guide/000", cwd=folder)[1]
    assert run("ls", "-l", "--prefix", "guide/000", cwd=folder).lines[0].startswith("guide/0000\tfile 0.md\tdocument")


def test_an_empty_store_says_so_to_a_person_only(folder: Path) -> None:
    assert on_terminal("-c", "empty", "ls", cwd=folder) == (DONE, "collection 'empty' has no such entries\n")
    ran = run("-c", "empty", "ls", cwd=folder)
    assert (ran.code, ran.out, ran.err) == (DONE, "", "")


@pytest.mark.parametrize(
    ("answer", "left", "code"), [("y\n", 2_000, DONE), ("n\n", 2_001, FAILED), ("\n", 2_001, FAILED)]
)
def test_rm_asks(folder: Path, answer: str, left: int, code: int) -> None:
    terminal = Terminal(["rm", "guide/0001", "guide/nope"], cwd=folder)
    terminal.wait_for("delete 1 entry (guide/0001) of collection 'default'? [y/N] ")
    terminal.type(answer)
    assert terminal.end() == code
    with DocShelf(folder / "docshelf.db") as shelf:
        assert shelf.count() == left


def test_ctrl_c_at_a_question_deletes_nothing(folder: Path) -> None:
    terminal = Terminal(["rm", "guide/0001"], cwd=folder)
    terminal.wait_for("[y/N] ")
    terminal.interrupt()
    assert terminal.end() == INTERRUPTED
    assert "interrupted" in terminal.seen
    assert "Traceback" not in terminal.seen
    with DocShelf(folder / "docshelf.db") as shelf:
        assert shelf.exists("guide/0001")


def test_long_work_shows_a_bar_to_a_person_only(folder: Path) -> None:
    code, seen = on_terminal("verify", cwd=folder)
    assert code == DONE
    assert "2001/2001" in seen
    assert run("verify", cwd=folder).err == "2,001 entries, each as it was written\n"
    assert on_terminal("verify", "--quiet", cwd=folder) == (DONE, "")


@pytest.mark.parametrize("arguments", [["ls"], ["ls", "-l"], ["find", "--json"], ["export", "-"]])
def test_a_reader_that_has_enough_ends_it_cleanly(folder: Path, arguments: list[str]) -> None:
    process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == DONE


def test_a_closed_output_is_no_error(folder: Path) -> None:
    script = f"'{sys.executable}' -m docshelf ls >&-"
    done = subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (DONE, b"")


def test_ctrl_c_in_the_middle_of_a_write_leaves_nothing_half_written(folder: Path) -> None:
    terminal = Terminal(["put", "half"], cwd=folder)
    terminal.wait_for("end it with Ctrl-D")
    terminal.type("half of a text\n")
    terminal.interrupt()
    assert terminal.end() == INTERRUPTED
    assert "Traceback" not in terminal.seen
    with DocShelf(folder / "docshelf.db") as shelf:
        assert not shelf.exists("half")


def test_help_teaches_by_examples(tmp_path: Path) -> None:
    ran = run("--help", cwd=tmp_path)
    assert (ran.code, ran.err) == (DONE, "")
    assert "docshelf find author=Ann 'year>=2020'" in ran.out
    ran = run("rm", "--help", cwd=tmp_path)
    assert ran.code == DONE
    assert "examples:\n  docshelf rm" in ran.out
    ran = run(cwd=tmp_path)
    assert ran.code == USAGE
    assert "examples" in ran.err
    assert run("--version", cwd=tmp_path).out.startswith("docshelf 0.")
    assert list(tmp_path.iterdir()) == []


def test_completion_is_a_script(tmp_path: Path) -> None:
    assert "docshelf" in run("--completion", "bash", cwd=tmp_path).out
    ran = run("--completion", "nosuchshell", cwd=tmp_path)
    assert ran.code == USAGE


def test_verbose_logs_calls_and_shows_where_an_error_came_from(folder: Path) -> None:
    assert "docshelf DEBUG stats collection='default'" in run("stats", "-v", cwd=folder).err
    assert "Traceback" in run("find", "--limit", "-1", "-v", cwd=folder).err


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("short", 5, "short"), ("longer", 5, "long…"), ("漢字漢字", 5, "漢字…"), ("a\u0301b", 2, "a\u0301b")],
)
def test_texts_are_cut_by_what_they_take_on_a_terminal(text: str, width: int, shown: str) -> None:
    assert fitted(text, width) == shown
    assert display_width(fitted(text, width)) <= width
