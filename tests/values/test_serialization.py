"""Canonical bytes: every storable value is read back unchanged, and bytes that are read can only become values."""

from __future__ import annotations

import inspect
import io
import itertools
import json
import os
import random
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docshelf.values.json import MAX_DEPTH, DecodeError, EncodeError, dumps, loads
from tests.support.effort import examples
from tests.support.values import ODD_WALL_TIMES, odd_document, reordered, shape, storable

BERLIN = ZoneInfo("Europe/Berlin")

# What rows hold today has to be read by every later version: a change here breaks stored data.
FORMAT: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (1, "1"),
    (2**64 - 1, "18446744073709551615"),
    (2**64, '{"$int":"0x10000000000000000"}'),
    (-(2**63) - 1, '{"$int":"-0x8000000000000001"}'),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (float("nan"), '{"$float":"nan"}'),
    (float("-inf"), '{"$float":"-inf"}'),
    ("é\0\n", '"é\\u0000\\n"'),
    ("a\\\ud83d\ude00", '{"$str":"a\\\\\\\\\\\\ud83d\\\\ude00"}'),
    (b"\0\xff", '{"$bytes":"AP8="}'),
    (datetime(2024, 1, 2, 3, 4, 5, 6), '{"$datetime":"2024-01-02T03:04:05.000006"}'),
    (datetime(2024, 1, 2, tzinfo=timezone.utc), '{"$datetime":"2024-01-02T00:00:00+00:00"}'),
    (
        datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
        '{"$datetime":["2024-10-27T02:30:00+01:00","Europe/Berlin",1]}',
    ),
    (date(2024, 1, 2), '{"$date":"2024-01-02"}'),
    (time(1, 2, fold=1), '{"$time":["01:02:00",null,1]}'),
    (timedelta(days=-1, seconds=5), '{"$timedelta":[-1,5,0]}'),
    (UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
    (Decimal("1.10"), '{"$decimal":"1.10"}'),
    ((1, []), '{"$tuple":[1,[]]}'),
    ({"b", "a"}, '{"$set":["a","b"]}'),
    (frozenset({2, 1}), '{"$frozenset":[1,2]}'),
    ({"b": 1, "a": {"é": 2}}, '{"a":{"é":2},"b":1}'),
    ({"$a": 1, 1: 2}, '{"$dict":[["$a",1],[1,2]]}'),
]


def nested(depth: int, wrap: Callable[[Any], Any], leaf: Any = 1) -> Any:
    """`leaf` inside `depth` containers."""
    for _ in range(depth):
        leaf = wrap(leaf)
    return leaf


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"a": inner},
    "tagged dict": lambda inner: {1: inner},
    "frozenset": lambda inner: frozenset((inner,)),
}


def with_frames_left(left: int, call: Callable[[], Any]) -> Any:
    """`call()` where the stack has room for about `left` more frames."""
    room = sys.getrecursionlimit() - len(inspect.stack(0)) - left

    def descend(depth: int) -> Any:
        return descend(depth - 1) if depth > 0 else call()

    return descend(room)


# Round trips


@given(storable)
@settings(max_examples=examples(400), deadline=None)
def test_a_value_is_read_back_equal_with_equal_types_at_every_level(value: Any) -> None:
    assert shape(loads(dumps(value))) == shape(value)


@pytest.mark.parametrize(("value", "text"), FORMAT, ids=[text for _, text in FORMAT])
def test_the_stored_format_stays_as_it_is(value: Any, text: str) -> None:
    assert dumps(value).decode() == text
    assert shape(loads(text.encode())) == shape(value)


def test_the_document_with_all_types_is_read_back_unchanged() -> None:
    document = odd_document()
    assert shape(loads(dumps(document))) == shape(document)


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("moment", ODD_WALL_TIMES, ids=str)
def test_wall_times_in_gaps_and_overlaps_keep_instant_fold_and_zone(moment: datetime, fold: int) -> None:
    moment = moment.replace(fold=fold)
    back = loads(dumps(moment))
    assert (back.replace(tzinfo=None), back.fold) == (moment.replace(tzinfo=None), fold)
    assert back.tzinfo == moment.tzinfo
    assert back.timestamp() == moment.timestamp()


