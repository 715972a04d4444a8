"""`sync` for the retrievers of langchain-classic, which search by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document

from docshelf import ConfigurationError
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
    fingerprint: str = "",
    index: str = "children",
    scope: Scope = "sources",
    dry_run: bool = False,
    reindex: bool = False,
    allow_mass_delete: bool = False,
    show_progress: bool = False,
) -> RetrieverReport:
    """Do for a retriever of langchain-classic what `ParentDocumentRetriever.sync` does.

    Children that the retriever's own `add_documents` put into the vector store are not known, and stay there: sync
    from the beginning, or begin with an empty vector store.

    Args:
        retriever: a ParentDocumentRetriever or MultiVectorRetriever whose `docstore` is a `DocShelfStore`.
        child_splitter: makes the children of a parent. By default the retriever's own splitter does. A
            MultiVectorRetriever has none: then the parent is its own only child. A function may give summaries, or
            questions.
        documents, source, ids, fingerprint, index, scope, dry_run, reindex, allow_mass_delete, show_progress: as for
            `ParentDocumentRetriever`. These retrievers read parents by id alone, so each id must belong to one parent
            in all sources. A warning names an id that does not.

    Raises:
        ConfigurationError: the retriever's docstore is of another kind.
        As `ParentDocumentRetriever.sync` otherwise.
    """
    own = _own_retriever(retriever, child_splitter, fingerprint, index)
    return own.sync(
        documents,
        source=source,
        ids=ids,
        scope=scope,
        dry_run=dry_run,
        reindex=reindex,
        allow_mass_delete=allow_mass_delete,
        show_progress=show_progress,
    )


async def async_parent_documents(
    retriever: Any,
    documents: Iterable[Document],
    *,
    source: str | None = None,
    ids: Sequence[str] | None = None,
    child_splitter: ChildSplitter = None,
    fingerprint: str = "",
    index: str = "children",
    scope: Scope = "sources",
    dry_run: bool = False,
    reindex: bool = False,
    allow_mass_delete: bool = False,
    show_progress: bool = False,
) -> RetrieverReport:
    """As `sync_parent_documents`."""
    own = _own_retriever(retriever, child_splitter, fingerprint, index)
    return await own.async_(
        documents,
        source=source,
        ids=ids,
        scope=scope,
        dry_run=dry_run,
        reindex=reindex,
        allow_mass_delete=allow_mass_delete,
        show_progress=show_progress,
    )


def _own_retriever(
    retriever: Any, child_splitter: ChildSplitter, fingerprint: str, index: str
) -> ParentDocumentRetriever:
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
        fingerprint=fingerprint,
        index=index,
        source_id_key="",
    )
    own._keys_only = True
    return own
