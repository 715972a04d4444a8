"""`examples/demo.py`, as a user runs it. It checks its own counts, so its exit code is most of the result."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from docshelf import DocShelf
from tests.conftest import Location
from tests.support.public import ROOT

DEMO = ROOT / "examples" / "demo.py"
COLLECTION = "docshelf-demo"
PARAGRAPH = "This paragraph is long enough to be a chunk of its own. " * 16


def demo(*arguments: Any, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", DEMO, *arguments]
    inherited = {name: value for name, value in os.environ.items() if name != "DOCSHELF_URL"}
    return subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=120, check=False
    )


def counts(output: str, title: str) -> dict[str, int]:
    """The counts below the first title that begins so."""
    match = re.search(rf"^\d+\. {title}.*\n +(INS.*DEL \S+)", output, re.MULTILINE)
    assert match, output
    return {op: int(count.replace(",", "")) for op, count in re.findall(r"(\w+) ([\d,]+)", match.group(1))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts with all that can be odd about files."""
    folder = tmp_path / "some texts"
    (folder / "deep" / "er").mkdir(parents=True)
    text = "\n\n".join(f"Paragraph number {number}. {PARAGRAPH}" for number in range(20))
    (folder / "plain.txt").write_text(text[:9_000])
    (folder / "deep" / "er" / "ünïcödé 📚 'quoted' $HOME %_\\.md").write_text(text)
    (folder / "deep" / "two\nlines.txt").write_text("One paragraph.\r\n\r\nAnother.\r\n")
    (folder / os.fsdecode(b"latin-\xe9.txt")).write_text("Its name is no UTF-8.")
    (folder / "same start.txt").write_text("\n\n".join([PARAGRAPH] * 4))
    (folder / "one long line.txt").write_text("word " * 4_000)
    (folder / "empty.txt").write_text("")
    (folder / "bom.txt").write_bytes(b"\xef\xbb\xbfWith a mark.")
    (folder / "latin1.txt").write_bytes("café".encode("latin-1"))
    (folder / "binary").write_bytes(b"text and a \0")
    (folder / "nowhere").symlink_to("gone")
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret.txt").write_text("not to be read")
    return folder


