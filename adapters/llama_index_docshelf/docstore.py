"""The document store: a node is a row, its document the row's source, its hash the row's version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import BaseDocumentStore, RefDocInfo
from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE

from docshelf import ArgumentTypeError, ArgumentValueError, DocShelf, Entry, Item, Report, Source, SourceNote
from docshelf.adapters import as_document
from llama_index_docshelf.base import ShelfAdapter, ShelfOptions, Url
from llama_index_docshelf.flow import Call, Compute, Flow, InFlight
from llama_index_docshelf.nodes import holds_node, is_at_home, may_hold_node, node_content_types, node_of, version_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from llama_index_docshelf.ingestion import IngestionRun

Notes = dict[str, SourceNote]


class DocShelfDocumentStore(ShelfAdapter, BaseDocumentStore):
    """A document store whose every operation is a constant number of statements, alike in sync and async.

    Beside LlamaIndex's contract it has `conditional_add_documents`, `sync` (with the twin `async_`), `sources`,
    `get_document_hashes`, `documents_exist` and `ingestion_run`. Ids of nodes and documents are 1 to 1,024 bytes.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: the collection of the nodes; by default that of `shelf`, or "docstore".
        shelf: a ready shelf whose connections to use, instead of a url and options.
        node_classes: your own node classes, to be stored and read beside LlamaIndex's.
        options: as for `docshelf.DocShelf`.
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str | None = None,
        *,
        shelf: DocShelf | None = None,
        node_classes: Iterable[type[BaseNode]] = (),
        **options: Unpack[ShelfOptions],
    ) -> None:
        if collection is None:
            collection = "docstore" if shelf is None else shelf.collection
        node_classes = tuple(node_classes)
        content_types = node_content_types(node_classes)
        self._open(url, collection, shelf, options, content_types=content_types, node_classes=node_classes)
        self._looked_up = InFlight()

    # Writing

    def add_documents(
        self,
        docs: Sequence[BaseNode],
        allow_update: bool = True,
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        store_text: bool = True,
    ) -> None:
        """Write nodes, in one transaction; those that stand unchanged are not written again.

        Args:
            docs: the nodes; of equal ids the last wins. One that stands under another document moves to its new one.
            allow_update: False refuses all when one of the nodes is there already.
            batch_size: of no meaning here.
            store_text: False keeps only id, document and hash of a node; a node that stands keeps what it has.

        Raises:
            ValueError: with allow_update=False, a node is there already.
            docshelf.UnsupportedValueError: a node holds what cannot be stored without loss; nothing was written.
        """
        self._do(self._add(docs, allow_update=allow_update, store_text=store_text))

    async def async_add_documents(
        self,
        docs: Sequence[BaseNode],
        allow_update: bool = True,
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        store_text: bool = True,
    ) -> None:
        """As `add_documents`."""
        await self._ado(self._add(docs, allow_update=allow_update, store_text=store_text))

    def conditional_add_documents(
        self, docs: Sequence[BaseNode], *, allow_update: bool = True, store_text: bool = True
    ) -> Report:
        """As `add_documents`; returns what each node went through. A node that moved is listed as DEL where it was."""
        return self._do(self._add(docs, allow_update=allow_update, store_text=store_text))

    async def aconditional_add_documents(
        self, docs: Sequence[BaseNode], *, allow_update: bool = True, store_text: bool = True
    ) -> Report:
        """As `conditional_add_documents`."""
        return await self._ado(self._add(docs, allow_update=allow_update, store_text=store_text))

    def sync(self, nodes: Sequence[BaseNode], *, ref_doc_id: str | None = None, **options: Any) -> Report:
        """Make a document hold exactly these nodes: insert, update, skip, and delete the rest, in one transaction.

        Args:
            nodes: its nodes, each naming it as its source, as LlamaIndex's node parsers do.
            ref_doc_id: the document; by default every document that a node names is made so.
            options: dry_run, diff, max_delete, allow_mass_delete, fingerprint, metadata, show_progress of
                `docshelf.DocShelf.sync`; metadata is by default that of the nodes.

        Raises:
            docshelf.ArgumentValueError: a node names another document, or none.
            docshelf.MassDeleteError: the sync would delete too much; nothing was written.
        """
        return self._do(_sync(nodes, ref_doc_id, options))

    async def async_(self, nodes: Sequence[BaseNode], *, ref_doc_id: str | None = None, **options: Any) -> Report:
        """As `sync`."""
        return await self._ado(_sync(nodes, ref_doc_id, options))

    def _add(self, docs: Sequence[BaseNode], *, allow_update: bool, store_text: bool) -> Flow[Report]:
        items, notes = yield Compute(_items, docs)
        if not allow_update:
            for key, exists in (yield from _exist(items)).items():
                if exists:
                    raise ValueError(f"node_id {key} already exists. Set allow_update to True to overwrite.")
        if store_text:
            report: Report = yield Call("conditional_mset", list(items.values()), move=True, notes=notes)
            return report
        return (yield from _add_hashes(items, notes))

    # Reading

    @property
    def docs(self) -> dict[str, BaseNode]:
        """Every node by its id, in the order of their insertion."""
        return self._do(_all_nodes())

    def get_document(self, doc_id: str, raise_error: bool = True) -> BaseNode | None:
        """A node by its id.

        Raises:
            ValueError: there is none, and `raise_error` is set.
        """
        return self._do(_node(doc_id, raise_error))

    async def aget_document(self, doc_id: str, raise_error: bool = True) -> BaseNode | None:
        """As `get_document`."""
        return await self._ado(_node(doc_id, raise_error))

    def get_nodes(self, node_ids: list[str], raise_error: bool = True) -> list[BaseNode]:
        """The nodes of many ids, in their order; one statement.

        Raises:
            ValueError: one is missing, and `raise_error` is set. Without it the missing ones are left out.
        """
        return self._do(_nodes(node_ids, raise_error))

    async def aget_nodes(self, node_ids: list[str], raise_error: bool = True) -> list[BaseNode]:
        """As `get_nodes`."""
        return await self._ado(_nodes(node_ids, raise_error))

    def get_node_dict(self, node_id_dict: dict[int, str]) -> dict[int, BaseNode]:
        """The nodes of many ids, under the numbers given; one statement. Raises as `get_nodes`."""
        return dict(zip(node_id_dict, self.get_nodes(list(node_id_dict.values())), strict=True))

    async def aget_node_dict(self, node_id_dict: dict[int, str]) -> dict[int, BaseNode]:
        """As `get_node_dict`."""
        return dict(zip(node_id_dict, await self.aget_nodes(list(node_id_dict.values())), strict=True))

    def document_exists(self, doc_id: str) -> bool:
        """True when there is a node of this id; a hash alone is none."""
        return self._do(_exist([doc_id]))[doc_id]

    async def adocument_exists(self, doc_id: str) -> bool:
        """As `document_exists`."""
        return (await self._ado(_exist([doc_id])))[doc_id]

    def documents_exist(self, doc_ids: Iterable[str]) -> dict[str, bool]:
        """`document_exists` for many ids; one statement."""
        return self._do(_exist(doc_ids))

    async def adocuments_exist(self, doc_ids: Iterable[str]) -> dict[str, bool]:
        """As `documents_exist`."""
        return await self._ado(_exist(doc_ids))

    # Hashes

    def set_document_hash(self, doc_id: str, doc_hash: str) -> None:
        """Write down the hash of a node or document; the node and its document stay as they are."""
        self._do(self._set_hashes({doc_id: doc_hash}))

    async def aset_document_hash(self, doc_id: str, doc_hash: str) -> None:
        """As `set_document_hash`."""
        await self._ado(self._set_hashes({doc_id: doc_hash}))

    def set_document_hashes(self, doc_hashes: dict[str, str]) -> None:
        """`set_document_hash` for many ids, in one transaction."""
        self._do(self._set_hashes(doc_hashes))

    async def aset_document_hashes(self, doc_hashes: dict[str, str]) -> None:
        """As `set_document_hashes`."""
        await self._ado(self._set_hashes(doc_hashes))

    def get_document_hash(self, doc_id: str) -> str | None:
        """The hash of a node or document, or None."""
        return self._do(self._hashes([doc_id]))[doc_id]

    async def aget_document_hash(self, doc_id: str) -> str | None:
        """As `get_document_hash`."""
        return (await self._ado(self._hashes([doc_id])))[doc_id]

    def get_document_hashes(self, doc_ids: Iterable[str]) -> dict[str, str | None]:
        """`get_document_hash` for many ids; one statement."""
        return self._do(self._hashes(doc_ids))

    async def aget_document_hashes(self, doc_ids: Iterable[str]) -> dict[str, str | None]:
        """As `get_document_hashes`."""
        return await self._ado(self._hashes(doc_ids))

    def get_all_document_hashes(self) -> dict[str, str]:
        """Hash to id, of everything that has one; of equal hashes the id that came last."""
        return self._do(self._all_hashes())

    async def aget_all_document_hashes(self) -> dict[str, str]:
        """As `get_all_document_hashes`."""
        return await self._ado(self._all_hashes())

    def _set_hashes(self, hashes: Mapping[str, str]) -> Flow[None]:
        yield Call("set_versions", hashes)

    def _hashes(self, ids: Iterable[str]) -> Flow[dict[str, str | None]]:
        asked = list(ids)
        entries = yield Call("mget_entries", asked, values=False)
        return {key: None if entry is None else entry.version for key, entry in zip(asked, entries, strict=True)}

    def _all_hashes(self) -> Flow[dict[str, str]]:
        entries = yield from _all_entries((yield Call("sources")))
        return {entry.version: entry.key for entry in _in_order(entries) if entry.version}

    # Documents

    def get_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        """The ids of a document's nodes, in the order of their insertion, and its metadata; None without nodes."""
        return self._do(_ref_doc_infos(ref_doc_id)).get(ref_doc_id)

    async def aget_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        """As `get_ref_doc_info`."""
        with self._looked_up.one(ref_doc_id):
            return (await self._ado(_ref_doc_infos(ref_doc_id))).get(ref_doc_id)

    def get_all_ref_doc_info(self) -> dict[str, RefDocInfo]:
        """`get_ref_doc_info` of every document, in the order of their insertion."""
        return self._do(_ref_doc_infos())

    async def aget_all_ref_doc_info(self) -> dict[str, RefDocInfo]:
        """As `get_all_ref_doc_info`."""
        return await self._ado(_ref_doc_infos())

    def ref_doc_exists(self, ref_doc_id: str) -> bool:
        """True when a document has nodes here."""
        return self._do(_has_nodes(ref_doc_id))

    async def aref_doc_exists(self, ref_doc_id: str) -> bool:
        """As `ref_doc_exists`."""
        return await self._ado(_has_nodes(ref_doc_id))

    def sources(self) -> list[Source]:
        """Every document that has nodes or was synced, ordered by id, and "" for what has none."""
        return self._shelf.sources()

    async def asources(self) -> list[Source]:
        """As `sources`."""
        return await self._shelf.asources()

    # Deleting

    def delete_document(self, doc_id: str, raise_error: bool = True) -> None:
        """Delete a node, or what stands of it; with the last node of a document goes the document.

        Raises:
            ValueError: there is nothing of that id, and `raise_error` is set.
        """
        self._do(self._delete(doc_id, raise_error))

    async def adelete_document(self, doc_id: str, raise_error: bool = True) -> None:
        """As `delete_document`."""
        await self._ado(self._delete(doc_id, raise_error))

    def delete_ref_doc(self, ref_doc_id: str, raise_error: bool = True) -> None:
        """Delete a document with all its nodes.

        Raises:
            ValueError: it has no nodes here, and `raise_error` is set.
        """
        self._do(self._delete_ref_doc(ref_doc_id, raise_error))

    async def adelete_ref_doc(self, ref_doc_id: str, raise_error: bool = True) -> None:
        """As `delete_ref_doc`."""
        # `VectorStoreIndex.adelete_ref_doc` asks for the nodes and deletes them at once, in two tasks; should the
        # second be faster, its index would keep them for ever.
        await self._looked_up.wait_for(ref_doc_id)
        await self._ado(self._delete_ref_doc(ref_doc_id, raise_error))

    def _delete(self, key: str, raise_error: bool) -> Flow[list[str]]:
        """Delete a node; returns the ids that went."""
        [entry] = yield Call("mget_entries", [key], values=False)
        if entry is None:
            if raise_error:
                raise ValueError(f"doc_id {key} not found.")
            return []
        document = entry.source
        last = document and (yield Call("count", source=document)) == 1
        gone = [key, document] if last else [key]
        yield Call("mdelete", gone)
        # Two that delete the last two nodes at once both saw the other's.
        if document and not last and not (yield Call("count", source=document)):
            gone.append(document)
            yield Call("mdelete", [document])
        return gone

    def _delete_ref_doc(self, document: str, raise_error: bool) -> Flow[list[str]]:
        """Delete a document; returns the ids that went."""
        if not (yield from _has_nodes(document)):
            if raise_error:
                raise ValueError(f"ref_doc_id {document} not found.")
            return []
        report: Report = yield Call("delete_sources", [document], keys=[document])
        return [document, *(change.key for change in report)]

    # Ingestion

    def ingestion_run(self, documents: Iterable[BaseNode | str]) -> IngestionRun:
        """This store for one run of an `IngestionPipeline`: `with docstore.ingestion_run(documents) as run: ...`.

        Args:
            documents: what the run is about to take in, or their ids.
        """
        from llama_index_docshelf.ingestion import IngestionRun

        return IngestionRun(self, documents)


