"""Pickles are read without unpickling: what is on the list comes back, anything else is refused by name."""

from __future__ import annotations

import collections
import datetime as dt
import os
import pickle
import random
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docshelf.moving.pickles import RefusedPickleError, read_pickle
from tests.support.effort import examples

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
SHARED = uuid.UUID(int=7)
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 255, 70_000, 2**40, 10**50, -(10**50), 1.5, float("inf")),
    *("ä" * 300, "", "x\ny\\", "\ud800", b"\xff" * 300, b""),
    *([1, [2]], (1, 2, 3, 4), (), (1,), (1, 2), {}, {"a": {"b": 1}}, {(1, 2): {3}}, {1, 2}, frozenset([3])),
    collections.OrderedDict([("b", 1), ("a", collections.OrderedDict(z=1))]),
    dt.datetime(2024, 1, 2, 3, 4, 5, 6),
    dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc),
    dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2), "X")),
    dt.datetime(2024, 6, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.datetime(2024, 10, 27, 2, fold=1),
    *(dt.date(2024, 1, 1), dt.time(1, 2, 3), dt.timedelta(1, 2, 3), Decimal("1.10")),
    [SHARED, SHARED],
    ["long" * 100_000] * 3,
    {"x": (1, {"y": [b"1"]})},
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_is_on_the_list_comes_back(value: Any, protocol: int) -> None:
    found = read_pickle(pickle.dumps(value, protocol))
    assert found == value
    assert type(found) is (dict if isinstance(value, dict) else type(value))


@given(values, st.sampled_from(PROTOCOLS))
@settings(max_examples=examples(200), deadline=None)
def test_any_such_value_comes_back(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol)) == value


def test_an_ordered_dict_keeps_its_order_and_a_bytearray_becomes_bytes() -> None:
    ordered = collections.OrderedDict([("b", 1), ("a", 2)])
    assert list(read_pickle(pickle.dumps(ordered))) == ["b", "a"]
    for protocol in PROTOCOLS:
        assert read_pickle(pickle.dumps(bytearray(b"ab"), protocol)) == b"ab"


@dataclass
class Page:
    text: str
    when: Any = None


def known(module: str, name: str, state: Mapping[str, Any]) -> Any:
    return {"page": state} if (module, name) == (__name__, "Page") else None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_instances_are_made_by_the_caller_of_their_state_alone(protocol: int) -> None:
    page = Page("t", dt.date(2024, 1, 1))
    data = pickle.dumps([page, {"again": page}], protocol)
    state = {"text": "t", "when": dt.date(2024, 1, 1)}
    assert read_pickle(data, known) == [{"page": state}, {"again": {"page": state}}]
    with pytest.raises(RefusedPickleError, match=r"test_pickles\.Page is not among what is read"):
        read_pickle(data)


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


class Opens(Runs):
    def __reduce__(self) -> Any:
        return subprocess.Popen, (["touch", str(self.path)],)


class Evaluates(Runs):
    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.path)!r}, 'w')",)


class Builds(Runs):
    """A class whose state would be set by what the pickle names."""

    def __reduce__(self) -> Any:
        return Path, (), {"x": 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("evil", [Runs, Opens, Evaluates, Builds])
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"a": [1, evil]}, lambda evil: {"k": (evil, evil)}])
def test_nothing_is_executed_and_the_refusal_names_it(tmp_path: Path, evil: Any, wrap: Any, protocol: int) -> None:
    data = pickle.dumps(wrap(evil(tmp_path / "executed")), protocol)
    with pytest.raises(RefusedPickleError, match=r"(posix|nt|os)\.system|Popen|builtins\.eval|pathlib\.") as told:
        read_pickle(data, known)
    assert "is not among what is read of a pickle" in str(told.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "value",
    [
        *(complex(1, 2), slice(1), range(3), Path("x"), len, dict, collections.Counter("a"), collections.deque()),
        *(dt.datetime, ZoneInfo, {"f": os.getcwd}, collections.defaultdict(list), collections.OrderedDict),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_on_the_list_is_refused(value: Any) -> None:
    for protocol in PROTOCOLS:
        with pytest.raises(RefusedPickleError, match=r"is not among what is read|a tuple of what is no value"):
            read_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"garbage", b"\x80\x04\x95\xff", b"(((((.", b"0.", b"\x80\x02K\x01K\x02.", b"N", b"h\x05.", b"(."),
        *(
            b"cos\nsystem\n(S'x'\ntR.",
            b"cos\nsystem\n.",
            b"\x80\x04N\x85R.",
            b"]NN\x86s.",
            b"}Na.",
            b"K\x01K\x02\x86\x81.",
        ),
        *(b"Pabc\n.", b"\x82\x01.", b"I12x\n.", b"c\xff\n\xff\n.", b"\x80\xff."),
        pickle.dumps([1, 2, 3])[:-3],
        pickle.dumps("x" * 100)[:50],
        b"cdatetime\ndatetime\n(\x8e\x02\x00\x00\x00\x00\x00\x00\x00abtR.",
        b"cdatetime\ndatetime\n(K\x01K\x01K\x01tR.",
        b"cdecimal\nDecimal\n(NtR.",
        b"czoneinfo\nZoneInfo._unpickle\n(X\x0a\x00\x00\x00../etc/xyzK\x01tR.",
    ],
    ids=repr,
)
def test_a_broken_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedPickleError):
        read_pickle(data)


def nested(kind: Any, levels: int) -> Any:
    value = kind(())
    for _ in range(levels):
        value = kind((value, value))
    return value


def test_a_value_that_would_be_far_larger_written_out_is_refused_at_once() -> None:
    for value in (nested(list, 60), nested(tuple, 60), ["x" * 1_000_000] * 1_000_000):
        with pytest.raises(RefusedPickleError, match="most of them shared"):
            read_pickle(pickle.dumps(value))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RefusedPickleError, match="part of itself"):
        read_pickle(pickle.dumps(endless))
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(RefusedPickleError, match="nested deeper than 250"):
        read_pickle(pickle.dumps(deep))


def test_keys_that_take_long_to_hash_are_refused_at_once() -> None:
    key = tuple(range(1_000))
    for _ in range(9):
        key = (key, key)  # type: ignore[assignment]
    start = pickle.dumps(key, 4)[2:-1]
    number = (5_000).to_bytes(4, "little")
    data = b"\x80\x04" + start + b"r" + number + b"0}" + (b"j" + number + b"Ns") * 50_000 + b"."
    with pytest.raises(RefusedPickleError, match="most of them shared"):
        read_pickle(data)


def test_altered_pickles_are_values_or_refused_and_nothing_else() -> None:
    chosen = random.Random(7)
    whole = [pickle.dumps(value, protocol)[:500] for value in VALUES for protocol in (0, 2, 4)]
    refused = 0
    for _ in range(5_000):
        data = bytearray(chosen.choice(whole))
        for _ in range(chosen.randint(1, 4)):
            data[chosen.randrange(len(data))] = chosen.randrange(256)
        try:
            read_pickle(bytes(data))
        except RefusedPickleError as exc:
            refused += 1
            assert len(str(exc)) < 400
    assert 1_000 < refused < 5_000
