"""The bounded way to a vector store: every call that adds, looks up, deletes or lists goes through it.

This is the only place that knows one vector store from another, and the only one that may query their tables.
docs/vector-stores.md says what each of them takes.
"""

from langchain_docshelf.vector_access.access import DEFAULT_BATCH_SIZE, VectorAccess
from langchain_docshelf.vector_access.listing import Child, ChildId, Children, ListableVectorStore, ListChildren

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "Child",
    "ChildId",
    "Children",
    "ListChildren",
    "ListableVectorStore",
    "VectorAccess",
]
