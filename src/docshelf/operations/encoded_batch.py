"""The items of one write, encoded and hashed before a connection is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from docshelf.errors import UnsupportedValueError
from docshelf.operations.spill import Spill
from docshelf.sql.queries import Compared, checked_identity
from docshelf.sql.rows import Identity, PackedRow
from docshelf.validation import check_items
from docshelf.values.content_types import Codec
from docshelf.values.json import DecodeError
from docshelf.values.stored import raw_bytes

# Canonical bytes that a call keeps in memory between its steps; a temporary file takes what is past this.
_KEPT_BYTES: Final = 32 * 1024 * 1024
# Items that are taken from an iterator before they are serialized: the first, all others, and bytes that they may have.
_FIRST_ITEMS: Final = 128
_MOST_ITEMS: Final = 1_000
_ITEM_BYTES: Final = 8 * 1024 * 1024
# Canonical bytes that are kept at once: to keep each document by itself takes twice as long.
_PUT_BYTES: Final = 256 * 1024
# What stands of an item: nothing, an entry that differs, or one that needs no write.
ABSENT: Final = 0
DIFFERENT: Final = 1
SAME: Final = 2


class Comparison(NamedTuple):
    """How what stands compares with the items of a call.

    Attributes:
        states: of each item, by its position: `ABSENT`, `DIFFERENT` or `SAME`.
        unlisted: entries that no item names, of what was asked for.
        entries: how many stand, these included; of no meaning but where all that a scope holds was asked for.
    """

    states: bytearray
    unlisted: list[Identity]
    entries: int


class EncodedBatch:
    """The items of a call, hashed: a column for each thing that a row needs, as objects by the row cost more to make.

    It holds their canonical bytes and not the items, so that of a generator's only a few are ever there.
    """

    __slots__ = (
        "_checksums",
        "_codec",
        "_content_types",
        "_positions",
        "_rows",
        "_source",
        "_spill",
        "_starts",
        "_taken",
        "_versions",
        "hashes",
        "identities",
        "sizes",
    )

    def __init__(self, codec: Codec, source: str) -> None:
        """For items of which those that name no source are of this one."""
        self.identities: list[Identity] = []
        self.hashes: list[bytes] = []
        self.sizes: list[int] = []
        self._codec = codec
        self._source = source
        self._starts: list[int] = []
        self._content_types: list[str] = []
        self._checksums: list[bytes | None] = []
        self._versions: dict[Identity, str] = {}
        self._positions: dict[Identity, int] = {}
        self._rows: dict[int, PackedRow] = {}
        self._spill = Spill(_KEPT_BYTES)
        self._taken = 0

    def __len__(self) -> int:
        return len(self.identities)

    def position(self, identity: Identity) -> int:
        """Where the item of an entry stands in the input."""
        return self._positions[identity]

    @property
    def room(self) -> int:
        """How many items to add next, where they come from somewhere that does not hold them all."""
        if not self._taken:
            return _FIRST_ITEMS
        return max(1, min(_MOST_ITEMS, _ITEM_BYTES * self._taken // max(1, len(self._spill))))

    def add(self, items: Sequence[Any]) -> None:
        """Check, serialize and hash items; of those with equal key and source the last wins, in the place of the first.

        Raises:
            ArgumentTypeError, ArgumentValueError, UnsupportedValueError, ValueTooLargeError: for the first that cannot
                be stored.
        """
        positions, versions, encode = self._positions, self._versions, self._codec.encode
        identities, hashes, sizes, starts = self.identities, self.hashes, self.sizes, self._starts
        content_types, checksums = self._content_types, self._checksums
        put, start = len(self._spill), len(self._spill)
        pending: list[bytes] = []
        for identity, value, version in check_items(items, self._source, self._taken):
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
            if start - put >= _PUT_BYTES:
                self._spill.put(b"".join(pending))
                pending.clear()
                put = start
        self._spill.put(b"".join(pending))
        self._taken += len(items)

    def value(self, position: int) -> Any:
        """What the item's entry will hold, made from its canonical bytes.

        Raises:
            UnsupportedValueError: its content type cannot load what it dumped.
        """
        try:
            return self._codec.value_of(self._content_types[position], self._canonical(position))
        except DecodeError as exc:
            raise UnsupportedValueError(f"key {self.identities[position][0]!r}: what it dumps to is {exc}") from exc

    def close(self) -> None:
        """Let go of what is held outside memory."""
        self._spill.close()

    def compare(self, rows: Iterable[Compared]) -> Comparison:
        """What stands beside the items. Row by row: to hold ten thousand costs the garbage collector more than this."""
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

    def changed(self, found: Comparison) -> list[int]:
        """The positions of the items to write, in the order of their identities, which all writers keep."""
        changed = [position for position, state in enumerate(found.states) if state != SAME]
        changed.sort(key=self.identities.__getitem__)
        return changed

    def pack(self, positions: Sequence[int]) -> None:
        """Make the rows of some items, unless they are there."""
        missing = [position for position in positions if position not in self._rows]
        packed = self._codec.pack_all([self._canonical(position) for position in missing])
        for position, (encoding, value) in zip(missing, packed, strict=True):
            identity = self.identities[position]
            self._rows[position] = PackedRow(
                *identity,
                value,
                self.hashes[position],
                self._checksums[position],
                self._content_types[position],
                encoding,
                self._versions.get(identity),
                position,
            )

    def take_rows(self, positions: Sequence[int]) -> list[PackedRow]:
        """Packed rows, handed over; should the transaction run again, they are packed again."""
        return [self._rows.pop(position) for position in positions]

    def _canonical(self, position: int) -> bytes:
        return self._spill.get(self._starts[position], self.sizes[position])
