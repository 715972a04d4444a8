"""Packing and bounded unpacking: a frame that states a wrong size allocates no more than the limit."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from docshelf.values.compression import MIN_BYTES, UnpackError, pack_all, unpack
from tests.support.effort import examples

MIB = 1024 * 1024
LIMIT = MIB
ONE_MIB_OF_ZEROS = bytes(MIB)


def pack(data: bytes, *, compress: bool) -> tuple[str, bytes]:
    [packed] = pack_all([data], compress=compress)
    return packed


@cache
def bomb(*, tells_its_size: bool) -> bytes:
    """A frame of some kilobytes that holds 256 MiB of zeros."""
    size = 256 * MIB
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=tells_its_size)
    stream = compressor.compressobj(size=size if tells_its_size else -1)
    parts = [stream.compress(ONE_MIB_OF_ZEROS) for _ in range(256)]
    return b"".join([*parts, stream.flush()])


def with_size(frame: bytes, size: int) -> bytes:
    """The same frame with a header that states `size` bytes, written in 8 bytes."""
    descriptor = frame[4]
    single_segment = bool(descriptor & 0x20)
    field = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    window = frame[5:6] if not single_segment else bytes([0x70])  # 2**24 bytes
    start = 5 + (0 if single_segment else 1)
    forged_descriptor = (descriptor & 0x1F) | 0xC0
    return frame[:4] + bytes([forged_descriptor]) + window + size.to_bytes(8, "little") + frame[start + field :]


def frame_of(data: bytes, *, tells_its_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=tells_its_size).compress(data)


TEXT = b"some words of a text, " * 200


@given(st.binary(max_size=3000) | st.binary(min_size=1, max_size=20).map(lambda data: data * 200), st.booleans())
@settings(max_examples=examples(200), deadline=None)
def test_packed_bytes_unpack_to_the_same_bytes(data: bytes, compress: bool) -> None:
    encoding, packed = pack(data, compress=compress)
    assert unpack(encoding, packed, limit=max(len(data), 1)) == data
    assert len(packed) <= len(data)


def test_packing_many_gives_the_same_bytes_as_packing_each() -> None:
    noise = random.Random(1).randbytes
    values = [[TEXT[n:], b"short", noise(5_000), b""][n % 4] for n in range(300)]
    assert pack_all(values, compress=True) == [pack(data, compress=True) for data in values]
    assert pack_all(values, compress=False) == [("plain", data) for data in values]


def test_packing_is_done_where_it_pays() -> None:
    assert pack(TEXT, compress=True)[0] == "zstd"
    assert pack(TEXT, compress=False) == ("plain", TEXT)
    short = b"x" * (MIN_BYTES - 1)
    assert pack(short, compress=True) == ("plain", short)
    noise = os.urandom(5000)
    assert pack(noise, compress=True) == ("plain", noise)


def test_equal_bytes_are_packed_alike_in_every_thread() -> None:
    texts = [f"text {number} ".encode() * 300 for number in range(40)]
    expected = [pack(text, compress=True) for text in texts]

    def work(seed: int) -> bool:
        chosen = random.Random(seed).choices(range(len(texts)), k=200)
        return all(
            pack(texts[n], compress=True) == expected[n] and unpack(*expected[n], limit=LIMIT) == texts[n]
            for n in chosen
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


@pytest.mark.parametrize("encoding", ["gzip", "", "ZSTD", "pickle", "x" * 10_000, None, 7])
def test_an_unknown_encoding_is_an_error(encoding: str | None) -> None:
    with pytest.raises(UnpackError, match=r"^unknown encoding ") as caught:
        unpack(encoding, b"data", limit=LIMIT)
    assert len(str(caught.value)) < 100


def test_a_frame_may_hold_as_much_as_the_limit() -> None:
    frame = frame_of(TEXT)
    assert unpack("zstd", frame, limit=len(TEXT)) == TEXT
    with pytest.raises(UnpackError, match=r"^a zstd frame of 4,400 bytes, over the limit of 4,399$"):
        unpack("zstd", frame, limit=len(TEXT) - 1)


@cache
def broken_frames() -> dict[str, bytes]:
    frame = frame_of(TEXT)
    return {
        "empty": b"",
        "no frame": b"plain text that was never compressed",
        "magic number only": frame[:4],
        "header only": frame[:6],
        "truncated": frame[:-1],
        "trailing byte": frame + b"\0",
        "two frames": frame + frame,
        "a frame without a size": frame_of(TEXT, tells_its_size=False),
        "size forged smaller": with_size(frame, len(TEXT) - 1),
        "size forged larger": with_size(frame, len(TEXT) + 1),
        "size forged to the limit": with_size(frame, LIMIT),
        "size forged over the limit": with_size(frame, LIMIT + 1),
        "size forged to 2**63": with_size(frame, 2**63),
        "size forged to 2**64 - 3": with_size(frame, 2**64 - 3),
        "size forged to nothing": with_size(frame, 0),
        "an empty frame before another": frame_of(b"") + frame,
        "an empty frame with a trailing byte": frame_of(b"") + b"\0",
        "a skippable frame": b"\x50\x2a\x4d\x18\x04\0\0\0skip",
        "a skippable frame before another": b"\x50\x2a\x4d\x18\x04\0\0\0skip" + frame,
        "bomb": bomb(tells_its_size=True),
        "bomb without a size": bomb(tells_its_size=False),
        "bomb that says 100 bytes": with_size(bomb(tells_its_size=True), 100),
        "bomb that says the limit": with_size(bomb(tells_its_size=True), LIMIT),
        "bomb that says nothing": with_size(bomb(tells_its_size=True), 0),
        "bomb behind a good frame": frame + bomb(tells_its_size=True),
        "bomb behind an empty frame": frame_of(b"") + bomb(tells_its_size=True),
    }


def peak_of(call: Callable[[], object]) -> int:
    """Bytes at the peak of a call; what decompression gives is a Python object, and so is counted."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_forging_a_size_changes_the_size_and_nothing_else() -> None:
    frame = frame_of(TEXT)
    assert zstandard.frame_content_size(with_size(frame, 12345)) == 12345
    assert zstandard.ZstdDecompressor().decompress(with_size(frame, len(TEXT))) == TEXT


