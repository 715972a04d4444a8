"""Finds the children of ledger rows that cannot be read, by listing the vector store."""

from __future__ import annotations

import logging
from typing import Any, Final

from docshelf import DocShelf
from docshelf.adapters import Flow
from langchain_docshelf.parent_retriever.child_ids import is_in_namespace
from langchain_docshelf.parent_retriever.children import ChildMaker
from langchain_docshelf.parent_retriever.ledger import Ledger, Turn, parent_part, parent_part_of
from langchain_docshelf.vector_access import Child, VectorAccess

_log: Final = logging.getLogger("docshelf")


def recover_unreadable(
    turn: Turn, docs: DocShelf, ledger: Ledger, vectors: VectorAccess, maker: ChildMaker
) -> Flow[bool]:
    """Find out which children the unreadable rows of a turn stand for.

    Where the vector store cannot be listed, obsolete rows stay, and their children with them.

    Returns:
        True if rows stay.
    """
    if not turn.unreadable:
        return False
    obsolete = {row.key: row.source for row in turn.obsolete if row.key in turn.unreadable}
    if not vectors.can_list:
        turn.obsolete = [row for row in turn.obsolete if row.key not in obsolete]
        if obsolete:
            _log.warning(
                "%d rows of the retriever's ledger of %r cannot be read, of source %r for one, so obsolete children "
                "may stay in the vector store; give a %s a method list_children(id_key), and sync again",
                len(obsolete),
                docs.collection,
                min(obsolete.values()),
                vectors.name,
            )
        return bool(obsolete)
    sources = {parent_part(row): source for row, source in obsolete.items()}
    sources |= {parent_part(row): turn.wanted[row][1] for row in turn.unreadable if row in turn.wanted}
    found: dict[str, list[str]] = {part: [] for part in sources}
    namespace = yield from ledger.namespace()
    children = vectors.list_children(maker.id_key, _keys_of(turn, sources))
    while page := (yield from children.next()):
        for child in page:
            for source in _sources_of(child, maker, set(sources.values())):
                part = parent_part_of((child.metadata[maker.id_key], source))
                if part in found and (
                    is_in_namespace(child.id, namespace) or child.id in maker.former_ids(child, source)
                ):
                    found[part].append(str(child.id))
    known = turn.children_by_parent(turn.ids)
    for row in turn.unreadable:
        listed = found.get(parent_part(row), [])
        turn.ids[row] = [child for child in listed if child not in known.get(parent_part(row), ())]
    return False


def _keys_of(turn: Turn, parts: dict[str, str]) -> set[str] | None:
    """The keys of the parents of rows; None if one is not known, as its parent is gone."""
    keys = {parent_part(row): key for row, (key, _) in turn.wanted.items()}
    return {keys[part] for part in parts} if keys.keys() >= parts.keys() else None


def _sources_of(child: Child, maker: ChildMaker, sources: set[str]) -> set[str]:
    """The sources among these that the parent of a child may have."""
    source: Any = child.metadata.get(maker.source_id_key) if maker.source_id_key else None
    return sources if source is None else sources & {source}
