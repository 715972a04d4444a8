"""Parent documents: what names them, and how they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from docshelf import ArgumentTypeError, ArgumentValueError, DocShelf, Entry, Item
from docshelf.adapters import Call, Flow
from langchain_docshelf.documents import check_document
from langchain_docshelf.parent_retriever.child_ids import stable_uuid
from langchain_docshelf.stores import DocShelfStore

Scope = Literal["sources", "collection"]
Identity = tuple[str, str]
"""Key and source of a parent."""
Parents = dict[Identity, Document]


def parents_from(
    documents: Iterable[Document],
    source: str | None,
    ids: Sequence[str] | None,
    store: DocShelfStore,
    splitter: TextSplitter | None,
) -> Parents:
    """The parents that documents are, or are split into.

    Raises:
        ArgumentTypeError: `documents` is no iterable of documents, or `source` is no text.
        ArgumentValueError: there is not one id for each parent, or one id names two parents of a source.
    """
    _check_arguments(documents, source)
    placed = list(_placed(documents, source, store, splitter))
    ids = None if ids is None else list(ids)
    if ids is not None and len(ids) != len(placed):
        raise ArgumentValueError(f"there are {len(placed):,} parent documents and {len(ids):,} ids; give one each")
    parents: Parents = {}
    seen: Counter[Any] = Counter()
    for position, (document, of) in enumerate(placed):
        key = document.id if ids is None else ids[position]
        if not key:
            # The id depends on the content, not on the position: an inserted text does not change the ids of others.
            content = (of, document.page_content)
            key = stable_uuid("parent", *content, seen[content])
            seen[content] += 1
        elif ids is not None and (key, of) in parents:
            raise ArgumentValueError(f"two parent documents of source {of!r:.60} have the id {key!r:.60} in ids")
        parents[key, of] = document
    return parents


def _placed(
    documents: Iterable[Document], source: str | None, store: DocShelfStore, splitter: TextSplitter | None
) -> Iterator[tuple[Document, str]]:
    """Each parent with its source."""
    for position, document in enumerate(documents):
        check_document(document, f"document {position}")
        of = store.source_of(document, document.id or f"document {position}") if source is None else source
        pieces = [document] if splitter is None else splitter.split_documents([document])
        for piece in pieces:
            yield piece, of


def _check_arguments(documents: Any, source: Any) -> None:
    if not isinstance(documents, Iterable) or isinstance(documents, Document):
        raise ArgumentTypeError(f"documents is a {type(documents).__name__}; give an iterable of documents")
    if source is not None and not isinstance(source, str):
        raise ArgumentTypeError(f"source is a {type(source).__name__}; give text")


def items_of(parents: Parents) -> list[Item]:
    """What a shelf stores of parents."""
    return [Item(key, document, source) for (key, source), document in parents.items()]


def existing_entries(shelf: DocShelf, identities: Sequence[Identity], *, values: bool) -> Flow[dict[Identity, Entry]]:
    """The entries of those of the identities that a shelf has."""
    entries: list[Entry | None] = yield Call(shelf, "pair_entries", identities, values=values)
    return {identity: entry for identity, entry in zip(identities, entries, strict=True) if entry is not None}


def entries_in(shelf: DocShelf, sources: set[str], scope: Scope) -> Flow[list[Entry]]:
    """The entries of some sources, or under the scope "collection" of all, without their values."""
    if scope == "collection":
        everything: list[Entry] = yield Call(shelf, "yield_entries", values=False)
        return everything
    by_source: list[list[Entry]] = yield Call(shelf, "source_entries", sorted(sources), values=False)
    return [entry for entries in by_source for entry in entries]


def parents_of(
    store: DocShelfStore, children: Iterable[Document], id_key: str, source_id_key: str
) -> Flow[list[Document]]:
    """The parents of children that a search found, in the order of the children, each parent once."""
    metadata = [child.metadata for child in children if id_key in child.metadata]
    # A child that another program added may lack the source of its parent.
    places = list(dict.fromkeys((one[id_key], one.get(source_id_key)) for one in metadata))
    found: dict[tuple[str, str | None], Entry] = {}
    identities = [(key, source) for key, source in places if source is not None]
    if identities:
        existing = yield from existing_entries(store.shelf, identities, values=True)
        found.update({(key, source): entry for (key, source), entry in existing.items()})
    keys = [key for key, source in places if source is None]
    if keys:
        entries: list[Entry | None] = yield Call(store.shelf, "mget_entries", keys)
        found |= {(key, None): entry for key, entry in zip(keys, entries, strict=True) if entry is not None}
    documents = store.documents_of([found.get(place) for place in places])
    return [document for document in documents if document is not None]
