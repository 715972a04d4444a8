"""Verbs that show what is in a store, on every database: lines for programs, JSON, CSV."""

from __future__ import annotations

import csv
import io

import pytest

from docshelf import DocShelf, canonical_bytes
from docshelf.cli import main
from docshelf.cli.codes import DONE, FAILED, IN_PART, USAGE
from tests.conftest import Location
from tests.support.command import Command, run
from tests.support.tables import connected


@pytest.mark.usefixtures("shelf")
def test_ls_lists_keys_one_per_line(command: Command) -> None:
    ran = command("ls")
    assert (ran.code, ran.err) == (DONE, "")
    assert ran.lines == ["a", "b", "bytes", "dict", "text", "ünï"]
    assert command("ls", "--prefix", "b").lines == ["b", "bytes"]
    assert command("ls", "--source", "books.md").lines == ["a", "b"]
    assert command("-c", "empty", "ls").lines == []


@pytest.mark.usefixtures("shelf")
def test_ls_long_has_the_key_first(command: Command) -> None:
    rows = command("ls", "--long").rows
    assert [row[:4] for row in rows[:2]] == [["a", "books.md", "document", ""], ["b", "books.md", "document", "v1"]]
    assert rows[2][4].endswith("+00:00")
    [first, *_] = command("ls", "-l", "--json").objects
    assert first.keys() == {"key", "source", "type", "version", "updated"}


def test_sources_and_collections(command: Command, shelf: DocShelf) -> None:
    shelf.view("papers").set("p", 1)
    assert [row[:2] for row in command("sources").rows] == [["", "4"], ["books.md", "2"]]
    [found] = command("sources", "--prefix", "books", "--long", "--json").objects
    assert (found["source"], found["fingerprint"], found["metadata"]) == ("books.md", "f1", {"pages": 3})
    assert [row[:3] for row in command("collections").rows] == [["default", "6", "2"], ["papers", "1", "1"]]
    assert [row[0] for row in command("collections", "--estimate").rows] == ["default", "papers"]


@pytest.mark.usefixtures("shelf")
def test_cat_shows_a_document_as_its_text_and_its_metadata(command: Command) -> None:
    ran = command("cat", "a")
    assert ran.code == DONE
    text, metadata, facts = ran.out.split("\n\n")
    assert text == "Call me Ishmael.\nSome years ago"
    assert metadata.splitlines() == ["author   Melville", "year     1851"]
    assert facts.splitlines()[:2] == ["key      a", "source   books.md"]
    assert command("cat", "dict").out.startswith("author   Ann\nn        1\n\nkey")
    assert "2 B: b'\\x00\\xff'" in command("cat", "bytes").out


def test_cat_shows_documents_of_frameworks_that_are_not_loaded(command: Command, shelf: DocShelf) -> None:
    from docshelf import UnknownDocument

    fields = {"page_content": "A page.", "metadata": {"n": 1}, "id": None, "type": "Document"}
    shelf.set("page", UnknownDocument("langchain/document", fields))
    assert command("cat", "page").out.startswith("A page.\n\nn        1\n\n")
    assert command("cat", "--raw", "page").out == "A page."
    assert [row[0] for row in command("find", "n=1").rows] == ["dict", "page"]


@pytest.mark.usefixtures("shelf")
def test_cat_json_is_the_whole_entry_without_loss(command: Command, shelf: DocShelf) -> None:
    [found] = command("cat", "b", "--json").objects
    assert found["value"] == {
        "id": None,
        "metadata": {"author": "Austen", "tags": ["novel"], "year": 1815},
        "text": "Emma Woodhouse",
    }
    assert (found["key"], found["source"], found["version"], found["content_type"]) == (
        "b",
        "books.md",
        "v1",
        "document",
    )
    entry = shelf.get_entry("b")
    assert entry is not None
    assert entry.value_hash is not None
    assert found["value_hash"] == entry.value_hash.hex()
    [found] = command("cat", "bytes", "--json").objects
    assert found["value"] == {"$bytes": "AP8="}


def test_cat_raw_is_the_value_alone(
    location: Location, shelf: DocShelf, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    shelf.set("odd", "a\0b\ud800")
    wanted = {
        "bytes": b"\x00\xff",
        "text": b"tab\tand\nline",
        "a": b"Call me Ishmael.\nSome years ago",
        "dict": canonical_bytes({"author": "Ann", "n": 1}),
        "odd": "a\0b\ud800".encode("utf-8", "surrogatepass"),
        "ünï": b"5",
    }
    for key, value in wanted.items():
        assert main(["--url", location.url, "cat", "--raw", key]) == DONE
        assert capsysbinary.readouterr().out == value


@pytest.mark.usefixtures("shelf")
def test_cat_of_a_missing_key_is_an_error(command: Command) -> None:
    ran = command("cat", "nope")
    assert (ran.code, ran.out) == (FAILED, "")
    assert ran.err == "docshelf cat: collection 'default' has no key 'nope'\n"
    ran = command("cat", "a", "nope", "--source", "books.md")
    assert ran.code == IN_PART
    assert "Ishmael" in ran.out
    assert "'nope' in source 'books.md'" in ran.err


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        (["author=Melville"], ["a"]),
        (["author=Melville", "year=1815"], []),
        (["year>=1815", "year<1851"], ["b"]),
        (["tags~novel"], ["b"]),
        (["author"], ["a", "b", "dict"]),
        (["author!=Austen", "--source", "books.md"], ["a"]),
        (["--where", '{"$or": [{"year": 1851}, {"n": 1}]}'], ["a", "dict"]),
        (["n=1", "--where", '{"author": "Ann"}'], ["dict"]),
        (["--prefix", "b", "--limit", "1"], ["b"]),
        (["--after", "dict"], ["text", "ünï"]),
    ],
)
def test_find_takes_terms_and_json(command: Command, terms: list[str], keys: list[str]) -> None:
    ran = command("find", *terms)
    assert ran.code == DONE
    assert [row[0] for row in ran.rows] == keys
    if "--limit" not in terms and "--after" not in terms:
        assert command("find", "--count", *terms).out == f"{len(keys)}\n"


