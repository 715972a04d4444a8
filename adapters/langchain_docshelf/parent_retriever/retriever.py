"""A retriever that finds small chunks and answers with the documents they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import TextSplitter
from pydantic import Field, PrivateAttr

from docshelf.adapters import aperform, perform
from langchain_docshelf.parent_retriever.children import ChildMaker, ChildSplitter
from langchain_docshelf.parent_retriever.indexer import Indexer
from langchain_docshelf.parent_retriever.parents import Scope, parents_of
from langchain_docshelf.parent_retriever.report import RetrieverReport
from langchain_docshelf.stores import DocShelfStore


class ParentDocumentRetriever(BaseRetriever):
    """Searches small children in a vector store, and answers with their parents, which are in a document store.

    `sync` embeds only the children of parents that are new or changed, and removes the children of parents that are
    gone. It may be interrupted anywhere: the next run ends as if it had not been. Start with a vector store of its own,
    as the retriever knows only the children that it added.

    A parent is known by its `Document.id`. If it has none, or `parent_splitter` made it, by its source and text.
    """

    vectorstore: VectorStore
    """Where the children are. It must support `add_documents(ids=...)` and `delete(ids)`."""

    docstore: DocShelfStore
    """Where the parents are."""

    child_splitter: ChildSplitter
    """Makes the children of a parent: a text splitter, or a function that takes a document and returns documents. None
    makes the parent its own only child."""

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

    fingerprint: str = ""
    """A name for what the vectors depend on besides `child_splitter`, such as the embedding model. Another name embeds
    all children anew. The settings of `child_splitter` count without it; the body of a function does not."""

    index: str = "children"
    """The name of the record of what the vector store holds. Two retrievers on the same documents with different vector
    stores need different names."""

    batch_size: int = Field(default=100, ge=1)
    """Number of parents whose children are embedded together. What a finished batch embedded is not embedded again."""

    # Another retriever reads the parents, and knows only their keys.
    _keys_only: bool = PrivateAttr(False)

    def add_documents(
        self, documents: Iterable[Document], ids: Sequence[str] | None = None, *, show_progress: bool = False
    ) -> RetrieverReport:
        """Write documents and embed those that are new or changed. All other documents stay.

        Args:
            documents: the documents. The docstore tells their sources.
            ids: keys for the parents, one each.
            show_progress: show a progress bar over the parents whose children are embedded.

        Raises:
            ConfigurationError: the vector store cannot delete. Nothing was written.
            As `DocShelfStore.mset`, before anything is written; and what the vector store raises.
        """
        return perform(self._indexer(show_progress=show_progress).add(documents, ids))

    async def aadd_documents(
        self, documents: Iterable[Document], ids: Sequence[str] | None = None, *, show_progress: bool = False
    ) -> RetrieverReport:
        """As `add_documents`."""
        return await aperform(self._indexer(show_progress=show_progress).add(documents, ids))

    def sync(
        self,
        documents: Iterable[Document],
        *,
        source: str | None = None,
        ids: Sequence[str] | None = None,
        scope: Scope = "sources",
        dry_run: bool = False,
        reindex: bool = False,
        allow_mass_delete: bool = False,
        show_progress: bool = False,
    ) -> RetrieverReport:
        """Make sources hold exactly these documents, and the vector store exactly their children.

        Args:
            documents: the documents.
            source: store all documents under this source, whatever their metadata say, and leave other sources as they
                are. By default every source that a document names is synced.
            ids: keys for the parents, one each.
            scope: "collection" deletes the documents of all other sources too.
            dry_run: report what would be done, and write nothing. All children of a changed document then count as
                embedded, also those that would be reused.
            reindex: look for every child in the vector store, and add those that are missing. A vector store that
                cannot be asked (`get_by_ids`) gets all children again. One that can be asked and is new is noticed
                without this.
            allow_mass_delete: allow a sync that deletes all existing documents and holds none.
            show_progress: show a progress bar over the parents whose children are embedded.

        Raises:
            MassDeleteError: the sync would delete all documents and hold none. Nothing was written.
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
                allow_mass_delete=allow_mass_delete,
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
        allow_mass_delete: bool = False,
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
                allow_mass_delete=allow_mass_delete,
            )
        )

    def delete_source(self, source: str) -> RetrieverReport:
        """Delete a source with its documents and their children."""
        return perform(self._indexer().delete_source(source))

    async def adelete_source(self, source: str) -> RetrieverReport:
        """As `delete_source`."""
        return await aperform(self._indexer().delete_source(source))

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

    def _indexer(self, *, show_progress: bool = False) -> Indexer:
        maker = ChildMaker(
            self.child_splitter,
            id_key=self.id_key,
            source_id_key=self.source_id_key,
            metadata_fields=self.child_metadata_fields,
            fingerprint=self.fingerprint,
        )
        return Indexer(
            self.vectorstore,
            self.docstore,
            maker,
            parent_splitter=self.parent_splitter,
            index=self.index,
            batch_size=self.batch_size,
            keys_only=self._keys_only,
            show_progress=show_progress,
        )