class Fixed(tzinfo):
    """A time zone of an unknown class."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=3, minutes=30)

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "FIX"


class WithoutOffset(Fixed):
    def utcoffset(self, moment: datetime | None) -> None:  # type: ignore[override]
        return None


def test_a_zone_of_another_class_is_stored_as_its_offset() -> None:
    moment = datetime(2024, 1, 1, tzinfo=Fixed())
    back = loads(dumps(moment))
    assert back == moment
    assert back.tzinfo == timezone(timedelta(hours=3, minutes=30))


@pytest.mark.parametrize(
    "offset",
    [
        timedelta(microseconds=1),
        timedelta(microseconds=-1),
        timedelta(microseconds=999_999),
        timedelta(seconds=-1),
        timedelta(hours=-3, microseconds=5),
        timedelta(0),
    ],
    ids=str,
)
def test_an_offset_of_less_than_a_second_is_read_back(offset: timedelta) -> None:
    zone = timezone(offset)
    moments: list[datetime | time] = [
        datetime(2024, 1, 1, tzinfo=zone),
        datetime(2024, 1, 1, 0, 0, 0, 7, tzinfo=zone, fold=1),
        time(tzinfo=zone),
        time(1, 2, 3, 4, tzinfo=zone, fold=1),
    ]
    for moment in moments:
        assert loads(dumps(moment)).utcoffset() == offset
        assert shape(loads(dumps(moment))) == shape(moment)
    assert shape(loads(dumps(datetime(2024, 1, 1, 0, 0, 0, 1)))) == shape(datetime(2024, 1, 1, 0, 0, 0, 1))


def test_a_zone_that_this_machine_does_not_have_is_read_as_the_same_instant() -> None:
    back = loads(b'{"$datetime":["2024-07-01T12:00:00+02:00","Europe/Atlantis",0]}')
    assert shape(back) == shape(datetime(2024, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))))


def test_an_instant_outlives_a_change_of_its_zone_rules() -> None:
    # Written when Berlin was (as far as this row knows) at +05:00.
    back = loads(b'{"$datetime":["2024-07-01T12:00:00+05:00","Europe/Berlin",0]}')
    assert shape(back) == shape(datetime(2024, 7, 1, 12, tzinfo=timezone(timedelta(hours=5))))


# Canonical


@given(storable, st.randoms(use_true_random=False))
@settings(max_examples=examples(200), deadline=None)
def test_the_order_of_insertion_never_changes_the_bytes(value: Any, chance: random.Random) -> None:
    assert dumps(reordered(value, chance)) == dumps(value)


_IN_ANOTHER_PROCESS = """
import sys
from docshelf.values.json import dumps, loads

