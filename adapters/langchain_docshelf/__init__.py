"""docshelf for LangChain: document, byte and cache stores, and a parent retriever, in PostgreSQL or SQLite.

from langchain_docshelf import DocShelfStore

docstore = DocShelfStore("postgresql://user:password@host/db")   # or nothing at all: an SQLite file
"""

try:
    import langchain_core  # noqa: F401
    import langchain_text_splitters  # noqa: F401
except ModuleNotFoundError as exc:
    if exc.name not in ("langchain_core", "langchain_text_splitters"):
        raise
    raise ImportError(f"langchain_docshelf needs {exc.name}: pip install 'docshelf[langchain]'") from exc

from langchain_docshelf.adoption import AdoptionReport, aadopt, adopt, aparent_ids, parent_ids
from langchain_docshelf.documents import StoredDocument, document_content_types
from langchain_docshelf.errors import UnknownChildrenError
from langchain_docshelf.parent_retriever.classic import (
    achanged_parent_sources,
    async_parent_documents,
    changed_parent_sources,
    sync_parent_documents,
)
from langchain_docshelf.parent_retriever.report import RetrieverReport
from langchain_docshelf.parent_retriever.retriever import ParentDocumentRetriever
from langchain_docshelf.postgres import PostgresByteStore
from langchain_docshelf.record_manager import DocShelfRecordManager
from langchain_docshelf.stores import DocShelfByteStore, DocShelfStore

__all__ = [
    "AdoptionReport",
    "DocShelfByteStore",
    "DocShelfRecordManager",
    "DocShelfStore",
    "ParentDocumentRetriever",
    "PostgresByteStore",
    "RetrieverReport",
    "StoredDocument",
    "UnknownChildrenError",
    "aadopt",
    "achanged_parent_sources",
    "adopt",
    "aparent_ids",
    "async_parent_documents",
    "changed_parent_sources",
    "document_content_types",
    "parent_ids",
    "sync_parent_documents",
]
