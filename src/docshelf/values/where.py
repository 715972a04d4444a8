"""What `where` means: conditions on the fields of a value, judged here for every database alike.

Numbers compare with numbers, texts with texts, dates with dates. Values of different types are not equal, and none of
them is greater: that is false, never an error.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.values.json import EncodeError, dumps, loads

Fields = Mapping[Any, Any]
"""What conditions look at: the metadata of a document, or a plain dict itself."""
# Levels of conditions in conditions, and how many values a list of `$in` may have.
_MAX_DEPTH: Final = 50
_MAX_LIST: Final = 100_000
_MISSING: Final = object()
_MIDNIGHT: Final = datetime(1, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)


class Condition(ABC):
    """What fields have to be."""

    @abstractmethod
    def matches(self, fields: Fields) -> bool:
        """True when the fields are so. Raises nothing."""


@dataclass(frozen=True)
class All(Condition):
    """Every one of its parts; without parts, anything."""

    parts: tuple[Condition, ...]

    def matches(self, fields: Fields) -> bool:
        return all(part.matches(fields) for part in self.parts)


@dataclass(frozen=True)
class AnyOf(Condition):
    """One of its parts at least."""

    parts: tuple[Condition, ...]

    def matches(self, fields: Fields) -> bool:
        return any(part.matches(fields) for part in self.parts)


@dataclass(frozen=True)
class Not(Condition):
    """The opposite of its part."""

    part: Condition

    def matches(self, fields: Fields) -> bool:
        return not self.part.matches(fields)


@dataclass(frozen=True)
class Exists(Condition):
    """There is a field of this name, None included; or there is none."""

    name: str
    wanted: bool

    def matches(self, fields: Fields) -> bool:
        return (field_of(fields, self.name) is not _MISSING) == self.wanted


@dataclass(frozen=True)
class OneOf(Condition):
    """The field equals one of these values, of which there may be one or none."""

    name: str
    values: tuple[Any, ...]
    keys: frozenset[Hashable]

    def matches(self, fields: Fields) -> bool:
        found = field_of(fields, self.name)
        return found is not _MISSING and typed(found) in self.keys


@dataclass(frozen=True)
class Contains(Condition):
    """The field is a list, tuple or set with a member that equals this value."""

    name: str
    value: Any
    key: Hashable

    def matches(self, fields: Fields) -> bool:
        found = field_of(fields, self.name)
        return type(found) in _COLLECTIONS and any(typed(member) == self.key for member in found)


@dataclass(frozen=True)
class Ordered(Condition):
    """The field is of the same type as a value, and stands to it as an operator says."""

    name: str
    operator: str
    kind: str
    rank: Any

    def matches(self, fields: Fields) -> bool:
        kind, rank = _rank(field_of(fields, self.name))
        return kind == self.kind and bool(_ORDERS[self.operator](rank, self.rank))


_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}
_ON_FIELDS: Final = ("$eq", "$ne", *_ORDERS, "$in", "$nin", "$exists", "$contains", "$not")
_ON_CONDITIONS: Final = ("$and", "$or", "$not")
_COLLECTIONS: Final = (list, tuple, set, frozenset)


def parse_where(where: Any) -> Condition:
    """The condition that a caller's `where` stands for.

    Raises:
        ArgumentTypeError, ArgumentValueError: it stands for none; the text names the place in it.
    """
    return _condition(where, "where", _MAX_DEPTH)


def field_of(fields: Fields, name: str) -> Any:
    """The field of a name, or a mark that there is none: see `is_missing`.

    A dot leads into an object that a field holds, unless a field has the whole name.
    """
    if name in fields:
        return fields[name]
    start = 0
    while (dot := name.find(".", start)) >= 0:
        inner = fields.get(name[:dot])
        if type(inner) is dict:
            found = field_of(inner, name[dot + 1 :])
            if found is not _MISSING:
                return found
        start = dot + 1
    return _MISSING


def is_missing(value: Any) -> bool:
    """True for what `field_of` gives where there is no such field."""
    return value is _MISSING


def _condition(where: Any, place: str, depth: int) -> Condition:
    if not isinstance(where, Mapping):
        raise ArgumentTypeError(f"{place} is a {type(where).__name__}; give a mapping of names to values")
    if depth <= 0:
        raise ArgumentValueError(f"{place}: nested deeper than {_MAX_DEPTH} levels")
    parts: list[Condition] = []
    for name, content in where.items():
        here = f"{place}[{name!r:.60}]"
        if not isinstance(name, str):
            raise ArgumentTypeError(f"{place}: the name {name!r:.60} is a {type(name).__name__}; names are text")
        if name in ("$and", "$or"):
            inner = tuple(_condition(one, f"{here}[{n}]", depth - 1) for n, one in enumerate(_listed(content, here)))
            if not inner:
                raise ArgumentValueError(f"{here} is empty; give at least one condition")
            parts.append(All(inner) if name == "$and" else AnyOf(inner))
        elif name == "$not":
            parts.append(Not(_condition(content, here, depth - 1)))
        elif name.startswith("$"):
            hint = f"write {{'name': {{{name!r}: ...}}}}" if name in _ON_FIELDS else _known(_ON_CONDITIONS)
            raise ArgumentValueError(f"{here}: {name!r:.60} is no operator between conditions; {hint}")
        else:
            parts.append(_on_field(name, content, here, depth - 1))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _on_field(name: str, content: Any, place: str, depth: int) -> Condition:
    """What a field has to be: a plain value means equal, a mapping of operators what they say."""
    if not _has_operators(content, place):
        return _one_of(name, [content], place)
    if depth <= 0:
        raise ArgumentValueError(f"{place}: nested deeper than {_MAX_DEPTH} levels")
    parts = tuple(_operation(name, operator, value, place, depth) for operator, value in content.items())
    return parts[0] if len(parts) == 1 else All(parts)


def _has_operators(content: Any, place: str) -> bool:
    if not isinstance(content, Mapping) or not content:
        return False
    named = [isinstance(name, str) and name.startswith("$") for name in content]
    if any(named) and not all(named):
        raise ArgumentValueError(f"{place} has operators beside other names; {_known(_ON_FIELDS)}")
    return all(named)


def _operation(name: str, operator: str, value: Any, place: str, depth: int) -> Condition:
    here = f"{place}[{operator!r:.60}]"
    if operator == "$not":
        return Not(_on_field(name, value, here, depth - 1))
    if operator == "$exists":
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{here} is a {type(value).__name__}; give True or False")
        return Exists(name, value)
    if operator in ("$in", "$nin"):
        within = _one_of(name, _listed(value, here), here)
        return within if operator == "$in" else Not(within)
    if operator in ("$eq", "$ne"):
        equal = _one_of(name, [value], here)
        return equal if operator == "$eq" else Not(equal)
    if operator == "$contains":
        member = _stored(value, here)
        return Contains(name, member, typed(member))
    if operator in _ORDERS:
        kind, rank = _rank(_stored(value, here))
        if kind is None:
            raise ArgumentTypeError(
                f"{here} is a {type(value).__name__}, which has no order; give a number, text, bytes, a date or a time"
            )
        return Ordered(name, operator, kind, rank)
    raise ArgumentValueError(f"{here}: {operator!r:.60} is no operator; {_known(_ON_FIELDS)}")


def _one_of(name: str, values: list[Any], place: str) -> OneOf:
    stored = tuple(_stored(value, place) for value in values)
    return OneOf(name, stored, frozenset(map(typed, stored)))


def _listed(value: Any, place: str) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise ArgumentTypeError(f"{place} is a {type(value).__name__}; give a list")
    values = list(value)
    if len(values) > _MAX_LIST:
        raise ArgumentValueError(f"{place} has {len(values):,} values; the limit is {_MAX_LIST:,}")
    return values


def _stored(value: Any, place: str) -> Any:
    """A value as it would come back from a store: of built-in types alone."""
    try:
        return loads(dumps(value))
    except EncodeError as exc:
        raise ArgumentTypeError(f"{place}: {exc}") from exc


def _known(operators: tuple[str, ...]) -> str:
    return f"there are {', '.join(operators)}"


def typed(value: Any) -> tuple[Any, Any]:
    """What two values share exactly when they are equal and of one type; a list and a tuple are of one type."""
    kind, rank = _rank(value)
    if kind is not None:
        return kind, rank
    if isinstance(value, list | tuple):
        return "list", tuple(map(typed, value))
    if isinstance(value, set | frozenset):
        return "set", frozenset(map(typed, value))
    if isinstance(value, dict):
        return "dict", frozenset((typed(name), typed(item)) for name, item in value.items())
    if isinstance(value, float | Decimal):
        return "number", "nan"  # so that a NaN can be found
    return type(value).__name__, value


def _rank(value: Any) -> tuple[str | None, Any]:
    """The type of a value that has an order, and what tells its place there; None for one that has none."""
    rank = _RANKS.get(type(value))
    return (None, None) if rank is None else rank(value)


def _number(value: float | Decimal) -> tuple[str | None, Any]:
    is_nan = value.is_nan() if isinstance(value, Decimal) else math.isnan(value)
    return (None, None) if is_nan else ("number", value)


def _datetime(value: datetime) -> tuple[str | None, Any]:
    offset = value.utcoffset()
    since = (value.replace(tzinfo=None) - _MIDNIGHT) // _MICROSECOND
    # An instant is the same in each zone. As a number it has no limits, which a shift to UTC may pass.
    return ("local datetime", since) if offset is None else ("datetime", since - offset // _MICROSECOND)


def _time(value: time) -> tuple[str | None, Any]:
    offset = value.utcoffset()
    since = (datetime.combine(_MIDNIGHT, value.replace(tzinfo=None)) - _MIDNIGHT) // _MICROSECOND
    return ("local time", since) if offset is None else ("time", since - offset // _MICROSECOND)


_RANKS: Final[Mapping[type, Callable[[Any], tuple[str | None, Any]]]] = {
    int: lambda value: ("number", value),
    float: _number,
    Decimal: _number,
    str: lambda value: ("text", value),
    bytes: lambda value: ("bytes", value),
    date: lambda value: ("date", value),
    datetime: _datetime,
    time: _time,
    timedelta: lambda value: ("timedelta", value),
}
