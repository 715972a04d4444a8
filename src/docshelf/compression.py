"""How canonical bytes are packed into a row: plain, or zstd where that pays."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

PLAIN: Final = "plain"
ZSTD: Final = "zstd"

# zstd level 1 halves English prose; higher levels cost time and save little at these sizes.
_LEVEL: Final = 1
# Below this a frame's saving does not pay for its 12 µs and for a row that psql cannot show.
MIN_BYTES: Final = 512
_MIN_SAVING: Final = 0.9


class _Contexts(threading.local):
    """zstd contexts are costly to make (24 against 12 µs a document) and belong to one thread."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


class UnpackError(Exception):
    """Packed bytes cannot be unpacked; the text says why."""


def pack(data: bytes, *, compress: bool) -> tuple[str, bytes]:
    """The name of the encoding and the packed bytes."""
    if compress and len(data) >= MIN_BYTES:
        packed = _contexts.compressor.compress(data)
        if len(packed) < len(data) * _MIN_SAVING:
            return ZSTD, packed
    return PLAIN, data


def unpack(encoding: str | None, packed: bytes, *, limit: int) -> bytes:
    """The bytes that were packed.

    Raises:
        UnpackError: unknown encoding, broken frame, or more than `limit` bytes inside; never allocates more than that.
    """
    if encoding == PLAIN:
        return packed
    if encoding != ZSTD:
        raise UnpackError(f"unknown encoding {encoding!r:.40}")
    try:
        # `decompress` trusts the size in the frame's header, so that is what has to be bounded.
        size = zstandard.frame_content_size(packed)
        if size <= 0:
            raise UnpackError("a zstd frame that does not tell its size")
        if size > limit:
            raise UnpackError(f"a zstd frame of {size:,} bytes, over the limit of {limit:,}")
        return _contexts.decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise UnpackError(f"broken zstd ({exc})") from exc
