"""Searches by field: alike on every database, with an index and without, whoever wrote the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    CorruptEntryError,
    CorruptEntryWarning,
    DocShelf,
    Document,
    Entry,
    Item,
)
from docshelf.values.where import parse_where
from tests.conftest import Location, on_sqlite
from tests.support.face import Face
from tests.support.statements import recorded_statements
from tests.support.tables import TABLES, connected, entry_rows

NAMES = ("author", "tags", "year", "meta.lang")
# Of every type, and what jsonb cannot hold.
FIELDS: list[dict[Any, Any]] = [
    {"author": "Ann", "year": 2020, "tags": ["x", "y"]},
    {"author": "Bob", "year": 2021.0, "tags": ("x",)},
    {"author": "Ann", "year": Decimal("2020.0"), "meta": {"lang": "en"}},
    {"author": "nul\0", "year": float("nan"), "tags": {"x", "\ud800"}},
    {"author": "\ud800", "year": float("inf"), "tags": []},
    {"author": None, "year": "2020", "meta.lang": "de"},
    {"author": True, "year": 2**80, "tags": ["x" * 300, 1]},
    {"author": ["Ann"], "year": date(2020, 1, 1), "tags": list(range(1_001))},
    {"author": {"name": "Ann"}, "year": datetime(2020, 1, 1, tzinfo=timezone.utc)},
    {"author": "x" * 300, "year": 0.1, "tags": "x"},
    {"author": 'O\'Neil "the" \\ %s :x', "year": -1, 5: "a key that is no text"},
    {"author": b"Ann", "year": None},
    {},
]
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"author": "Ann"},
    {"author": "Ann", "year": 2020},
    {"author": {"$in": ["Bob", None, True, "x" * 300, "nul\0"]}},
    {"author": {"$in": []}},
    {"author": {"$ne": "Ann"}},
    {"author": ["Ann"]},
    {"author": {"name": "Ann"}},
    {"author": b"Ann"},
    {"author": "\ud800"},
    {"author": 'O\'Neil "the" \\ %s :x'},
    {"author": {"$exists": False}},
    {"year": {"$gte": 2020}},
    {"year": {"$lt": "3"}},
    {"year": {"$in": [float("nan"), float("inf"), 2**80, 0.1]}},
    {"year": date(2020, 1, 1)},
    {"year": {"$gt": datetime(2019, 1, 1, tzinfo=timezone.utc)}},
    {"tags": {"$contains": "x"}},
    {"tags": {"$contains": 1_000}},
    {"tags": {"$contains": "\ud800"}},
    {"tags": ["x", "y"]},
    {"meta.lang": {"$in": ["en", "de"]}},
    {"$or": [{"author": "Bob"}, {"tags": {"$contains": "y"}}]},
    {"$and": [{"author": "Ann"}, {"$not": {"tags": {"$contains": "x"}}}]},
    {"$or": [{"author": {"$in": []}}, {"year": -1}]},
]


def entries() -> list[Item]:
    """The fields as plain dicts and as metadata of documents, in two sources, beside values that have no fields."""
    items = []
    for number, fields in enumerate(FIELDS):
        items.append(Item(f"dict{number:02}", fields, "dicts"))
        items.append(Item(f"doc{number:02}", Document("text", fields), "docs"))
    others = {"bytes": b"Ann", "text": "Ann", "list": [{"author": "Ann"}], "number": 5}
    return [*items, *(Item(key, value, "others") for key, value in others.items())]


def fields_of(value: Any) -> dict[Any, Any]:
    if isinstance(value, Document):
        return dict(value.metadata)
    return value if isinstance(value, dict) else {}


def expected(where: dict[str, Any]) -> list[tuple[str, str]]:
    condition = parse_where(where)
    return sorted((item.key, item.source or "") for item in entries() if condition.matches(fields_of(item.value)))


def found(face: Face, where: dict[str, Any] | None = None, **options: Any) -> list[tuple[str, str]]:
    return [(entry.key, entry.source) for entry in face.find(where, **options)]


def check_all(face: Face) -> None:
    for where in CONDITIONS:
        assert found(face, where) == expected(where), where
        assert face.count(where=where) == len(expected(where)), where


def few(face: Face) -> None:
    """One row in each call, by the upsert."""
    for item in entries():
        face.mset([item])


def many(face: Face) -> None:
    """All rows in one call: on PostgreSQL by COPY."""
    face.mset([*entries(), *(Item(f"~{number}", number) for number in range(60))])
    face.mdelete([f"~{number}" for number in range(60)])


def test_it_finds_what_the_fields_say(face: Face) -> None:
    many(face)
    check_all(face)


@pytest.mark.parametrize("write", [few, many])
def test_an_index_changes_nothing_but_the_time(face: Face, location: Location, write: Callable[[Face], None]) -> None:
    face.setup(searchable=NAMES)
    write(face)
    assert sum(row.search_fields is None for row in entry_rows(location).values()) == 2  # lists of 1,001
    check_all(face)


def test_rows_that_were_there_before_get_their_search_fields(face: Face, location: Location) -> None:
    many(face)
    assert all(row.search_fields is None for row in entry_rows(location).values())
    before = [(entry.key, entry.source, entry.value_hash, entry.updated_at, entry.seq) for entry in face.find()]
    face.setup(searchable=NAMES)
    assert sum(row.search_fields is None for row in entry_rows(location).values()) == 2
    check_all(face)
    after = [(entry.key, entry.source, entry.value_hash, entry.updated_at, entry.seq) for entry in face.find()]
    assert after == before


def test_a_writer_that_does_not_know_of_the_fields_hides_nothing(new_face: Callable[..., Face]) -> None:
    unaware, aware = new_face(), new_face()
    unaware.set("first", 1)
    aware.setup(searchable=NAMES)
    many(unaware)
    check_all(aware.of(aware.shelf) if unaware.mdelete(["first"]) else aware)
    # It writes over what others filled in.
    for item in entries():
        aware.mset([item._replace(value={"author": "Zoe"})])
    assert found(aware, {"author": "Ann"}) == []
    few(unaware)
    check_all(aware)


def test_other_fields_replace_the_ones_before(face: Face, location: Location) -> None:
    face.setup(searchable=["author"])
    many(face)
    for names in (["year", "author"], ["tags"], [], NAMES):
        face.setup(searchable=names)
        check_all(face)
    face.mset({"new": {"author": "Ann", "year": 2020}})
    assert ("new", "") in found(face, {"author": "Ann", "year": 2020})
    face.mset({"new": {"author": "Bob"}})
    assert ("new", "") not in found(face, {"author": "Ann"})
    assert ("new", "") in found(face, {"author": "Bob"})


def test_an_update_a_version_and_a_move_keep_the_search_fields_true(face: Face, location: Location) -> None:
    face.setup(searchable=["author"])
    face.mset([Item("k", {"author": "Ann"}, "one", "1")])
    face.set_versions({"k": "2"})
    assert entry_rows(location)["k", "one"].search_fields is not None
    assert found(face, {"author": "Ann"}) == [("k", "one")]
    face.conditional_mset([Item("k", {"author": "Ann"}, "two")], move=True)
    assert found(face, {"author": "Ann"}) == [("k", "two")]
    face.set_versions({"only a version": "1"})
    assert found(face, {"author": {"$exists": False}}) == [("only a version", "")]


def test_what_does_not_count_as_change_is_found_as_it_stands(new_face: Callable[..., Face]) -> None:
    face = new_face(hash_exclude=["author"])
    face.setup(searchable=["author"])
    face.mset([Item("k", {"author": "Ann", "n": 1})])
    face.mset([Item("k", {"author": "Bob", "n": 1})])
    assert found(face, {"author": "Ann"}) == [("k", "")]
    # A new version writes the value too.
    face.mset([Item("k", {"author": "Bob", "n": 1}, version="2")])
    assert found(face, {"author": "Ann"}) == []
    assert found(face, {"author": "Bob"}) == [("k", "")]


def test_a_renamed_collection_is_searched_by_index_under_its_new_name(face: Face, location: Location) -> None:
    face.setup(searchable=NAMES)
    many(face)
    indexes = index_names(location)
    face.rename_collection("it's %s : new")
    check_all(face)
    assert len(index_names(location)) == len(indexes)
    assert index_names(location) != indexes
    face.setup(searchable=NAMES)
    face.mset({"k": {"author": "Ann"}})
    assert ("k", "") in found(face, {"author": "Ann"})


def index_names(location: Location) -> set[str]:
    with connected(location) as connection:
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'index'"
            if location.dialect == "sqlite"
            else f"SELECT indexname FROM pg_indexes WHERE schemaname = '{location.schema}'"
        )
        return set(connection.exec_driver_sql(query.replace("%", "%%")).scalars())


# Order and pages


@pytest.fixture
def pages(face: Face) -> Face:
    """Keys in two sources, each with its number."""
    face.mset([Item(f"k{number:03}", {"n": number}, of) for number in range(60) for of in ("f", "g")])
    return face


def test_entries_come_in_the_order_of_key_and_source(pages: Face) -> None:
    assert found(pages, {"n": {"$lt": 2}}) == [("k000", "f"), ("k000", "g"), ("k001", "f"), ("k001", "g")]
    [first, *_] = pages.find({"n": {"$lt": 2}})
    assert isinstance(first, Entry)
    assert (first.value, first.content_type) == ({"n": 0}, "json")
    assert first == pages.get_entry("k000", source="f")


def test_prefix_source_and_limit_narrow_it(pages: Face) -> None:
    assert found(pages, prefix="k01", source="g", limit=2) == [("k010", "g"), ("k011", "g")]
    assert found(pages, {"n": 12}, prefix="k01") == [("k012", "f"), ("k012", "g")]
    assert found(pages, {"n": 22}, prefix="k01") == []
    assert found(pages, limit=0) == []
    assert len(found(pages, limit=1_000)) == 120
    assert pages.count("k01", source="g", where={"n": {"$gt": 15}}) == 4


@pytest.mark.parametrize("size", [1, 7, 120])
def test_pages_go_on_after_an_entry_and_miss_none(pages: Face, size: int) -> None:
    seen: list[tuple[str, str]] = []
    after: Entry | None = None
    while page := list(pages.find({"n": {"$gte": 10}}, limit=size, after=after)):
        seen += [(entry.key, entry.source) for entry in page]
        after = page[-1]
    assert seen == found(pages, {"n": {"$gte": 10}})
    assert len(seen) == 100


def test_after_a_key_come_the_entries_of_the_next(pages: Face) -> None:
    assert found(pages, after="k057") == [("k058", "f"), ("k058", "g"), ("k059", "f"), ("k059", "g")]
    assert found(pages, after="k0575", limit=1) == [("k058", "f")]
    assert found(pages, after="k", prefix="k05", limit=1) == [("k050", "f")]
    assert found(pages, after="z") == []


def test_many_pages_are_read_one_by_one(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docshelf.operations.searching._PAGE", 7)
    monkeypatch.setattr("docshelf.operations.searching._BATCH_ENTRIES", 3)
    face.setup(searchable=["parity"])
    face.mset({f"k{number:03}": {"n": number, "parity": number % 2} for number in range(50)})
    wanted = [(f"k{number:03}", "") for number in range(1, 50, 2)]
    assert found(face, {"parity": 1}) == wanted
    assert found(face, {"n": {"$gt": -1}, "parity": 1}) == wanted
    assert face.count(where={"n": {"$gte": 25}}) == 25
    with recorded_statements() as statements:
        assert next(iter(face.find({"parity": 1}))).key == "k001"
    assert len(statements) <= 4


def test_the_first_entries_come_before_the_last_are_read(new_face: Callable[..., Face]) -> None:
    face = new_face()
    face.mset({f"k{number:03}": {"text": "x" * 100} for number in range(600)})
    with recorded_statements() as statements:
        iterator: Iterator[Entry] = iter(face.find({"text": {"$exists": True}}, limit=3))
        assert next(iterator).key == "k000"
        before = len(statements)
        assert [entry.key for entry in iterator] == ["k001", "k002"]
    assert len(statements) == before


# What the database is asked


def explained(location: Location, face: Face, where: dict[str, Any]) -> str:
    """The plan of the statements that look for candidates."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        list(face.find(where))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    prefix = "EXPLAIN QUERY PLAN " if location.dialect == "sqlite" else "EXPLAIN "
    plans = []
    with connected(location) as connection:
        for statement, parameters in asked:
            if "ORDER BY" in statement and "search_fields" in statement:
                rows = connection.exec_driver_sql(prefix + statement, parameters).all()
                plans.append("\n".join(str(row) for row in rows))
    return "\n".join(plans)


