"""How canonical bytes are packed into a row: plain, or zstd where that pays."""

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
# Below this a frame's saving does not pay for its 12 µs and for a row that psql cannot show.
MIN_BYTES: Final = 512
_MIN_SAVING: Final = 0.9
# Fewer than this are packed one by one; more, by up to so many threads.
_MANY: Final = 64
_MAX_THREADS: Final = 4


class _Contexts(threading.local):
    """zstd contexts are costly to make (24 against 12 µs a document) and belong to one thread."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


class UnpackError(Exception):
    """Packed bytes cannot be unpacked; the text says why."""


def pack_all(values: Sequence[bytes], *, compress: bool) -> list[tuple[str, bytes]]:
    """For each of them the name of the encoding and the packed bytes."""
    result = [(PLAIN, data) for data in values]
    if not compress:
        return result
    long = [position for position, data in enumerate(values) if len(data) >= MIN_BYTES]
    for position, packed in zip(long, _compressed([values[position] for position in long]), strict=True):
        if len(packed) < len(values[position]) * _MIN_SAVING:
            result[position] = (ZSTD, packed)
    return result


def _compressed(values: list[bytes]) -> Iterable[bytes]:
    compressor: Any = _contexts.compressor  # its stubs do not say that the result can be iterated over
    if len(values) < _MANY or not hasattr(compressor, "multi_compress_to_buffer"):
        return map(compressor.compress, values)
    # One call into C, on as many threads as pay, that holds no lock of Python's meanwhile.
    threads = min(_MAX_THREADS, os.cpu_count() or 1, len(values) // _MANY)
    return (segment.tobytes() for segment in compressor.multi_compress_to_buffer(values, threads=threads))


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