words = [f"word {number}" for number in range(100)]
value = {
    "words": set(words),
    "mixed": {None, True, 2.5, "x", b"x", ("a", frozenset(words[:9]))},
    "by tuple": {(word, frozenset((word, 1))): {word, b"2"} for word in words},
    "by word": {word: {"$" + word: word} for word in set(words)},
}
sys.stdout.buffer.write(dumps(value))
assert loads(dumps(value)) == value
"""


def test_processes_with_different_hash_seeds_write_the_same_bytes() -> None:
    written = {
        subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    [data] = written
    assert dumps(loads(data)) == data


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *((1, True), (1, 1.0), (0.0, -0.0), ("1", 1), (b"1", "1"), ((1,), [1]), ({1}, frozenset({1})), (None, "null")),
        *((Decimal("1.1"), Decimal("1.10")), ({"1": 1}, {1: 1}), (datetime(2024, 1, 1), date(2024, 1, 1))),
    ],
    ids=repr,
)
def test_values_of_different_types_have_different_bytes(one: Any, other: Any) -> None:
    assert dumps(one) != dumps(other)
    assert dumps({"in": [one]}) != dumps({"in": [other]})


# Data that looks like tags


@given(storable)
@settings(max_examples=examples(200), deadline=None)
def test_user_data_that_looks_like_an_encoded_value_stays_plain_data(value: Any) -> None:
    once = json.loads(dumps(value))
    assert shape(loads(dumps(once))) == shape(once)
    twice = json.loads(dumps(once))
    assert shape(loads(dumps(twice))) == shape(twice)


TAGS = (
    *("$str", "$int", "$float", "$bytes", "$datetime", "$date", "$time", "$timedelta", "$uuid", "$decimal"),
    *("$tuple", "$set", "$frozenset", "$dict", "$", "$$", "$object", "dict", ""),
)
_CONTENTS = st.none() | st.text("$1e+x0", max_size=3) | st.integers(-1, 3) | st.sampled_from(TAGS)
tag_like = st.recursive(
    _CONTENTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TAGS), inner, max_size=3),
    max_leaves=12,
)


@given(tag_like)
@settings(max_examples=examples(300), deadline=None)
@example({"$decimal": "1"})
@example({"$dict": []})
@example({"$": 1})
@example({"a": [{"$tuple": [{"$set": [[1]]}]}]})
@example({"$str": "\\ud800", "b": 1})
def test_data_that_looks_like_tags_is_read_back_unchanged(value: Any) -> None:
    assert shape(loads(dumps(value))) == shape(value)


# Reading forged bytes


CLOSED_SET = (bool, int, float, str, bytes, datetime, date, time, timedelta, UUID, Decimal, type(None))


def check_is_of_the_closed_set(value: Any) -> None:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            check_is_of_the_closed_set(key)
            check_is_of_the_closed_set(item)
    elif kind in (list, tuple, set, frozenset):
        for item in value:
            check_is_of_the_closed_set(item)
    else:
        assert kind in CLOSED_SET


def check_reads_or_refuses(data: bytes) -> None:
    """Reading gives a value of a supported type or a DecodeError. A value that was read can be written."""
    try:
        value = loads(data)
    except DecodeError:
        return
    check_is_of_the_closed_set(value)
    assert shape(loads(dumps(value))) == shape(value)


@given(st.binary(max_size=60))
@settings(max_examples=examples(300), deadline=None)
def test_arbitrary_bytes_are_a_value_or_a_decode_error(data: bytes) -> None:
    check_reads_or_refuses(data)


_ODD_CONTENTS: tuple[Any, ...] = (
    *(
        "../../etc/passwd",
        "/etc/localtime",
        "Europe",
        "Europe/Berlin",
        "x\0y",
        "posixrules",
        "tzdata.zi",
        "é",
        "n" * 5000,
    ),
    *(
        "2024-01-01",
        "2024-01-01T00:00:00",
        "24:00",
        "12:00+23:59",
        "0001-01-01T00:00:00+23:59",
        "1E+999999999999999999999",
    ),
    *("sNaN", "0x" + "f" * 50, "9" * 5000, "inf", "nan", "1", "\\ud800", "\\", "\\ud8", "AA=", "A" * 7, "=", "{" * 32),
    *(2**64, 1e308, -1, 10**9, True, None, 2, {}, [], [[]], [[[], 1]], [[{}, 1]], [1, 2], ["ab"], [[1, 2, 3]]),
)
forged_json = st.recursive(
    st.sampled_from(_ODD_CONTENTS)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.builds(lambda tag, content: {tag: content}, st.sampled_from(TAGS), inner),
        st.dictionaries(st.sampled_from(TAGS) | st.text(max_size=2), inner, max_size=3),
    ),
    max_leaves=10,
)


@given(forged_json)
@settings(max_examples=examples(1000), deadline=None)
def test_arbitrary_json_is_a_value_or_a_decode_error(content: Any) -> None:
    check_reads_or_refuses(json.dumps(content).encode())


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Canonical bytes with some cut out, changed, or taken from the bytes of another value."""
    data = bytearray(dumps(draw(storable)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data[start:end] = draw(st.binary(max_size=3) | st.sampled_from(TAGS).map(str.encode) | storable.map(dumps))
    return bytes(data)


@given(mutated())
@settings(max_examples=examples(500), deadline=None)
def test_mutated_canonical_bytes_are_a_value_or_a_decode_error(data: bytes) -> None:
    check_reads_or_refuses(data)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "nul", "1 2", "NaN", "1e999", '"\\ud800"', '"\\x"', "{1: 2}", "[1,]", '{"a": 1'),
        *('{"$object": "os.system"}', '{"$": 1}', '{"$decimal": "1", "b": 2}', '{"a": {"$tuple": [], "$set": []}}'),
        *('{"$str": 1}', '{"$str": "\\\\u0041"}', '{"$str": "\\\\"}', '{"$int": 5}', '{"$int": "x"}', '{"$int": ""}'),
        *('{"$float": "1.5"}', '{"$float": []}', '{"$bytes": "A"}', '{"$bytes": "é==="}', '{"$bytes": [1]}'),
        *('{"$datetime": "yesterday"}', '{"$datetime": 5}', '{"$datetime": null}', '{"$datetime": [1, 2, 3]}'),
        *('{"$datetime": ["2024-01-01T00:00:00+00:00", "UTC"]}', '{"$datetime": ["2024-01-01T00:00:00", null, 2]}'),
        *('{"$date": "2024-02-30"}', '{"$time": "25:00"}', '{"$time": ["12:00", 7, 0]}', '{"$uuid": "no"}'),
        *('{"$timedelta": [1e308, 0, 0]}', '{"$timedelta": [999999999, 86400, 0]}', '{"$timedelta": ["1", 0, 0]}'),
        *('{"$timedelta": [1]}', '{"$decimal": "ten"}', '{"$decimal": 1.5}', '{"$decimal": "1E+9999999999999999999"}'),
        *('{"$tuple": "ab"}', '{"$tuple": {}}', '{"$set": [[]]}', '{"$set": [{}]}', '{"$frozenset": [{"$set": []}]}'),
        *('{"$set": [{"$decimal": "sNaN"}]}', '{"$dict": [[[], 1]]}', '{"$dict": [[1]]}', '{"$dict": [1]}'),
        '{"$dict": {"a": 1}}',
    ],
)
def test_broken_text_is_a_decode_error(text: str) -> None:
    with pytest.raises(DecodeError):
        loads(text.encode())


