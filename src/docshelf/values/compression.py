"""Packs the canonical bytes of a value for its row: plain, or zstd where that saves space."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

import zstandard

PLAIN: Final = "plain"
ZSTD: Final = "zstd"
# zstd level 1 halves English prose; higher levels cost time and save little at these sizes.
_LEVEL: Final = 1
# Shorter values stay plain: compressing saves little, takes 12 µs, and psql could no longer show the value.
MIN_BYTES: Final = 512
_MIN_SAVING: Final = 0.9
# From this many values on, up to `_MAX_THREADS` threads pack them.
_PARALLEL_FROM: Final = 64
_MAX_THREADS: Final = 4


class _Contexts(threading.local):
    """zstd contexts of one thread. With a new one for each document, packing takes 24 µs instead of 12."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


class UnpackError(Exception):
    """Packed bytes cannot be unpacked. The message says why."""


def pack_all(values: Sequence[bytes], *, compress: bool) -> list[tuple[str, bytes]]:
    """The name of the encoding and the packed bytes of each value."""
    result = [(PLAIN, data) for data in values]
    if not compress:
        return result
    long = [position for position, data in enumerate(values) if len(data) >= MIN_BYTES]
    for position, packed in zip(long, _compressed([values[position] for position in long]), strict=True):
        if len(packed) < len(values[position]) * _MIN_SAVING:
            result[position] = (ZSTD, packed)
    return result


def _compressed(values: list[bytes]) -> Iterable[bytes]:
    compressor: Any = _contexts.compressor  # according to the stubs, the result cannot be iterated
    if len(values) < _PARALLEL_FROM or not hasattr(compressor, "multi_compress_to_buffer"):
        return map(compressor.compress, values)
    # One call into C, which releases the GIL.
    threads = min(_MAX_THREADS, os.cpu_count() or 1, len(values) // _PARALLEL_FROM)
    return (segment.tobytes() for segment in compressor.multi_compress_to_buffer(values, threads=threads))


def unpack(encoding: str | None, packed: bytes, *, limit: int) -> bytes:
    """The bytes that were packed.

    Raises:
        UnpackError: unknown encoding, broken frame, or more than `limit` bytes. Never allocates more than the limit.
        MemoryError: this process lacks the memory.
    """
    if encoding == PLAIN:
        return packed
    if encoding != ZSTD:
        raise UnpackError(f"unknown encoding {encoding!r:.40}")
    try:
        # `decompress` allocates the size in the frame's header, so check that size first.
        size = zstandard.frame_content_size(packed)
        if size <= 0:
            raise UnpackError("a zstd frame that does not state its size")
        if size > limit:
            raise UnpackError(f"a zstd frame of {size:,} bytes, over the limit of {limit:,}")
        return _contexts.decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        if "memory" in str(exc):
            raise MemoryError(f"too little memory to unpack a value ({exc})") from exc
        raise UnpackError(f"broken zstd ({exc})") from exc
