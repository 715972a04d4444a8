"""What a role may, and what one that may not is told."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from docshelf import DatabaseError, DocShelf, SchemaError
from tests.conftest import POSTGRESQL, Location
from tests.support.face import Face, Loop

_numbers = itertools.count()


@pytest.fixture(params=POSTGRESQL)
def place(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    return new_location(request.param)


@pytest.fixture
def owner(place: Location) -> Iterator[Engine]:
    engine = create_engine(place.sync_url)
    yield engine
    engine.dispose()


@pytest.fixture
def role(owner: Engine) -> Iterator[str]:
    """A role that may log in and see the schema, and nothing else."""
    name = f"docshelf_role_{os.getpid()}_{next(_numbers)}"
    with owner.begin() as connection:
        schema = connection.scalar(text("SELECT current_schema()"))
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {name}"))
    yield name
    with owner.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))


@pytest.fixture
def humble(place: Location, role: str, mode: str, loop: Loop) -> Iterator[Face]:
    """A store as that role."""
    url = make_url(place.url).set(username=role, password="secret")
    face = Face(DocShelf(url), mode, loop)
    yield face
    face.close()


def set_up_and_grant(place: Location, owner: Engine, *grants: str) -> None:
    with DocShelf(place.url) as shelf:
        shelf.sync({"k": 1}, source="s")
    with owner.begin() as connection:
        for grant in grants:
            connection.execute(text(grant))


def test_a_role_without_ddl_rights_can_do_everything(place: Location, owner: Engine, role: str, humble: Face) -> None:
    set_up_and_grant(
        place,
        owner,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON docshelf_entries, docshelf_sources TO {role}",
        f"GRANT SELECT ON docshelf_schema TO {role}",
        f"GRANT USAGE ON SEQUENCE docshelf_entries_seq_seq TO {role}",
    )
    humble.setup()
    assert humble.get("k") == 1
    assert humble.sync({"k": 2, "l": 1}, source="s", fingerprint="f").counts["UPD"] == 1
    assert not humble.source_changed("s", "f")
    assert humble.stats().entries == 2
    assert [change.op for change in humble.mdelete(["l"])] == ["DEL"]
    assert len(humble.delete_source("s")) == 1
    assert humble.clear() == 0


def test_a_role_that_may_only_read_reads(place: Location, owner: Engine, role: str, humble: Face) -> None:
    set_up_and_grant(place, owner, f"GRANT SELECT ON docshelf_entries, docshelf_sources, docshelf_schema TO {role}")
    assert humble.get("k") == 1
    assert humble.sync({"k": 1}, source="s").counts["SKIP"] == 1  # an unchanged sync writes nothing
    with pytest.raises(DatabaseError, match="permission denied"):
        humble.set("k", 2)


def test_missing_tables_without_ddl_rights_are_an_error_that_says_what_to_grant(
    place: Location, owner: Engine, humble: Face
) -> None:
    with owner.begin() as connection:
        schema = connection.scalar(text("SELECT current_schema()"))
        connection.execute(text(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"))
    for call in (humble.setup, lambda: humble.get("k"), lambda: humble.set("k", 1)):
        with pytest.raises(SchemaError, match=r"docshelf_entries is missing.*run setup\(\) once.*grant"):
            call()
