"""What an index knows of the fields of a value: their search forms, and what a condition asks of them.

A search form is JSON that every database holds. Values that are equal have the same form; others mostly have another.
So an index finds every value that may match, and `where` decides which of them do.

| value | form |
| --- | --- |
| None, bool, integers up to 2^53 (also as float or Decimal), text of up to 256 characters | itself |
| text with a NUL or a lone surrogate, longer text | `{"$": "text <digest>"}` |
| any other number | `{"$": "number <as float>"}` |
| bytes, dates, times, UUIDs, objects, and lists in lists | `{"$": "<digest>"}` |
| a list, tuple or set | a list of the forms of its members |

A row whose forms would take more than 64 KiB, or a list of more than 1,000 members, has none at all; searches always
look at such rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.values.where import All, AnyOf, Condition, Contains, Fields, OneOf, field_of, is_missing, typed

MAX_FIELDS: Final = 32
_MAX_NAME: Final = 128
_MAX_TEXT: Final = 256
_MAX_MEMBERS: Final = 1_000
_MAX_BYTES: Final = 65_536
_EXACT: Final = 2**53
# Of a `$in`; an index that is asked for more is no faster than a look at every row.
_MAX_ALTERNATIVES: Final = 100
# In the path of a field, as databases write it, these have a meaning.
_NO_NAME: Final = re.compile(r"[\"'\\\x00-\x1f\x7f\ud800-\udfff]")
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


class UnindexableError(Exception):
    """A value has no search form."""


@dataclass(frozen=True)
class Asked:
    """A row whose search form of a field is this, or is a list with this member."""

    name: str
    form: Any
    member: bool = False


@dataclass(frozen=True)
class AskedAll:
    """Rows that every part finds."""

    parts: tuple[Narrowing, ...]


@dataclass(frozen=True)
class AskedAny:
    """Rows that one part finds at least; without parts, none."""

    parts: tuple[Narrowing, ...]


Narrowing = Asked | AskedAll | AskedAny
"""What an index is asked, so that it finds every row that a condition matches."""


def check_searchable(searchable: Any) -> tuple[str, ...]:
    """The names of searchable fields, in order, each once.

    Raises:
        ArgumentTypeError, ArgumentValueError: they cannot be.
    """
    if isinstance(searchable, str | bytes | Mapping) or not hasattr(searchable, "__iter__"):
        raise ArgumentTypeError(
            f"searchable is a {type(searchable).__name__}; give the names of fields, as ('author',)"
        )
    names = sorted(dict.fromkeys(_checked_name(name) for name in searchable))
    if len(names) > MAX_FIELDS:
        raise ArgumentValueError(f"searchable has {len(names)} names; the limit is {MAX_FIELDS}")
    return tuple(names)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"searchable: the name {name!r:.60} is a {type(name).__name__}; names are text")
    if not name or name.startswith("$") or len(name.encode("utf-8", "replace")) > _MAX_NAME or _NO_NAME.search(name):
        raise ArgumentValueError(
            f"searchable: {name!r:.60} cannot be; a name has 1 to {_MAX_NAME} bytes, no quotes, backslashes or control "
            "characters, and does not begin with $"
        )
    return str.__str__(name)


def search_fields(fields: Fields, names: Sequence[str]) -> str | None:
    """The search forms of some fields, as a JSON object; None where they cannot be had, and searches look at the value.

    Args:
        names: what `check_searchable` gave. A field that is missing has no form.
    """
    forms: dict[str, Any] = {}
    try:
        for name in names:
            value = field_of(fields, name)
            if not is_missing(value):
                forms[name] = search_form(value)
    except (UnindexableError, RecursionError):
        return None
    data = orjson.dumps(forms)
    return data.decode() if len(data) <= _MAX_BYTES else None


def search_form(value: Any) -> Any:
    """The search form of a value as a store gives it.

    Raises:
        UnindexableError: it has none.
    """
    if isinstance(value, list | tuple | set | frozenset):
        if len(value) > _MAX_MEMBERS:
            raise UnindexableError
        return [_scalar(member) for member in value]
    return _scalar(value)


def narrowing(condition: Condition, names: Sequence[str]) -> Narrowing | None:
    """What to ask an index of some fields; None where it cannot help."""
    if isinstance(condition, OneOf):
        if condition.name not in names or len(condition.values) > _MAX_ALTERNATIVES:
            return None
        return _any([_asked(condition.name, value) for value in condition.values])
    if isinstance(condition, Contains):
        return Asked(condition.name, _scalar(condition.value), member=True) if condition.name in names else None
    if isinstance(condition, All):
        parts = [part for one in condition.parts if (part := narrowing(one, names)) is not None]
        return None if not parts else parts[0] if len(parts) == 1 else AskedAll(tuple(parts))
    if isinstance(condition, AnyOf):
        return _any([narrowing(one, names) for one in condition.parts])
    return None


def _any(parts: Sequence[Narrowing | None]) -> Narrowing | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return known[0] if len(known) == 1 else AskedAny(tuple(known))


def _asked(name: str, value: Any) -> Narrowing | None:
    try:
        return Asked(name, search_form(value))
    except UnindexableError:
        return None


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    kind, rank = typed(value)
    if kind == "number":
        return _number(rank)
    if kind == "text":
        if len(value) <= _MAX_TEXT and not _UNFIT.search(value):
            return value
        return {"$": f"text {_digest(value.encode('utf-8', 'surrogatepass'))}"}
    return {"$": _digest(_flat(value))}


def _number(number: Any) -> Any:
    """Equal numbers have the same float, whatever their types; a float that another number has too does no harm."""
    try:
        close = float(number)
    except OverflowError:
        close = float("inf") if number > 0 else float("-inf")
    if close.is_integer() and abs(close) <= _EXACT:
        return int(close)
    return {"$": f"number {close!r}"}


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:24]


def _flat(value: Any) -> bytes:
    """Bytes that values share when they are equal, whatever the order of their members."""
    kind, rank = typed(value)
    if kind == "number":
        return orjson.dumps(_number(rank), option=orjson.OPT_SORT_KEYS)
    if kind == "list":
        parts = list(map(_flat, value))
    elif kind == "set":
        parts = sorted(map(_flat, value))
    elif kind == "dict":
        parts = sorted(_flat(name) + b"=" + _flat(item) for name, item in value.items())
    else:
        return f"{kind} {rank!r}".encode("utf-8", "surrogatepass")
    return f"{kind} {len(parts)} ".encode() + b" ".join(b"%d:%b" % (len(part), part) for part in parts)
