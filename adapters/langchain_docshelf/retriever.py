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

from langchain_docshelf.flow import aperform, perform
from langchain_docshelf.indexing import ChildSplitter, Indexer, Scope, parents_of
from langchain_docshelf.reports import RetrieverReport
from langchain_docshelf.stores import DocShelfStore


class ParentDocumentRetriever(BaseRetriever):
    """Finds children, which are small, in a vector store, and answers with their parents, which a docstore keeps.

    `sync` embeds only the children of parents that are new or changed, and removes those of parents that are gone. It
    may be interrupted anywhere: run again, it ends as if it had not been. Start with a vector store of its own, as
    only children that went in this way are known.

    A parent is known by its `Document.id`, or, without one or when `parent_splitter` made it, by its source and text.
    """

    vectorstore: VectorStore
    """Where the children are. It has to keep to `add_documents(ids=...)` and `delete(ids)`."""

    docstore: DocShelfStore
    """Where the parents are."""

    child_splitter: ChildSplitter
    """Makes children of a parent: a text splitter, or a function that gives documents. None: the parent as a whole."""

    parent_splitter: TextSplitter | None = None
    """Makes parents of the documents that are given; None takes them as they are."""

    id_key: str = "doc_id"
    """The key of a child's metadata that holds the key of its parent."""

    source_id_key: str = "doc_source"
    """The key of a child's metadata that holds the source of its parent, by which it is told from a parent of another
    source with the same key. "" leaves it out."""

    child_metadata_fields: Sequence[str] | None = None
    """What of a parent's metadata its children have; None is all."""

    search_type: Literal["similarity", "similarity_score_threshold", "mmr"] = "similarity"
    """How children are searched for."""

    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """What the vector store's search is given beside the query: `k`, `filter`, `score_threshold`, ..."""

    fingerprint: str = ""
    """What else the vectors depend on: the name of the embedding model, say. Another one embeds all anew. The settings
    of `child_splitter` are seen without it, the body of a function is not."""

    index: str = "children"
    """The name under which it is remembered which children the vector store holds. Two retrievers on the same documents
    with different vector stores need different ones."""

    batch_size: int = Field(default=100, ge=1)
    """Parents whose children are embedded in one go, and are done for good when that is through."""

    # Somebody else reads the parents, and knows only their keys.
    _by_key_alone: bool = PrivateAttr(False)

    def add_documents(
        self, documents: Iterable[Document], ids: Sequence[str] | None = None, *, show_progress: bool = False
    ) -> RetrieverReport:
        """Write documents, and embed those that are new or changed. Others stay.

        Args:
            documents: the documents. Their sources are what the docstore takes them to be.
            ids: keys for the parents, one each.
            show_progress: show a progress bar over the parents whose children are embedded.

        Raises:
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
            source: file all documents under this source, whatever their metadata say, and leave others alone. By
                default every source that a document names is made so.
            ids: keys for the parents, one each.
            scope: "collection" deletes the documents of all other sources too.
            dry_run: report what would be done, and write nothing. Children that a change leaves as they are count as
                embedded then.
            reindex: take nothing as embedded: look for each child in the vector store, and add what is not there; all
                of them where it does not tell (`get_by_ids`). A vector store that tells and was made anew is noticed
                without this.
            allow_mass_delete: delete all that stands even if there is nothing in its place.
            show_progress: show a progress bar over the parents whose children are embedded.

        Raises:
            MassDeleteError: that was not allowed; nothing was written.
            ConfigurationError: the vector store cannot delete; nothing was written.
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
        return Indexer(
            self.vectorstore,
            self.docstore,
            child_splitter=self.child_splitter,
            parent_splitter=self.parent_splitter,
            id_key=self.id_key,
            child_metadata_fields=self.child_metadata_fields,
            index=self.index,
            fingerprint=self.fingerprint,
            batch_size=self.batch_size,
            source_id_key=self.source_id_key,
            by_key_alone=self._by_key_alone,
            show_progress=show_progress,
        )
