"""Vector stores of which more is known than LangChain's interface tells.

They are recognized by the names of their classes and packages, so that none of these has to be installed; subclasses
count as well. What a subclass overrides is used as it is.
"""

from __future__ import annotations

from typing import Final

from langchain_core.vectorstores import VectorStore

from langchain_docshelf.vector_access.stores.base import Backend
from langchain_docshelf.vector_access.stores.chroma import Chroma
from langchain_docshelf.vector_access.stores.faiss import Faiss
from langchain_docshelf.vector_access.stores.in_memory import InMemory
from langchain_docshelf.vector_access.stores.pgvector import PGVector
from langchain_docshelf.vector_access.stores.pgvectorstore import PGVectorStore
from langchain_docshelf.vector_access.stores.qdrant import Qdrant

__all__ = ["Backend", "backend_of"]

_KNOWN: Final[dict[tuple[str, str], type[Backend]]] = {
    ("langchain_core", "InMemoryVectorStore"): InMemory,
    ("langchain_chroma", "Chroma"): Chroma,
    ("langchain_community", "Chroma"): Chroma,
    ("langchain_community", "FAISS"): Faiss,
    ("langchain_postgres", "PGVector"): PGVector,
    ("langchain_postgres", "PGVectorStore"): PGVectorStore,
    ("langchain_postgres", "AsyncPGVectorStore"): PGVectorStore,
    ("langchain_qdrant", "QdrantVectorStore"): Qdrant,
    ("langchain_qdrant", "Qdrant"): Qdrant,
}


def backend_of(vectorstore: VectorStore) -> Backend:
    """What is known of a vector store."""
    for kind in type(vectorstore).__mro__:
        known = _KNOWN.get((kind.__module__.partition(".")[0], kind.__name__))
        if known is not None:
            return known(vectorstore, kind)
    return Backend(vectorstore)
