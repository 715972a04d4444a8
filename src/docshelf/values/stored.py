"""A row of the entries table as it was read, and checks of its columns."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from docshelf.values.json import DecodeError


class _NotRead:
    """Stands in a row for a column that its query did not read."""


NOT_READ: Final = _NotRead()


class Stored(NamedTuple):
    """A row of the entries table as a driver returned it. `Codec.decode` validates it.

    Fields with a default are not read by every query.
    """

    key: str
    source: str
    value: bytes | memoryview | None
    value_hash: bytes | memoryview | None
    checksum: bytes | memoryview | None
    content_type: str | None
    encoding: str | None
    version: str | None = None
    created_at: Any = NOT_READ
    updated_at: Any = NOT_READ
    seq: int = 0


class RawEntry(NamedTuple):
    """An entry as moves and exports carry it: its value as canonical bytes, with the hashes and times of its row.

    An entry without a value has neither bytes nor hashes nor content type. Times of None stand for the time of the
    write, a seq of None for the next one.
    """

    key: str
    source: str
    content_type: str | None
    data: bytes | None
    value_hash: bytes | None
    checksum: bytes | None
    version: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    seq: int | None = None


def utc_time(value: Any) -> datetime:
    """A time that a driver returned, in UTC.

    Raises:
        ValueError, TypeError, OverflowError: it is not a time that Python has. Any SQLite column may hold any type.
    """
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)


def raw_bytes(value: Any) -> bytes | None:
    """The bytes of a binary column that a driver returned. A value of another type gives b"", which matches no hash."""
    if type(value) is bytes or value is None:
        return value
    return bytes(value) if type(value) is memoryview else b""


def check_columns(row: Stored) -> None:
    """Raise a DecodeError if a column besides the value holds what docshelf never writes."""
    try:
        for time in (row.created_at, row.updated_at):
            if type(time) is not datetime:
                utc_time(time)
    except (ValueError, TypeError, OverflowError):
        raise DecodeError("a column for a time that holds something else, or a time that Python lacks") from None
    for name, content in (("version", row.version), ("content_type", row.content_type)):
        if content is not None and type(content) is not str:
            raise DecodeError(f"a {name} that is not text")
    if type(row.seq) is not int:
        raise DecodeError("a seq that is not a whole number")
