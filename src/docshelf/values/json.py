"""Canonical, lossless, safe JSON: equal values give the same bytes in every process, and are read back unchanged.

A type that JSON lacks is written as an object with one key that starts with "$", a tag: `{"$decimal": "1.10"}`. A
user's dict with keys that start with "$", or that are not text, is written as `{"$dict": [[key, value], ...]}`. So user
data never looks like a tag. The set of tags is fixed: reading creates these types and no others.
"""

from __future__ import annotations

import base64
import binascii
import math
import numbers
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from docshelf.validation import plain_value

if TYPE_CHECKING:
    from collections.abc import Callable

# How deep written containers may nest. A tuple or set takes two levels, a dict with keys that are not text three.
# orjson's own limit is 254.
MAX_DEPTH: Final = 250
# Below this many brackets, no value nests deeper than orjson writes.
_FEW_BRACKETS: Final = 250
# Containers with more members than this are not looked through.
_FEW_MEMBERS: Final = 50
# How many members of a set, or keys of a dict, may have one hash. Python compares each of them with all others: 50,000
# multiples of 2**61 - 1, whose hash is 0, would take minutes.
_MAX_EQUAL_HASHES: Final = 100
# Types whose values orjson writes without loss or rejects.
_ATOMS: Final = frozenset((str, int, bool, type(None)))
_DOLLAR: Final = ord("$")
# Below this, all versions of orjson write floats alike; from here on, 3.11 writes 1e16 and 3.13 writes 1e+16.
_PLAIN_FLOATS: Final = 1e16
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_STORABLE: Final = (
    "None, bool, int, float, str, bytes, datetime, date, time, timedelta, UUID, Decimal, "
    "list, tuple, set, frozenset, dict, numpy scalars, paths, and Enums of these"
)


class EncodeError(Exception):
    """A value cannot be stored. `path` is the place within it, such as `metadata.pages[3]`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)


class DecodeError(Exception):
    """Bytes that `dumps` cannot have written."""


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value.

    Args:
        value: None, bool, int of any size, float with NaN and infinities, str with NUL and lone surrogates, bytes,
            datetime, date, time, timedelta, UUID, Decimal, tuple, set, frozenset, list, and dict with any of these as
            keys. Subclasses of str, int, float, list, tuple and dict are stored as that type, numpy scalars as Python
            numbers, a `PurePath` as its `as_posix()` text, an Enum as its value.

    Returns:
        UTF-8 JSON with sorted keys and no white space.

    Raises:
        EncodeError: the value contains anything else. Names the path to it.
    """
    try:
        if _is_plain(value, MAX_DEPTH):
            try:
                data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            except orjson.JSONEncodeError:
                pass  # a lone surrogate or an int of more than 64 bits: needs a tag
            else:
                if not _may_hold_tags(data) or _has_plain_keys(value):
                    return data
        return orjson.dumps(_Encoder().encode(value, MAX_DEPTH), option=orjson.OPT_SORT_KEYS)
    except RecursionError:
        raise EncodeError("", "nested deeper than Python's recursion limit allows here") from None


def loads(data: bytes) -> Any:
    """The value of some canonical bytes.

    Raises:
        DecodeError: `dumps` cannot have written these bytes.
        MemoryError, RecursionError: this process lacks the memory, or its caller left too little of the stack.
    """
    try:
        value = orjson.loads(data)
        # Counting takes longer than parsing: most values are seen to be shallow by a look at a few members.
        if not _is_shallow(value) and data.count(b"[") + data.count(b"{") > _FEW_BRACKETS:
            _check_depth(value)
        return _decode(value) if _may_hold_tags(data) else value
    except DecodeError:
        raise
    except orjson.JSONDecodeError as exc:
        if "memory" in exc.msg:  # orjson's own texts say nothing of the data
            raise MemoryError(f"too little memory to read a value of {len(data):,} bytes") from exc
        raise DecodeError(f"not canonical JSON ({type(exc).__name__})") from exc
    except (ValueError, TypeError, ArithmeticError, DecimalException) as exc:
        raise DecodeError(f"not canonical JSON ({type(exc).__name__})") from exc


