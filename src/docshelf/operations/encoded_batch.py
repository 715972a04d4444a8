"""The items of one write, encoded and hashed before a connection is taken."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, overload

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


class Unlisted(Protocol):
    """Holds the entries that no item names: a list, or something that takes less memory."""

    def append(self, identity: Identity, /) -> None:
        """Add one."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Identity]: ...


class Comparison(NamedTuple):
    """How the existing entries compare with the items of a call.

    Attributes:
        states: `ABSENT`, `DIFFERENT` or `SAME` for each item, by position.
        unlisted: the entries read that no item names.
        entries: how many entries were read. Only meaningful when a whole scope was read.
    """

    states: bytearray
    unlisted: Unlisted
    entries: int


class _Identities(Sequence[Identity]):
    """The identities of a batch by position. Each is made when it is asked for: a million of them take 72 MB."""

    __slots__ = ("_keys", "_sources")

    def __init__(self, keys: list[str], sources: list[str]) -> None:
        self._keys = keys
        self._sources = sources

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Identity]:
        return zip(self._keys, self._sources, strict=True)

    @overload
    def __getitem__(self, index: int) -> Identity: ...
    @overload
    def __getitem__(self, index: slice) -> list[Identity]: ...
    def __getitem__(self, index: int | slice) -> Identity | list[Identity]:
        if isinstance(index, slice):
            return list(zip(self._keys[index], self._sources[index], strict=True))
        return self._keys[index], self._sources[index]


