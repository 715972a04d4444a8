"""A collection gets another name, with everything that belongs to it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from docshelf import ArgumentValueError, DocShelf
from tests.conftest import Location
from tests.support.face import Face
from tests.support.tables import contents

# Collections that the documents' own belongs to, and that belong to it.
NAMES = {"docs": "papers", "docs/children": "papers/children", "docs/children/deep": "papers/children/deep"}


@pytest.fixture
def docs(new_face: Callable[..., Face]) -> Face:
    """A collection with a source, a collection that belongs to it, and one that belongs to that."""
    docs = new_face("docs")
    docs.sync({"a": 1, "b": [2]}, source="f", fingerprint="one", metadata={"pages": 3})
    children = docs.of(docs.shelf.companion("/children"))
    children.set("c", "child")
    docs.of(children.shelf.companion("/deep")).set("d", "deep")
    # Of the same beginning, and no relation.
    docs.of(docs.shelf.view("docs/other")).set("o", "other")
    return docs


def renamed(rows: list[Any], names: dict[str, str]) -> set[tuple[Any, ...]]:
    """What every row is to be when the collections have their new names."""
    return {(names.get(row.collection, row.collection), *tuple(row)[1:]) for row in rows}


def test_rename_takes_entries_sources_and_what_belongs_and_nothing_else(docs: Face, location: Location) -> None:
    before = contents(location)
    assert docs.rename_collection("papers") == 2
    assert {tuple(row) for row in contents(location)} == renamed(before, NAMES)
    assert docs.collection == "papers"
    assert docs.get("b") == [2]
    assert not docs.source_changed("f", "one")
    assert docs.shelf.companion("/children").get("c") == "child" if docs.mode == "sync" else True
    assert docs.of(docs.shelf.view("docs/other")).get("o") == "other"
    assert docs.of(docs.shelf.view("docs")).count() == 0
    # What belongs is known under the new name.
    assert docs.companions() == ["papers/children", "papers/children/deep"]
    assert docs.of(docs.shelf.view("docs")).companions() == []
    assert docs.rename_collection("docs") == 2
    assert {tuple(row) for row in contents(location)} == {tuple(row) for row in before}


def test_rename_of_a_collection_without_entries_takes_what_belongs_to_it(new_face: Callable[..., Face]) -> None:
    owner = new_face("kv")
    owner.of(owner.shelf.companion(":data")).set("a", 1)
    assert owner.rename_collection("cache") == 0
    assert owner.of(owner.shelf.view("cache:data")).get("a") == 1
    assert owner.of(owner.shelf.view("kv:data")).count() == 0


def test_rename_keeps_a_unique_name(docs: Face, location: Location) -> None:
    before = contents(location)
    with pytest.raises(ArgumentValueError, match=r"collection 'docs/other' exists already"):
        docs.rename_collection("docs/other")
    docs.of(docs.shelf.view("papers/children")).set("x", 1)
    with pytest.raises(ArgumentValueError, match=r"collection 'papers/children' exists already"):
        docs.rename_collection("papers")
    docs.of(docs.shelf.view("papers/children")).clear()
    assert contents(location) == before
    assert docs.collection == "docs"
    assert docs.rename_collection("docs") == 2
    assert contents(location) == before


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_rename_refuses_a_name_that_cannot_be(docs: Face, name: str) -> None:
    with pytest.raises(ArgumentValueError):
        docs.rename_collection(name)
    assert docs.collection == "docs"


def test_rename_of_a_missing_collection_is_an_error(new_face: Callable[..., Face]) -> None:
    face = new_face("missing")
    with pytest.raises(ArgumentValueError, match="no collection 'missing'"):
        face.rename_collection("papers")
    assert face.collection == "missing"


def test_of_two_renames_at_once_one_wins(docs: Face, location: Location) -> None:
    with DocShelf(location.url, "docs") as one, DocShelf(location.url, "docs") as other:

        def rename(shelf: DocShelf, name: str) -> str | None:
            try:
                shelf.rename_collection(name)
            except ArgumentValueError:
                return None
            return name

        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(rename, (one, other), ("left", "right")))
    [winner] = [name for name in results if name]
    assert docs.of(docs.shelf.view(winner)).count() == 2
    assert docs.of(docs.shelf.view(f"{winner}/children/deep")).get("d") == "deep"


def test_rename_in_a_transaction_of_the_caller_is_rolled_back_with_it(
    location: Location, new_engine: Callable[..., Engine]
) -> None:
    with DocShelf(location.url, "docs") as shelf:
        shelf.set("a", 1)
        with new_engine(location).connect() as connection:
            bound = shelf.bind(connection)
            assert bound.rename_collection("papers") == 1
            assert bound.get("a") == 1
            connection.rollback()
        assert shelf.get("a") == 1


def test_a_role_that_may_not_write_reads_what_belongs(pg_location: Location, new_engine: Callable[..., Engine]) -> None:
    with DocShelf(pg_location.url, "docs") as shelf:
        shelf.view("docs/children").set("c", "child")
    engine = new_engine(pg_location)
    read_only = engine.execution_options(postgresql_readonly=True)
    with DocShelf(engine=read_only, collection="docs") as shelf:
        assert shelf.companion("/children").get("c") == "child"
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM docshelf_collections")) == 0