@pytest.mark.parametrize("backend", ["sqlite", "pg18", "pg18-psycopg"])
def test_the_demo_runs_on_the_reference_of_python(
    backend: str, new_location: Callable[[str], Location], tmp_path: Path
) -> None:
    location = new_location(backend)
    done = demo("--url", location.url, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first = counts(done.stdout, "First sync")
    assert first["INS"] > 100
    assert counts(done.stdout, "The same again") == {"INS": 0, "UPD": 0, "SKIP": first["INS"], "DEL": 0}
    assert counts(done.stdout, "The same with fingerprints") == {"INS": 0, "UPD": 0, "SKIP": 0, "DEL": 0}
    dry, edited = counts(done.stdout, "Dry run"), counts(done.stdout, "The same in earnest")
    assert dry == edited
    assert edited["UPD"] == 1
    assert edited["SKIP"] > 1
    assert counts(done.stdout, ".* lost a third")["DEL"] > 1
    assert counts(done.stdout, ".* was removed")["DEL"] == 1
    assert ("removed again" in done.stdout) == (location.dialect == "postgresql")
    with DocShelf(location.url, COLLECTION) as shelf:
        left = shelf.count()
        assert shelf.verify() == []
    assert (left == 0) == (location.dialect == "postgresql")


@pytest.mark.parametrize("backend", ["sqlite", "pg18"])
def test_any_folder_will_do(
    backend: str, new_location: Callable[[str], Location], folder: Path, tmp_path: Path
) -> None:
    done = demo(folder, cwd=tmp_path, DOCSHELF_URL=new_location(backend).url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 documents" in done.stdout
    for left_out in ("latin1.txt (not UTF-8 text)", "binary (not UTF-8 text)"):
        assert f"left out: {left_out}" in done.stdout
    assert "ünïcödé 📚" in done.stdout
    assert counts(done.stdout, "The same in earnest")["UPD"] == 1


def test_a_folder_with_one_short_text_is_enough(tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("One sentence.")
    done = demo(".", "--url", "shelf.db", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert counts(done.stdout, "First sync") == {"INS": 1, "UPD": 0, "SKIP": 0, "DEL": 0}
    assert "The shelf is in shelf.db." in done.stdout


def test_the_default_shelf_is_a_fresh_file(tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("One sentence.")
    files = []
    for _ in range(2):
        done = demo(tmp_path / "only.txt" / "..", cwd=tmp_path, TMPDIR=str(tmp_path))
        assert done.returncode == 2, "a file is not a folder"
        done = demo(tmp_path, cwd=tmp_path, TMPDIR=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        files += re.findall(r"The shelf is in (.*)\.\n", done.stdout)
    assert len(set(files)) == 2
    assert all(Path(file).is_file() for file in files)


def test_the_demo_clears_the_rows_of_an_earlier_run(tmp_path: Path) -> None:
    with DocShelf(tmp_path / "shelf.db", COLLECTION) as shelf:
        shelf.sync({"only.txt#left": "over"}, source="only.txt")
    (tmp_path / "only.txt").write_text("One sentence.")
    done = demo(".", "--url", "shelf.db", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cleared of the 1 entries" in done.stdout


def test_other_collections_stay(new_location: Callable[[str], Location], folder: Path, tmp_path: Path) -> None:
    location = new_location("pg18")
    with DocShelf(location.url, "mine") as shelf:
        shelf.set("key", "value", source="plain.txt")
        assert demo(folder, "--url", location.url, cwd=tmp_path).returncode == 0
        assert shelf.get("key") == "value"
        assert shelf.count() == 1


def test_the_demo_reports_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "empty.txt").write_text(" \n\n ")
    done = demo("texts", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "demo: no text in the folder texts\n"


def test_the_demo_reports_a_missing_folder(tmp_path: Path) -> None:
    done = demo("nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "demo: nowhere is not a folder\n")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody:hunter2@127.0.0.1:1/none", "no connection"),
        ("postgresql://nobody:hunter2@127.0.0.1:port/none", "cannot be parsed"),
        ("mysql://nobody:hunter2@127.0.0.1/none", "PostgreSQL and SQLite"),
        ("no/such/folder/shelf.db", "does not exist"),
    ],
)
def test_a_url_that_cannot_be_used_gets_one_line_and_exit_code_2(url: str, message: str, tmp_path: Path) -> None:
    done = demo("--url", url, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("demo: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_wrong_report_fails_the_demo(tmp_path: Path) -> None:
    with DocShelf(tmp_path / "shelf.db") as shelf:
        shelf.setup()
    connection = sqlite3.connect(tmp_path / "shelf.db")
    ignoring = "CREATE TRIGGER keeps BEFORE DELETE ON docshelf_entries BEGIN SELECT RAISE(IGNORE); END"
    connection.execute(ignoring)
    connection.close()
    done = demo("--url", "shelf.db", cwd=tmp_path)
    assert done.returncode == 1
    assert "this is not what should have come" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, DEMO, "--url", tmp_path / "shelf.db"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_terminal_gets_a_progress_bar_and_a_pipe_none(tmp_path: Path) -> None:
    command = [sys.executable, str(DEMO), "--url", str(tmp_path / "shelf.db")]
    assert b"\r" not in subprocess.run(command, capture_output=True, check=True).stdout
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal) as process:
        os.close(terminal)
        output = b""
        with suppress(OSError):  # the end of the terminal output
            while read := os.read(screen, 4096):
                output += read
        os.close(screen)
    assert process.returncode == 0
    assert b"\rwriting: 100%" in output
    assert b"entry" in output


def test_a_screen_without_the_letters_of_a_name_gets_escapes(folder: Path, tmp_path: Path) -> None:
    done = demo(folder, "--url", "shelf.db", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\xfcn\xefc\xf6d\xe9 \U0001f4da" in done.stdout
