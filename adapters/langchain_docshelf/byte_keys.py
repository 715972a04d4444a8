"""Keys of the byte store: any text, although docshelf takes 1 to 1,024 bytes of UTF-8 without NUL.

A key that docshelf does not take is folded: its row's key is the key's head, a mark and its SHA-256, and the row's
version is the whole key as ASCII JSON. A key that looks like a folded one is folded too, so that no two keys share a
row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from docshelf import ArgumentTypeError, Entry, Item

_MAX_BYTES: Final = 1024
# Length of the head of a folded key. A scan by prefix compares at most so much of a key.
_HEAD_BYTES: Final = 512
_MARK: Final = "\N{SYMBOL FOR UNIT SEPARATOR}sha256:"
_FOLDED: Final = re.compile(re.escape(_MARK) + r"[0-9a-f]{64}\Z")
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


def stored_item(key: str, value: bytes | None = None) -> Item:
    """The item to store for a key.

    Raises:
        ArgumentTypeError: the key is not text.
    """
    if not isinstance(key, str):
        raise ArgumentTypeError(f"the key {key!r:.60} is a {type(key).__name__}; it has to be a str")
    if key and not _UNFIT.search(key) and len(key.encode()) <= _MAX_BYTES and not is_folded(key):
        return Item(key, value)
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return Item(f"{_head(key)}{_MARK}{digest}", value, version=json.dumps(key))


def is_folded(key: str) -> bool:
    """True for a stored key that may be a folded one."""
    return _FOLDED.search(key) is not None


def unfolded(entries: Iterable[Entry | None], prefix: str | None) -> Iterator[str]:
    """The original keys of entries with folded keys, those that begin with the prefix."""
    for entry in entries:
        if entry is None:
            continue
        key = _original(entry)
        if fits_scan(key, prefix):
            yield key


def scan_prefix(prefix: str | None) -> str | None:
    """The beginning of all stored keys whose original keys begin with the prefix."""
    return _head(prefix) if isinstance(prefix, str) else prefix


def fits_scan(key: str, prefix: str | None) -> bool:
    """True for a key that begins with the whole prefix."""
    return prefix is None or key.startswith(prefix)


def _head(key: str) -> str:
    """The longest beginning of a key that docshelf takes and that fits into `_HEAD_BYTES`."""
    unfit = _UNFIT.search(key)
    head = key if unfit is None else key[: unfit.start()]
    return head.encode()[:_HEAD_BYTES].decode(errors="ignore")


def _original(entry: Entry) -> str:
    """The key that was folded. Where another program wrote the row, the stored key itself."""
    try:
        key = json.loads(entry.version or "")
    except ValueError:
        return entry.key
    return key if isinstance(key, str) and stored_item(key).key == entry.key else entry.key
