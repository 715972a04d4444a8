"""A storage context in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.storage.storage_context import StorageContext

from docshelf import DocShelf
from docshelf.adapters import ShelfOptions, Url
from llama_index_docshelf.docstore import DocShelfDocumentStore
from llama_index_docshelf.index_store import DocShelfIndexStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llama_index.core.graph_stores.types import GraphStore, PropertyGraphStore
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import BasePydanticVectorStore
    from typing_extensions import Unpack


@dataclass
class DocShelfStorageContext(StorageContext):
    """A `StorageContext` whose document store and index store are docshelf's, typed as such.

    Example:
        >>> context = storage_context(":memory:")
        >>> type(context).__name__, len(context.index_store.index_structs())
        ('DocShelfStorageContext', 0)
        >>> context.docstore.close()
    """

    docstore: DocShelfDocumentStore
    index_store: DocShelfIndexStore


def storage_context(
    url: Url | None = None,
    collection: str = "docstore",
    *,
    index_collection: str = "index_store",
    shelf: DocShelf | None = None,
    node_classes: Iterable[type[BaseNode]] = (),
    vector_store: BasePydanticVectorStore | None = None,
    vector_stores: dict[str, BasePydanticVectorStore] | None = None,
    image_store: BasePydanticVectorStore | None = None,
    graph_store: GraphStore | None = None,
    property_graph_store: PropertyGraphStore | None = None,
    persist_dir: str | None = None,
    fs: Any = None,
    **options: Unpack[ShelfOptions],
) -> DocShelfStorageContext:
    """A `StorageContext` whose document store and index store are on one URL and share their connections.

    Close them with `context.docstore.close()`. An index on a context that was made from a URL can be pickled, if its
    other stores can. A deep copy of an index or a retriever uses the same connections.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: the collection of the document store.
        index_collection: the collection of the index store.
        shelf: an existing shelf whose connections to use, instead of a url and options.
        node_classes: as for `DocShelfDocumentStore`.
        vector_store, vector_stores, image_store, graph_store, property_graph_store: as for
            `StorageContext.from_defaults`. The default is a store in memory.
        persist_dir, fs: where the stores in memory were persisted, to read them again.
        options: as for `docshelf.DocShelf`.

    Example:
        >>> context = storage_context(":memory:")
        >>> len(context.docstore.docs)
        0
    """
    docstore = DocShelfDocumentStore(url, collection, shelf=shelf, node_classes=node_classes, **options)
    index_store = DocShelfIndexStore(collection=index_collection, shelf=docstore.shelf)
    index_store._lender = docstore  # so that both can be pickled, and share connections in the other process too
    context = DocShelfStorageContext.from_defaults(
        docstore=docstore,
        index_store=index_store,
        vector_store=vector_store,
        vector_stores=vector_stores,
        image_store=image_store,
        graph_store=graph_store,
        property_graph_store=property_graph_store,
        persist_dir=persist_dir,
        fs=fs,
    )
    assert isinstance(context, DocShelfStorageContext)
    return context
