"""The documents that are moved: about 2 KB of real text each, with metadata of several types."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pydoc_data.topics import topics
from typing import Any, Final

from langchain_core.documents import Document
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

_CHARACTERS: Final = 2_000
_OF_A_SOURCE: Final = 25


def key_of(number: int) -> str:
    """Keys whose order is not the order of insertion."""
    return f"page-{(number * 7919) % 1_000_003:07}"


def keys(count: int) -> list[str]:
    """The keys of so many documents, in the order of insertion."""
    return [key_of(number) for number in range(count)]


def text_of(number: int) -> str:
    body = _text()
    return f"{number} {body[number * 613 % (len(body) - _CHARACTERS) :][:_CHARACTERS]}"


def source_of(number: int) -> str:
    return f"docs/{number // _OF_A_SOURCE}.md"


def metadata_of(number: int) -> dict[str, Any]:
    """Metadata that JSON holds, as most of the origins keep no other."""
    return {"source": source_of(number), "page": number % _OF_A_SOURCE, "score": number / 7, "tags": ["a", str(number)]}


def page(number: int) -> Document:
    return Document(id=key_of(number), page_content=text_of(number), metadata=metadata_of(number))


def node(number: int) -> TextNode:
    return TextNode(
        id_=key_of(number),
        text=text_of(number),
        metadata=metadata_of(number),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source_of(number))},
    )


def parts(count: int, size: int = 500) -> Iterator[range]:
    """Numbers, some at a time."""
    for start in range(0, count, size):
        yield range(start, min(count, start + size))


@cache
def _text() -> str:
    return "\n".join(topics.values())
