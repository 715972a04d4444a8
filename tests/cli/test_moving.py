"""Verbs that move a store: copy, export, import, migrate; interrupted too."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from docshelf import DocShelf, Document
from docshelf.cli import main
from docshelf.cli.codes import DONE, FAILED, IN_PART, INTERRUPTED, USAGE, WOULD_CHANGE
from docshelf.moving import files
from docshelf.operations.transfer import put_raw_entries
from tests.conftest import Location
from tests.support.command import COMMAND, Command, run
from tests.support.tables import contents


def counts(lines: list[list[str]]) -> dict[str, str]:
    """The facts that a verb wrote."""
    return {line[0]: line[1] for line in lines}


def rows(shelf: DocShelf) -> list[tuple[Any, ...]]:
    """Every entry with all that a move keeps, in the order of insertion."""
    found = sorted(shelf.find(), key=lambda entry: entry.seq)
    return [(one.key, one.source, one.version, one.value_hash, one.created_at, one.updated_at) for one in found]


@pytest.fixture
def there(new_location: Callable[[str], Location], tmp_path: Path) -> Location:
    """The file of another store, which does not exist yet."""
    return new_location("sqlite")


@pytest.mark.usefixtures("shelf")
def test_copy_makes_a_new_collection(command: Command, location: Location) -> None:
    before = contents(location)
    ran = command("copy", "papers", "--dry-run")
    assert (ran.code, counts(ran.rows)) == (WOULD_CHANGE, {"entries": "6"})
    assert contents(location) == before
    ran = command("copy", "papers")
    assert (ran.code, counts(ran.rows)) == (DONE, {"entries": "6"})
    with DocShelf(location.url) as shelf:
        assert rows(shelf.view("papers")) == rows(shelf)
        assert shelf.view("papers").sources()[1].fingerprint == "f1"
    for arguments in (["copy", "papers"], ["copy", "papers", "-n"], ["-c", "nope", "copy", "new"]):
        ran = command(*arguments)
        assert (ran.code, ran.out) == (USAGE, "")


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.zst"])
def test_an_export_goes_into_another_store(
    command: Command, shelf: DocShelf, there: Location, tmp_path: Path, name: str
) -> None:
    shelf.view("papers").set("p", 1)
    file = tmp_path / name
    ran = command("export", "--everything", str(file), "--dry-run")
    assert (ran.code, counts(ran.rows), file.exists()) == (WOULD_CHANGE, {"entries": "7"}, False)
    ran = command("export", "--everything", str(file))
    facts = counts(ran.rows)
    assert (ran.code, facts.pop("sha256") in ran.out) == (DONE, True)
    assert facts == {"entries": "7", "sources": "1", "collections": "2"}

    other = ["--url", there.url]
    planned = command("import", str(file), "--dry-run", *other)
    assert (planned.code, counts(planned.rows)["INS"]) == (WOULD_CHANGE, "7")
    assert not Path(there.url).exists()
    assert command("import", str(file), *other).code == DONE
    with DocShelf(there.url) as found:
        assert rows(found) == rows(shelf)
        assert found.sources() == shelf.sources()
        assert found.view("papers").get("p") == 1
    again = command("import", str(file), *other, "--json")
    [report] = again.objects
    assert (again.code, report["INS"], report["SKIP"]) == (DONE, 0, 7)
    assert command("import", str(file), *other, "--dry-run").code == DONE


def test_an_export_goes_through_a_pipe(
    location: Location, shelf: DocShelf, there: Location, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> None:
    assert main(["--url", location.url, "export", "-", "--source", "books.md"]) == DONE
    written = capsysbinary.readouterr()
    assert written.err.startswith(b"2 entries, SHA-256 ")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written.out)))
    assert main(["--url", there.url, "import", "-"]) == DONE
    with DocShelf(there.url) as found:
        assert dict(found.yield_items()) == {key: shelf.get(key) for key in ("a", "b")}


@pytest.mark.usefixtures("shelf")
def test_a_file_that_is_cut_short_writes_nothing(command: Command, there: Location, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    command("export", str(file))
    file.write_bytes(file.read_bytes()[:-200])
    ran = command("import", str(file), "--url", there.url)
    assert (ran.code, ran.out) == (FAILED, "")
    assert "cut short" in ran.err
    with DocShelf(there.url) as found:
        assert found.count() == 0
    assert command("export", str(tmp_path / "all.txt")).code == USAGE
    assert command("import", str(tmp_path / "nope.jsonl")).code == FAILED


def test_migrate_fills_a_store_from_a_file(command: Command, location: Location, there: Location) -> None:
    with DocShelf(there.url) as origin:
        origin.mset({f"k{n}": Document(f"text {n}", {"n": n}) for n in range(70)}, source="f")
        origin.set_versions({"k1": "v1"})
        origin.view("papers").set("p", 1)
        expected = rows(origin)
    command("init")
    ran = command("migrate", there.url, "--everything", "--dry-run")
    assert (ran.code, counts(ran.rows)["INS"], contents(location)) == (WOULD_CHANGE, "71", [])
    ran = command("migrate", there.url, "--everything")
    assert (ran.code, counts(ran.rows)["INS"], counts(ran.rows)["collections"]) == (DONE, "71", "2")
    with DocShelf(location.url) as shelf:
        assert rows(shelf) == expected
    ran = command("migrate", there.url, "--everything")
    assert (ran.code, counts(ran.rows)["SKIP"]) == (DONE, "71")
    assert command("-c", "new", "migrate", there.url, "--from-collection", "papers").code == DONE
    assert command("-c", "new", "cat", "p", "--raw").out == "1"


def test_what_cannot_be_migrated_is_told_before_anything_is_written(
    command: Command, location: Location, tmp_path: Path
) -> None:
    command("init")
    ran = command("migrate", str(tmp_path / "nope.db"))
    assert ran.code in (FAILED, USAGE)
    assert not (tmp_path / "nope.db").exists()
    ran = command("migrate", str(tmp_path), "--store", "nope")
    assert (ran.code, "there is " in ran.err) == (USAGE, True)
    assert contents(location) == []


def test_migrate_writes_as_a_store_of_a_framework(command: Command, location: Location, tmp_path: Path) -> None:
    pytest.importorskip("langchain_core")
    from langchain_docshelf import DocShelfStore

    good = '{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "document", "Document"], "kwargs": {%s}}'
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "one").write_text(good % '"page_content": "A text.", "metadata": {"source": "a.md"}')
    (folder / "two").write_bytes(b"\xff no document")
    command("init")
    arguments = ["-c", "parents", "migrate", str(folder), "--store", "langchain"]
    ran = command(*arguments)
    assert (ran.code, contents(location)) == (FAILED, [])
    ran = command(*arguments, "--skip-refused")
    assert (ran.code, counts(ran.rows)["INS"], counts(ran.rows)["refused"]) == (IN_PART, "1", "1")
    assert "refused 'two'" in ran.err
    with DocShelfStore(location.url, "parents") as store:
        [document] = store.mget(["one"])
        assert document is not None
        assert (document.page_content, document.metadata) == ("A text.", {"source": "a.md"})


def interrupting(calls: int, run_on: Callable[..., Any]) -> Callable[..., Any]:
    """The function; at a call of this number Ctrl-C comes before its work."""
    left = calls

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return run_on(*arguments, **options)

    return call


def test_an_interrupted_export_leaves_no_file_and_goes_on(
    command: Command, location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocShelf(location.url) as shelf:
        shelf.mset({f"k{n:04}": n for n in range(2_000)})
    whole, file = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    command("export", str(whole))
    with monkeypatch.context() as patch:
        patch.setattr(files.Writer, "write", interrupting(4, files.Writer.write))
        ran = command("export", str(file))
    assert (ran.code, file.exists()) == (INTERRUPTED, False)
    assert "goes on from there" in ran.err
    written: list[int] = []
    with monkeypatch.context() as patch:
        original = files.Writer.write

        def write(self: files.Writer, lines: Sequence[bytes]) -> None:
            written.append(len(lines))
            original(self, lines)

        patch.setattr(files.Writer, "write", write)
        assert command("export", str(file)).code == DONE
    assert 0 < sum(written) < 2_000
    assert file.read_bytes() == whole.read_bytes()


def test_an_interrupted_import_leaves_whole_pages_and_goes_on(
    command: Command, location: Location, there: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocShelf(there.url) as shelf:
        shelf.mset({f"k{n:04}": n for n in range(1_200)})
        expected = rows(shelf)
    file = tmp_path / "all.jsonl"
    command("export", str(file), "--url", there.url)
    with monkeypatch.context() as patch:
        patch.setattr("docshelf.moving.jsonl.put_raw_entries", interrupting(2, put_raw_entries))
        ran = command("import", str(file))
    assert ran.code == INTERRUPTED
    assert "run it again" in ran.err
    with DocShelf(location.url) as found:
        assert 0 < found.count() < 1_200
        ran = command("import", str(file))
        assert ran.code == DONE
        assert 0 < int(counts(ran.rows)["SKIP"]) < 1_200
        assert rows(found) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches no single process there")
def test_an_import_that_waits_for_its_pipe_can_be_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--url", str(tmp_path / "shelf.db"), "import", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        # More than a pipe holds: once it is written, the command reads.
        process.stdin.write(b'{"kind":"header"}\n' * 10_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert b"Traceback" not in process.stderr.read()
    assert run("--url", str(tmp_path / "shelf.db"), "ls").out == ""
