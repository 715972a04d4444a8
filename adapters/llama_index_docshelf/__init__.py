"""docshelf for LlamaIndex: a key-value store, a document store and an index store in PostgreSQL or SQLite.

from llama_index_docshelf import storage_context

context = storage_context("postgresql://user:password@host/db")  # without a URL: an SQLite file
index = VectorStoreIndex.from_documents(documents, storage_context=context)
"""

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] != "llama_index":
        raise
    raise ImportError("llama_index_docshelf needs llama-index-core: pip install 'docshelf[llama-index]'") from exc

from llama_index_docshelf.adoption import AdoptedNodesReport, aadopt_nodes, adopt_nodes
from llama_index_docshelf.contexts import DocShelfStorageContext, storage_context
from llama_index_docshelf.docstore import DocShelfDocumentStore, IngestionRun
from llama_index_docshelf.index_store import DocShelfIndexStore
from llama_index_docshelf.kvstore import DocShelfKVStore
from llama_index_docshelf.nodes.content_types import node_content_types

__all__ = [
    "AdoptedNodesReport",
    "DocShelfDocumentStore",
    "DocShelfIndexStore",
    "DocShelfKVStore",
    "DocShelfStorageContext",
    "IngestionRun",
    "aadopt_nodes",
    "adopt_nodes",
    "node_content_types",
    "storage_context",
]