def _is_shallow(value: Any, depth: int = 3) -> bool:
    """True when `value` nests no deeper than this. False where that would take long to find out, too."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return True
    if depth == 0 or len(value) > _FEW_MEMBERS:
        return not value
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if (kind is dict or kind is list) and not _is_shallow(item, depth - 1):
            return False
    return True


def _check_depth(value: Any) -> None:
    """Raise a DecodeError for what nests deeper than `dumps` writes: nothing else could print, compare or write it."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        if "ecursion" in str(exc):
            raise DecodeError(f"nested deeper than {MAX_DEPTH} levels") from None


def _may_hold_tags(data: bytes) -> bool:
    """False if the data contains no tag, which is so for most documents."""
    # Every tag begins with this pair of bytes. Searching for a single byte first takes a tenth of the time.
    return _DOLLAR in data and b'"$' in data


def _is_plain(value: Any, depth: int) -> bool:
    """True when orjson itself writes `value` without loss, or rejects it. Keys that look like tags are not checked."""
    kind = type(value)
    if kind is dict and depth > 0:
        for key in value:
            if type(key) is not str:
                return False
        for item in value.values():
            kind = type(item)
            if kind is not str and kind not in _ATOMS and not _is_plain(item, depth - 1):
                return False
        return True
    if kind is list and depth > 0:
        for item in value:
            kind = type(item)
            if kind is not str and kind not in _ATOMS and not _is_plain(item, depth - 1):
                return False
        return True
    return kind in _ATOMS or (kind is float and -_PLAIN_FLOATS < value < _PLAIN_FLOATS)


def _has_plain_keys(value: Any) -> bool:
    """True when no key within nested dicts and lists starts like a tag."""
    if type(value) is dict:
        for key, item in value.items():
            if key[:1] == "$" or (type(item) is not str and not _has_plain_keys(item)):
                return False
    elif type(value) is list:
        for item in value:
            if type(item) is not str and not _has_plain_keys(item):
                return False
    return True


_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED: Final = re.compile("[\ud800-\udfff\\\\]")
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_UNESCAPE: Final = re.compile(r"\\(\\|u(d[89a-f][0-9a-f]{2})|)")


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return "\\\\" if char == "\\" else f"\\u{ord(char):04x}"


def _unescape(match: re.Match[str]) -> str:
    if match.group(1) == "\\":
        return "\\"
    if not match.group(2):
        raise DecodeError("a $str with a broken escape")
    return chr(int(match.group(2), 16))


class _Encoder:
    """Turns a value into one that orjson writes without loss. Tracks the path for error messages."""

    def __init__(self) -> None:
        self._path: list[str] = []

    def encode(self, value: Any, depth: int) -> Any:
        simple = _SIMPLE.get(type(value))
        if simple is not None:
            try:
                return simple(value)
            except ValueError as exc:
                raise self._error(str(exc)) from None
        if depth <= 0:
            raise EncodeError("", f"nested deeper than {MAX_DEPTH} levels (is it part of itself?)")
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, tuple):
            return {"$tuple": self._items(value, depth - 2)}
        if isinstance(value, list):
            return self._items(value, depth - 1)
        if type(value) is set or type(value) is frozenset:
            self._check_hashes(value)
            tag = "$set" if type(value) is set else "$frozenset"
            return {tag: self._members(value, depth - 2)}
        builtin = _as_builtin(value)
        if builtin is not None:
            return self.encode(builtin, depth)
        plain = plain_value(value)
        if plain is not value:
            return self.encode(plain, depth - 1)
        raise self._error(f"cannot store a {type(value).__qualname__} (storable are {_STORABLE}); {_remedy(value)}")

    def _error(self, problem: str) -> EncodeError:
        path = "".join(self._path)
        return EncodeError(path[1:] if path.startswith(".") else path, problem)

    def _check_hashes(self, members: Collection[Any]) -> None:
        if _equal_hashes(members):
            raise self._error(f"more than {_MAX_EQUAL_HASHES} members or keys have one hash; use a list")

    # These use two stack frames per level, so that values of MAX_DEPTH stay within Python's recursion limit.

    def _items(self, values: Iterable[Any], depth: int, step: str | None = None) -> list[Any]:
        encoded = []
        for position, value in enumerate(values):
            self._path.append(step or f"[{position}]")
            encoded.append(self.encode(value, depth))
            self._path.pop()
        return encoded

    def _members(self, values: set[Any] | frozenset[Any], depth: int) -> list[Any]:
        return sorted(self._items(values, depth, "{}"), key=_sort_key)

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        keys = [key if isinstance(key, str) else plain_value(key) for key in value]
        try:
            value = dict(zip(keys, value.values(), strict=True))
        except TypeError:
            raise self._error("a key is an Enum of something that cannot be a key; use its name") from None
        if len(value) < len(keys):
            raise self._error("two keys, one of them a path or an Enum, would be stored as one; rename one of them")
        plain = all(isinstance(key, str) and not key.startswith("$") and not _SURROGATE.search(key) for key in keys)
        if not plain:
            self._check_hashes(value)
        pairs = []
        for key, item in value.items():
            if plain:
                name = str.__str__(key)
            else:
                self._path.append(f".<key {key!r:.40}>")
                name = self.encode(key, depth - 3)
                self._path.pop()
            self._path.append(_step(key))
            pairs.append([name, self.encode(item, depth - (1 if plain else 3))])
            self._path.pop()
        return dict(pairs) if plain else {"$dict": sorted(pairs, key=_sort_key)}