@pytest.mark.parametrize("depth", [300, 500, 1000, 100_000])
@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"$tuple":[', "]}"), ('{"a":', "}"), ('{"$dict":[[1,', "]]}")]
)
def test_deep_nesting_is_read_or_refused(opening: str, closing: str, depth: int) -> None:
    data = (opening * depth + '{"$tuple":[]}' + closing * depth).encode()
    try:
        loads(data)
    except DecodeError:
        return
    assert depth < 1000


_WATCHED = """
import json, sys, zoneinfo
from docshelf.values.json import DecodeError, loads

def read(zone):
    for tag, stamp in (("$datetime", "2024-01-01T00:00:00+00:00"), ("$time", "12:00:00")):
        try:
            loads(json.dumps({tag: [stamp, zone, 0]}).encode())
        except DecodeError:
            pass

names = json.load(sys.stdin)
read("Nowhere/Nothing")  # imports whatever the lookup needs
opened = []
sys.addaudithook(lambda name, arguments: opened.append(str(arguments[0])) if name == "open" else None)
for name in names:
    read(name)
json.dump([opened, zoneinfo.TZPATH], sys.stdout)
"""


def test_a_zone_name_opens_no_file_outside_the_zone_database(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"TZif")
    names = [
        "../../../../etc/passwd",
        "/etc/localtime",
        "/etc/passwd",
        "Europe/../../../../../etc/passwd",
        str(outside),
    ]
    names += [
        f"../../../..{outside}",
        f"Europe/../../../../..{outside}",
        ".",
        "..",
        "",
        "~/x",
        "Europe",
        "Europe/Berlin",
    ]
    run = subprocess.run(
        [sys.executable, "-c", _WATCHED], input=json.dumps(names), text=True, check=True, capture_output=True
    )
    opened, database = json.loads(run.stdout)
    assert any(name.endswith("Europe/Berlin") for name in opened), "the hook sees what is opened"
    packaged = Path("tzdata", "zoneinfo")
    # What Python opens to import its own modules is no zone.
    for name in (path for path in map(Path, opened) if path.suffix not in (".py", ".pyc")):
        assert ".." not in name.parts
        assert any(name.is_relative_to(folder) for folder in database) or str(packaged) in str(name)


# What cannot be stored


class Foo:
    pass


class Timestamp(datetime):
    """As pandas has it: a datetime with more digits than a datetime holds."""


class Money(Decimal):
    pass


class Tags(set):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Foo(), "Foo"),
        (Foo, "type"),
        (Timestamp(2024, 1, 1), "Timestamp"),
        (Money("1"), "Money"),
        (Tags(), "Tags"),
        (1j, "complex"),
        (bytearray(b"x"), "bytearray"),
        (memoryview(b"x"), "memoryview"),
        (range(3), "range"),
        ({}.keys(), "dict_keys"),
        (iter([]), "list_iterator"),
        (UserDict(), "UserDict"),
        (Fraction(1, 3), "Fraction"),
        (len, "builtin_function_or_method"),
        (timezone.utc, "timezone"),
        (BERLIN, "ZoneInfo"),
        (NotImplemented, "NotImplementedType"),
        (np.array(1), "ndarray"),
        (np.array([1, 2]), "ndarray"),
        (np.complex128(1), "complex128"),
        (np.datetime64("2024-01-01"), "datetime64"),
        (np.timedelta64(5, "s"), "timedelta64"),
        (np.timedelta64(5, "ns"), "timedelta64"),
        (np.bytes_(b"x"), "bytes_"),
        (np.void(b"x"), "void"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_an_error_that_names_its_type(value: Any, name: str) -> None:
    with pytest.raises(EncodeError) as caught:
        dumps(value)
    assert str(caught.value).startswith(f"cannot store a {name} (storable are None, ")


def test_a_time_zone_without_an_offset_is_an_error() -> None:
    with pytest.raises(EncodeError, match=r"^moments\[1\]: cannot store a datetime whose time zone has no offset"):
        dumps({"moments": [None, datetime(2024, 1, 1, tzinfo=WithoutOffset())]})


def zone_named(name: str) -> ZoneInfo:
    """A zone of two hours east that was read from a file and given a name of the caller's."""
    header = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(io.BytesIO(header + struct.pack(">lbb", 7200, 0, 0) + b"XST\0"), key=name)


@pytest.mark.parametrize("name", ["../../x", "/x", "\ud800", "Mars/Olympus"])
def test_an_invented_zone_is_rejected_or_read_back_as_the_same_instant(name: str) -> None:
    moment = datetime(2024, 7, 1, 12, tzinfo=zone_named(name))
    try:
        data = dumps(moment)
    except EncodeError:
        return
    assert loads(data) == moment


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"metadata": {"pages": [0, 1, 2, {"loc": Foo()}]}}, "metadata.pages[3].loc: "),
        ([1, (2, {"a": Foo()})], "[1][1].a: "),
        ({"two words": {"k": Foo()}}, "['two words'].k: "),
        ({"a": {7: Foo()}}, "a[7]: "),
        ({"a": {(1, "x"): Foo()}}, "a[(1, 'x')]: "),
        ({"$a": Foo()}, "['$a']: "),
        ({"": Foo()}, "['']: "),
        ({"a": {"b": 1, "c": {Foo: 1}}}, f"a.c.<key {Foo!r:.40}>: "),
        ({"a": [1, "\ud800", Foo()]}, "a[2]: "),
        (Foo(), ""),
    ],
    ids=[
        *("dicts and lists", "tuple", "words", "int key", "tuple key", "dollar", "empty", "key", "surrogate", "itself")
    ],
)
def test_an_error_names_the_path_in_the_words_of_the_data(value: Any, path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        dumps(value)
    expected = "type" if "<key" in path else "Foo"
    assert str(caught.value).startswith(f"{path}cannot store a {expected} (")


def test_a_member_of_a_set_that_cannot_be_stored_is_named_with_the_set() -> None:
    with pytest.raises(EncodeError, match=r"^a\.tags\{\}: cannot store a Foo "):
        dumps({"a": {"tags": {1, Foo()}}})


# Subclasses are stored as what they are made of


class Color(IntEnum):
    RED = 7


class Word(str, Enum):
    YES = "yes"


class Text(str):
    def __str__(self) -> str:
        return "something else"


class Huge(int):
    pass


class Ratio(float):
    pass


class Point(NamedTuple):
    x: int
    y: int


Pair = namedtuple("Pair", "a b")


class Row(list):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Color.RED, 7),
        (Word.YES, "yes"),
        (Text("as it is"), "as it is"),
        (Text("\ud800"), "\ud800"),
        (Huge(2**80), 2**80),
        (Ratio("nan"), float("nan")),
        (Ratio(0.5), 0.5),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (Point(1, 2), (1, 2)),
        (Pair([1], None), ([1], None)),
        (Row([1, Row()]), [1, []]),
        ({Word.YES: 1, Color.RED: 2}, {"yes": 1, 7: 2}),
        ({Text("$x"): {Point(0, 0): 1}}, {"$x": {(0, 0): 1}}),
        ({Color.RED, Word.YES}, {7, "yes"}),
        (np.bool_(True), True),
        (np.int8(-5), -5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.longlong(-(2**63)), -(2**63)),
        (np.float16(0.1), 0.0999755859375),
        (np.float32(0.1), 0.10000000149011612),
        (np.float64("nan"), float("nan")),
        (np.float32("-inf"), float("-inf")),
        (np.longdouble(0.5), 0.5),
        (np.longdouble("nan"), float("nan")),
        (np.str_("x\0"), "x\0"),
        ({np.int64(3): [np.float64(-0.0)]}, {3: [-0.0]}),
        ({np.str_("a"): np.bool_(False)}, {"a": False}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_is_stored_as_the_type_it_is_made_of(value: Any, base: Any) -> None:
    assert dumps(value) == dumps(base)
    assert shape(loads(dumps([value]))) == shape([base])


_NUMBERS = sorted({kind for kind in np.sctypeDict.values() if issubclass(kind, np.number | np.bool_)}, key=repr)


@pytest.mark.parametrize("kind", _NUMBERS, ids=lambda kind: kind.__name__)
def test_every_kind_of_numpy_number_is_stored_as_a_python_number_or_refused(kind: Any) -> None:
    scalar = kind(1, "s") if kind is np.timedelta64 else kind(1)
    if isinstance(scalar, np.complexfloating | np.timedelta64):
        with pytest.raises(EncodeError, match=f"cannot store a {type(scalar).__name__} "):
            dumps(scalar)
        return
    back = loads(dumps(scalar))
    assert type(back) in (bool, int, float)
    assert back == scalar


@pytest.mark.skipif(np.finfo(np.longdouble).eps == np.finfo(float).eps, reason="here a longdouble is a double")
@pytest.mark.parametrize("value", [np.longdouble(1) / 3, np.finfo(np.longdouble).max], ids=["digits", "range"])
def test_a_longdouble_that_would_lose_digits_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError, match="a: cannot store a longdouble"):
        dumps({"a": value})