def _items(docs: Sequence[BaseNode]) -> tuple[dict[str, Item], Notes]:
    """The rows of nodes by id, and what to write down about their documents: all metadata of their nodes here."""
    items: dict[str, Item] = {}
    metadata: dict[str, dict[str, Any]] = {}
    for position, node in enumerate(docs):
        if not isinstance(node, BaseNode):
            raise ArgumentTypeError(f"document {position} is a {type(node).__name__}; give nodes")
        document = node.ref_doc_id or ""
        items[node.node_id] = Item(node.node_id, node, document, version_of(node))
        if document and node.metadata:
            metadata.setdefault(document, {}).update(node.metadata)
    return items, {document: SourceNote(metadata=known) for document, known in metadata.items()}


def _add_hashes(items: dict[str, Item], notes: Notes) -> Flow[Report]:
    """Write what is known of nodes but not the nodes; those that stand in their document keep what they have."""
    standing = yield Call("mget_entries", list(items))
    labels: dict[str, str] = {}
    rows: list[Item] = []
    for item, entry in zip(items.values(), standing, strict=True):
        if item.source == ("" if entry is None else entry.source):
            labels[item.key] = item.version or ""
        else:
            # A value of None reads as none; that of a node that moves goes with it.
            rows.append(item._replace(value=None if entry is None else entry.value))
    changes = [*(yield Call("set_versions", labels)), *(yield Call("conditional_mset", rows, move=True, notes=notes))]
    return Report(tuple(sorted(changes, key=lambda change: change.op == "DEL")))


