"""Roles with few rights: what each can do, and what the others are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from docshelf import DatabaseError, DocShelf, SchemaError, UnreachableError
from docshelf.sql.dialects import postgresql
from docshelf.sql.drivers import copy
from tests.conftest import POSTGRESQL, Location
from tests.support.face import Face, Loop
from tests.support.operations import OPERATIONS, fill
from tests.support.pages import ROOT

READING = ("SELECT ON docshelf_entries, docshelf_sources, docshelf_collections, docshelf_schema",)
WRITING = (
    "SELECT, INSERT, UPDATE, DELETE ON docshelf_entries, docshelf_sources, docshelf_collections",
    "SELECT ON docshelf_schema",
    "USAGE ON SEQUENCE docshelf_entries_seq_seq",
)


class Place:
    """A PostgreSQL schema with a role that has the rights it is given there."""

    def __init__(self, location: Location, engine: Engine) -> None:
        self.location = location
        self.role = f"role_of_{location.schema}"
        self._engine = engine
        # Citus logs in to its workers under the name of the role.
        self.execute(f"CREATE ROLE {self.role} LOGIN", f"GRANT USAGE ON SCHEMA {location.schema} TO {self.role}")

    def execute(self, *statements: str) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def grant(self, *rights: str) -> None:
        self.execute(*(f"GRANT {right} TO {self.role}" for right in rights))

    @property
    def url(self) -> str:
        """The place as that role sees it, whoever logs in."""
        return f"{self.location.url}%20-crole%3D{self.role}"


# Rights are the server's matter: each server once, and the drivers by turns.
@pytest.fixture(params=[backend for backend in POSTGRESQL if "-" not in backend])
def place(
    request: pytest.FixtureRequest, new_location: Callable[[str], Location], new_engine: Callable[..., Engine]
) -> Iterator[Place]:
    location = new_location(request.param)
    place = Place(location, new_engine(location))
    yield place
    place.execute(f"DROP OWNED BY {place.role} CASCADE", f"DROP ROLE {place.role}")


@pytest.fixture
def tables(place: Place) -> None:
    """Tables that their owner has made."""
    with DocShelf(place.location.url) as owner:
        owner.sync({"a": 1, "b": 2}, source="f", fingerprint="one")


@pytest.fixture
def face(place: Place, mode: str, loop: Loop) -> Iterator[Face]:
    face = Face(DocShelf(place.url), mode, loop)
    yield face
    face.close()


@pytest.mark.usefixtures("tables")
def test_a_role_without_ddl_can_do_everything_with_existing_tables(place: Place, face: Face) -> None:
    place.grant(*WRITING)
    face.setup()
    assert face.get("a") == 1
    assert face.sync({"b": 3, "c": 4}, source="f", fingerprint="two").counts == {
        "INS": 1,
        "UPD": 1,
        "SKIP": 0,
        "DEL": 1,
    }
    assert face.conditional_set("d", 5) == ("d", "INS")
    face.mset({"e": 6})
    assert face.set_versions({"d": "v1"}).counts["UPD"] == 1
    assert dict(face.yield_items()) == {"b": 3, "c": 4, "d": 5, "e": 6}
    assert [source.fingerprint for source in face.sources()] == [None, "two"]
    assert face.stats().entries == face.count() == 4
    assert face.verify() == []
    assert face.mdelete(["d"]).counts["DEL"] == 1
    assert face.delete_source("f").counts["DEL"] == 2
    assert face.clear() == 1


@pytest.mark.usefixtures("tables")
def test_a_role_that_may_not_analyze_the_table_fills_it_all_the_same(place: Place, face: Face) -> None:
    place.grant(*WRITING)
    assert face.sync({f"k{number}": number for number in range(3_000)}, source="g").counts["INS"] == 3_000
    assert face.count(source="g") == 3_000


@pytest.mark.usefixtures("tables")
def test_a_role_that_may_only_read_can_read(place: Place, face: Face) -> None:
    place.grant(*READING)
    face.setup()
    assert face.mget(["a", "x"]) == [1, None]
    assert dict(face.yield_items()) == {"a": 1, "b": 2}
    assert face.sources()[0].fingerprint == "one"
    assert (face.exists("a"), face.count(), face.stats().entries) == (True, 2, 2)
    assert face.source_changed("f", "one") is False
    assert face.verify() == []


@pytest.mark.usefixtures("tables")
def test_every_operation_that_reads_needs_the_right_to_read_alone(place: Place, face: Face, loop: Loop) -> None:
    with DocShelf(place.location.url) as owner:
        fill(Face(owner, "sync", loop))
    place.grant(*READING)
    for operation in OPERATIONS:
        if operation.writes and operation.name != "setup":
            with pytest.raises(DatabaseError, match="permission denied"):
                operation.call(face)
        else:
            operation.call(face)


@pytest.mark.usefixtures("tables")
def test_a_reading_role_may_make_calls_that_write_nothing(place: Place, face: Face) -> None:
    # A dry run and an unchanged sync need no right to write.
    place.grant(*READING)
    assert face.sync({"a": 1, "b": 2}, source="f", fingerprint="one").counts["SKIP"] == 2
    assert face.sync({"a": 5}, source="f", dry_run=True).counts == {"INS": 0, "UPD": 1, "SKIP": 0, "DEL": 1}


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    "write",
    [
        lambda face: face.set("k", "v"),
        lambda face: face.sync({"a": 5}, source="f"),
        lambda face: face.mdelete(["a"]),
        lambda face: face.clear(),
    ],
    ids=["set", "sync", "mdelete", "clear"],
)
def test_the_error_of_a_reading_role_names_the_missing_right(
    place: Place, face: Face, write: Callable[[Face], Any]
) -> None:
    place.grant(*READING)
    with pytest.raises(DatabaseError, match="permission denied") as refusal:
        write(face)
    assert refusal.value.sqlstate == "42501"
    assert not isinstance(refusal.value, UnreachableError)
    assert dict(face.yield_items()) == {"a": 1, "b": 2}


def test_missing_tables_and_no_right_to_make_them_is_a_schema_error_that_says_what_to_grant(face: Face) -> None:
    for use in (face.setup, lambda: face.get("a"), lambda: face.set("a", 1)):
        with pytest.raises(SchemaError) as refusal:
            use()
        message = str(refusal.value)
        for part in ("docshelf_entries", "SELECT, INSERT, UPDATE", "DELETE", "USAGE on the sequence", "setup()"):
            assert part in message


def test_a_missing_schema_and_no_right_to_make_it_is_a_schema_error(place: Place, mode: str, loop: Loop) -> None:
    face = Face(DocShelf(place.url, schema=f"{place.location.schema}_none"), mode, loop)
    with pytest.raises(SchemaError, match="grant"):
        face.get("a")
    face.close()


@pytest.mark.usefixtures("tables")
def test_a_schema_that_may_not_be_used_is_a_schema_error(place: Place, face: Face) -> None:
    # The search path leads nowhere: to this role there is neither table nor schema.
    place.execute(f"REVOKE USAGE ON SCHEMA {place.location.schema} FROM {place.role}")
    with pytest.raises(SchemaError, match="grant"):
        face.get("a")


@pytest.mark.usefixtures("tables")
def test_the_error_of_a_role_without_rights_names_the_missing_rights(face: Face) -> None:
    with pytest.raises(DatabaseError, match="permission denied for table"):
        face.get("a")


@pytest.mark.usefixtures("tables")
def test_the_error_of_a_role_without_the_sequence_names_it(place: Place, face: Face) -> None:
    place.grant(*WRITING[:2])
    with pytest.raises(DatabaseError, match="permission denied for sequence"):
        face.set("k", "v")
    assert face.get("a") == 1


def test_a_role_that_may_create_makes_the_tables_itself(place: Place, face: Face) -> None:
    place.execute(f"GRANT CREATE ON SCHEMA {place.location.schema} TO {place.role}")
    face.set("a", 1)
    assert face.get("a") == 1


@pytest.mark.usefixtures("tables")
def test_under_row_level_security_copy_is_refused_once_and_a_policy_is_told_as_one(place: Place, face: Face) -> None:
    place.grant(*WRITING)
    place.execute(
        "ALTER TABLE docshelf_entries ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON docshelf_entries TO {place.role} USING (true) WITH CHECK (source <> 'secret')",
    )
    face.get("a")
    attempts: list[str] = []
    original = copy.copier

    def counted(*arguments: Any) -> Any:
        attempts.append("copy")
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgresql, "copier", counted)
        for part in range(3):
            assert face.mset({f"{part}/{number}": number for number in range(60)}) is None
    assert len(attempts) == 1
    assert face.count() == 182
    with pytest.raises(DatabaseError, match="a policy of row-level security refuses") as failure:
        face.set("k", "v", source="secret")
    assert (failure.value.sqlstate, "grant" in str(failure.value)) == ("42501", False)


@pytest.mark.usefixtures("tables")
def test_the_policies_of_the_page_about_roles_keep_tenants_apart(place: Place, face: Face) -> None:
    page = (ROOT / "docs" / "how-to" / "roles.md").read_text("utf-8")
    policies = page.partition("```sql\n")[2].partition("```")[0]
    place.execute(*policies.strip().rstrip(";").split(";"))
    place.grant(*WRITING)
    own = face.of(face.shelf.view(f"{place.role}/handbook"))
    own.mset({f"k{n}": n for n in range(100)})
    assert own.sync({"k1": 1}, source="f", fingerprint="one").counts["INS"] == 1
    assert own.count() == 101
    assert [one.name for one in face.collections()] == [f"{place.role}/handbook"]
    assert face.count() == 0  # the owner's entries, which this role does not see
    with pytest.raises(DatabaseError, match="a policy of row-level security refuses"):
        face.set("c", 3)
