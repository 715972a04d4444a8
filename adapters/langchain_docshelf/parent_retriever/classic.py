"""`sync` for the retrievers of langchain-classic, which search by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from docshelf import ConfigurationError, SourceNote
from langchain_docshelf.parent_retriever.children import ChildSplitter
from langchain_docshelf.parent_retriever.parents import Scope
from langchain_docshelf.parent_retriever.report import RetrieverReport
from langchain_docshelf.parent_retriever.retriever import ParentDocumentRetriever
from langchain_docshelf.stores import DocShelfStore


def sync_parent_documents(
    retriever: Any,
    documents: Iterable[Document],
    *,
    source: str | None = None,
    ids: Sequence[str] | None = None,
    child_splitter: ChildSplitter = None,
    embedding_version: str = "",
    index: str = "children",
    batch_size: int = 100,
    vector_batch_size: int | None = None,
    verify_seconds: float = 10.0,
    scope: Scope = "sources",
    dry_run: bool = False,
    reindex: bool = False,
    max_delete: float | None = None,
    allow_mass_delete: bool = False,
    allow_unknown: bool = False,
    notes: Mapping[str, SourceNote] | None = None,
    show_progress: bool = False,
) -> RetrieverReport:
    """Do for a retriever of langchain-classic what `ParentDocumentRetriever.sync` does.

    The record does not know children that the retriever's own `add_documents` put into the vector store. A first sync
    refuses a vector store that has such children of the same documents, where it can be listed: begin with an empty
    one, and sync from then on.

    Args:
        retriever: a ParentDocumentRetriever or MultiVectorRetriever whose `docstore` is a `DocShelfStore`.
        child_splitter: makes the children of a parent. By default the retriever's own splitter does. A
            MultiVectorRetriever has none: then the parent is its own only child. A function may give summaries, or
            questions; `async_parent_documents` also takes an `async def` function.
        embedding_version, index, batch_size, vector_batch_size, verify_seconds: as for `ParentDocumentRetriever`.
        documents, source, ids, scope: as for `ParentDocumentRetriever.sync`. These retrievers read parents by id alone,
            so each id must belong to one parent in all sources. A warning names an id that does not.
        dry_run, reindex, max_delete, allow_mass_delete, allow_unknown, notes, show_progress: as there.

    Raises:
        ConfigurationError: the retriever's docstore is of another kind.
        DocShelfError: as `ParentDocumentRetriever.sync`.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> from langchain_classic.retrievers import MultiVectorRetriever
        >>> retriever = MultiVectorRetriever(
        ...     vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=8)),
        ...     docstore=DocShelfStore(":memory:"),
        ... )
        >>> pages = [Document(id="a", page_content="Hello.", metadata={"source": "guide.md"})]
        >>> sync_parent_documents(retriever, pages).embedded
        1
        >>> sync_parent_documents(retriever, pages).embedded
        0
        >>> retriever.docstore.close()
    """
    own = own_retriever(
        retriever,
        child_splitter,
        embedding_version=embedding_version,
        index=index,
        batch_size=batch_size,
        vector_batch_size=vector_batch_size,
        verify_seconds=verify_seconds,
    )
    return own.sync(
        documents,
        source=source,
        ids=ids,
        scope=scope,
        dry_run=dry_run,
        reindex=reindex,
        max_delete=max_delete,
        allow_mass_delete=allow_mass_delete,
        allow_unknown=allow_unknown,
        notes=notes,
        show_progress=show_progress,
    )


async def async_parent_documents(
    retriever: Any,
    documents: Iterable[Document],
    *,
    source: str | None = None,
    ids: Sequence[str] | None = None,
    child_splitter: ChildSplitter = None,
    embedding_version: str = "",
    index: str = "children",
    batch_size: int = 100,
    vector_batch_size: int | None = None,
    verify_seconds: float = 10.0,
    scope: Scope = "sources",
    dry_run: bool = False,
    reindex: bool = False,
    max_delete: float | None = None,
    allow_mass_delete: bool = False,
    allow_unknown: bool = False,
    notes: Mapping[str, SourceNote] | None = None,
    show_progress: bool = False,
) -> RetrieverReport:
    """As `sync_parent_documents`."""
    own = own_retriever(
        retriever,
        child_splitter,
        embedding_version=embedding_version,
        index=index,
        batch_size=batch_size,
        vector_batch_size=vector_batch_size,
        verify_seconds=verify_seconds,
    )
    return await own.async_(
        documents,
        source=source,
        ids=ids,
        scope=scope,
        dry_run=dry_run,
        reindex=reindex,
        max_delete=max_delete,
        allow_mass_delete=allow_mass_delete,
        allow_unknown=allow_unknown,
        notes=notes,
        show_progress=show_progress,
    )


def changed_parent_sources(
    retriever: Any,
    fingerprints: Mapping[str, str],
    *,
    child_splitter: ChildSplitter = None,
    embedding_version: str = "",
    index: str = "children",
) -> list[str]:
    """Do for a retriever of langchain-classic what `ParentDocumentRetriever.changed_sources` does.

    Args:
        retriever, child_splitter, embedding_version, index: as for `sync_parent_documents`.
        fingerprints: for each source, the caller's hash of its raw file.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> from langchain_classic.retrievers import MultiVectorRetriever
        >>> retriever = MultiVectorRetriever(
        ...     vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=8)),
        ...     docstore=DocShelfStore(":memory:"),
        ... )
        >>> changed_parent_sources(retriever, {"guide.md": "v1"})
        ['guide.md']
        >>> retriever.docstore.close()
    """
    own = own_retriever(retriever, child_splitter, embedding_version=embedding_version, index=index)
    return own.changed_sources(fingerprints)


async def achanged_parent_sources(
    retriever: Any,
    fingerprints: Mapping[str, str],
    *,
    child_splitter: ChildSplitter = None,
    embedding_version: str = "",
    index: str = "children",
) -> list[str]:
    """As `changed_parent_sources`."""
    own = own_retriever(retriever, child_splitter, embedding_version=embedding_version, index=index)
    return await own.achanged_sources(fingerprints)


def own_retriever(retriever: Any, child_splitter: ChildSplitter, **options: Any) -> ParentDocumentRetriever:
    """A retriever of docshelf with the parts of the given one."""
    docstore = getattr(retriever, "docstore", None)
    if not isinstance(docstore, DocShelfStore):
        raise ConfigurationError(
            f"the docstore of this {type(retriever).__name__} is a {type(docstore).__name__}; give it "
            "docstore=DocShelfStore(...)"
        )
    own = ParentDocumentRetriever(
        vectorstore=retriever.vectorstore,
        docstore=docstore,
        child_splitter=child_splitter or getattr(retriever, "child_splitter", None),
        parent_splitter=getattr(retriever, "parent_splitter", None),
        id_key=retriever.id_key,
        child_metadata_fields=getattr(retriever, "child_metadata_fields", None),
        source_id_key="",
        **options,
    )
    own._keys_only = True
    return own