def _remedy(value: Any) -> str:
    """What to do with a value that cannot be stored, so that the data in it are stored."""
    if isinstance(value, bytearray | memoryview):
        return "use bytes(...)"
    for method in ("tolist", "model_dump", "to_dict", "isoformat"):
        if callable(getattr(value, method, None)) and not isinstance(value, type):
            return f"use .{method}()"
    if is_dataclass(value) and not isinstance(value, type):
        return "use dataclasses.asdict(...)"
    return "use list(...)" if isinstance(value, Iterable) else "use str(...)"


def _step(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r:.40}]"


def _sort_key(encoded: Any) -> bytes:
    return orjson.dumps(encoded, option=orjson.OPT_SORT_KEYS)


def _str(value: str) -> Any:
    if value.isascii() or not _SURROGATE.search(value):
        return value
    return {"$str": _ESCAPED.sub(_escape, value)}


def _int(value: int) -> Any:
    # Hexadecimal, because Python limits the length of decimal conversions only.
    return value if _INT_MIN <= value <= _INT_MAX else {"$int": hex(value)}


def _float(value: float) -> Any:
    if -_PLAIN_FLOATS < value < _PLAIN_FLOATS:
        return value
    return orjson.Fragment(repr(value)) if math.isfinite(value) else {"$float": str(value)}


def _zone_of(value: datetime | time) -> str | None:
    """The name of the time zone if it can be looked up again; else None: only the offset is stored."""
    zone: tzinfo | None = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key and _ZONE.fullmatch(zone.key):
        with suppress(OSError, KeyError, ValueError):
            if value.replace(tzinfo=ZoneInfo(zone.key)).utcoffset() == value.utcoffset():
                return zone.key
    if zone is not None and value.utcoffset() is None:
        raise ValueError(f"cannot store a {type(value).__name__} whose time zone has no offset")
    return None


def _zoned(value: datetime | time) -> Any:
    zone = _zone_of(value)
    return [value.isoformat(), zone, value.fold] if zone or value.fold else value.isoformat()


def _timedelta(value: timedelta) -> Any:
    return {"$timedelta": [value.days, value.seconds, value.microseconds]}


_SIMPLE: Final[dict[type, Callable[[Any], Any]]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    str: _str,
    int: _int,
    float: _float,
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode("ascii")},
    datetime: lambda value: {"$datetime": _zoned(value)},
    date: lambda value: {"$date": value.isoformat()},
    time: lambda value: {"$time": _zoned(value)},
    timedelta: _timedelta,
    UUID: lambda value: {"$uuid": str(value)},
    Decimal: lambda value: {"$decimal": str(value)},
}


def _as_builtin(value: Any) -> bool | int | float | str | None:
    """A subclass of a built-in scalar, or a numpy scalar, as the built-in; else None. Loses no precision."""
    if isinstance(value, str):
        return str.__str__(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.bool_):
        return bool(value)
    if numpy is not None and isinstance(value, numpy.timedelta64):
        return None  # numpy registers it as an integer
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float) or (numpy is not None and isinstance(value, numpy.floating)):
        number = float(value)
        return number if number == value or math.isnan(number) else None
    return None


