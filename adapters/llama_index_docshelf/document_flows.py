"""What the methods of a document store do: flows of calls on its shelf, each written once for sync and async.

A node is an entry: its id is the key, its document (`ref_doc_id`) the source, its hash the version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import RefDocInfo

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    DocShelf,
    Entry,
    Item,
    Report,
    Source,
    SourceNote,
    UnsupportedValueError,
    canonical_bytes,
)
from docshelf.adapters import Call, Compute, Flow, as_document
from llama_index_docshelf.nodes.entries import holds_node, is_own_node, may_hold_node, node_of, version_of
from llama_index_docshelf.plain_values import plain


class DocumentFlows:
    """The flows of one document store.

    Args:
        shelf: the shelf of the store.
    """

    def __init__(self, shelf: DocShelf) -> None:
        self.shelf = shelf

    def _call(self, method: str, *args: Any, **options: Any) -> Call:
        return Call(self.shelf, method, *args, **options)

    # Writing

    def add(self, docs: Sequence[BaseNode], *, allow_update: bool, store_text: bool) -> Flow[Report]:
        """Write nodes, or only their hashes."""
        items, notes = yield Compute(partial(_items_and_notes, docs, with_nodes=store_text))
        if not allow_update:
            for node_id, exists in (yield from self.exist(items)).items():
                if exists:
                    raise ValueError(f"node_id {node_id} already exists. Set allow_update to True to overwrite.")
        if store_text:
            report: Report = yield self._call("conditional_mset", list(items.values()), move=True, notes=notes)
            return report
        return (yield from self._add_hashes(items, notes))

    def _add_hashes(self, items: dict[str, Item], notes: dict[str, SourceNote]) -> Flow[Report]:
        """Write the hashes and documents of nodes without their text. Existing nodes keep their text, and move with it.

        A new entry holds only the hash, as its version.
        """
        existing = yield self._call("mget_entries", list(items), values=False)
        moved: list[Item] = []
        old_hashes: list[str] = []
        for item, entry in zip(items.values(), existing, strict=True):
            if entry is not None and entry.source != item.source:
                if entry.content_type is None:
                    old_hashes.append(item.key)
                else:
                    moved.append(item)
        values = yield self._call("mget", [item.key for item in moved])
        moved = [item._replace(value=value) for item, value in zip(moved, values, strict=True)]
        changes = [*(yield self._call("conditional_mset", moved, move=True, notes=notes))]
        changes += yield self._call("mdelete", old_hashes)
        # The hashes come last: a pipeline takes a document with its hash as processed.
        at_their_place = items.keys() - {item.key for item in moved}
        versions = {key: item.version or "" for key, item in items.items() if key in at_their_place}
        new_sources = {key: items[key].source or "" for key in versions}
        changes += yield self._call("set_versions", versions, new_sources=new_sources)
        return Report(tuple(sorted(changes, key=lambda change: change.op == "DEL")))

    def sync(self, nodes: Sequence[BaseNode], ref_doc_id: str | None, options: dict[str, Any]) -> Flow[Report]:
        """Make a document, or every document that a node names, hold exactly these nodes."""
        items, notes = yield Compute(partial(_items_and_notes, nodes, with_nodes=True))
        for item in items.values():
            if not item.source or ref_doc_id not in (None, item.source):
                raise ArgumentValueError(
                    f"node {item.key!r} has the ref_doc_id {item.source or None!r}, in a sync of "
                    f"{'documents' if ref_doc_id is None else repr(ref_doc_id)}; set its relationship "
                    "NodeRelationship.SOURCE"
                )
        report: Report
        if ref_doc_id is None:
            report = yield self._call("sync", list(items.values()), scope="sources", notes=notes, **options)
            return report
        metadata = options.get("metadata")
        if metadata is None and ref_doc_id in notes:
            metadata = notes[ref_doc_id].metadata
        options = {**options, "metadata": plain(metadata)}
        report = yield self._call("sync", list(items.values()), source=ref_doc_id, **options)
        return report

    # Nodes

    def node(self, node_id: str, raise_error: bool) -> Flow[BaseNode | None]:
        """A node by its id."""
        nodes = yield from self.nodes([node_id], raise_error)
        return nodes[0] if nodes else None

    def nodes(self, node_ids: Sequence[str], raise_error: bool) -> Flow[list[BaseNode]]:
        """The nodes of many ids, in their order."""
        values = yield self._call("mget", node_ids)
        if not all(map(is_own_node, values)):
            # The node of a document that LlamaIndex did not write names its source, which only the entry tells.
            values = map(node_of, (yield self._call("mget_entries", node_ids)))
        nodes = []
        for node_id, node in zip(node_ids, values, strict=True):
            if node is not None:
                nodes.append(node)
            elif raise_error:
                raise ValueError(f"doc_id {node_id} not found.")
        return nodes

    def all_nodes(self) -> Flow[dict[str, BaseNode]]:
        """Every node by its id, in the order of insertion."""
        entries = yield self._call("yield_entries")
        return {entry.key: node for entry in _in_order(entries) if (node := node_of(entry)) is not None}

    def exist(self, node_ids: Iterable[str]) -> Flow[dict[str, bool]]:
        """For each id, whether there is a node."""
        asked = list(node_ids)
        entries = yield self._call("mget_entries", asked, values=False)
        exist = {node_id: holds_node(entry) for node_id, entry in zip(asked, entries, strict=True)}
        unsure = [node_id for node_id, entry in zip(asked, entries, strict=True) if may_hold_node(entry)]
        values = (yield self._call("mget", unsure)) if unsure else []
        return exist | {node_id: as_document(value) is not None for node_id, value in zip(unsure, values, strict=True)}

    # Hashes

    def set_hashes(self, hashes: Mapping[str, str]) -> Flow[None]:
        """Write the hashes of nodes and documents."""
        yield self._call("set_versions", hashes)

    def hashes(self, ids: Iterable[str]) -> Flow[dict[str, str | None]]:
        """The hashes of nodes and documents, None for each that has none."""
        asked = list(ids)
        entries = yield self._call("mget_entries", asked, values=False)
        return {key: None if entry is None else entry.version for key, entry in zip(asked, entries, strict=True)}

    def all_hashes(self) -> Flow[dict[str, str]]:
        """The id of every hash."""
        return {entry.version or "": entry.key for entry in (yield from self._hashed_entries())}

    def _hashed_entries(self) -> Flow[list[Entry]]:
        """The entries that have a hash, in the order of insertion, without their values."""
        entries = yield from self._entries_of((yield self._call("sources")))
        return [entry for entry in _in_order(entries) if entry.version]

    # Documents

    def ref_doc_info(self, ref_doc_id: str) -> Flow[RefDocInfo | None]:
        """The nodes and metadata of one document."""
        # The source "" holds the nodes of no document.
        if not ref_doc_id:
            return None
        [entries] = yield self._call("source_entries", [ref_doc_id], values=False)
        if not entries:
            return None
        notes = yield self._call("source_notes", [ref_doc_id])
        metadata = notes[ref_doc_id].metadata if ref_doc_id in notes else None
        return RefDocInfo([entry.key for entry in entries], dict(metadata or {}))

    def ref_doc_infos(self) -> Flow[dict[str, RefDocInfo]]:
        """The nodes and metadata of every document."""
        documents = {source.source: source for source in (yield self._call("sources")) if source.source}
        infos: dict[str, RefDocInfo] = {}
        for entry in _in_order((yield from self._entries_of(documents.values()))):
            info = infos.get(entry.source)
            if info is None:
                infos[entry.source] = info = RefDocInfo(metadata=dict(documents[entry.source].metadata or {}))
            info.node_ids.append(entry.key)
        return infos

    def has_nodes(self, ref_doc_id: str) -> Flow[bool]:
        """True when a document has nodes. The source "" holds the nodes of no document."""
        return bool(ref_doc_id and (yield self._call("count", source=ref_doc_id, at_most=1)))

    def _entries_of(self, sources: Iterable[Source]) -> Flow[list[Entry]]:
        """The entries of some sources without their values, in one statement."""
        names = [source.source for source in sources if source.entries]
        found = yield self._call("source_entries", names, values=False)
        return [entry for entries in found for entry in entries]

    # Deleting

    def delete(self, node_id: str, raise_error: bool) -> Flow[list[str]]:
        """Delete a node, and its document with the last node; returns the deleted ids."""
        [entry] = yield self._call("mget_entries", [node_id], values=False)
        if entry is None:
            if raise_error:
                raise ValueError(f"doc_id {node_id} not found.")
            return []
        ref_doc_id = entry.source
        is_last = ref_doc_id and (yield self._call("count", source=ref_doc_id, at_most=2)) == 1
        deleted = [node_id, ref_doc_id] if is_last else [node_id]
        yield self._call("mdelete", deleted)
        # Two calls that delete the last two nodes at the same time each counted two.
        if not is_last and ref_doc_id and not (yield from self.has_nodes(ref_doc_id)):
            deleted.append(ref_doc_id)
            yield self._call("mdelete", [ref_doc_id])
        return deleted

    def delete_ref_doc(self, ref_doc_id: str, raise_error: bool) -> Flow[list[str]]:
        """Delete a document with its nodes; returns the deleted ids."""
        if not (yield from self.has_nodes(ref_doc_id)):
            if raise_error:
                raise ValueError(f"ref_doc_id {ref_doc_id} not found.")
            return []
        report: Report = yield self._call("delete_sources", [ref_doc_id], keys=[ref_doc_id])
        return [ref_doc_id, *(change.key for change in report)]


def _items_and_notes(docs: Sequence[BaseNode], *, with_nodes: bool) -> tuple[dict[str, Item], dict[str, SourceNote]]:
    """The items of nodes by id, and the notes of their documents: the metadata of all their nodes, merged.

    Args:
        docs: the nodes.
        with_nodes: the nodes themselves will be stored, and not only their hashes.
    """
    items: dict[str, Item] = {}
    metadata: dict[str, dict[str, Any]] = {}
    for position, node in enumerate(docs):
        if not isinstance(node, BaseNode):
            raise ArgumentTypeError(f"document {position} is a {type(node).__name__}; give nodes")
        ref_doc_id = node.ref_doc_id or ""
        items[node.node_id] = Item(node.node_id, node, ref_doc_id, version_of(node))
        if ref_doc_id and node.metadata:
            metadata.setdefault(ref_doc_id, {}).update(plain(node.metadata))
    if with_nodes:
        # A node with other metadata is refused by an error that names the node. The note must not be refused before.
        metadata = {ref_doc_id: merged for ref_doc_id, merged in metadata.items() if _can_be_stored(merged)}
    return items, {ref_doc_id: SourceNote(metadata=merged) for ref_doc_id, merged in metadata.items()}


def _can_be_stored(value: Any) -> bool:
    try:
        canonical_bytes(value)
    except UnsupportedValueError:
        return False
    return True


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in the order of insertion."""
    return sorted(entries, key=lambda entry: entry.seq)
