"""Conditions as a person types them: `author=Ann`, `year>=2020`, `tags~sea`; or JSON."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Final

import orjson

from docshelf.cli.arguments import Arguments
from docshelf.cli.codes import USAGE, CommandError
from docshelf.values.json import DecodeError, loads

_TERM: Final = re.compile(r"(?P<name>[^=!<>~]+)(?P<sign>!=|>=|<=|=|>|<|~)(?P<value>.*)", re.DOTALL)
_ORDERS: Final[Mapping[str, str]] = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
# The tags of canonical JSON, by which JSON of the command line writes dates and the like.
_TAGS: Final = frozenset(
    ("$bytes", "$date", "$datetime", "$decimal", "$float", "$int", "$str", "$time", "$timedelta", "$uuid")
)
HELP: Final = """\
TERM is NAME=VALUE, NAME!=VALUE, NAME>VALUE, NAME>=VALUE, NAME<VALUE, NAME<=VALUE, NAME~VALUE (a list has this member),
or NAME alone (the field exists). All terms have to match. = takes a number or a text; > and < compare numbers with
numbers, dates with dates and texts with texts. A dot reads a nested field. Quote terms with < or > for the shell."""


def add_terms(parser: ArgumentParser) -> None:
    """Add the arguments that say which entries are meant."""
    parser.add_argument("terms", nargs="*", metavar="TERM", help="a condition, as author=Ann or 'year>=2020'")
    parser.add_argument("--where", metavar="JSON", help="""a condition as JSON: '{"year": {"$gte": 2020}}'""")
    parser.add_argument("--prefix", help="only keys that begin with this text")
    parser.add_argument("--source", help="only entries of this source")


def condition(arguments: Arguments) -> dict[str, Any] | None:
    """The condition of the arguments; None where there is none.

    Raises:
        CommandError: a term or the JSON cannot be read.
    """
    parts = [_term(term) for term in arguments.terms]
    if arguments.where is not None:
        parts.append(_from_json(arguments.where))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {"$and": parts}


def json_value(text: str, what: str) -> Any:
    """The value that a JSON text stands for; dates and the like as `{"$date": "2024-01-01"}`.

    Raises:
        CommandError: it is not JSON.
    """
    try:
        return _untagged(json.loads(text))
    except (ValueError, DecodeError) as exc:
        raise CommandError(f"{what} is not JSON: {exc}", USAGE) from exc


def _from_json(text: str) -> dict[str, Any]:
    found = json_value(text, "--where")
    if not isinstance(found, dict):
        raise CommandError("""--where has to be a JSON object, as '{"author": "Ann"}'""", USAGE)
    return found


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and value.keys() <= _TAGS:
        return loads(orjson.dumps(value))
    return {name: _untagged(item) for name, item in value.items()}


def _term(term: str) -> dict[str, Any]:
    found = _TERM.fullmatch(term)
    if found is None:
        if not term or term[0] in "=!<>~":
            raise CommandError(f"the term {term!r} has no name; write NAME=VALUE", USAGE)
        return {term: {"$exists": True}}
    name, sign, text = found["name"].strip(), found["sign"], found["value"]
    meanings = _meanings(text)
    if sign == "=":
        return {name: {"$in": meanings}}
    if sign == "!=":
        return {name: {"$nin": meanings}}
    if sign == "~":
        return _any([{name: {"$contains": one}} for one in meanings])
    return _any([{name: {_ORDERS[sign]: one}} for one in _with_order(text)])


def _any(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"$or": list(parts)}


def _meanings(text: str) -> list[Any]:
    """What a text may mean: itself, and a number, a truth value, nothing, a date or a time."""
    found: list[Any] = [text]
    scalar = {"true": True, "false": False, "null": None}
    if text in scalar:
        found.append(scalar[text])
    number = _number(text)
    if number is not None:
        found.append(number)
    return found + _dates(text)


def _with_order(text: str) -> list[Any]:
    """What a text may mean that has an order. A number is never compared as text."""
    number = _number(text)
    return [number] if number is not None else [text, *_dates(text)]


def _number(text: str) -> int | float | None:
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return None


def _dates(text: str) -> list[Any]:
    found: list[Any] = []
    with suppress(ValueError):
        found.append(date.fromisoformat(text))
    with suppress(ValueError):
        # Metadata has times with and without a zone; one with a zone is meant for both.
        moment = datetime.fromisoformat(text)
        found += [moment, moment.astimezone()] if moment.tzinfo is None else [moment]
    return found
