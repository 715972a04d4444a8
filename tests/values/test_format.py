"""docs/format.md: its test vectors are what the code does, and are enough for an implementation without docshelf."""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import zstandard

from docshelf import canonical_bytes
from docshelf.schema import define_tables
from docshelf.sql.migrations import STEPS
from docshelf.values.json import _DECODERS
from tests.support.pages import ROOT
from tools import format_vectors

PAGE = (ROOT / "docs" / "format.md").read_text("utf-8")
VECTORS = json.loads(format_vectors.FILE.read_text("utf-8"))


# The implementation: what docs/format.md says, with nothing of docshelf.


def joined(values: list[bytes]) -> bytes:
    return b"[" + b",".join(values) + b"]"


def escaped(match: re.Match[str]) -> str:
    return r"\\" if match[0] == "\\" else f"\\u{ord(match[0]):04x}"


def written(v: Any) -> bytes:
    kind = type(v)
    if v is None or kind is bool:
        return json.dumps(v).encode()
    if kind is str and not re.search("[\ud800-\udfff]", v):
        return json.dumps(v, ensure_ascii=False).encode()
    if kind is str:
        return written_tag("$str", re.sub("[\ud800-\udfff\\\\]", escaped, v))
    if kind is int:
        return str(v).encode() if -(2**63) <= v < 2**64 else written_tag("$int", hex(v))
    if kind is float:
        if not math.isfinite(v):
            return written_tag("$float", str(v))
        digits = format(Decimal(repr(v)), "f") if 1e-5 <= abs(v) < 1e-4 else repr(v)
        return re.sub(r"e([+-])0", r"e\1", digits).encode()
    if kind is list:
        return joined([written(item) for item in v])
    if kind is dict and all(type(k) is str and k[:1] != "$" and not re.search("[\ud800-\udfff]", k) for k in v):
        pairs = sorted((k.encode(), written(k) + b":" + written(item)) for k, item in v.items())
        return b"{" + b",".join(pair for _, pair in pairs) + b"}"
    if kind is dict:
        return b'{"$dict":' + joined(sorted(joined([written(k), written(item)]) for k, item in v.items())) + b"}"
    if kind in (set, frozenset):
        return b'{"$' + kind.__name__.encode() + b'":' + joined(sorted(map(written, v))) + b"}"
    zone = v.tzinfo.key if isinstance(getattr(v, "tzinfo", None), ZoneInfo) else None
    content: dict[type, Any] = {
        tuple: lambda: list(v),
        bytes: lambda: base64.b64encode(v).decode(),
        timedelta: lambda: [v.days, v.seconds, v.microseconds],
        datetime: lambda: [v.isoformat(), zone, v.fold] if zone or v.fold else v.isoformat(),
        time: lambda: [v.isoformat(), zone, v.fold] if zone or v.fold else v.isoformat(),
        date: lambda: v.isoformat(),
    }
    return written_tag(f"${kind.__name__.lower()}", content.get(kind, lambda: str(v))())


def written_tag(name: str, content: Any) -> bytes:
    return b'{"' + name.encode() + b'":' + written(content) + b"}"


def accepted(row: dict[str, Any]) -> bytes | None:
    """The bytes of a row, or None where a reader refuses it."""
    data, prefix = bytes.fromhex(row["value"]), row["content_type"].encode() + b"\n"
    if row["encoding"] == "zstd":
        try:
            data = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError:
            return None
    elif row["encoding"] != "plain":
        return None
    hashed = prefix + data if row["checksum"] is None else row["value_hash"].encode() + prefix + data
    return data if sha256(hashed).hexdigest() == (row["checksum"] or row["value_hash"]) else None


def lock(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big", signed=True)


# The checks.

_NAMES = {
    "Document": lambda text, metadata, **more: SimpleNamespace(**{"id": None, **more}, metadata=metadata, text=text)
}


def value_of(expression: str) -> Any:
    names: dict[str, Any] = {
        "Decimal": Decimal,
        "UUID": UUID,
        "ZoneInfo": ZoneInfo,
        "date": date,
        "datetime": datetime,
        "time": time,
    }
    names |= {"timedelta": timedelta, "timezone": format_vectors.NAMES["timezone"], **_NAMES}
    found = eval(expression, names)
    return vars(found) if isinstance(found, SimpleNamespace) else found


def test_the_vectors_are_what_the_code_does() -> None:
    assert format_vectors.FILE.read_text("utf-8") == format_vectors.text(), "run python tools/format_vectors.py"


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["python"][:40])
def test_an_implementation_without_docshelf_writes_the_same_bytes_and_hashes(vector: dict[str, str]) -> None:
    value = value_of(vector["python"])
    data = value if vector["content_type"] == "bytes" else written(value)
    assert data.hex() == vector["bytes"]
    assert sha256(vector["content_type"].encode() + b"\n" + data).hexdigest() == vector["value_hash"]


@pytest.mark.parametrize("vector", VECTORS["documents"], ids=lambda vector: str(vector["options"]))
def test_it_hashes_only_what_counts_as_change(vector: dict[str, Any]) -> None:
    value, excluded = value_of(vector["python"]), vector["options"].get("hash_exclude", [])
    is_document, counts = vector["content_type"] == "document", None
    if vector["options"].get("hash_on") == "text":
        counts = (value["text"] if is_document else value).encode()
    elif type(value) is dict:
        kept = {k: v for k, v in (value["metadata"] if is_document else value).items() if k not in excluded}
        counts = written({**value, "metadata": kept} if is_document else kept)
    prefix, data = vector["content_type"].encode() + b"\n", written(value)
    value_hash = sha256(prefix + (data if counts is None else counts)).hexdigest()
    checksum = None if counts is None else sha256(value_hash.encode() + prefix + data).hexdigest()
    assert (value_hash, checksum) == (vector["value_hash"], vector["checksum"])


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: row.get("refused", row["encoding"]))
def test_it_reads_and_refuses_the_same_rows(row: dict[str, Any]) -> None:
    found = accepted(row)
    assert found == (None if "refused" in row else bytes.fromhex(row["bytes"]))


@pytest.mark.parametrize("vector", VECTORS["locks"], ids=lambda vector: vector["collection"])
def test_it_takes_the_same_locks(vector: dict[str, Any]) -> None:
    slots = {sha256(source.encode()).digest()[0] % 64 for source in vector["sources"]}
    assert lock(vector["collection"]) == vector["whole"]
    assert sorted(lock(f"{slot}\0{vector['collection']}") for slot in slots) == vector["slots"]


def test_it_writes_floats_as_docshelf_does() -> None:
    floats = [mantissa * 10.0**exponent for exponent in range(-20, 25) for mantissa in (1, -1.5, 3.7123456789)]
    assert [written(number) for number in floats] == [canonical_bytes(number) for number in floats]


def test_the_page_names_every_tag_column_and_version() -> None:
    tags = PAGE.partition("## Canonical JSON")[2].partition("## ")[0]
    assert set(re.findall(r"`(\$\w+)`", tags)) == set(_DECODERS)
    tables = define_tables()
    for table in (tables.entries, tables.sources, tables.collections, tables.versions):
        assert f"`{table.name}`" in PAGE
        assert all(f"`{column.name}`" in PAGE for column in table.columns)
    versions = re.findall(r"^\| (\d+) \|", PAGE.partition("## Schema versions")[2], re.MULTILINE)
    assert list(map(int, versions)) == list(STEPS)
    assert VECTORS["schema_version"] == max(STEPS)
