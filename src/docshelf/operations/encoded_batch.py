"""The items of one write, encoded and hashed before a connection is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from docshelf.errors import UnsupportedValueError
from docshelf.operations.spill import Spill
from docshelf.sql.queries import ExistingRow
from docshelf.sql.rows import Identity, PackedRow, checked_identity
from docshelf.validation import check_items
from docshelf.values.content_types import Codec
from docshelf.values.json import DecodeError
from docshelf.values.stored import raw_bytes

# Canonical bytes that a call keeps in memory between its steps. A temporary file takes the rest.
_MEMORY_BYTES: Final = 32 * 1024 * 1024
# How many items are taken from an iterator at a time: at first, later at most, and for how many canonical bytes.
_FIRST_ITEMS: Final = 128
_MAX_ITEMS: Final = 1_000
_WINDOW_BYTES: Final = 8 * 1024 * 1024
# Canonical bytes that go to the spill in one call. One call for each document takes twice as long.
_SPILL_BYTES: Final = 256 * 1024
# The state of an item: it has no entry, its entry differs, or its entry needs no write.
ABSENT: Final = 0
DIFFERENT: Final = 1
SAME: Final = 2


class Comparison(NamedTuple):
    """How the existing entries compare with the items of a call.

    Attributes:
        states: `ABSENT`, `DIFFERENT` or `SAME` for each item, by position.
        unlisted: the entries read that no item names.
        entries: how many entries were read. Only meaningful when a whole scope was read.
    """

    states: bytearray
    unlisted: list[Identity]
    entries: int


class EncodedBatch:
    """The items of a call, hashed.

    Each field of a row is a list of its own, because one object per row costs more time. The batch holds canonical
    bytes and not the items: a generator's items never fill the memory.
    """

    __slots__ = (
        "_added",
        "_checksums",
        "_codec",
        "_content_types",
        "_fields",
        "_positions",
        "_rows",
        "_source",
        "_spill",
        "_starts",
        "_versions",
        "hashes",
        "identities",
        "sizes",
    )

    def __init__(self, codec: Codec, source: str) -> None:
        """Make an empty batch. Items without a source belong to `source`."""
        self.identities: list[Identity] = []
        self.hashes: list[bytes] = []
        self.sizes: list[int] = []
        self._codec = codec
        self._source = source
        self._starts: list[int] = []
        self._content_types: list[str] = []
        self._fields: tuple[str, ...] = ()
        self._checksums: list[bytes | None] = []
        self._versions: dict[Identity, str] = {}
        self._positions: dict[Identity, int] = {}
        self._rows: dict[int, PackedRow] = {}
        self._spill = Spill(_MEMORY_BYTES)
        self._added = 0

    def __len__(self) -> int:
        return len(self.identities)

    def position(self, identity: Identity) -> int:
        """The position of an entry's item in the input."""
        return self._positions[identity]

    @property
    def next_window(self) -> int:
        """How many items to take next from an iterator."""
        if not self._added:
            return _FIRST_ITEMS
        return max(1, min(_MAX_ITEMS, _WINDOW_BYTES * self._added // max(1, len(self._spill))))

    def add(self, items: Sequence[Any]) -> None:
        """Check, serialize and hash items.

        Of items with equal key and source the last wins. It takes the position of the first.

        Raises:
            ArgumentTypeError, ArgumentValueError, UnsupportedValueError, ValueTooLargeError: for the first item that
                cannot be stored.
        """
        positions, versions, encode = self._positions, self._versions, self._codec.encode
        identities, hashes, sizes, starts = self.identities, self.hashes, self.sizes, self._starts
        content_types, checksums = self._content_types, self._checksums
        spilled, start = len(self._spill), len(self._spill)
        pending: list[bytes] = []
        for identity, value, version in check_items(items, self._source, self._added):
            content_type, data, value_hash, checksum = encode(value, identity[0])
            size = len(data)
            new = len(identities)
            position = positions.setdefault(identity, new)
            if position == new:
                identities.append(identity)
                hashes.append(value_hash)
                sizes.append(size)
                starts.append(start)
                content_types.append(content_type)
                checksums.append(checksum)
            else:
                hashes[position], sizes[position], starts[position] = value_hash, size, start
                content_types[position], checksums[position] = content_type, checksum
            if version is not None:
                versions[identity] = version
            elif versions:
                versions.pop(identity, None)
            pending.append(data)
            start += size
            if start - spilled >= _SPILL_BYTES:
                self._spill.put(b"".join(pending))
                pending.clear()
                spilled = start
        self._spill.put(b"".join(pending))
        self._added += len(items)

    def search_by(self, fields: Sequence[str]) -> None:
        """Pack rows with these search fields from now on."""
        if self._fields != tuple(fields):
            self._fields = tuple(fields)
            self._rows.clear()

    def value(self, position: int) -> Any:
        """The value that the item's entry will hold, decoded from its canonical bytes.

        Raises:
            UnsupportedValueError: the content type cannot load what it dumped.
        """
        try:
            return self._codec.value_of(self._content_types[position], self._canonical(position))
        except DecodeError as exc:
            raise UnsupportedValueError(f"key {self.identities[position][0]!r}: what it dumps to is {exc}") from exc

    def close(self) -> None:
        """Delete the temporary file."""
        self._spill.close()

    def compare(self, rows: Iterable[ExistingRow]) -> Comparison:
        """Compare existing rows with the items.

        This takes one row at a time: ten thousand rows in a list cost the garbage collector more than the comparison.
        """
        position_of, hashes, versions = self._positions.get, self.hashes, self._versions
        unlisted: list[Identity] = []
        states, entries = bytearray(len(hashes)), 0
        for key, source, value_hash, version in rows:
            entries += 1
            identity = (key, source)
            position = position_of(identity)
            if position is None:
                unlisted.append(checked_identity(identity))
            else:
                same = (value_hash if type(value_hash) is bytes else raw_bytes(value_hash)) == hashes[position]
                if same and versions:
                    same = versions.get(identity, version) == version
                states[position] = SAME if same else DIFFERENT
        return Comparison(states, unlisted, entries)

    def changed(self, comparison: Comparison) -> list[int]:
        """The positions of the items to write, sorted by (key, source). All writers use this order."""
        changed = [position for position, state in enumerate(comparison.states) if state != SAME]
        changed.sort(key=self.identities.__getitem__)
        return changed

    def pack(self, positions: Sequence[int]) -> None:
        """Make the rows of some items that have none yet."""
        missing = [position for position in positions if position not in self._rows]
        canonical = [self._canonical(position) for position in missing]
        packed = self._codec.pack_all(canonical)
        for position, data, (encoding, value) in zip(missing, canonical, packed, strict=True):
            identity = self.identities[position]
            content_type = self._content_types[position]
            self._rows[position] = PackedRow(
                *identity,
                value,
                self.hashes[position],
                self._checksums[position],
                content_type,
                encoding,
                self._versions.get(identity),
                position,
                self._codec.search_fields(content_type, data, self._fields) if self._fields else None,
            )

    def take_rows(self, positions: Sequence[int]) -> list[PackedRow]:
        """Hand over packed rows. If the transaction runs again, they are packed again."""
        return [self._rows.pop(position) for position in positions]

    def _canonical(self, position: int) -> bytes:
        return self._spill.get(self._starts[position], self.sizes[position])