# Depth


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("leaf", [1, ODD_WALL_TIMES[0], "\ud800"], ids=["plain", "tagged", "surrogate"])
def test_a_value_of_any_depth_is_read_back_or_rejected(wrap: Callable[[Any], Any], leaf: Any) -> None:
    refused = set()
    for depth in itertools.chain(range(1, 60, 7), range(60, MAX_DEPTH + 3)):
        value = nested(depth, wrap, leaf)
        try:
            data = dumps(value)
        except EncodeError as exc:
            assert "nested deeper than" in str(exc)
            refused.add(depth)
        else:
            assert not refused, "one that is less deep was refused"
            assert dumps(loads(data)) == data
    assert MAX_DEPTH + 1 in refused


@pytest.mark.parametrize("wrap", [set, frozenset, dict.fromkeys], ids=["set", "frozenset", "dict"])
def test_members_of_one_hash_are_refused_both_ways(wrap: Callable[[Any], Any]) -> None:
    many = [number * (2**61 - 1) for number in range(1, 2_000)]
    with pytest.raises(EncodeError, match=r"^inner: more than 100 members or keys have one hash"):
        dumps({"inner": wrap(many[:101])})
    few = wrap(many[:100])
    assert loads(dumps(few)) == few
    mixed = wrap([*many[:100], *range(1, 10_000), *(f"{number}" for number in range(10_000))])
    assert loads(dumps(mixed)) == mixed


