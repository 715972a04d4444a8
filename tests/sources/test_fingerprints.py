"""The fingerprint of a file is the SHA-256 of its bytes, for any size and any name."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from docshelf import file_fingerprint

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, 64, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
def test_it_is_the_sha_256_of_the_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert file_fingerprint(path) == hashlib.sha256(data).hexdigest()


def test_the_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    unix.write_bytes(b"a\nb\n")
    windows.write_bytes(b"a\r\nb\r\n")
    assert file_fingerprint(unix) != file_fingerprint(windows)
    assert file_fingerprint(unix) == hashlib.sha256(b"a\nb\n").hexdigest()


def test_only_the_bytes_count(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "Zażółć 😀"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    os.utime(other, (0, 0))
    assert file_fingerprint(one) == file_fingerprint(str(other))
    other.write_bytes(b"samf")
    assert file_fingerprint(one) != file_fingerprint(other)


def test_a_large_file_is_read_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    tracemalloc.start()
    try:
        file_fingerprint(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_fingerprint(tmp_path / "absent")
    with pytest.raises(OSError, match=r"directory|denied"):
        file_fingerprint(tmp_path)
