"""A retriever that finds small chunks and answers with the documents they came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import TextSplitter
from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import Self

from docshelf import SourceNote
from docshelf.adapters import aperform, perform
from langchain_docshelf.parent_retriever.children import ChildMaker, ChildSplitter
from langchain_docshelf.parent_retriever.indexer import Indexer
from langchain_docshelf.parent_retriever.obstacles import pickling_obstacle
from langchain_docshelf.parent_retriever.parents import Scope, parents_of
from langchain_docshelf.parent_retriever.report import RetrieverReport
from langchain_docshelf.stores import DocShelfStore
from langchain_docshelf.vector_access import VectorAccess

if TYPE_CHECKING:
    from docshelf.folder import FolderTarget


class ParentDocumentRetriever(BaseRetriever):
    """Searches small children in a vector store, and answers with their parents, which are in a document store.

    `sync` embeds only the children of parents that are new or changed, and removes the children of parents that are
    gone. It may be interrupted anywhere: the next run ends as if it had not been. Start with a vector store of its own,
    as the retriever knows only the children that it added.

    A parent is known by its `Document.id`. If it has none, or `parent_splitter` made it, by its source and text.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> from langchain_docshelf import DocShelfStore
        >>> vectors = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
        >>> docstore = DocShelfStore(":memory:")
        >>> retriever = ParentDocumentRetriever(vectorstore=vectors, docstore=docstore, child_splitter=None)
        >>> pages = [Document(id="a", page_content="A page.", metadata={"source": "a.md"})]
        >>> retriever.sync(pages).embedded, retriever.sync(pages).embedded
        (1, 0)
    """

    # A misspelled option would be ignored otherwise.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    vectorstore: VectorStore
    """Where the children are. It must support `add_documents(ids=...)` and `delete(ids)`."""

    docstore: DocShelfStore
    """Where the parents are."""

    child_splitter: ChildSplitter
    """Makes the children of a parent: a text splitter, or a function that takes a document and returns documents. The
    asynchronous methods also take an `async def` function. None makes the parent its own only child."""

    parent_splitter: TextSplitter | None = None
    """Splits documents into parents. None takes each document as a parent."""

    id_key: str = "doc_id"
    """The key of a child's metadata that holds the key of its parent."""

    source_id_key: str = "doc_source"
    """The key of a child's metadata that holds the source of its parent. It tells parents apart that have one key in
    different sources. "" leaves it out."""

    child_metadata_fields: Sequence[str] | None = None
    """The names of the parent's metadata that its children have. None means all."""

    search_type: Literal["similarity", "similarity_score_threshold", "mmr"] = "similarity"
    """How children are searched."""

    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the vector store's search besides the query: `k`, `filter`, `score_threshold`, ..."""

    embedding_version: str = ""
    """A name for what the vectors depend on besides `child_splitter`, such as the embedding model. Another name embeds
    all children anew. The settings of `child_splitter` count without it; the body of a function does not."""

    index: str = "children"
    """The name of the record of what the vector store holds. Two retrievers on the same documents with different vector
    stores need different names."""

    batch_size: int = Field(default=100, ge=1)
    """Number of parents whose children are made and added together. A run that is killed loses at most what it paid for
    the children of so many parents, if they are made by a function."""

    vector_batch_size: int | None = Field(default=None, ge=1)
    """Number of children in one call of the vector store, at most. None means 250, or less where the vector store says
    that it takes less. What a finished call added is not embedded again."""

    verify_seconds: float = Field(default=10.0, ge=0)
    """How long a run looks for what it added, in seconds. Some vector stores show additions late. 0 looks once."""

    # Another retriever reads the parents, and knows only their keys.
    _keys_only: bool = PrivateAttr(False)

    def __getstate__(self) -> dict[Any, Any]:
        self._check_vectorstore()
        return super().__getstate__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        self._check_vectorstore()
        return super().__deepcopy__(memo)

    def _check_vectorstore(self) -> None:
        """Raise a TypeError that names the vector store, if it can be neither pickled nor deep-copied."""
        reason = pickling_obstacle(self.vectorstore)
        if reason is not None:
            raise TypeError(
                f"this retriever stays in its process, because its vector store does: a "
                f"{type(self.vectorstore).__name__} with {reason}; make both anew in the other process"
            )

    def add_documents(
        self,
        documents: Iterable[Document],
        ids: Sequence[str] | None = None,
        *,
        allow_unknown: bool = False,
        show_progress: bool = False,
    ) -> RetrieverReport:
        """Write documents and embed those that are new or changed. All other documents stay.

        Args:
            documents: the documents. The docstore tells their sources.
            ids: keys for the parents, one each.
            allow_unknown: as for `sync`.
            show_progress: show a progress bar over the parents whose children are embedded.

        Raises:
            ConfigurationError: the docstore is bound to a connection; or the vector store cannot add or delete in these
                calls, sync or async; or `child_splitter` is asynchronous in a sync call. Nothing was written.
            UnknownChildrenError: the vector store has children of these documents that no record knows. Nothing was
                written.
            DocShelfError: children that were added are not found in the vector store, or it did not delete children.
                The next run does their work again.
            As `DocShelfStore.mset`, before anything is written; and what `child_splitter` and the vector store raise.
                What was finished before is not done again.
        """
        return perform(self._indexer(show_progress=show_progress).add(documents, ids, allow_unknown=allow_unknown))

    async def aadd_documents(
        self,
        documents: Iterable[Document],
        ids: Sequence[str] | None = None,
        *,
        allow_unknown: bool = False,
        show_progress: bool = False,
    ) -> RetrieverReport:
        """As `add_documents`."""
        return await aperform(
            self._indexer(show_progress=show_progress).add(documents, ids, allow_unknown=allow_unknown)
        )

    def sync(
        self,
        documents: Iterable[Document],
        *,
        source: str | None = None,
        ids: Sequence[str] | None = None,
        scope: Scope = "sources",
        dry_run: bool = False,
        reindex: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        allow_unknown: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        show_progress: bool = False,
    ) -> RetrieverReport:
        """Make sources hold exactly these documents, and the vector store exactly their children.

        Args:
            documents: the documents.
            source: store all documents under this source, whatever their metadata say, and leave other sources as they
                are. By default every source that a document or `notes` names is synced.
            ids: keys for the parents, one each.
            scope: "collection" deletes the documents of all other sources too.
            dry_run: report what would be done, and write nothing. All children of a changed document then count as
                embedded, also those that would be reused. It calls a `child_splitter` that is a function.
            reindex: look for every child in the vector store, and add those that are missing. A vector store that
                cannot be asked (`get_by_ids`) gets all children again. One that can be asked and is new is noticed
                without this.
            max_delete: as for `docshelf.DocShelf.sync`: the share of the existing documents, 0 to 1, that may be
                deleted. None, the default, refuses a sync that would remove at least 10 sources whole and more than
                half of the collection's sources. A dry run says in `refused` why the sync would be refused.
            allow_mass_delete: refuse no sync.
            allow_unknown: add children even if the vector store has children of these documents that no record knows,
                as the `add_documents` of another retriever puts there. Only the first run looks for such children, and
                only where the vector store can be listed.
            notes: fingerprint and metadata by source. They are written after the children are live, so that
                `changed_sources` is right after a crash, too.
            show_progress: show a progress bar over the parents whose children are embedded.

        Raises:
            MassDeleteError: the sync would delete more than it may. Nothing was written.
            As `add_documents` otherwise.
        """
        return perform(
            self._indexer(show_progress=show_progress).sync(
                documents,
                source,
                ids=ids,
                scope=scope,
                dry_run=dry_run,
                reindex=reindex,
                max_delete=max_delete,
                allow_mass_delete=allow_mass_delete,
                allow_unknown=allow_unknown,
                notes=notes,
            )
        )

    async def async_(
        self,
        documents: Iterable[Document],
        *,
        source: str | None = None,
        ids: Sequence[str] | None = None,
        scope: Scope = "sources",
        dry_run: bool = False,
        reindex: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        allow_unknown: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        show_progress: bool = False,
    ) -> RetrieverReport:
        """As `sync`."""
        return await aperform(
            self._indexer(show_progress=show_progress).sync(
                documents,
                source,
                ids=ids,
                scope=scope,
                dry_run=dry_run,
                reindex=reindex,
                max_delete=max_delete,
                allow_mass_delete=allow_mass_delete,
                allow_unknown=allow_unknown,
                notes=notes,
            )
        )

    def delete_source(self, source: str) -> RetrieverReport:
        """Delete a source with its documents and their children."""
        return perform(self._indexer().delete_source(source))

    async def adelete_source(self, source: str) -> RetrieverReport:
        """As `delete_source`."""
        return await aperform(self._indexer().delete_source(source))

    def source_changed(self, source: str, fingerprint: str) -> bool:
        """As `changed_sources`, for one source."""
        return bool(self.changed_sources({source: fingerprint}))

    async def asource_changed(self, source: str, fingerprint: str) -> bool:
        """As `source_changed`."""
        return bool(await self.achanged_sources({source: fingerprint}))

    def changed_sources(self, fingerprints: Mapping[str, str]) -> list[str]:
        """The sources that have to be synced, in input order: no other work is left of them.

        A source does not have to be if its last sync had this fingerprint in `notes`, its documents are those of that
        sync, and all their children are live under the retriever's present settings. A vector store that lost children
        of these sources makes all of them changed, where it can be asked.

        Args:
            fingerprints: for each source, the caller's hash of its raw file.
        """
        return perform(self._indexer().changed_sources(fingerprints))

    async def achanged_sources(self, fingerprints: Mapping[str, str]) -> list[str]:
        """As `changed_sources`."""
        return await aperform(self._indexer().changed_sources(fingerprints))

    def folder_target(self) -> FolderTarget:
        """How `docshelf.folder.sync_folder` writes into this retriever."""
        from langchain_docshelf.folder import RetrieverTarget

        return RetrieverTarget(
            self,
            self.docstore.shelf,
            self.docstore.source_key,
            self.parent_splitter,
            lambda fingerprints: self._indexer().unsettled_sources(fingerprints),
        )

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        children = self.vectorstore.search(query, self.search_type, **{**self.search_kwargs, **kwargs})
        return perform(parents_of(self.docstore, children, self.id_key, self.source_id_key))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        children = await self.vectorstore.asearch(query, self.search_type, **{**self.search_kwargs, **kwargs})
        return await aperform(parents_of(self.docstore, children, self.id_key, self.source_id_key))

    def _maker(self) -> ChildMaker:
        return ChildMaker(
            self.child_splitter,
            id_key=self.id_key,
            source_id_key=self.source_id_key,
            metadata_fields=self.child_metadata_fields,
            embedding_version=self.embedding_version,
        )

    def _indexer(self, *, show_progress: bool = False) -> Indexer:
        vectors = VectorAccess(self.vectorstore, batch_size=self.vector_batch_size, verify_seconds=self.verify_seconds)
        return Indexer(
            vectors,
            self.docstore,
            self._maker(),
            parent_splitter=self.parent_splitter,
            index=self.index,
            batch_size=self.batch_size,
            keys_only=self._keys_only,
            show_progress=show_progress,
        )
