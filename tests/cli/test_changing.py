"""Verbs that change a store, and those of its owner, on every database."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from docshelf import DocShelf, Document
from docshelf.cli.codes import DONE, FAILED, REFUSED, USAGE, WOULD_CHANGE
from tests.conftest import Location
from tests.support.command import Command
from tests.support.tables import TABLES, connected, contents


def pipe(data: bytes) -> io.TextIOWrapper:
    """A standard input with these bytes, which is no terminal."""
    return io.TextIOWrapper(io.BytesIO(data))


def stored(location: Location, key: str, **options: Any) -> Any:
    with DocShelf(location.url) as shelf:
        return shelf.get(key, **options)


def test_put_makes_the_tables_and_says_what_it_did(command: Command, location: Location) -> None:
    assert command("put", "k", "ünï text").rows == [["k", "INS", ""]]
    assert command("put", "k", "ünï text").rows == [["k", "SKIP", ""]]
    assert command("put", "k", "other", "--source", "s", "--label", "v1").rows == [["k", "INS", "s"]]
    assert stored(location, "k", source="") == "ünï text"
    assert stored(location, "k", source="s") == "other"


def test_put_writes_documents_json_and_bytes(
    command: Command, location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "doc.md").write_text("A text.", encoding="utf-8")
    arguments = [
        "-m",
        "author=Ann",
        "-m",
        "year=2020",
        "-m",
        'tags=["x"]',
        "--metadata",
        '{"born": {"$date": "1999-01-02"}}',
    ]
    assert command("put", "doc", "-f", str(tmp_path / "doc.md"), *arguments).code == DONE
    from datetime import date

    metadata = {"author": "Ann", "year": 2020, "tags": ["x"], "born": date(1999, 1, 2)}
    assert stored(location, "doc") == Document("A text.", metadata)
    monkeypatch.setattr("sys.stdin", pipe(b'{"a": [1, 2.5, null]}'))
    assert command("put", "json", "--type", "json").code == DONE
    assert stored(location, "json") == {"a": [1, 2.5, None]}
    monkeypatch.setattr("sys.stdin", pipe(b"\x00\xff"))
    assert command("put", "bytes", "-t", "bytes").code == DONE
    assert stored(location, "bytes") == b"\x00\xff"


@pytest.mark.parametrize(
    ("arguments", "data", "code", "told"),
    [
        (["k"], b"\xff", USAGE, "give --type bytes"),
        (["k", "--type", "json"], b"{", USAGE, "the value is not JSON"),
        (["k", "text", "-f", "x"], b"", USAGE, "not both"),
        (["k", "-f", "/nowhere/at/all"], b"", FAILED, "/nowhere/at/all: No such file"),
        (["k", "text", "-m", "novalue"], b"", USAGE, "write NAME=VALUE"),
        (["k", "text", "--metadata", "5"], b"", USAGE, "has to be a JSON object"),
        (["", "text"], b"", USAGE, "a key is empty"),
        (["k" * 1025, "text"], b"", USAGE, "the limit is 1,024"),
    ],
)
def test_put_of_what_cannot_be_writes_nothing(
    command: Command,
    location: Location,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    data: bytes,
    code: int,
    told: str,
) -> None:
    with DocShelf(location.url) as shelf:
        shelf.setup()
    monkeypatch.setattr("sys.stdin", pipe(data))
    ran = command("put", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert contents(location) == []


@pytest.mark.usefixtures("shelf")
def test_rm_deletes_what_is_named(command: Command) -> None:
    assert command("rm", "text", "nope", "--yes").rows == [["text", "DEL", ""]]
    assert command("rm", "--match", "author=Ann", "-y").rows == [["dict", "DEL", ""]]
    deleted = command("rm", "--source", "books.md", "--chunked", "--yes")
    assert deleted.rows == [["a", "DEL", "books.md"], ["b", "DEL", "books.md"]]
    assert command("sources", "--prefix", "books").lines == []
    ran = command("rm", "nope", "--yes")
    assert (ran.code, ran.out, ran.err) == (DONE, "", "nothing to delete\n")
    assert command("ls").lines == ["bytes", "ünï"]


@pytest.mark.usefixtures("shelf")
def test_rm_says_first_what_it_would_do(command: Command, location: Location) -> None:
    before = contents(location)
    for arguments in (["a"], ["--where", '{"year": 1851}'], ["--prefix", "a"]):
        ran = command("rm", *arguments, "--dry-run")
        assert (ran.code, ran.rows) == (WOULD_CHANGE, [["a", "DEL", "books.md"]])
    assert command("rm", "nope", "--dry-run").code == DONE
    assert command("rm", "--source", "books.md", "-n").code == WOULD_CHANGE
    assert contents(location) == before


@pytest.mark.usefixtures("shelf")
def test_rm_without_a_person_to_ask_deletes_nothing(
    command: Command, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(location)
    monkeypatch.setattr("sys.stdin", pipe(b"y\n"))
    ran = command("rm", "a", "b")
    assert (ran.code, ran.out) == (USAGE, "")
    assert ran.err == "docshelf rm: 2 entries would be deleted (a, b); to do so, give --yes\n"
    assert contents(location) == before


@pytest.mark.usefixtures("shelf")
def test_rm_is_refused_by_the_guard(command: Command, location: Location) -> None:
    before = contents(location)
    ran = command("rm", "--where", "{}", "--yes")
    assert (ran.code, ran.out) == (REFUSED, "")
    assert "would delete 6 of 6 entries" in ran.err
    assert "give --allow-mass-delete" in ran.err
    ran = command("rm", "--match", "author", "--max-delete", "0.4", "--yes")
    assert ran.code == REFUSED
    assert contents(location) == before
    assert command("rm", "--where", "{}", "--yes", "--allow-mass-delete").code == DONE
    assert command("ls").lines == []


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], "name keys"), (["a", "--prefix", "b"], "not both"), (["a", "--match", "x"], "not both")],
)
def test_rm_has_to_know_what_is_meant(command: Command, arguments: list[str], told: str) -> None:
    ran = command("rm", *arguments, "--yes")
    assert ran.code == USAGE
    assert told in ran.err


def test_rename(command: Command, shelf: DocShelf) -> None:
    ran = command("rename", "books")
    assert (ran.code, ran.err) == (DONE, "'default' is now 'books', with 6 entries\n")
    assert command("-c", "books", "ls").lines[0] == "a"
    shelf.view("papers").set("p", 1)
    ran = command("-c", "papers", "rename", "books")
    assert ran.code == USAGE
    assert "'books'" in ran.err


def test_verify_lists_what_cannot_be_read(command: Command, shelf: DocShelf, location: Location) -> None:
    ran = command("verify")
    assert (ran.code, ran.out, ran.err) == (DONE, "", "6 entries, each as it was written\n")
    with connected(location) as connection:
        e = TABLES.entries
        connection.execute(e.update().where(e.c.key == "b").values(value=b"{}"))
    ran = command("verify")
    assert ran.code == FAILED
    assert [row[:2] for row in ran.rows] == [["b", "books.md"]]
    assert "1 of 6 entries cannot be read" in ran.err
    assert shelf.count() == 6


def test_doctor_is_healthy_or_says_what_to_do(command: Command, location: Location) -> None:
    if location.dialect == "sqlite":
        ran = command("doctor")
        assert ran.code == FAILED
        assert "there is no SQLite file" in ran.err
    else:
        ran = command("doctor")
        assert ran.code == FAILED
        assert ["tables", "problem"] in [row[:2] for row in ran.rows]
    assert command("init").code == DONE
    ran = command("doctor")
    assert (ran.code, ran.err) == (DONE, "healthy\n")
    assert ran.rows[0][0] == "docshelf"
    assert {found["state"] for found in command("doctor", "--json").objects} == {"ok"}


def test_init_creates_checks_and_settles(command: Command, location: Location) -> None:
    if location.dialect == "postgresql":
        assert command("init", "--check").code == WOULD_CHANGE
    ran = command("init", "--searchable", "author, year")
    assert (ran.code, ran.err) == (DONE, "the tables are current\n")
    assert command("init", "--check").code == DONE
    with DocShelf(location.url) as shelf:
        assert {finding.subject: finding.seen for finding in shelf.diagnose()}["search"] == "index of author, year"
    ran = command("init", "--partitions", "2")
    assert ran.code == (USAGE if location.dialect == "sqlite" else FAILED)
    ran = command("init", "--citus", "--shards", "2")
    causes = ("neither partitions nor Citus", "extension citus", "Citus distributes no table", "over 4 shards, not 2")
    assert any(cause in ran.err for cause in causes)
    assert command("init", "--shards", "2").code == USAGE


def test_grants_let_roles_do_what_they_are_for(pg_location: Location, capsys: pytest.CaptureFixture[str]) -> None:
    from sqlalchemy.engine import make_url

    command = Command(pg_location.url, capsys)
    with DocShelf(pg_location.url) as shelf:
        shelf.setup(searchable=["n"])
        shelf.set("k", {"n": 1})
    roles = {kind: f'{kind} "of" {pg_location.schema}' for kind in ("reader", "writer", "owner")}
    with connected(pg_location) as connection:
        for kind, role in roles.items():
            quoted = '"{}"'.format(role.replace('"', '""'))
            connection.execute(text(f"CREATE ROLE {quoted} LOGIN"))
            ran = command("--schema", pg_location.schema, "grants", kind, role)
            assert ran.code == DONE
            for statement in ran.out.split(";\n"):
                if statement:
                    connection.execute(text(statement))
    try:
        for kind, role in roles.items():
            url = make_url(pg_location.url).set(username=role)
            with DocShelf(url) as shelf:
                assert [entry.key for entry in shelf.find({"n": 1})] == ["k"]
                if kind == "reader":
                    with pytest.raises(Exception, match="permission denied"):
                        shelf.set("k", {"n": 2})
                else:
                    shelf.set(kind, {"n": 3})
                    shelf.companion("/ledger").set("c", 1)
                if kind == "owner":
                    shelf.setup(searchable=["n", "other"])
    finally:
        with connected(pg_location) as connection:
            us = connection.scalar(text("SELECT quote_ident(current_user)"))
            for role in roles.values():
                quoted = '"{}"'.format(role.replace('"', '""'))
                connection.execute(text(f"REASSIGN OWNED BY {quoted} TO {us}"))
                connection.execute(text(f"DROP OWNED BY {quoted}"))
                connection.execute(text(f"DROP ROLE {quoted}"))