@pytest.mark.parametrize("name", broken_frames())
def test_a_broken_frame_is_an_unpack_error_and_costs_no_more_than_the_limit(name: str) -> None:
    frame = broken_frames()[name]

    def attempt() -> None:
        with pytest.raises(UnpackError):
            unpack("zstd", frame, limit=LIMIT)

    assert peak_of(attempt) < LIMIT + MIB // 4


def test_the_memory_that_a_frame_takes_is_seen() -> None:
    frame = frame_of(bytes(8 * MIB))
    assert peak_of(lambda: unpack("zstd", frame, limit=8 * MIB)) > 8 * MIB


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_mutated_frame_is_unpacked_or_an_unpack_error(data: st.DataObject) -> None:
    frame = bytearray(frame_of(data.draw(st.binary(max_size=30)) * 50))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(frame)))
        frame[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(UnpackError):
        assert len(unpack("zstd", bytes(frame), limit=10_000)) <= 10_000


_UNPACKED_ALONE = """
import re, sys
from pathlib import Path
from docshelf.values.compression import UnpackError, unpack

def peak():  # of this process alone: getrusage starts from the peak of the parent
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

unpack("zstd", bytes.fromhex(sys.stdin.readline()), limit=1 << 20)  # what zstd needs for itself
before = peak()
for line in sys.stdin:
    try:
        unpack("zstd", bytes.fromhex(line), limit=1 << 20)
    except UnpackError:
        pass
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak this way")
def test_no_frame_makes_a_process_grow_beyond_the_limit() -> None:
    """Counts what zstd itself allocates, too: tracemalloc does not see that."""
    wide = bytearray(with_size(frame_of(TEXT), len(TEXT)))
    wide[5] = 0xA8  # a window of 2 GiB
    lines = [frame_of(TEXT), bytes(wide), *broken_frames().values()]
    run = subprocess.run(
        [sys.executable, "-c", _UNPACKED_ALONE],
        input="\n".join(line.hex() for line in lines),
        text=True,
        check=True,
        capture_output=True,
    )
    assert int(run.stdout) < 16 * 1024, "kilobytes"