class EncodedBatch:
    """The items of a call, hashed.

    Each field of a row is an array of its own: one object per row costs more time, and in a million rows hundreds of
    megabytes. The batch holds canonical bytes and not the items: a generator's items never fill the memory.
    """

    __slots__ = (
        "_added",
        "_checksums",
        "_codec",
        "_content_types",
        "_fields",
        "_further",
        "_hashes",
        "_keys",
        "_positions",
        "_rows",
        "_source",
        "_source_names",
        "_sources",
        "_spill",
        "_starts",
        "_versions",
        "identities",
        "sizes",
    )

    def __init__(self, codec: Codec, source: str, spill: Spill | None = None) -> None:
        """Make an empty batch. Items without a source belong to `source`."""
        self._keys: list[str] = []
        self._sources: list[str] = []
        self.identities = _Identities(self._keys, self._sources)
        self.sizes = array("I")
        self._codec = codec
        self._source = source
        # Equal names of sources are one object here, however many the caller made.
        self._source_names: dict[str, str] = {source: source}
        self._starts = array("Q")
        self._hashes = bytearray()  # 32 bytes each
        self._content_types: list[str] = []
        self._fields: tuple[str, ...] = ()
        self._checksums: dict[int, bytes] = {}
        self._versions: dict[int, str] = {}
        # By key, because most keys have one source. The others of a key are in `_further`.
        self._positions: dict[str, int] = {}
        self._further: dict[Identity, int] = {}
        self._rows: dict[int, PackedRow] = {}
        self._spill = Spill(_MEMORY_BYTES) if spill is None else spill
        self._added = 0

    def __len__(self) -> int:
        return len(self._keys)

    def position(self, identity: Identity) -> int:
        """The position of an entry's item in the input."""
        position = self._positions[identity[0]]
        return position if self._sources[position] == identity[1] else self._further[identity]

    @property
    def size(self) -> int:
        """The canonical bytes that were added."""
        return len(self._spill)

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
        positions, further, encode = self._positions, self._further, self._codec.encode
        keys, sources, names, versions = self._keys, self._sources, self._source_names, self._versions
        hashes, sizes, starts = self._hashes, self.sizes, self._starts
        content_types, checksums = self._content_types, self._checksums
        spilled, start = len(self._spill), len(self._spill)
        pending: list[bytes] = []
        for (key, of), value, version in check_items(items, self._source, self._added):
            content_type, data, value_hash, checksum = encode(value, key)
            size = len(data)
            new = len(keys)
            position = positions.setdefault(key, new)
            if position != new and sources[position] != of:
                position = further.setdefault((key, of), new)
            if position == new:
                keys.append(key)
                sources.append(names.setdefault(of, of))
                hashes += value_hash
                sizes.append(size)
                starts.append(start)
                content_types.append(content_type)
            else:
                hashes[32 * position : 32 * position + 32] = value_hash
                sizes[position], starts[position], content_types[position] = size, start, content_type
                if checksums:
                    checksums.pop(position, None)
            if checksum is not None:
                checksums[position] = checksum
            if version is not None:
                versions[position] = version
            elif versions:
                versions.pop(position, None)
            pending.append(data)
            start += size
            if start - spilled >= _SPILL_BYTES:
                self._spill.put(b"".join(pending))
                pending.clear()
                spilled = start
        self._spill.put(b"".join(pending))
        self._added += len(items)

    def part(self, positions: Sequence[int]) -> EncodedBatch:
        """Some of the items as a batch of their own, in this order. It lives as long as this one, which closes it."""
        part = EncodedBatch(self._codec, self._source, self._spill)
        for new, position in enumerate(positions):
            key, of = self.identities[position]
            if part._positions.setdefault(key, new) != new:
                part._further[key, of] = new
            part._keys.append(key)
            part._sources.append(of)
            part._source_names[of] = of
            part._hashes += self.hash_of(position)
            part.sizes.append(self.sizes[position])
            part._starts.append(self._starts[position])
            part._content_types.append(self._content_types[position])
            if position in self._checksums:
                part._checksums[new] = self._checksums[position]
            if position in self._versions:
                part._versions[new] = self._versions[position]
        return part

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

    def compare(self, rows: Iterable[ExistingRow], unlisted: Unlisted | None = None) -> Comparison:
        """Compare existing rows with the items.

        This takes one row at a time: ten thousand rows in a list cost the garbage collector more than the comparison.

        Args:
            unlisted: what to add the entries to that no item names; by default a list.
        """
        position_of, sources, further = self._positions.get, self._sources, self._further
        hashes, versions = self._hashes, self._versions
        unlisted = [] if unlisted is None else unlisted
        states, entries = bytearray(len(sources)), 0
        for key, source, value_hash, version in rows:
            entries += 1
            position = position_of(key)
            if position is not None and sources[position] != source:
                position = further.get((key, source))
            if position is None:
                unlisted.append(checked_identity((key, source)))
            else:
                known: Any = value_hash if type(value_hash) is bytes else raw_bytes(value_hash)
                same = known == hashes[32 * position : 32 * position + 32]
                if same and versions:
                    same = versions.get(position, version) == version
                states[position] = SAME if same else DIFFERENT
        return Comparison(states, unlisted, entries)

    def changed(self, comparison: Comparison) -> list[int]:
        """The positions of the items to write, sorted by (key, source). All writers use this order."""
        states = comparison.states
        # The numbers of the index, which exist already: a million new ones would take 32 MB.
        changed = [at for at in chain(self._positions.values(), self._further.values()) if states[at] != SAME]
        if self._further:
            changed.sort(key=self._sources.__getitem__)
        changed.sort(key=self._keys.__getitem__)  # keeps the order of the sources of one key
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
                bytes(self.hash_of(position)),
                self._checksums.get(position),
                content_type,
                encoding,
                self._versions.get(position),
                position,
                self._codec.search_fields(content_type, data, self._fields) if self._fields else None,
            )

    def take_rows(self, positions: Sequence[int]) -> list[PackedRow]:
        """Hand over packed rows. If the transaction runs again, they are packed again."""
        return [self._rows.pop(position) for position in positions]

    def hash_of(self, position: int) -> bytearray:
        """The value hash of an item."""
        return self._hashes[32 * position : 32 * position + 32]

    def _canonical(self, position: int) -> bytes:
        return self._spill.get(self._starts[position], self.sizes[position])
