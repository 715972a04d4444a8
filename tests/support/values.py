"""Storable values: how to compare them to the last type, how to draw them, and a document of all the odd ones."""

from __future__ import annotations

import random
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",  # winter is its daylight saving time
    "Europe/Amsterdam",  # offsets with seconds until 1937
    "America/New_York",
    "Australia/Lord_Howe",  # saves half an hour
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
)

# Wall times that do not exist, or exist twice.
ODD_WALL_TIMES = (
    datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 3, 10, 2, 30, tzinfo=ZoneInfo("America/New_York")),
    datetime(2024, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York")),
    datetime(2024, 10, 6, 2, 15, tzinfo=ZoneInfo("Australia/Lord_Howe")),
    datetime(2024, 4, 7, 1, 45, tzinfo=ZoneInfo("Australia/Lord_Howe")),
    datetime(2024, 10, 27, 1, 30, tzinfo=ZoneInfo("Europe/Dublin")),
    datetime(1937, 7, 1, 0, 0, 10, tzinfo=ZoneInfo("Europe/Amsterdam")),
)


def shape(value: Any) -> Any:
    """A form of a value that is equal only for identical values: types, signs of zero, NaN, fold and zone count."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [shape(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted((shape(item) for item in value), key=repr)
    if kind is dict:
        return kind, sorted(((shape(key), shape(item)) for key, item in value.items()), key=repr)
    if kind is float:
        return kind, value.hex()
    if kind is Decimal:
        return kind, value.as_tuple()
    if kind in (datetime, time):
        return kind, value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo, value)
    return kind, value


def _zone(zone: tzinfo | None, value: datetime | time) -> Any:
    if zone is None:
        return None
    return (ZoneInfo, zone.key) if isinstance(zone, ZoneInfo) else (timezone, value.utcoffset())


def reordered(value: Any, chance: random.Random) -> Any:
    """An equal value whose dicts and sets were filled in another order."""
    if isinstance(value, list | tuple):
        return type(value)(reordered(item, chance) for item in value)
    if isinstance(value, set | frozenset):
        return type(value)(chance.sample(sorted(value, key=repr), len(value)))
    if isinstance(value, dict):
        pairs = [(key, reordered(item, chance)) for key, item in value.items()]
        return dict(chance.sample(pairs, len(pairs)))
    return value


# Lone surrogates, pairs of them that stay two, and what an escape of them would be made of.
_ODD_TEXT = (
    "\0",
    "\ud83d",
    "\ude00",
    "\ud83d\ude00",
    "\udfff",
    "\\",
    "\\ud800",
    "u",
    "d8",
    "$",
    "$str",
    '"$',
    "😀",
    "é",
)
texts = st.text(st.characters()) | st.lists(st.sampled_from(_ODD_TEXT), max_size=5).map("".join)
integers = (
    st.integers() | st.integers(-(2**300), 2**300) | st.sampled_from((2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)))
)
decimals = st.decimals().filter(lambda number: not number.is_snan()) | st.sampled_from(
    [Decimal(text) for text in ("-0", "1.10", "1E+400", "0E-400", "-0E+7", "NaN123", "-NaN", "Infinity", "-Infinity")]
)
# They have no hash, so no set or key can hold them.
signaling = st.sampled_from([Decimal("sNaN"), Decimal("-sNaN7")])
_offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
zones = st.none() | st.sampled_from(ZONES).map(ZoneInfo) | _offsets | st.just(timezone.utc)
folds = st.integers(0, 1)
datetimes = st.builds(
    lambda value, fold: value.replace(fold=fold),
    st.datetimes(timezones=zones) | st.sampled_from(ODD_WALL_TIMES),
    folds,
)
times = st.builds(lambda value, zone, fold: value.replace(tzinfo=zone, fold=fold), st.times(), zones, folds)
hashable_scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    texts,
    st.binary(),
    datetimes,
    times,
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    decimals,
)
hashables: st.SearchStrategy[Any] = st.recursive(
    hashable_scalars,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)
storable: st.SearchStrategy[Any] = st.recursive(
    hashables | signaling,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(texts, inner, max_size=5),
        st.dictionaries(hashables, inner, max_size=5),
        st.sets(hashables, max_size=5),
    ),
    max_leaves=20,
)


def odd_document() -> dict[str, Any]:
    """A document with one of everything that databases and JSON are known to spoil."""
    return {
        "text": "a NUL \0, a lone surrogate \ud800, two of them \ud83d\ude00, an emoji 😀",
        "large": "Zażółć gęślą jaźń. " * 540_000,  # 14 MB of UTF-8, 10 million characters
        "metadata": {
            "nan": float("nan"),
            "minus zero": -0.0,
            "infinity": float("-inf"),
            "written": datetime(2024, 10, 27, 2, 30, 0, 123456, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
            "received": datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            "day": date(1, 1, 1),
            "at": time(23, 59, 59, 999999),
            "took": timedelta(days=-1, microseconds=1),
            "price": Decimal("1.10"),
            "tags": {"a", "b", 1, None},
            "frozen": frozenset({(1, "x"), b"y"}),
            "bytes": b"\0\xff",
            "large number": 2**80,
            "id": UUID(int=7),
            "cells": {(1, "A"): "first", (2, None): {"$decimal": "no tag"}},
            "pages": [1, 1.0, True, (1, [2, (3,)])],
        },
    }