@pytest.mark.no_partitions("PostgreSQL itself names the indexes of partitions")
def test_equality_goes_by_index(location: Location, new_face: Callable[..., Face], mode: str) -> None:
    if mode == "async":
        pytest.skip("the statements are the same")
    face = new_face("it's")
    face.setup(searchable=["author", "tags"])
    rows = {f"k{n:05}": {"author": f"a{n % 500}", "tags": [f"t{n}"]} for n in range(3_000)}
    face.mset(rows)
    other = face.of(face.shelf.view("other"))
    other.mset(rows)
    if location.dialect == "postgresql":
        with connected(location) as connection:
            connection.exec_driver_sql("ANALYZE docshelf_entries")
    plan = explained(location, face, {"author": "a7"})
    by_field = "docshelf_entries_f" if location.dialect == "sqlite" else "docshelf_entries_search_idx"
    assert by_field in plan
    assert "docshelf_entries_u" in plan  # there are no rows without search fields, which an index tells
    if location.dialect == "postgresql":
        assert by_field in explained(location, face, {"tags": {"$contains": "t7"}})
    assert len(found(face, {"author": "a7"})) == 6


def test_collections_without_searchable_fields_do_not_pay(face: Face, location: Location) -> None:
    face.of(face.shelf.view("other")).setup(searchable=["author"])
    with recorded_statements() as statements:
        face.mset({f"k{number}": {"author": "Ann"} for number in range(100)})
        face.mset({f"k{number}": {"author": "Bob"} for number in range(100)})
    assert not [one for one in statements if "collections" in one]
    inserts = [one for one in statements if one.lstrip().startswith("INSERT")]
    assert inserts
    if location.dialect != "sqlite":  # whose rows have all columns, as they are tuples: a NULL costs nothing there
        assert not [one for one in inserts if "search_fields" in one.partition("ON CONFLICT")[0]]
    assert all(row.search_fields is None for row in entry_rows(location).values())


