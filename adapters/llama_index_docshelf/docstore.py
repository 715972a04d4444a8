"""The document store, and the document store of one ingestion run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import BaseDocumentStore, RefDocInfo
from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE

from docshelf import DocShelf, Report, Source
from docshelf.adapters import ShelfOptions, ShelfStore, Url, aperform, perform
from llama_index_docshelf.document_flows import DocumentFlows
from llama_index_docshelf.in_flight import InFlight
from llama_index_docshelf.ingestion import IngestionFlows
from llama_index_docshelf.nodes.content_types import node_content_types

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from docshelf.folder import FolderTarget
    from docshelf.moving import Target


class DocShelfDocumentStore(ShelfStore, BaseDocumentStore):
    """A document store in which a node is one row: its id, its document (`ref_doc_id`), its hash and its content.

    Every method takes a constant number of statements, sync and async. Besides LlamaIndex's interface there are
    `conditional_add_documents`, `sync` (async: `async_`), `sources`, `get_document_hashes`, `documents_exist` and
    `ingestion_run`. Ids of nodes and documents are 1 to 1,024 bytes of UTF-8.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: the collection of the nodes; by default that of `shelf`, or "docstore".
        shelf: an existing shelf whose connections to use, instead of a url and options.
        node_classes: your own node classes, which the store writes and reads besides LlamaIndex's.
        options: as for `docshelf.DocShelf`.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> docstore = DocShelfDocumentStore(":memory:")
        >>> docstore.add_documents([TextNode(id_="a", text="A node.")])
        >>> docstore.get_node("a").text
        'A node.'
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
        node_classes = tuple(node_classes)
        content_types = node_content_types(node_classes)
        self._open(
            url,
            collection,
            shelf,
            options,
            default="docstore",
            content_types=content_types,
            node_classes=node_classes,
        )
        self._flows = DocumentFlows(self._shelf)
        self._lookups = InFlight()

    def __copy__(self) -> Self:
        twin = super().__copy__()
        twin._flows, twin._lookups = DocumentFlows(twin._shelf), InFlight()
        return twin

    # Writing

    def add_documents(
        self,
        docs: Sequence[BaseNode],
        allow_update: bool = True,
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        store_text: bool = True,
    ) -> None:
        """Write nodes in one transaction. Unchanged nodes are not written again.

        Args:
            docs: the nodes. Of several with the same id, the last wins. A node that belonged to another document moves.
            allow_update: False writes nothing when one of the nodes exists.
            batch_size: has no effect.
            store_text: False stores only the id, document and hash of each node. Existing nodes keep their text.

        Raises:
            ValueError: one of the nodes exists, and `allow_update` is False.
            docshelf.UnsupportedValueError: a node holds a value that cannot be stored without loss. Nothing was
                written.
        """
        perform(self._flows.add(docs, allow_update=allow_update, store_text=store_text))

    async def async_add_documents(
        self,
        docs: Sequence[BaseNode],
        allow_update: bool = True,
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        store_text: bool = True,
    ) -> None:
        """As `add_documents`."""
        await aperform(self._flows.add(docs, allow_update=allow_update, store_text=store_text))

    def conditional_add_documents(
        self, docs: Sequence[BaseNode], *, allow_update: bool = True, store_text: bool = True
    ) -> Report:
        """As `add_documents`; returns a change for each node. A node that moved has a DEL for its old document, too."""
        return perform(self._flows.add(docs, allow_update=allow_update, store_text=store_text))

    async def aconditional_add_documents(
        self, docs: Sequence[BaseNode], *, allow_update: bool = True, store_text: bool = True
    ) -> Report:
        """As `conditional_add_documents`."""
        return await aperform(self._flows.add(docs, allow_update=allow_update, store_text=store_text))

    def sync(self, nodes: Sequence[BaseNode], *, ref_doc_id: str | None = None, **options: Any) -> Report:
        """Make a document hold exactly these nodes: insert, update, skip, and delete the rest, in one transaction.

        Args:
            nodes: all nodes of the document. Each names the document as its source, as LlamaIndex's node parsers do.
            ref_doc_id: the document. By default, every document that a node names is synced.
            options: dry_run, diff, max_delete, allow_mass_delete, fingerprint, metadata, show_progress of
                `docshelf.DocShelf.sync`. The default metadata is that of the nodes.

        Raises:
            docshelf.ArgumentValueError: a node names another document, or none.
            docshelf.MassDeleteError: the sync would delete too much. Nothing was written.
        """
        return perform(self._flows.sync(nodes, ref_doc_id, options))

    async def async_(self, nodes: Sequence[BaseNode], *, ref_doc_id: str | None = None, **options: Any) -> Report:
        """As `sync`."""
        return await aperform(self._flows.sync(nodes, ref_doc_id, options))

    # Reading

    @property
    def docs(self) -> dict[str, BaseNode]:
        """Every node by its id, in the order of insertion."""
        return perform(self._flows.all_nodes())

    def get_document(self, doc_id: str, raise_error: bool = True) -> BaseNode | None:
        """A node by its id.

        Args:
            doc_id: the id.
            raise_error: False returns None where there is no node.

        Raises:
            ValueError: there is no node of this id, and `raise_error` is True.
        """
        return perform(self._flows.node(doc_id, raise_error))

    async def aget_document(self, doc_id: str, raise_error: bool = True) -> BaseNode | None:
        """As `get_document`."""
        return await aperform(self._flows.node(doc_id, raise_error))

    def get_nodes(self, node_ids: list[str], raise_error: bool = True) -> list[BaseNode]:
        """The nodes of many ids, in the order of the ids, in one statement.

        Args:
            node_ids: the ids.
            raise_error: False leaves out missing nodes.

        Raises:
            ValueError: a node is missing, and `raise_error` is True.
        """
        return perform(self._flows.nodes(node_ids, raise_error))

    async def aget_nodes(self, node_ids: list[str], raise_error: bool = True) -> list[BaseNode]:
        """As `get_nodes`."""
        return await aperform(self._flows.nodes(node_ids, raise_error))

    def get_node_dict(self, node_id_dict: dict[int, str]) -> dict[int, BaseNode]:
        """The nodes of many ids, under the same numbers as the ids, in one statement. Raises as `get_nodes`."""
        return dict(zip(node_id_dict, self.get_nodes(list(node_id_dict.values())), strict=True))

    async def aget_node_dict(self, node_id_dict: dict[int, str]) -> dict[int, BaseNode]:
        """As `get_node_dict`."""
        return dict(zip(node_id_dict, await self.aget_nodes(list(node_id_dict.values())), strict=True))

    def document_exists(self, doc_id: str) -> bool:
        """True when there is a node of this id. A hash alone is not a node."""
        return perform(self._flows.exist([doc_id]))[doc_id]

    async def adocument_exists(self, doc_id: str) -> bool:
        """As `document_exists`."""
        return (await aperform(self._flows.exist([doc_id])))[doc_id]

    def documents_exist(self, doc_ids: Iterable[str]) -> dict[str, bool]:
        """`document_exists` for many ids, in one statement."""
        return perform(self._flows.exist(doc_ids))

    async def adocuments_exist(self, doc_ids: Iterable[str]) -> dict[str, bool]:
        """As `documents_exist`."""
        return await aperform(self._flows.exist(doc_ids))

    # Hashes

    def set_document_hash(self, doc_id: str, doc_hash: str) -> None:
        """Write the hash of a node or document. A node with this id keeps its content and its document."""
        perform(self._flows.set_hashes({doc_id: doc_hash}))

    async def aset_document_hash(self, doc_id: str, doc_hash: str) -> None:
        """As `set_document_hash`."""
        await aperform(self._flows.set_hashes({doc_id: doc_hash}))

    def set_document_hashes(self, doc_hashes: dict[str, str]) -> None:
        """`set_document_hash` for many ids, in one transaction."""
        perform(self._flows.set_hashes(doc_hashes))

    async def aset_document_hashes(self, doc_hashes: dict[str, str]) -> None:
        """As `set_document_hashes`."""
        await aperform(self._flows.set_hashes(doc_hashes))

    def get_document_hash(self, doc_id: str) -> str | None:
        """The hash of a node or document, or None."""
        return perform(self._flows.hashes([doc_id]))[doc_id]

    async def aget_document_hash(self, doc_id: str) -> str | None:
        """As `get_document_hash`."""
        return (await aperform(self._flows.hashes([doc_id])))[doc_id]

    def get_document_hashes(self, doc_ids: Iterable[str]) -> dict[str, str | None]:
        """`get_document_hash` for many ids, in one statement."""
        return perform(self._flows.hashes(doc_ids))

    async def aget_document_hashes(self, doc_ids: Iterable[str]) -> dict[str, str | None]:
        """As `get_document_hashes`."""
        return await aperform(self._flows.hashes(doc_ids))

    def get_all_document_hashes(self) -> dict[str, str]:
        """The id of every hash of a node or document. Of several ids with the same hash, the last one."""
        return perform(self._flows.all_hashes())

    async def aget_all_document_hashes(self) -> dict[str, str]:
        """As `get_all_document_hashes`."""
        return await aperform(self._flows.all_hashes())

    # Documents

    def get_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        """The ids of a document's nodes in the order of insertion, and its metadata. None when it has no nodes."""
        return perform(self._flows.ref_doc_info(ref_doc_id))

    async def aget_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        """As `get_ref_doc_info`."""
        with self._lookups.one(ref_doc_id):
            return await aperform(self._flows.ref_doc_info(ref_doc_id))

    def get_all_ref_doc_info(self) -> dict[str, RefDocInfo]:
        """`get_ref_doc_info` of every document, in the order of insertion."""
        return perform(self._flows.ref_doc_infos())

    async def aget_all_ref_doc_info(self) -> dict[str, RefDocInfo]:
        """As `get_all_ref_doc_info`."""
        return await aperform(self._flows.ref_doc_infos())

    def ref_doc_exists(self, ref_doc_id: str) -> bool:
        """True when a document has nodes."""
        return perform(self._flows.has_nodes(ref_doc_id))

    async def aref_doc_exists(self, ref_doc_id: str) -> bool:
        """As `ref_doc_exists`."""
        return await aperform(self._flows.has_nodes(ref_doc_id))

    def sources(self) -> list[Source]:
        """Every document that has nodes or was synced, ordered by id. Nodes of no document are listed as ""."""
        return self._shelf.sources()

    async def asources(self) -> list[Source]:
        """As `sources`."""
        return await self._shelf.asources()

    def yield_sources(self, prefix: str | None = None) -> Iterator[Source]:
        """As `sources`, page by page in constant memory; those whose names begin with `prefix`, where one is given."""
        return self._shelf.yield_sources(prefix)

    def ayield_sources(self, prefix: str | None = None) -> AsyncIterator[Source]:
        """As `yield_sources`."""
        return self._shelf.ayield_sources(prefix)

    # Deleting

    def delete_document(self, doc_id: str, raise_error: bool = True) -> None:
        """Delete a node, or the hash of one. The last node of a document takes the document's own row along.

        Args:
            doc_id: the id of the node.
            raise_error: False does nothing when there is neither a node nor a hash.

        Raises:
            ValueError: there is neither a node nor a hash of this id, and `raise_error` is True.
        """
        perform(self._flows.delete(doc_id, raise_error))

    async def adelete_document(self, doc_id: str, raise_error: bool = True) -> None:
        """As `delete_document`."""
        await aperform(self._flows.delete(doc_id, raise_error))

    def delete_ref_doc(self, ref_doc_id: str, raise_error: bool = True) -> None:
        """Delete a document with all its nodes.

        Args:
            ref_doc_id: the id of the document.
            raise_error: False does nothing when the document has no nodes.

        Raises:
            ValueError: the document has no nodes, and `raise_error` is True.
        """
        perform(self._flows.delete_ref_doc(ref_doc_id, raise_error))

    async def adelete_ref_doc(self, ref_doc_id: str, raise_error: bool = True) -> None:
        """As `delete_ref_doc`."""
        # `VectorStoreIndex.adelete_ref_doc` lists the nodes and deletes them in two tasks at the same time. If the
        # deletion won, the index would keep the nodes for ever.
        await self._lookups.wait_for(ref_doc_id)
        await aperform(self._flows.delete_ref_doc(ref_doc_id, raise_error))

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes into this store."""
        from llama_index_docshelf.moving.targets import DocumentTarget

        return DocumentTarget(self._shelf)

    def folder_target(self) -> FolderTarget:
        """How `docshelf.folder.sync_folder` writes into this store."""
        from llama_index_docshelf.folder import NodesTarget

        return NodesTarget(self._shelf)

    # Ingestion

    def ingestion_run(
        self,
        documents: Iterable[BaseNode | str],
        *,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
    ) -> IngestionRun:
        """The document store for one run of an `IngestionPipeline`: `with docstore.ingestion_run(documents) as run:`.

        Args:
            documents: the documents of the run, or their ids.
            max_delete: the share of the stored nodes, 0 to 1, that a run under `UPSERTS_AND_DELETE` may delete since
                their documents are not among these. None, the default, refuses a run by which at least 10 documents,
                and more than half, or all would vanish. Documents that only changed do not count.
            allow_mass_delete: the run may delete as much as it does.

        Raises:
            docshelf.ArgumentTypeError, docshelf.ArgumentValueError: `max_delete` is no share.
        """
        return IngestionRun(self, documents, max_delete, allow_mass_delete)


class IngestionRun(DocShelfDocumentStore):
    """A document store for one run of an `IngestionPipeline`. `DocShelfDocumentStore.ingestion_run` returns it.

    A pipeline reads the hash of each document in a call of its own, and under some strategies writes each hash so. An
    IngestionRun is a context manager, sync and async. It reads the hashes of the run's documents once, when it begins.
    Hashes that are set stay in memory until their documents are added or the run ends. A run that fails writes none of
    them, so the next run processes the documents again.

    The first deletion of a document that vanished raises a `docshelf.MassDeleteError` if the run would delete too many.

    Example:
        >>> from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
        >>> from llama_index.core.schema import Document
        >>> pages = [Document(text="Hello.", id_="guide.md")]
        >>> store = DocShelfDocumentStore(":memory:")
        >>> with store.ingestion_run(pages) as run:
        ...     pipeline = IngestionPipeline(
        ...         transformations=[], docstore=run, docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY
        ...     )
        ...     nodes = pipeline.run(documents=pages)
        >>> len(nodes), store.get_document_hash("guide.md") is not None
        (1, True)
        >>> store.close()
    """

    def __init__(
        self,
        store: DocShelfDocumentStore,
        documents: Iterable[BaseNode | str],
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
    ) -> None:
        vars(self).update(vars(store))
        self._owned = False
        self._flows = self._run = IngestionFlows(store.shelf, documents, max_delete, allow_mass_delete)

    def __copy__(self) -> Self:
        return self  # the hashes of the run are written once

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("an IngestionRun stays in its process; pickle the document store that it belongs to")

    def __enter__(self) -> Self:
        perform(self._run.begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        perform(self._run.end(failed=kind is not None))

    async def __aenter__(self) -> Self:
        await aperform(self._run.begin())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await aperform(self._run.end(failed=kind is not None))
