"""SHA-256 hashes of values, of stored bytes and of files."""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

# How many bytes of a file are read at a time.
_BLOCK: Final = 1024 * 1024


@lru_cache(64)
def hash_prefix(content_type: str) -> bytes:
    """The bytes to hash before the canonical bytes: b"1" and 1 have equal bytes but are different values."""
    return content_type.encode("utf-8", "surrogatepass") + b"\n"


def checksum_of(value_hash: bytes, content_type: str, data: bytes) -> bytes:
    """The checksum of a row whose value hash covers only a part of its bytes."""
    return sha256(value_hash.hex().encode() + hash_prefix(content_type) + data).digest()


def is_intact(value_hash: bytes, checksum: bytes | None, content_type: str, data: bytes) -> bool:
    """True when the hashes of a value are those of its bytes."""
    if checksum is None:
        return value_hash == sha256(hash_prefix(content_type) + data).digest()
    return checksum == checksum_of(value_hash, content_type, data)


def file_fingerprint(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits, read in blocks of 1 MiB.

    Raises:
        OSError: the file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("a.txt").write_bytes(b"a text")
        >>> file_fingerprint("a.txt")[:16]
        '734194ede5b063e6'
    """
    digest = sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
