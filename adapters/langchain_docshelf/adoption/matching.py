"""Which child of a vector store is which chunk of a parent: by text and metadata, as far as stores keep these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain_docshelf.parent_retriever.children import Draft
from langchain_docshelf.parent_retriever.parents import Identity
from langchain_docshelf.vector_access import Child, ChildId

_MAX_DEPTH: Final = 50
_WHOLE_BITS: Final = 64
# So few that numbers which differ in their last bits hardly ever round to different ones. Times differ by the second.
_DIGITS: Final = 10


class Found(NamedTuple):
    """A child in the vector store, without its text.

    Attributes:
        parent: the key of its parent.
        source: the source of its parent, "" if the child does not say.
        says_source: True if it does.
        digest: stands for its text and metadata.
        id: its id.
    """

    parent: str
    source: str
    says_source: bool
    digest: str
    id: ChildId

    def spooled(self) -> tuple[Any, ...]:
        """For `SortedRecords`, which cannot compare numbers with texts."""
        return self.parent, self.source, self.says_source, self.digest, json.dumps(self.id)

    @classmethod
    def read(cls, record: Sequence[Any]) -> Found:
        """What `spooled` made."""
        parent, source, says_source, digest, child = record
        return cls(parent, source, says_source, digest, json.loads(child))


class Digester:
    """Digests of text and metadata that are the same for a chunk and for the child that was made of it.

    Args:
        id_key: the key of the metadata that holds the key of the parent.
        source_id_key: the key of the metadata that holds the source of the parent; "" for none.
        ignored: names of metadata that are not compared.
    """

    def __init__(self, id_key: str, source_id_key: str, ignored: Collection[str]) -> None:
        self._id_key = id_key
        self._source_id_key = source_id_key
        self._ignored = {id_key, source_id_key, *ignored}

    def found(self, child: Child) -> Found | None:
        """A child of the vector store; None if it names no parent."""
        parent = child.metadata.get(self._id_key)
        if not isinstance(parent, str):
            return None
        source = child.metadata.get(self._source_id_key) if self._source_id_key else None
        says = isinstance(source, str)
        return Found(
            parent, source if isinstance(source, str) else "", says, self.of(child.text, child.metadata), child.id
        )

    def of_draft(self, draft: Draft) -> str:
        """A chunk that the splitter makes now."""
        return self.of(draft.document.page_content, draft.document.metadata)

    def of(self, text: str, metadata: Mapping[str, Any]) -> str:
        """The digest of a text and its metadata."""
        compared = {name: value for name, value in metadata.items() if name not in self._ignored}
        told = json.dumps(_as_json(compared, _MAX_DEPTH), sort_keys=True)
        return hashlib.sha256(json.dumps([text, told]).encode()).hexdigest()[:32]


def _as_json(value: Any, depth: int) -> Any:
    """A value as vector stores give it back: tuples are lists, keys are texts, None is nothing."""
    if isinstance(value, Mapping) and depth > 0:
        items = ((str(key), _as_json(item, depth - 1)) for key, item in value.items())
        return {key: item for key, item in items if item is not None}
    if isinstance(value, list | tuple) and depth > 0:
        return [_as_json(item, depth - 1) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, float):
        # Some stores give whole numbers back as floats, or the reverse, and Chroma changes the last digits of others.
        value = value if value.is_integer() else float(f"{value:.{_DIGITS}g}")
        value = int(value) if value.is_integer() else value
    if isinstance(value, int):
        # JSON has no limit for whole numbers, but Python has one for writing them.
        return int(value) if value.bit_length() <= _WHOLE_BITS else hex(value)
    return value if isinstance(value, float) else str(value)


class Match(NamedTuple):
    """The children of a parent.

    Attributes:
        ids: for each draft, the id of its child; None if the vector store has none.
    """

    ids: list[ChildId | None]

    @property
    def missing(self) -> int:
        """How many drafts have no child."""
        return self.ids.count(None)


class Group:
    """The children of one key, to be given to the parents that have this key in their sources."""

    def __init__(self, children: Sequence[Found]) -> None:
        self._children = list(children)
        self.ambiguous: list[ChildId] = []

    @property
    def rest(self) -> list[Found]:
        """The children that no parent took."""
        return self._children

    def take_known(self, ids: Collection[ChildId]) -> int:
        """Take the children with these ids; returns how many there are."""
        known = {str(child) for child in ids}
        before = len(self._children)
        self._children = [child for child in self._children if str(child.id) not in known]
        return before - len(self._children)

    def match(self, drafts: Mapping[Identity, Sequence[str]]) -> dict[Identity, Match]:
        """Give each parent its children.

        Args:
            drafts: the digests of the chunks of each parent of this key.
        """
        takers: dict[str, int] = {}
        for digests in drafts.values():
            for digest in set(digests):
                takers[digest] = takers.get(digest, 0) + 1
        unclear = {child.id for child in self._children if not child.says_source and takers.get(child.digest, 0) > 1}
        self.ambiguous += unclear
        self._children = [child for child in self._children if child.id not in unclear]
        return {identity: Match(self._taken(identity[1], digests)) for identity, digests in drafts.items()}

    def _taken(self, source: str, digests: Sequence[str]) -> list[ChildId | None]:
        waiting: dict[str, list[Found]] = {}
        for child in self._children:
            if not child.says_source or child.source == source:
                waiting.setdefault(child.digest, []).append(child)
        taken = [waiting[digest].pop(0) if waiting.get(digest) else None for digest in digests]
        gone = {id(child) for child in taken if child is not None}
        self._children = [child for child in self._children if id(child) not in gone]
        return [None if child is None else child.id for child in taken]
