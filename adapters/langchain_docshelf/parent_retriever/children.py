"""How the children of a parent are made."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from docshelf import ArgumentTypeError, ConfigurationError, Entry, UnsupportedValueError, canonical_bytes
from docshelf.adapters import Call, Flow, fingerprint_of
from langchain_docshelf.parent_retriever.child_ids import former_child_id, stable_digest
from langchain_docshelf.parent_retriever.parents import Identity
from langchain_docshelf.vector_access import Child
from langchain_docshelf.vector_access.steps import HALVES, Half

ChildSplitter = (
    TextSplitter | Callable[[Document], Sequence[Document]] | Callable[[Document], Awaitable[Sequence[Document]]] | None
)
"""What makes the children of a parent: a text splitter, or a function, which may be `async def`. None makes the parent
its own only child."""

# How deep the settings of a splitter count.
_SETTINGS_DEPTH: Final = 8
# How many equal children of a parent are recognized by their former ids.
_EQUAL_CHILDREN: Final = 16
_ASYNC_ONLY: Final = (
    "the child_splitter is asynchronous, so only the asynchronous methods can call it: use async_, aadd_documents or "
    "async_parent_documents, or give a function that returns the documents"
)


class Draft(NamedTuple):
    """A child that has no id yet.

    Attributes:
        document: its text and metadata.
        content: a digest of everything that makes the child what it is.
        ordinal: counts the children of the parent that have equal contents.
    """

    document: Document
    content: str
    ordinal: int


class Drafts(NamedTuple):
    """The children of some parents.

    Attributes:
        by_parent: the children of the parents that were split, in order.
        failure: what the splitter raised at the next parent; None if it raised nothing. What it made before is not
            lost.
    """

    by_parent: dict[Identity, list[Draft]]
    failure: Exception | None


@dataclass(frozen=True)
class ChildMaker:
    """Makes the children of parents, without ids.

    Attributes:
        splitter: what splits a parent.
        id_key: the key of a child's metadata that holds the key of its parent.
        source_id_key: the key of a child's metadata that holds the source of its parent; "" leaves it out.
        metadata_fields: the names of the parent's metadata that its children have; None means all.
        embedding_version: the caller's name for what the vectors depend on besides.
    """

    splitter: ChildSplitter
    id_key: str
    source_id_key: str
    metadata_fields: Sequence[str] | None
    embedding_version: str

    @property
    def settings(self) -> Any:
        """What the children of a parent depend on besides the parent, as JSON."""
        return fingerprint_of(
            [self.splitter, self.metadata_fields, self.id_key, self.embedding_version], _SETTINGS_DEPTH
        )

    @property
    def _is_function(self) -> bool:
        return self.splitter is not None and not isinstance(self.splitter, TextSplitter)

    def check(self) -> Flow[None]:
        """Refuse an asynchronous splitter in sync calls.

        Raises:
            ConfigurationError: it is one.
        """
        half: Half = yield Call(HALVES, "half")
        if half == "sync" and _is_coroutine_function(self.splitter):
            raise ConfigurationError(_ASYNC_ONLY)

    # Each of these has a twin: `yield Call(maker, "make", entries)`.

    def make(self, entries: Mapping[Identity, Entry]) -> Drafts:
        """The children of stored parents. Entries that hold no document are left out."""
        made: dict[Identity, list[Draft]] = {}
        for identity, entry in _documents(entries):
            try:
                made[identity] = self._drafts(identity, entry, self._pieces(entry.value))
            except Exception as exc:
                return Drafts(made, exc)
        return Drafts(made, None)

    async def amake(self, entries: Mapping[Identity, Entry]) -> Drafts:
        """As `make`."""
        if not self._is_function:
            return await asyncio.to_thread(self.make, entries)
        made: dict[Identity, list[Draft]] = {}
        for identity, entry in _documents(entries):
            try:
                made[identity] = self._drafts(identity, entry, await self._apieces(entry.value))
            except Exception as exc:
                return Drafts(made, exc)
        return Drafts(made, None)

    def count(self, parents: Iterable[Document]) -> int:
        """The number of children of parents."""
        return sum(len(self._pieces(parent)) for parent in parents)

    async def acount(self, parents: Iterable[Document]) -> int:
        """As `count`."""
        if not self._is_function:
            return await asyncio.to_thread(self.count, parents)
        return sum([len(await self._apieces(parent)) for parent in parents])

    def _pieces(self, parent: Document) -> Sequence[Document]:
        splitter: Any = self.splitter
        if splitter is None:
            return [parent]
        if isinstance(splitter, TextSplitter):
            return splitter.split_documents([parent])
        pieces = splitter(parent)
        if inspect.isawaitable(pieces):
            if inspect.iscoroutine(pieces):
                pieces.close()  # or Python would warn that nobody awaited it
            raise ConfigurationError(_ASYNC_ONLY)
        return _checked(pieces)

    async def _apieces(self, parent: Document) -> Sequence[Document]:
        """The children of a parent by a function, which runs in a thread unless it is `async def`."""
        splitter: Any = self.splitter
        if _is_coroutine_function(splitter):
            return _checked(await splitter(parent))
        pieces = await asyncio.to_thread(splitter, parent)
        return _checked(await pieces if inspect.isawaitable(pieces) else pieces)

    def _drafts(self, identity: Identity, entry: Entry, pieces: Sequence[Document]) -> list[Draft]:
        key, source = identity
        drafts = []
        seen: Counter[str] = Counter()
        for piece in pieces:
            metadata = dict(piece.metadata)
            if self.metadata_fields is not None:
                metadata = {name: metadata[name] for name in self.metadata_fields if name in metadata}
            metadata[self.id_key] = key
            if self.source_id_key:
                metadata[self.source_id_key] = source
            # Equal text and metadata make the same child in every version of the parent and under all settings: it
            # is not embedded again.
            content = self._content(identity, piece.page_content, _digestible(metadata, entry))
            drafts.append(Draft(Document(page_content=piece.page_content, metadata=metadata), content, seen[content]))
            seen[content] += 1
        return drafts

    def _content(self, identity: Identity, text: str, metadata: Any) -> str:
        key, source = identity
        return stable_digest(source, key, self.embedding_version, text, metadata)

    def former_ids(self, child: Child, source: str) -> set[str]:
        """The ids that a child of this text and metadata had before there were namespaces."""
        try:
            metadata = canonical_bytes(child.metadata).decode("utf-8", "surrogatepass")
        except UnsupportedValueError:
            return set()
        content = self._content((child.metadata[self.id_key], source), child.text, metadata)
        return {former_child_id(content, ordinal) for ordinal in range(_EQUAL_CHILDREN)}


def _documents(entries: Mapping[Identity, Entry]) -> list[tuple[Identity, Entry]]:
    return [(identity, entry) for identity, entry in entries.items() if isinstance(entry.value, Document)]


def _is_coroutine_function(splitter: Any) -> bool:
    if inspect.iscoroutinefunction(splitter):
        return True
    return callable(splitter) and inspect.iscoroutinefunction(type(splitter).__call__)


def _checked(pieces: Any) -> list[Document]:
    """The documents that a function returned.

    Raises:
        ArgumentTypeError: it returned something else.
    """
    if isinstance(pieces, str | bytes) or not isinstance(pieces, Iterable):
        raise ArgumentTypeError(
            f"the child_splitter gave a {type(pieces).__name__}; it has to give a list of Documents"
        )
    documents = list(pieces)
    for document in documents:
        if not isinstance(document, Document):
            raise ArgumentTypeError(f"the child_splitter gave a {type(document).__name__}; it has to give Documents")
    return documents


def _digestible(metadata: dict[str, Any], parent: Entry) -> Any:
    """JSON that is the same for equal metadata in every process."""
    try:
        return canonical_bytes(metadata).decode("utf-8", "surrogatepass")
    except UnsupportedValueError:
        # The caller's splitter added an object of which only a part is known: every change of the parent counts.
        return [fingerprint_of(metadata), (parent.value_hash or b"").hex()]