@pytest.mark.usefixtures("shelf")
def test_find_writes_lines_of_json_and_csv(command: Command) -> None:
    [found] = command("find", "year=1851", "--json").objects
    assert found["value"]["metadata"]["author"] == "Melville"
    assert command("find", "tags~novel", "--count", "--json").objects == [{"count": 1}]
    rows = list(csv.reader(io.StringIO(command("find", "--csv").out)))
    assert rows[0] == ["key", "source", "text"]
    assert rows[1] == ["a", "books.md", "Call me Ishmael. Some years ago"]
    assert len(rows) == 7


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["find", "=x"], "the term '=x' has no name"),
        (["find", "--where", "{"], "--where is not JSON"),
        (["find", "--where", "[]"], "has to be a JSON object"),
        (["find", "--where", '{"a": {"$near": 1}}'], "'$near' is no operator"),
        (["find", "--limit", "-1"], "give 0 or more"),
        (["find", "--limit", "x"], "invalid int value: 'x'"),
        (["ls", "--prefix", "a\0"], "NUL"),
        (["nothing"], "invalid choice"),
        (["ls", "--nothing"], "unrecognized arguments"),
        (["ls", "--json", "--csv"], "not allowed with"),
    ],
)
def test_what_cannot_be_is_a_usage_error_on_one_line(command: Command, arguments: list[str], told: str) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.out) == (USAGE, "")
    assert told in ran.err
    assert ran.err.startswith("docshelf")
    assert len(ran.err.splitlines()) <= 2


@pytest.mark.usefixtures("shelf")
def test_options_stand_before_or_after_the_verb(command: Command) -> None:
    assert command("-c", "empty", "ls").lines == command("ls", "-c", "empty").lines == []
    assert command("--json", "ls").objects == command("ls", "--json").objects
    assert command("-c", "empty", "ls", "-c", "default").lines[0] == "a"


@pytest.mark.usefixtures("shelf")
def test_stats(command: Command, shelf: DocShelf) -> None:
    rows = dict(command("stats").rows)
    assert (rows["collection"], rows["entries"], rows["sources"]) == ("default", "6", "2")
    [found] = command("stats", "--json").objects
    assert found["stored_bytes"] == shelf.stats().stored_bytes
    [header, values] = command("stats", "--csv").lines
    assert header == "collection,entries,sources,stored_bytes,disk_bytes"
    assert values.startswith("default,6,2,")
    [estimated] = command("stats", "--estimate", "--json").objects
    entries = shelf.count(exact=False)
    assert estimated == {"collection": "default", "entries": entries, "disk_bytes": found["disk_bytes"]}


def test_lines_escape_what_would_break_them(command: Command, shelf: DocShelf) -> None:
    shelf.mset({"tab\tkey\n\\": 1})
    assert command("ls", "--prefix", "tab").out == "tab\\tkey\\n\\\\\n"


@pytest.mark.parametrize(
    "verb", ["ls", "sources", "cat k", "find", "stats", "verify", "rm k", "rename new", "collections"]
)
def test_reading_creates_no_tables(command: Command, location: Location, verb: str) -> None:
    ran = command(*verb.split())
    assert (ran.code, ran.out) == (FAILED, "")
    assert "docshelf init" in ran.err
    assert PASSWORDLESS not in ran.err
    if location.dialect == "sqlite":
        from pathlib import Path

        assert not Path(location.url).exists()
    else:
        with connected(location) as connection:
            query = f"SELECT count(*) FROM pg_tables WHERE schemaname = '{location.schema}'"
            assert connection.exec_driver_sql(query).scalar() == 0


PASSWORDLESS = "secret-password"


def test_a_file_that_is_something_else_stays_as_it_is(tmp_path: object) -> None:
    import sqlite3
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "text.db").write_text("not a database at all, but a text that is longer than a header of SQLite" * 20)
    connection = sqlite3.connect(folder / "other.db")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = (folder / "other.db").read_bytes()
    for name, told in (("text.db", "not an SQLite database"), ("other.db", "has no tables of docshelf")):
        ran = run("--url", name, "ls", cwd=folder)
        assert ran.code == FAILED
        assert told in ran.err
    assert (folder / "other.db").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["other.db", "text.db"]


def test_a_server_that_is_not_there_fails_without_a_traceback_or_the_password() -> None:
    ran = run("--url", f"postgresql://user:{PASSWORDLESS}@127.0.0.1:1/db", "ls")
    assert ran.code == FAILED
    assert ran.err.startswith("docshelf ls: no connection to the database")
    assert "Traceback" not in ran.err
    assert PASSWORDLESS not in ran.err


def test_a_url_that_cannot_be_is_a_usage_error_without_the_password() -> None:
    ran = run("--url", f"mysql://user:{PASSWORDLESS}@host/db", "ls")
    assert ran.code == USAGE
    assert "not 'mysql'" in ran.err
    assert PASSWORDLESS not in ran.err


def test_the_environment_names_url_and_collection(
    location: Location, shelf: DocShelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.view("papers").set("p", 1)
    monkeypatch.setenv("DOCSHELF_URL", location.url)
    monkeypatch.setenv("DOCSHELF_COLLECTION", "papers")
    assert main(["ls"]) == DONE
    assert capsys.readouterr().out == "p\n"
    assert main(["-c", "default", "ls", "--prefix", "a"]) == DONE
    assert capsys.readouterr().out == "a\n"
