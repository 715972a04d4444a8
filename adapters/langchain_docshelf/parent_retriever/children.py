"""How the children of a parent are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from docshelf import ArgumentTypeError, Entry, UnsupportedValueError, canonical_bytes
from langchain_docshelf.parent_retriever.child_ids import fingerprint_of, stable_digest, stable_uuid
from langchain_docshelf.parent_retriever.parents import Identity

ChildSplitter = TextSplitter | Callable[[Document], Sequence[Document]] | None
"""What makes the children of a parent. None makes the parent its own only child."""

# How deep the settings of a splitter count.
_SETTINGS_DEPTH = 8


@dataclass(frozen=True)
class ChildMaker:
    """Makes the children of parents, with ids and metadata.

    Attributes:
        splitter: what splits a parent.
        id_key: the key of a child's metadata that holds the key of its parent.
        source_id_key: the key of a child's metadata that holds the source of its parent; "" leaves it out.
        metadata_fields: the names of the parent's metadata that its children have; None means all.
        fingerprint: the caller's name for what the vectors depend on besides.
    """

    splitter: ChildSplitter
    id_key: str
    source_id_key: str
    metadata_fields: Sequence[str] | None
    fingerprint: str

    @property
    def settings(self) -> Any:
        """What the children of a parent depend on besides the parent, as JSON."""
        return fingerprint_of([self.splitter, self.metadata_fields, self.id_key, self.fingerprint], _SETTINGS_DEPTH)

    def pieces(self, parent: Document) -> Sequence[Document]:
        """The children of a parent, before they have ids and metadata.

        Raises:
            ArgumentTypeError: the splitter did not return documents.
        """
        splitter = self.splitter
        if splitter is None:
            return [parent]
        if isinstance(splitter, TextSplitter):
            return splitter.split_documents([parent])
        pieces = list(splitter(parent))
        for piece in pieces:
            if not isinstance(piece, Document):
                raise ArgumentTypeError(f"the child_splitter gave a {type(piece).__name__}; it has to give Documents")
        return pieces

    def children_of(self, identity: Identity, entry: Entry) -> list[Document]:
        """The children of a stored parent."""
        key, source = identity
        children = []
        seen: Counter[str] = Counter()
        for piece in self.pieces(entry.value):
            metadata = dict(piece.metadata)
            if self.metadata_fields is not None:
                metadata = {name: metadata[name] for name in self.metadata_fields if name in metadata}
            metadata[self.id_key] = key
            if self.source_id_key:
                metadata[self.source_id_key] = source
            # Equal text and metadata make the same child in every version of the parent and under all settings: it
            # is not embedded again.
            content = stable_digest(source, key, self.fingerprint, piece.page_content, _digestible(metadata, entry))
            child_id = stable_uuid("child", content, seen[content])
            seen[content] += 1
            children.append(Document(id=child_id, page_content=piece.page_content, metadata=metadata))
        return children


def _digestible(metadata: dict[str, Any], parent: Entry) -> Any:
    """JSON that is the same for equal metadata in every process."""
    try:
        return canonical_bytes(metadata).decode("utf-8", "surrogatepass")
    except UnsupportedValueError:
        # The caller's splitter added an object of which only a part is known: every change of the parent counts.
        return [fingerprint_of(metadata), (parent.value_hash or b"").hex()]
