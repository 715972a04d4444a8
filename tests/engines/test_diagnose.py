"""`diagnose`: what is examined, and what it says of a database with something wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from docshelf import DocShelf, Finding
from docshelf.sql.migrations import STEPS
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.partitions import PARTITIONS
from tests.support.proxy import Proxy
from tests.support.servers import CITUS_URL
from tests.support.tables import connected


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    found = {finding.subject: finding for finding in findings}
    assert len(found) == len(findings)
    return found


def test_a_healthy_store_has_no_problem(face: Face, location: Location) -> None:
    face.setup(searchable=["author"])
    face.mset({f"k{number}": number for number in range(10)})
    found = by_subject(face.diagnose())
    assert not [finding for finding in found.values() if finding.state == "problem"]
    assert found["tables"].seen.endswith(f"schema version {max(STEPS)}")
    assert found["search"].seen == "index of author"
    assert "SQLAlchemy 2." in found["installed"].seen
    wanted = {"installed", "connection", "tables", "search"}
    if location.dialect == "sqlite":
        assert found.keys() == wanted | {"file", "integrity"}
        assert "journal mode wal" in found["file"].seen
    else:
        others = {"version", "privileges", "layout", "pooler", "connections", "statistics", "dead rows"}
        assert found.keys() == wanted | others
        layout = r"Citus \S+, \d+ shards" if CITUS_URL else f"{PARTITIONS} partitions" if PARTITIONS else "one table"
        assert re.fullmatch(layout, found["layout"].seen)
        assert "owner of the tables" in found["privileges"].seen
        assert "this store opens 15 at most" in found["connections"].seen


def test_missing_tables_are_a_problem_and_stay_missing(face: Face, location: Location) -> None:
    found = by_subject(face.diagnose())
    assert found["tables"].state == "problem"
    assert "docshelf init" in found["tables"].advice
    assert face.is_set_up() is False


def test_a_server_that_is_gone_is_one_finding(proxy: Proxy, mode: str, loop: Loop) -> None:
    proxy.refuse()
    with DocShelf(proxy.url()) as shelf:
        found = by_subject(Face(shelf, mode, loop).diagnose())
    assert found.keys() == {"installed", "connection"}
    assert found["connection"].state == "problem"
    assert "no connection to the database" in found["connection"].seen


def test_rights_that_are_missing_are_named(pg_location: Location) -> None:
    with DocShelf(pg_location.url) as shelf:
        shelf.setup()
    with connected(pg_location) as connection:
        role = f"reader_{pg_location.schema}"
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {pg_location.schema} TO {role}"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {pg_location.schema} TO {role}"))
    try:
        from sqlalchemy.engine import make_url

        url = make_url(pg_location.url).set(username=role)
        with DocShelf(url) as shelf:
            found = by_subject(shelf.diagnose())
        assert found["privileges"].state == "advice"
        assert f"{role}: no INSERT on docshelf_entries" in found["privileges"].seen
        assert f"docshelf grants writer {role}" in found["privileges"].advice
    finally:
        with connected(pg_location) as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def test_partitions_are_counted(new_location: Callable[[str], Location]) -> None:
    with DocShelf(new_location("pg18").url) as shelf:
        shelf.setup(partitions=3)
        assert by_subject(shelf.diagnose())["layout"].seen == "3 partitions"


def test_a_damaged_file_is_a_problem(new_location: Callable[[str], Location]) -> None:
    location = new_location("sqlite")
    with DocShelf(location.url) as shelf:
        shelf.mset({f"k{number}": "text" * 500 for number in range(50)})
    with connected(location) as connection:
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'docshelf_entries_source_idx'"
        page = connection.scalar(text(root))
        size = connection.scalar(text("PRAGMA page_size"))
    with Path(location.url).open("r+b") as file:
        file.seek((page - 1) * size + 3)
        file.write(b"\xff\xff")  # the number of cells on the page
    with DocShelf(location.url) as shelf:
        found = by_subject(shelf.diagnose())
    assert [finding.subject for finding in found.values() if finding.state == "problem"] == ["integrity"]


def test_a_pooler_is_noticed_where_the_server_changes(
    new_location: Callable[[str], Location], monkeypatch: pytest.MonkeyPatch
) -> None:
    from docshelf.sql import diagnosis

    class Changing:
        pids = iter(range(10))

        def scalar(self, _statement: object) -> int:
            return next(self.pids)

    place = diagnosis.Place(DocShelf(new_location("pg18").url)._context.dialect, "default")
    [finding] = diagnosis._pooler(Changing(), place)  # type: ignore[arg-type]
    assert finding.state == "problem"
    assert "pooler=True" in finding.advice
