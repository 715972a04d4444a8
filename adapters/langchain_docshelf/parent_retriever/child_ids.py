"""Ids and digests that are the same in every process: of parents, of children, of the settings behind them.

The id of a child depends on its content and on the namespace of its ledger. So two vector stores in one database may
hold the children of the same documents, although some databases take an id only once.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring_ascii
from typing import Any, Final

# Bytes of a child's id that tell its namespace. All of the namespace is in the digest behind them.
_MARK_BYTES: Final = 4
# RFC 9562: the version is in the four bits from the 49th, the variant in the two bits from the 65th.
_UUID_MASK: Final = (1 << 128) - 1 ^ (0xF << 76) ^ (0x3 << 62)
_UUID_VERSION: Final = 5 << 76 | 2 << 62


def stable_uuid(*parts: Any) -> str:
    """A UUID that depends on the parts alone. Some vector stores take no other ids."""
    return _uuid(_digest(parts)[:16])


def child_id(namespace: str, content: str, ordinal: int) -> str:
    """The id of a child: a UUID that begins with the mark of its ledger's namespace.

    Args:
        namespace: that of the ledger.
        content: a digest of everything that makes the child what it is.
        ordinal: counts the children of a parent that have equal contents.
    """
    digest = _digest(("child", namespace, content, ordinal))
    return _uuid(_mark(namespace) + digest[: 16 - _MARK_BYTES])


def former_child_id(content: str, ordinal: int) -> str:
    """The id that the same child has in ledgers from before there were namespaces."""
    return stable_uuid("child", content, ordinal)


def is_in_namespace(child: Any, namespace: str) -> bool:
    """True for the id of a child that was added under this namespace."""
    return str(child).replace("-", "").lower().startswith(_mark(namespace).hex())


def stable_digest(*parts: Any) -> str:
    """32 hexadecimal digits that depend on the parts alone."""
    return _digest(parts).hex()[:32]


def _mark(namespace: str) -> bytes:
    return _digest(("namespace", namespace))[:_MARK_BYTES]


def _digest(parts: tuple[Any, ...]) -> bytes:
    # As `json.dumps` writes texts, in a third of its time: a sync without changes makes three digests for each parent.
    if all(type(part) is str for part in parts):
        content = f"[{', '.join(map(encode_basestring_ascii, parts))}]"
    else:
        content = json.dumps(parts)
    return hashlib.sha256(content.encode()).digest()


def _uuid(data: bytes) -> str:
    """Sixteen bytes as a UUID of version 5, as `uuid.UUID(bytes=data, version=5)` writes them, without its object."""
    bits = int.from_bytes(data, "big") & _UUID_MASK | _UUID_VERSION
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
