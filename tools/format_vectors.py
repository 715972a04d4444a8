"""Write docs/format-vectors.json, the test vectors of docs/format.md: `python tools/format_vectors.py`.

A test compares the file with what this makes, so a change of the stored form cannot pass unnoticed.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from docshelf import Document
from docshelf.sql.dialects.postgresql_tables import lock_number
from docshelf.values.compression import UnpackError, pack_all, unpack
from docshelf.values.content_types import DEFAULT_MAX_VALUE_BYTES, Codec
from docshelf.values.hashing import checksum_of, hash_prefix, is_intact
from docshelf.values.json import DecodeError, loads

FILE: Final = Path(__file__).parents[1] / "docs" / "format-vectors.json"
# What the expressions of the vectors may use.
NAMES: Final[Mapping[str, Any]] = {
    "Decimal": Decimal,
    "Document": Document,
    "UUID": uuid.UUID,
    "ZoneInfo": ZoneInfo,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "timezone": datetime.timezone,
}
_VALUES: Final = r"""
None
True
0
-9223372036854775808
18446744073709551615
18446744073709551616
-1180591620717411303424
1.0
-0.0
0.1
0.00001
0.000001
1.5e-07
1e16
9007199254740993.0
1.7976931348623157e308
5e-324
float("nan")
float("-inf")
""
"text"
"quote \" backslash \\ slash / delete \x7f"
"\x00\b\t\n\x0b\f\r\x1f"
"h\u00e9llo \u2028 \U0001f600"
"lone \ud800 and \\"
b""
b"\x00\xffbytes"
[]
{}
{"b": 1, "a": [1, 2.5, None], "\u00e9": 0, "z": {"y": True}, "\U0001f600": 1, "\uffff": 2}
(1, "a")
{"b", "a", "c"}
{10, 9, 1}
frozenset({(1, 2), (1, 1)})
{1: "a", "1": "b"}
{"$bytes": "AA=="}
{"$": {"$x": 1}}
{"\ud800": 1}
date(2026, 11, 26)
time(8, 30)
time(8, 30, 0, 5, tzinfo=timezone.utc)
datetime(2026, 11, 26, 8, 0)
datetime(2026, 11, 26, 8, 0, 0, 120000, tzinfo=timezone(timedelta(hours=1)))
datetime(2026, 10, 25, 2, 30, fold=1)
datetime(2026, 7, 1, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
timedelta(days=-1, seconds=5, microseconds=7)
Decimal("1.10")
Decimal("-Infinity")
UUID("8b5f0a3e-0000-4000-8000-00000000abcd")
{"nested": [({"k": {Decimal("0.5")}},), {"when": date(2026, 1, 1)}]}
Document("A page", {"page": 1, "tags": ("a", "b")}, id="p1")
"""
_DOCUMENTS: Final = (
    ('Document("A page", {"page": 1, "mtime": 2.5})', {"hash_on": "text"}),
    ('Document("A page", {"page": 1, "mtime": 2.5})', {"hash_exclude": ["mtime"]}),
    ('{"text": "A page", "mtime": 2.5}', {"hash_exclude": ["mtime"]}),
    ('"A text"', {"hash_on": "text"}),
    ('["no fields"]', {"hash_exclude": ["mtime"]}),
)
_REFUSED: Final = (
    (b"", "nothing"),
    (b"{", "broken JSON"),
    (b'"\xff"', "not UTF-8"),
    (b'{"$pickle":"gASV"}', "an unknown tag"),
    (b'{"$bytes":"AA==","a":1}', "a tag beside other keys"),
    (b'{"$bytes":"?"}', "not base64"),
    (b'{"$float":"1.0"}', "a $float that is a number"),
    (b'{"$tuple":{}}', "a tag with another content"),
    (b'{"$date":"yesterday"}', "not a date"),
    (b'{"$set":[[1]]}', "a member that cannot be in a set"),
    (b"[" * 300 + b"]" * 300, "nested too deep"),
)


def evaluate(expression: str) -> Any:
    """The value of an expression of this file."""
    return eval(expression, {**NAMES, "__builtins__": {"float": float, "frozenset": frozenset}})  # noqa: S307 - of this file


def _encoded(expression: str, codec: Codec) -> dict[str, Any]:
    content_type, data, value_hash, checksum = codec.encode(evaluate(expression), "key")
    return {
        "python": expression,
        "content_type": content_type,
        "bytes": data.hex(),
        "value_hash": value_hash.hex(),
        "checksum": None if checksum is None else checksum.hex(),
    }


def _rows() -> list[dict[str, Any]]:
    text = b'"' + b"All work and no play. " * 40 + b'"'
    [(encoding, packed)] = pack_all([text], compress=True)
    good = sha256(hash_prefix("json") + text).digest()
    other = sha256(b"something that counts").digest()
    rows: list[tuple[str, str, bytes, bytes, bytes | None, str | None]] = [
        ("json", "plain", b"1", sha256(b"json\n1").digest(), None, None),
        ("bytes", "plain", b"1", sha256(b"bytes\n1").digest(), None, None),
        ("json", encoding, packed, good, None, None),
        ("json", "plain", text, other, checksum_of(other, "json", text), None),
        ("bytes", "plain", b"1", sha256(b"json\n1").digest(), None, "the hash is of another content type"),
        ("json", "plain", b"2", sha256(b"json\n1").digest(), None, "other bytes"),
        ("json", "plain", text, other, checksum_of(other, "json", text)[::-1], "another checksum"),
        ("json", "gzip", b"1", sha256(b"json\n1").digest(), None, "an unknown encoding"),
        ("json", "zstd", packed[:-1], good, None, "a frame that was cut"),
        ("json", "zstd", packed + b"x", good, None, "bytes after the frame"),
    ]
    found = []
    for content_type, kind, value, value_hash, checksum, refused in rows:
        try:
            data = unpack(kind, value, limit=DEFAULT_MAX_VALUE_BYTES)
            accepted = is_intact(value_hash, checksum, content_type, data)
        except UnpackError:
            data, accepted = b"", False
        if accepted == (refused is not None):
            raise AssertionError(f"this row is read otherwise than said: {refused}")
        found.append(
            {
                "content_type": content_type,
                "encoding": kind,
                "value": value.hex(),
                "value_hash": value_hash.hex(),
                "checksum": None if checksum is None else checksum.hex(),
                **({"refused": refused} if refused else {"bytes": data.hex()}),
            }
        )
    return found


def _refused() -> list[dict[str, str]]:
    for data, reason in _REFUSED:
        try:
            loads(data)
        except DecodeError:
            continue
        raise AssertionError(f"this is read: {reason}")
    return [{"bytes": data.hex(), "reason": reason} for data, reason in _REFUSED]


def _locks() -> list[dict[str, Any]]:
    found = []
    for collection, sources in (("default", [""]), ("héllo", ["a.md", "b.md", "a.md"]), ("handbook", ["x" * 1024])):
        slots = {sha256(source.encode()).digest()[0] % 64 for source in sources}
        numbers = sorted(lock_number(f"{slot}\0{collection}") for slot in slots)
        found.append({"collection": collection, "sources": sources, "whole": lock_number(collection), "slots": numbers})
    return found


def vectors() -> dict[str, Any]:
    """All vectors."""
    expressions = [line for line in _VALUES.splitlines() if line]
    values = [_encoded(expression, Codec()) for expression in expressions]
    return {
        "schema_version": 2,
        "values": [{name: one[name] for name in one if name != "checksum"} for one in values],
        "documents": [
            {**_encoded(expression, Codec(**options)), "options": options} for expression, options in _DOCUMENTS
        ],
        "rows": _rows(),
        "refused": _refused(),
        "locks": _locks(),
    }


def text() -> str:
    """The file."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
