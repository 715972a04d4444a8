"""Deletions by field: what goes, what a guard refuses, and what another call changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from docshelf import ArgumentTypeError, ArgumentValueError, DocShelf, Item, MassDeleteError
from docshelf.operations import searching
from tests.conftest import Location, on_sqlite
from tests.support.face import Face
from tests.support.tables import contents, refuse


@pytest.fixture(params=[(), ("n",)], ids=["plain", "searchable"])
def numbers(face: Face, request: pytest.FixtureRequest) -> Face:
    """Thirty entries in three sources, each with its number; the same keys in a source and in none."""
    face.setup(searchable=request.param)
    for source in ("f", "g", ""):
        face.sync({f"k{n}": {"n": n, "of": source} for n in range(10)}, source=source, fingerprint="1")
    return face


def test_what_matches_goes_and_nothing_else(numbers: Face) -> None:
    report = numbers.mdelete(where={"n": 3})
    assert [tuple(change) for change in report] == [("k3", "DEL", ""), ("k3", "DEL", "f"), ("k3", "DEL", "g")]
    assert numbers.count() == 27
    assert numbers.mexists(["k3", "k4"]) == [False, True]
    # Their files are not as they were synced.
    assert numbers.changed_sources({"f": "1", "g": "1"}) == ["f", "g"]
    assert numbers.mdelete(where={"n": 3}).counts["DEL"] == 0


def test_source_and_prefix_narrow_it(numbers: Face) -> None:
    assert numbers.mdelete(where={"n": {"$gte": 5}}, source="f").counts["DEL"] == 5
    assert numbers.mdelete(where={"n": {"$lt": 5}}, prefix="k1").counts["DEL"] == 3
    assert numbers.count() == 22


def test_a_dry_run_deletes_nothing(numbers: Face, location: Location) -> None:
    before = contents(location)
    report = numbers.mdelete(where={"n": {"$in": [1, 2]}}, source="g", dry_run=True)
    assert report.dry_run
    assert [change.key for change in report.deleted] == ["k1", "k2"]
    assert report.refused is None
    assert contents(location) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"where": {}}, "would delete 30 of 30 entries"),
        ({"where": {"n": {"$lt": 4}}, "max_delete": 0.3}, "would delete 12 of 30 entries"),
        ({"where": {"n": {"$lt": 4}}, "source": "f", "max_delete": 0.3}, "source 'f' would delete 4 of 10"),
        ({"where": {}, "source": "f"}, "source 'f' would delete 10 of 10"),
    ],
)
def test_a_mass_deletion_is_refused_unless_it_is_meant(
    numbers: Face, location: Location, options: dict[str, Any], told: str
) -> None:
    before = contents(location)
    with pytest.raises(MassDeleteError, match=f"this deletion from .*{told}.*allow_mass_delete=True"):
        numbers.mdelete(**options)
    assert told in numbers.mdelete(**options, dry_run=True).refused
    assert contents(location) == before
    report = numbers.mdelete(**options, allow_mass_delete=True)
    assert report.counts["DEL"] == len(report) > 0


def test_most_sources_may_not_vanish_whole(face: Face) -> None:
    face.sync([Item(f"k{n}", {"n": n}, f"s{n:02}") for n in range(20)], scope="sources")
    with pytest.raises(MassDeleteError, match=r"remove 11 of 20 sources \('s00', 's01', 's02', ...\)"):
        face.mdelete(where={"n": {"$lt": 11}})
    assert face.mdelete(where={"n": {"$lt": 10}}).counts["DEL"] == 10
    # A source that keeps an entry does not vanish.
    face.sync([Item(f"k{n}", {"n": n % 2}, f"s{n // 2:02}") for n in range(40)], scope="collection", max_delete=1)
    assert face.mdelete(where={"n": 1}).counts["DEL"] == 20
    # A share that is given is all that counts.
    face.sync([Item(f"k{n}", {"n": n}, f"s{n:02}") for n in range(20)], scope="collection", max_delete=1)
    assert face.mdelete(where={"n": {"$lt": 15}}, max_delete=0.8).counts["DEL"] == 15


def test_an_entry_that_changed_meanwhile_stays(
    numbers: Face, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = searching._all_matching

    def found_and_changed(*arguments: Any) -> Any:
        result = yield from found(*arguments)
        with DocShelf(location.url) as other:
            other.mset([Item("k3", {"n": 99}, "f"), Item("k4", {"n": 3}, "f")])
        return result

    monkeypatch.setattr(searching, "_all_matching", found_and_changed)
    report = numbers.mdelete(where={"n": 3})
    assert [change.source for change in report] == ["", "g"]
    assert numbers.get("k3", source="f") == {"n": 99}
    assert numbers.get("k4", source="f") == {"n": 3}


@pytest.mark.no_citus("it has no triggers on distributed tables")
def test_all_or_nothing(numbers: Face, location: Location) -> None:
    refuse(location, "DELETE", "k5")
    before = contents(location)
    with pytest.raises(Exception, match="refused by a trigger"):
        numbers.mdelete(where={"n": {"$gte": 3}}, source="f")
    assert contents(location) == before


@pytest.mark.parametrize(
    ("arguments", "options", "error", "told"),
    [
        ((), {}, ArgumentTypeError, "either keys or where"),
        ((["k"],), {"where": {"n": 1}}, ArgumentTypeError, "either keys or where"),
        ((["k"],), {"max_delete": 1}, ArgumentTypeError, "go with where"),
        ((["k"],), {"prefix": "k"}, ArgumentTypeError, "go with where"),
        ((), {"where": {"n": 1}, "expected": {"k": "1"}}, ArgumentTypeError, "goes with keys"),
        ((), {"where": {"n": 1}, "max_delete": 2}, ArgumentValueError, "a share from 0 to 1"),
        ((), {"where": {"n": 1}, "max_delete": "all"}, ArgumentTypeError, "a share from 0 to 1"),
        ((), {"where": {"$gt": 1}}, ArgumentValueError, "no operator between"),
    ],
)
@on_sqlite
def test_arguments_that_cannot_be(
    face: Face, arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        face.mdelete(*arguments, **options)


def test_in_a_transaction_of_the_caller(location: Location, new_engine: Callable[..., Engine]) -> None:
    with DocShelf(location.url) as shelf:
        shelf.mset({f"k{n}": {"n": n} for n in range(5)})
        with new_engine(location).connect() as connection:
            bound = shelf.bind(connection)
            bound.setup(searchable=["n"])
            assert [entry.key for entry in bound.find({"n": 3})] == ["k3"]
            assert bound.mdelete(where={"n": 3}).counts["DEL"] == 1
            assert bound.count(where={"n": {"$gte": 0}}) == 4
            connection.rollback()
        assert [entry.key for entry in shelf.find({"n": 3})] == ["k3"]