def _decode(value: Any) -> Any:
    if type(value) is list:
        return [_decode(item) for item in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        [(key, content)] = value.items()
        if key[:1] == "$":
            decoder = _DECODERS.get(key)
            if decoder is None:
                raise DecodeError(f"unknown tag {key[:40]!r}")
            return decoder(content)
    decoded = {}
    for key, item in value.items():
        if key[:1] == "$":
            raise DecodeError(f"a tag {key[:40]!r} beside other keys")
        decoded[key] = _decode(item)
    return decoded


def _text(content: Any) -> str:
    if type(content) is not str:
        raise DecodeError("a tag with content that is not text")
    return content


def _equal_hashes(members: Collection[Any]) -> bool:
    """True if so many members have one hash that a set or dict of them would take the square of their time."""
    if len(members) <= _MAX_EQUAL_HASHES:
        return False
    return max(Counter(map(hash, members)).values()) > _MAX_EQUAL_HASHES


def _members(content: Any) -> list[Any]:
    members = _list(content)
    if _equal_hashes(members):
        raise DecodeError(f"a set with more than {_MAX_EQUAL_HASHES} members of one hash")
    return members


def _list(content: Any) -> list[Any]:
    if type(content) is not list:
        raise DecodeError("a tag with content that is not a list")
    return [_decode(item) for item in content]


def _decode_float(content: Any) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise DecodeError("a $float that is neither NaN nor infinite")
    return float(content)


def _decode_zoned(kind: type[datetime] | type[time]) -> Callable[[Any], Any]:
    def parse(stamp: str) -> datetime | time:
        value: datetime | time = kind.fromisoformat(stamp)
        sign, fraction = stamp[-16:-6], stamp[-6:]
        if sign in ("+00:00:00.", "-00:00:00."):
            # CPython (3.10 to 3.13 at least) ignores an offset of less than a second.
            value = value.replace(tzinfo=timezone(timedelta(microseconds=int(sign[0] + fraction))))
        return value

    def decode(content: Any) -> datetime | time:
        if type(content) is str:
            return parse(content)
        stamp, zone, fold = content
        value = parse(_text(stamp)).replace(fold=int(fold))
        if zone is None:
            return value
        if not _ZONE.fullmatch(_text(zone)):
            raise DecodeError("a time zone with an invalid name")
        try:
            named = value.replace(tzinfo=ZoneInfo(zone))
            # If the rules of the zone have changed since, keep the instant that was written.
            return named if isinstance(value, time) or named.utcoffset() == value.utcoffset() else value
        except (OSError, KeyError, ValueError, OverflowError):
            # This machine does not know the zone, or its file is broken. The offset still gives the same instant.
            return value

    return decode


def _decode_dict(content: Any) -> dict[Any, Any]:
    pairs = _list(content)
    if _equal_hashes([key for key, _ in pairs]):
        raise DecodeError(f"a $dict with more than {_MAX_EQUAL_HASHES} keys of one hash")
    return dict(pairs)


def _decode_bytes(content: Any) -> bytes:
    try:
        return base64.b64decode(_text(content), validate=True)
    except binascii.Error as exc:
        raise DecodeError("a $bytes that is not base64") from exc


def _decode_timedelta(content: Any) -> timedelta:
    days, seconds, microseconds = content
    return timedelta(days, seconds, microseconds)


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$str": lambda content: _UNESCAPE.sub(_unescape, _text(content)),
    "$int": lambda content: int(_text(content), 16),
    "$float": _decode_float,
    "$bytes": _decode_bytes,
    "$datetime": _decode_zoned(datetime),
    "$date": lambda content: date.fromisoformat(_text(content)),
    "$time": _decode_zoned(time),
    "$timedelta": _decode_timedelta,
    "$uuid": lambda content: UUID(_text(content)),
    "$decimal": lambda content: Decimal(_text(content)),
    "$tuple": lambda content: tuple(_list(content)),
    "$set": lambda content: set(_members(content)),
    "$frozenset": lambda content: frozenset(_members(content)),
    "$dict": _decode_dict,
}