def _sync(nodes: Sequence[BaseNode], document: str | None, options: dict[str, Any]) -> Flow[Report]:
    items, notes = yield Compute(_items, nodes)
    for item in items.values():
        if not item.source or document not in (None, item.source):
            raise ArgumentValueError(
                f"node {item.key!r} has the ref_doc_id {item.source or None!r}, in a sync of "
                f"{'documents' if document is None else repr(document)}; set its relationship NodeRelationship.SOURCE"
            )
    if document is None:
        report: Report = yield Call("sync", list(items.values()), scope="sources", notes=notes, **options)
        return report
    if options.get("metadata") is None and document in notes:
        options = {**options, "metadata": notes[document].metadata}
    report = yield Call("sync", list(items.values()), source=document, **options)
    return report


def _node(key: str, raise_error: bool) -> Flow[BaseNode | None]:
    nodes = yield from _nodes([key], raise_error)
    return nodes[0] if nodes else None


def _nodes(keys: Sequence[str], raise_error: bool) -> Flow[list[BaseNode]]:
    values = yield Call("mget", keys)
    if not all(map(is_at_home, values)):
        # What LangChain wrote becomes a node of its source, which the value alone does not tell.
        values = map(node_of, (yield Call("mget_entries", keys)))
    nodes = []
    for key, node in zip(keys, values, strict=True):
        if node is not None:
            nodes.append(node)
        elif raise_error:
            raise ValueError(f"doc_id {key} not found.")
    return nodes