def test_setup_is_repeated_without_reading_a_row(face: Face) -> None:
    many(face)
    face.setup(searchable=NAMES)
    with recorded_statements() as statements:
        face.setup(searchable=reversed(NAMES))
    assert not [one for one in statements if "docshelf_entries" in one and "value" in one]


def test_an_interrupted_setup_goes_on(face: Face, location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docshelf.operations.searching._BATCH_ENTRIES", 10)
    many(face)
    name = "docshelf.values.content_types.Codec.search_fields_of"
    calls = []

    def interrupted(*_: Any) -> None:
        calls.append(1)
        if len(calls) > 15:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            face.setup(searchable=NAMES)
    check_all(face)
    face.setup(searchable=NAMES)
    assert sum(row.search_fields is None for row in entry_rows(location).values()) == 2
    check_all(face)


def test_it_works_on_partitions(new_location: Callable[[str], Location]) -> None:
    with DocShelf(new_location("pg18").url) as shelf:
        shelf.setup(partitions=3, searchable=["author"])
        shelf.mset({f"k{number}": {"author": f"a{number % 5}"} for number in range(100)})
        assert len(list(shelf.find({"author": "a3"}))) == 20
        assert shelf.mdelete(where={"author": "a3"}).counts["DEL"] == 20


# What cannot be


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"where": {"a": ...}}, ArgumentTypeError, "cannot store"),
        ({"limit": -1}, ArgumentValueError, "0 or more"),
        ({"limit": 1.5}, ArgumentTypeError, "give a number"),
        ({"limit": True}, ArgumentTypeError, "give a number"),
        ({"after": 5}, ArgumentTypeError, "key 5"),
        ({"source": 5}, ArgumentTypeError, "source 5"),
        ({"prefix": "a\0"}, ArgumentValueError, "NUL"),
    ],
)
@on_sqlite
def test_a_bad_argument_is_an_error_before_the_first_entry(
    face: Face, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        face.find(**options)


@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        ("author", ArgumentTypeError, "give the names of fields"),
        ([5], ArgumentTypeError, "the name 5 is a int"),
        ([""], ArgumentValueError, "cannot be"),
        (["$gt"], ArgumentValueError, "does not begin with"),
        (['a"b'], ArgumentValueError, "no quotes"),
        (["a\0"], ArgumentValueError, "control"),
        (["x" * 129], ArgumentValueError, "128 bytes"),
        ([f"n{number}" for number in range(33)], ArgumentValueError, "33 names; the limit is 32"),
    ],
)
@on_sqlite
def test_names_that_cannot_be_searchable(face: Face, names: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        face.setup(searchable=names)
    assert face.is_set_up() is False


@pytest.mark.parametrize("searchable", [False, True])
def test_a_row_that_cannot_be_read_is_reported(
    new_face: Callable[..., Face], location: Location, searchable: bool
) -> None:
    face = new_face()
    if searchable:
        face.setup(searchable=["n"])
    face.mset({"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 2}})
    with connected(location) as connection:
        e = TABLES.entries
        connection.execute(e.update().where(e.c.key == "b").values(value=b"{}"))
    with pytest.raises(CorruptEntryError, match="'b'"):
        list(face.find({"n": 1}))
    skipping = face.of(face.shelf.view(on_corrupt="skip"))
    with pytest.warns(CorruptEntryWarning, match="'b'"):
        assert found(skipping, {"n": 1}) == [("a", "")]
