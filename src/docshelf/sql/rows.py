"""The shapes of rows that statements take and give, and how the entries table is laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from docshelf.errors import CorruptEntryError
from docshelf.types import Problem

# Each write reserves this many values of seq. So rows keep the order of the input, although they are written in the
# order of their keys.
SEQ_PER_WRITE: Final = 2**24
# With more partitions, planning a query takes longer than the partitions save.
MAX_PARTITIONS: Final = 1024
Identity = tuple[str, str]
"""(key, source), which is unique within a collection."""


def checked_identity(identity: Identity) -> Identity:
    """The identity of a row, checked.

    Raises:
        CorruptEntryError: the key or source is not text. SQLite lets any column hold bytes.
    """
    for name in identity:
        if type(name) is not str:
            raise CorruptEntryError([Problem(*identity, f"{name!r:.60} is not text")])
    return identity


class WriteStamp(NamedTuple):
    """Taken once the locks of a write are held: the database's time, and the first `seq` number of this write."""

    now: datetime
    seq: int


class PackedRow(NamedTuple):
    """A row ready to be written. `position` is its position in the input; `seq` is made from it.

    `search_fields` is a JSON object, in collections that have searchable fields.
    """

    key: str
    source: str
    value: bytes | None
    value_hash: bytes | None
    checksum: bytes | None
    content_type: str | None
    encoding: str | None
    version: str | None
    position: int
    search_fields: str | None = None


RowTimes = Mapping[int, tuple[datetime, datetime]]
"""created_at and updated_at of rows, by their positions."""


@dataclass(frozen=True)
class UpsertBatch:
    """The rows that one call of `Dialect.upsert` writes.

    Attributes:
        new: rows without a known entry, sorted by (key, source).
        existing: rows that have an entry, sorted likewise.
        data: the new rows in COPY format, where a COPY is faster.
        has_search_fields: one of the rows has search fields.
        times: created_at and updated_at by the position of the row; None writes the time of the stamp.
    """

    collection: str
    stamp: WriteStamp
    new: Sequence[PackedRow]
    existing: Sequence[PackedRow]
    data: bytes | None = None
    has_search_fields: bool = False
    times: RowTimes | None = None

    def __len__(self) -> int:
        return len(self.new) + len(self.existing)


class Layout(NamedTuple):
    """How the entries table is split: into `partitions` hash partitions by key, by Citus, or not at all."""

    partitions: int | None = None
    distribute: Literal["citus"] | None = None


DEFAULT_LAYOUT: Final = Layout()
LayoutKind = Literal["plain", "partitioned", "citus"]
"""How the existing entries table is laid out: one table, hash partitions, or distributed by Citus."""
