"""Ids and digests are stored: whatever makes them faster must leave them as they are."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from typing import Any

import pytest

from langchain_docshelf.parent_retriever.child_ids import child_id, is_in_namespace, stable_digest, stable_uuid

_ODD = "".join(map(chr, [*range(0x100), 0x2028, 0xD800, 0xDFFF, 0xFFFF, 0x1F600]))


@pytest.mark.parametrize(
    "parts",
    [(), ("",), ("name", "a", "docs:ü/b.md"), (_ODD, _ODD[::-1]), ("fingerprint", ["a", "b"]), ({"a": 1}, None, 2.5)],
    ids=["none", "empty", "texts", "odd texts", "list", "other types"],
)
def test_a_digest_is_that_of_the_parts_as_json(parts: tuple[Any, ...]) -> None:
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    assert stable_digest(*parts) == digest.hex()[:32]
    assert stable_uuid(*parts) == str(uuid.UUID(bytes=digest[:16], version=5))


def test_digests_of_former_versions_still_hold() -> None:
    assert stable_uuid("name", "a", "b") == "f088812b-c4f7-5e57-a2c0-23284e253d53"
    assert stable_digest("name", "a", "b") == "f088812bc4f7ae57a2c023284e253d53"


def test_every_child_id_is_a_uuid_of_version_5() -> None:
    chance = random.Random(5)
    for ordinal in range(200):
        namespace = f"{chance.getrandbits(128):032x}"
        made = child_id(namespace, "content", ordinal)
        parsed = uuid.UUID(made)
        assert str(parsed) == made
        assert (parsed.version, parsed.variant) == (5, uuid.RFC_4122)
        assert is_in_namespace(made, namespace)