@pytest.mark.parametrize("leaf", [1, b"x"], ids=["plain", "tagged"])
def test_lists_may_be_nested_as_deep_as_the_limit_says(leaf: Any) -> None:
    value = nested(MAX_DEPTH, WRAPS["list"], leaf)
    assert loads(dumps(value)) == value


def _in_list(leaf: Any) -> Any:
    value = [leaf]
    value.append(value)
    return value


def _in_dict() -> Any:
    value: dict[Any, Any] = {}
    value["a"] = {1: [value]}
    return value


def _in_tuple() -> Any:
    value: tuple[Any, ...] = ([],)
    value[0].append(value)
    return value


CYCLIC: dict[str, Any] = {
    "itself in a plain list": _in_list("x"),
    "itself in a list": _in_list(b"x"),
    "itself in a dict": _in_dict(),
    "itself in a tuple": _in_tuple(),
}


@pytest.mark.parametrize("name", CYCLIC)
def test_a_value_that_is_part_of_itself_is_refused(name: str) -> None:
    with pytest.raises(EncodeError, match="nested deeper than"):
        dumps(CYCLIC[name])


@pytest.mark.parametrize("left", [60, 150, 300, 500])
@pytest.mark.parametrize("leaf", [1, b"x"], ids=["plain", "tagged"])
@pytest.mark.parametrize("name", WRAPS)
def test_deep_in_a_stack_a_deep_value_is_written_or_an_encode_error(name: str, leaf: Any, left: int) -> None:
    value = nested(80, WRAPS[name], leaf)

    def attempt() -> bytes | None:
        try:
            return dumps(value)
        except EncodeError:
            return None

    data = with_frames_left(left, attempt)
    assert data is None or data == dumps(value)


@pytest.mark.parametrize("left", [60, 150, 300, 500])
@pytest.mark.parametrize("name", CYCLIC)
def test_deep_in_a_stack_a_value_that_is_part_of_itself_is_refused(name: str, left: int) -> None:
    with pytest.raises(EncodeError, match="nested deeper than"):
        with_frames_left(left, lambda: dumps(CYCLIC[name]))


@pytest.mark.parametrize("left", [60, 150, 300, 500])
@pytest.mark.parametrize("name", WRAPS)
def test_deep_in_a_stack_a_deep_value_is_read_or_the_stack_is_blamed(name: str, left: int) -> None:
    data = dumps(nested(80, WRAPS[name], b"x"))

    def attempt() -> Any:
        try:
            return loads(data)
        except RecursionError:
            return None

    value = with_frames_left(left, attempt)
    assert value is None or dumps(value) == data
