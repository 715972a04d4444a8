"""Which of the parents that a document store has are these documents: for loaders that give no ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document

from docshelf import Entry
from docshelf.adapters import Call, Compute, Flow, aperform, perform
from langchain_docshelf.parent_retriever.parents import Identity, Parents, parents_from

_SOURCES = 100


def parent_ids(retriever: Any, documents: Iterable[Document]) -> list[str]:
    """The ids to sync documents under, so that they are the parents that the document store has.

    langchain-classic gives parents random ids, which the children know. A document keeps the id of the parent of its
    source that has its text. What is left of a source keeps ids in the order in which its parents were inserted: an
    edited file that is one parent is that parent. Others get ids as a sync gives them.

    Args:
        retriever: as for `adopt`.
        documents: the documents, as they will be given to `sync`.

    Returns:
        An id for each parent that the documents are, or are split into: for `sync(documents, ids=...)`.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> retriever = ParentDocumentRetriever(
        ...     vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=8)),
        ...     docstore=DocShelfStore(":memory:"),
        ...     child_splitter=None,
        ... )
        >>> retriever.docstore.mset([("random-id", Document(page_content="Hello."))])
        >>> parent_ids(retriever, [Document(page_content="Hello.")])
        ['random-id']
        >>> retriever.docstore.close()
    """
    return perform(_ids(retriever, documents))


async def aparent_ids(retriever: Any, documents: Iterable[Document]) -> list[str]:
    """As `parent_ids`."""
    return await aperform(_ids(retriever, documents))


def _ids(retriever: Any, documents: Iterable[Document]) -> Flow[list[str]]:
    store = retriever.docstore
    splitter = getattr(retriever, "parent_splitter", None)
    parents: Parents = yield Compute(parents_from, documents, None, None, store, splitter)
    by_source: dict[str, list[Identity]] = {}
    for identity in parents:
        by_source.setdefault(identity[1], []).append(identity)
    found: dict[Identity, str] = {}
    sources = list(by_source)
    for start in range(0, len(sources), _SOURCES):
        part = sources[start : start + _SOURCES]
        entries: list[list[Entry]] = yield Call(store.shelf, "source_entries", part)
        for source, existing in zip(part, entries, strict=True):
            found |= _paired(by_source[source], parents, existing)
    return [found.get(identity, identity[0]) for identity in parents]


def _paired(identities: Sequence[Identity], parents: Parents, existing: Sequence[Entry]) -> dict[Identity, str]:
    """The keys of the existing parents of a source, by what they are called now."""
    free = {entry.key: entry.value.page_content for entry in existing if isinstance(entry.value, Document)}
    by_text: dict[str, list[str]] = {}
    for key, text in free.items():
        by_text.setdefault(text, []).append(key)
    found: dict[Identity, str] = {}
    for identity in identities:
        keys = [identity[0]] if identity[0] in free else by_text.get(parents[identity].page_content, [])
        same = next((one for one in keys if one in free), None)
        if same is not None:
            found[identity] = same
            del free[same]
    left = iter(free)
    for identity in identities:
        # A document with an id of its own is not another's.
        if identity not in found and not parents[identity].id:
            following = next(left, None)
            if following is not None:
                found[identity] = following
    return found
