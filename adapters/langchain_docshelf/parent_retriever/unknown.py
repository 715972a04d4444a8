"""Refuses a first run into a vector store that has children of the same parents which no ledger knows."""

from __future__ import annotations

from collections.abc import Collection

from docshelf.adapters import Flow
from langchain_docshelf.errors import UnknownChildrenError
from langchain_docshelf.parent_retriever.child_ids import is_in_namespace
from langchain_docshelf.parent_retriever.children import ChildMaker
from langchain_docshelf.parent_retriever.ledger import Ledger
from langchain_docshelf.parent_retriever.parents import Parents
from langchain_docshelf.vector_access import Child, ChildId, VectorAccess


def refuse_unknown(parents: Parents, ledger: Ledger, vectors: VectorAccess, maker: ChildMaker) -> Flow[None]:
    """Refuse to add the children of parents a second time, where the ledger is new and the vector store can be listed.

    Raises:
        UnknownChildrenError: the vector store has children of them that no ledger of these documents knows.
    """
    if not parents or not vectors.can_list or not (yield from ledger.is_new()):
        return
    sources: dict[str, set[str]] = {}
    for key, source in parents:
        sources.setdefault(key, set()).add(source)
    others: tuple[set[str], set[str]] | None = None

    def known(page: list[Child]) -> Flow[Collection[ChildId]]:
        nonlocal others
        if others is None:
            others = yield from ledger.others({source for _, source in parents})
        namespaces, listed = others
        # Another first run may have drawn it meanwhile, and have added children.
        own = yield from ledger.read_namespace()
        namespaces = namespaces if own is None else {own, *namespaces}
        return {
            child.id
            for child in page
            if str(child.id) in listed
            or any(is_in_namespace(child.id, namespace) for namespace in namespaces)
            or not _is_of(child, sources, maker)
        }

    unknown = yield from vectors.find_unknown(maker.id_key, sources.keys(), known)
    if unknown:
        first = unknown[0]
        raise UnknownChildrenError(
            f"the {vectors.name} has children of these documents that no record of this document store knows, "
            f"{first.id!r} of the document {first.metadata[maker.id_key]!r:.60} for one, so a sync would add them a "
            "second time. Give the retriever a vector store (or a collection of it) without them; or pass "
            "allow_unknown=True to add all children beside these"
        )


def _is_of(child: Child, sources: dict[str, set[str]], maker: ChildMaker) -> bool:
    """True for a child that may belong to one of the parents: the same key in another source is another parent."""
    source = child.metadata.get(maker.source_id_key) if maker.source_id_key else None
    return source is None or source in sources[child.metadata[maker.id_key]]
