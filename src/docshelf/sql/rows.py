"""What statements take and give: identities, rows to write, layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

# A write takes one number and this many values of seq, so that rows keep the order of the input although they are
# written in the order of their keys.
SEQ_PER_WRITE: Final = 2**24
# More make planning slower than the rows are worth.
MAX_PARTITIONS: Final = 1024
Identity = tuple[str, str]
"""(key, source): what names an entry within its collection."""


class WriteStamp(NamedTuple):
    """What a write is given when its locks are held: the database's time, and the first of its own `seq` numbers."""

    now: datetime
    seq: int


class PackedRow(NamedTuple):
    """A row ready to be written. `position` is its place in the input, which `seq` keeps."""

    key: str
    source: str
    value: bytes | None
    value_hash: bytes | None
    checksum: bytes | None
    content_type: str | None
    encoding: str | None
    version: str | None
    position: int


@dataclass(frozen=True)
class UpsertBatch:
    """What one call of `Dialect.upsert` writes.

    Attributes:
        new: rows that no entry is known for, sorted by (key, source).
        existing: rows whose entries stand, sorted likewise.
        data: the new rows as a COPY takes them, where one is worth it.
    """

    collection: str
    stamp: WriteStamp
    new: Sequence[PackedRow]
    existing: Sequence[PackedRow]
    data: bytes | None = None

    def __len__(self) -> int:
        return len(self.new) + len(self.existing)


class Layout(NamedTuple):
    """How the entries are spread: over `partitions` hash partitions by key, or by Citus, or neither."""

    partitions: int | None = None
    distribute: Literal["citus"] | None = None


DEFAULT_LAYOUT: Final = Layout()