def _all_nodes() -> Flow[dict[str, BaseNode]]:
    entries = yield Call("yield_entries")
    return {entry.key: node for entry in _in_order(entries) if (node := node_of(entry)) is not None}


def _exist(keys: Iterable[str]) -> Flow[dict[str, bool]]:
    asked = list(keys)
    entries = yield Call("mget_entries", asked, values=False)
    exist = {key: holds_node(entry) for key, entry in zip(asked, entries, strict=True)}
    unsure = [key for key, entry in zip(asked, entries, strict=True) if may_hold_node(entry)]
    values = (yield Call("mget", unsure)) if unsure else []
    exist.update({key: as_document(value) is not None for key, value in zip(unsure, values, strict=True)})
    return exist


def _all_entries(sources: Iterable[Source]) -> Flow[list[Entry]]:
    """All entries of some sources, without values; one statement."""
    found = yield Call("source_entries", [source.source for source in sources if source.entries], values=False)
    return [entry for entries in found for entry in entries]


def _has_nodes(document: str) -> Flow[bool]:
    # What belongs to no document, which is the source "", is not one.
    return bool(document and (yield Call("count", source=document)))


def _ref_doc_infos(only: str | None = None) -> Flow[dict[str, RefDocInfo]]:
    known = {source.source: source for source in (yield Call("sources")) if source.source}
    if only is not None:
        known = {only: known[only]} if only in known else {}
    infos: dict[str, RefDocInfo] = {}
    for entry in _in_order((yield from _all_entries(known.values()))):
        info = infos.get(entry.source)
        if info is None:
            infos[entry.source] = info = RefDocInfo(metadata=dict(known[entry.source].metadata or {}))
        info.node_ids.append(entry.key)
    return infos


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """In the order of insertion."""
    return sorted(entries, key=lambda entry: entry.seq)
