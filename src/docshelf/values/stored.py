"""A row of the entries table as a driver gives it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from docshelf.values.json import DecodeError


class Stored(NamedTuple):
    """A row of the entries table as it was read; what `Codec.decode` judges. The last fields are read where needed."""

    key: str
    source: str
    value: bytes | memoryview | None
    value_hash: bytes | memoryview | None
    checksum: bytes | memoryview | None
    content_type: str | None
    encoding: str | None
    version: str | None = None
    created_at: Any = None
    updated_at: Any = None
    seq: int = 0


def utc_time(value: Any) -> datetime:
    """A time as a driver gives it, in UTC.

    Raises:
        ValueError, TypeError: it is none. SQLite lets a column hold anything.
    """
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)


def raw_bytes(value: Any) -> bytes | None:
    """The bytes of a binary column as drivers give them; b"" for what is no bytes at all, which matches no hash."""
    if type(value) is bytes or value is None:
        return value
    return bytes(value) if type(value) is memoryview else b""


def check_times(row: Stored) -> None:
    try:
        for time in (row.created_at, row.updated_at):
            if type(time) is not datetime:
                utc_time(time)
    except (ValueError, TypeError):
        raise DecodeError("a time that is none") from None
