"""Conditions on fields: what matches, typed comparison, and what a caller hears of a condition that cannot be."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docshelf import ArgumentTypeError, ArgumentValueError
from docshelf.values.json import dumps, loads
from docshelf.values.search import Asked, AskedAll, AskedAny, Narrowing, narrowing, search_fields, search_form
from docshelf.values.where import parse_where, typed
from tests.support.values import storable

FIELDS = {
    "author": "Ann",
    "year": 2020,
    "score": 2.5,
    "price": Decimal("2.50"),
    "tags": ["x", "y", 1],
    "pair": ("x", 2),
    "set": {"x", "z"},
    "on": True,
    "nothing": None,
    "born": date(1999, 5, 1),
    "at": datetime(2024, 1, 1, 12, tzinfo=timezone.utc),
    "local": datetime(2024, 1, 1, 12),
    "wake": time(7, 30),
    "took": timedelta(hours=1),
    "id": UUID(int=7),
    "raw": b"ab",
    "inner": {"deep": {"er": 5}, "dotted.name": 6},
    "dotted.name": 7,
    "nan": float("nan"),
    "bad": "a\0b\ud800",
}


def matches(where: dict[str, Any], fields: dict[Any, Any] = FIELDS) -> bool:
    return parse_where(where).matches(fields)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"author": "Ann"},
        {"author": "Ann", "year": 2020},
        {"year": 2020.0},
        {"year": Decimal(2020)},
        {"score": Decimal("2.5")},
        {"price": 2.5},
        {"tags": ["x", "y", 1.0]},
        {"tags": ("x", "y", 1)},
        {"pair": ["x", 2]},
        {"set": frozenset({"z", "x"})},
        {"on": True},
        {"nothing": None},
        {"born": date(1999, 5, 1)},
        {"at": datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))},
        {"at": datetime(2024, 1, 1, 13, tzinfo=ZoneInfo("Europe/Berlin"))},
        {"nan": float("nan")},
        {"nan": Decimal("nan")},
        {"bad": "a\0b\ud800"},
        {"inner.deep.er": 5},
        {"inner.deep": {"er": 5}},
        {"inner": {"deep": {"er": 5.0}, "dotted.name": 6}},
        {"inner.dotted.name": 6},
        {"dotted.name": 7},
        {"author": {"$eq": "Ann"}},
        {"author": {"$ne": "Bob"}},
        {"missing": {"$ne": "Bob"}},
        {"year": {"$ne": "2020"}},
        {"year": {"$gt": 2019.5, "$lte": 2020}},
        {"score": {"$lt": Decimal("2.6")}},
        {"author": {"$gte": "Ann", "$lt": "B"}},
        {"born": {"$gt": date(1999, 4, 30)}},
        {"at": {"$lt": datetime(2024, 1, 1, 14, tzinfo=timezone(timedelta(hours=1)))}},
        {"local": {"$gte": datetime(2024, 1, 1, 12)}},
        {"wake": {"$lt": time(8)}},
        {"took": {"$gt": timedelta(minutes=59)}},
        {"raw": {"$gt": b"aa"}},
        {"author": {"$in": ["Bob", "Ann"]}},
        {"id": {"$in": [UUID(int=7)]}},
        {"author": {"$nin": ["Bob"]}},
        {"missing": {"$nin": ["Bob"]}},
        {"author": {"$nin": []}},
        {"nothing": {"$exists": True}},
        {"missing": {"$exists": False}},
        {"tags": {"$contains": "x"}},
        {"tags": {"$contains": Decimal(1)}},
        {"pair": {"$contains": 2}},
        {"set": {"$contains": "z"}},
        {"year": {"$not": {"$gt": 2020}}},
        {"author": {"$not": "Bob"}},
        {"$and": [{"author": "Ann"}, {"year": {"$gt": 2000}}]},
        {"$or": [{"author": "Bob"}, {"year": 2020}]},
        {"$not": {"author": "Bob"}},
        {"$not": {"$or": [{"author": "Bob"}, {"year": 1}]}},
    ],
)
def test_it_matches(where: dict[str, Any]) -> None:
    assert matches(where)
    assert not matches({"$not": where})


@pytest.mark.parametrize(
    "where",
    [
        {"author": "ann"},
        {"author": "Ann", "year": 2021},
        # Across types nothing is equal, greater or less.
        {"year": "2020"},
        {"year": {"$gt": "2019"}},
        {"year": {"$lt": "2021"}},
        {"author": {"$gt": 5}},
        {"on": 1},
        {"on": {"$gt": 0}},
        {"born": "1999-05-01"},
        {"born": {"$gt": "1999-04-30"}},
        {"born": {"$lt": datetime(2024, 1, 1)}},
        {"at": {"$gt": date(2000, 1, 1)}},
        {"at": {"$gt": datetime(2000, 1, 1)}},
        {"local": {"$gt": datetime(2000, 1, 1, tzinfo=timezone.utc)}},
        {"raw": "ab"},
        {"id": str(UUID(int=7))},
        {"nan": {"$gt": 0}},
        {"nan": {"$lte": 0}},
        {"nothing": {"$gt": 0}},
        {"tags": "x"},
        {"tags": ["y", "x", 1]},
        {"tags": ["x", "y", True]},
        {"tags": {"$contains": True}},
        {"tags": {"$contains": ["x"]}},
        {"author": {"$contains": "A"}},
        {"inner": {"$contains": "deep"}},
        {"missing": None},
        {"missing": {"$gt": 0}},
        {"missing": {"$in": [None]}},
        {"author": {"$in": []}},
        {"missing": {"$exists": True}},
        {"inner.deep.er.more": 5},
        {"inner.deep": {"er": 5, "more": 1}},
        {"tags.0": "x"},
        {"$and": [{"author": "Ann"}, {"year": 1}]},
        {"$or": [{"author": "Bob"}, {"year": 1}]},
    ],
)
def test_it_does_not_match_and_raises_nothing(where: dict[str, Any]) -> None:
    assert not matches(where)
    assert matches({"$not": where})


@pytest.mark.parametrize(
    ("where", "error", "told"),
    [
        ("author", ArgumentTypeError, "where is a str"),
        ([("author", "Ann")], ArgumentTypeError, "where is a list"),
        ({1: 2}, ArgumentTypeError, "the name 1 is a int"),
        ({"$gt": 1}, ArgumentValueError, r"where\['\$gt'\].*write \{'name'"),
        ({"$nor": []}, ArgumentValueError, r"\$nor.*\$and, \$or, \$not"),
        ({"year": {"$near": 1}}, ArgumentValueError, r"where\['year'\]\['\$near'\].*\$contains"),
        ({"year": {"$gt": 1, "plain": 2}}, ArgumentValueError, "operators beside other names"),
        ({"year": {"$gt": None}}, ArgumentTypeError, "a NoneType, which has no order"),
        ({"year": {"$lt": [1]}}, ArgumentTypeError, "a list, which has no order"),
        ({"year": {"$gt": float("nan")}}, ArgumentTypeError, "no order"),
        ({"year": {"$in": 5}}, ArgumentTypeError, r"\$in'\] is a int; give a list"),
        ({"year": {"$in": "abc"}}, ArgumentTypeError, "is a str; give a list"),
        ({"year": {"$exists": 1}}, ArgumentTypeError, "give True or False"),
        ({"$and": []}, ArgumentValueError, "is empty"),
        ({"$or": {}}, ArgumentTypeError, "is a dict; give a list"),
        ({"$and": [{"a": 1}, 5]}, ArgumentTypeError, r"where\['\$and'\]\[1\] is a int"),
        ({"a": object()}, ArgumentTypeError, r"where\['a'\].*cannot store a object"),
        ({"a": {"$eq": {"b": [object()]}}}, ArgumentTypeError, r"where\['a'\]\['\$eq'\]: b\[0\]"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_place(where: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        parse_where(where)


def test_a_condition_that_is_too_deep_is_an_error() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(60):
        where = {"$not": where}
    with pytest.raises(ArgumentValueError, match="nested deeper than 50 levels"):
        parse_where(where)


def test_what_is_looked_for_may_be_of_other_types_that_mean_the_same() -> None:
    numpy = pytest.importorskip("numpy")
    assert matches({"year": numpy.int64(2020)})
    assert matches({"score": {"$gt": numpy.float32(2)}})


# What an index is told


def stored(value: Any) -> Any:
    return loads(dumps(value))


@given(storable, storable)
def test_equal_values_have_the_same_search_form(one: Any, other: Any) -> None:
    one, other = stored(one), stored(other)
    for a, b in ((one, other), (one, stored(one))):
        if typed(a) == typed(b):
            assert search_form(a) == search_form(b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, Decimal("1.00")),
        (2**60, float(2**60)),
        (0.5, Decimal("0.5")),
        (-0.0, 0),
        (10**400, Decimal("1e400")),
        (float("nan"), Decimal("nan")),
        ([1, 2], (1.0, 2)),
        ({1, 2}, frozenset({2, 1.0})),
        ({"a": [1]}, {"a": (1.0,)}),
        (
            datetime(2024, 1, 1, 12, tzinfo=timezone.utc),
            datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
        ),
    ],
)
def test_values_of_several_types_that_are_equal_have_the_same_search_form(one: Any, other: Any) -> None:
    assert typed(one) == typed(other)
    assert search_form(one) == search_form(other)


def test_a_search_form_is_json_that_every_database_holds() -> None:
    fields = {
        "plain": "text",
        "nul": "a\0b",
        "surrogate": "\ud800",
        "long": "x" * 300,
        "third": 1 / 3,
        "big": 2**80,
        "infinite": float("inf"),
        "list": ["x", 1, None, {"a": 1}, [1]],
        "when": date(2024, 1, 1),
    }
    text = search_fields(fields, [*fields, "missing"])
    assert text is not None
    assert "\\u0000" not in text
    found = stored(loads(text.replace('"$"', '"tag"').encode()))
    assert found["plain"] == "text"
    assert found["list"][:3] == ["x", 1, None]
    assert all(set(found[name]) == {"tag"} for name in ("nul", "surrogate", "long", "third", "big", "infinite", "when"))
    assert "missing" not in found


def test_what_is_too_large_for_an_index_has_no_search_fields() -> None:
    assert search_fields({"a": list(range(1_001))}, ["a"]) is None
    assert search_fields({f"n{n}": ["x" * 200] * 100 for n in range(10)}, [f"n{n}" for n in range(10)]) is None
    assert search_fields({"a": list(range(1_000))}, ["a"]) is not None


def found_by(asked: Narrowing | None, forms: dict[str, Any]) -> bool:
    """Whether an index that knows some search forms finds their row."""
    if asked is None:
        return True
    if isinstance(asked, Asked):
        form = forms.get(asked.name, ...)
        return asked.form in form if asked.member and isinstance(form, list) else form == asked.form
    combine = any if isinstance(asked, AskedAny) else all
    return combine(found_by(part, forms) for part in asked.parts)


NAMES = ("a", "b", "c.d")
VALUES = st.sampled_from([None, True, 1, 1.0, "x", "y", date(2024, 1, 1), ["x", 1], ("x", "y"), {"d": 1}, 0.5, "a\0"])
LEAF = st.one_of(
    st.builds(lambda value: value, VALUES),
    st.builds(lambda operator, value: {operator: value}, st.sampled_from(["$eq", "$ne", "$contains"]), VALUES),
    st.builds(
        lambda operator, values: {operator: values}, st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=3)
    ),
    st.builds(lambda there: {"$exists": there}, st.booleans()),
    st.builds(lambda value: {"$gt": value}, st.sampled_from([0, "w"])),
)
CONDITION: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(st.sampled_from([*NAMES, "other"]), LEAF, min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=6,
)


@given(CONDITION, st.dictionaries(st.sampled_from(["a", "b", "c", "c.d", "other"]), VALUES, max_size=4))
def test_an_index_finds_every_row_that_matches(where: dict[str, Any], fields: dict[str, Any]) -> None:
    condition = parse_where(where)
    forms = loads((search_fields(stored(fields), NAMES) or "{}").replace('"$"', '"tag"').encode())
    asked = narrowing(condition, NAMES)
    if condition.matches(stored(fields)):
        assert found_by(tagged(asked), forms)


def tagged(asked: Any) -> Any:
    """The same with forms as the test reads them, in which no name begins as a tag does."""
    if isinstance(asked, Asked):
        return Asked(asked.name, retagged(asked.form), asked.member)
    if isinstance(asked, AskedAll | AskedAny):
        return type(asked)(tuple(map(tagged, asked.parts)))
    return asked


def retagged(form: Any) -> Any:
    if isinstance(form, dict):
        return {"tag": form["$"]}
    return list(map(retagged, form)) if isinstance(form, list) else form


def test_an_index_is_asked_where_it_helps() -> None:
    def asked(where: dict[str, Any]) -> Narrowing | None:
        return narrowing(parse_where(where), ("a", "b"))

    assert asked({"a": "x"}) == Asked("a", "x")
    assert asked({"a": {"$contains": "x"}}) == Asked("a", "x", member=True)
    assert asked({"a": {"$in": ["x", 1]}}) == AskedAny((Asked("a", "x"), Asked("a", 1)))
    assert asked({"a": {"$in": []}}) == AskedAny(())
    assert asked({"a": "x", "b": 1}) == AskedAll((Asked("a", "x"), Asked("b", 1)))
    assert asked({"a": "x", "other": 1}) == Asked("a", "x")
    assert asked({"$or": [{"a": "x"}, {"b": 1}]}) == AskedAny((Asked("a", "x"), Asked("b", 1)))
    for where in (
        {},
        {"other": 1},
        {"a": {"$gt": 1}},
        {"a": {"$ne": 1}},
        {"a": {"$nin": [1]}},
        {"$not": {"a": 1}},
        {"$or": [{"a": 1}, {"other": 1}]},
        {"a": {"$exists": True}},
        {"a": {"$in": list(range(101))}},
    ):
        assert asked(where) is None, where
