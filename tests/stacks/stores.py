"""The vector stores of the stacks: one `Stack` is a server, client or process that holds collections of one kind."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from sqlalchemy.engine import URL

from docshelf.adapters import Flow
from langchain_docshelf.vector_access import VectorAccess
from tests.adapters.langchain.vectors import CountingEmbeddings
from tests.support.face import Loop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # langchain-community says at import that nobody maintains it
    import chromadb
    import faiss
    from chromadb.config import Settings
    from langchain_chroma import Chroma
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS
    from langchain_postgres import PGEngine, PGVector, PGVectorStore
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

SIZE = 64
Run = Callable[[Flow[Any]], Any]
"""Performs a flow, sync or async: the fixture `run`."""


def texts(run: Run, store: Any) -> Counter[str]:
    """The texts of all children that a vector store holds."""
    cursor = VectorAccess(store).list_children("doc_id")
    found: Counter[str] = Counter()
    while page := run(cursor.next()):
        found.update(child.text for child in page)
    return found


class Stack:
    """A place for collections of one kind of vector store.

    Attributes:
        embeddings: what all of its collections embed with.
        url: the database, of the kinds that have one.
    """

    def __init__(self, kind: str, mode: str, loop: Loop, url: URL | None) -> None:
        self.kind = kind
        self.mode = mode
        self.loop = loop
        self.embeddings = CountingEmbeddings(SIZE)
        self._url = url
        self._name = uuid.uuid4().hex
        self._process: dict[str, VectorStore] = {}
        self._clean = contextlib.ExitStack()
        self._client: Any = None

    @property
    def url(self) -> URL:
        assert self._url is not None
        return self._url

    def open(self, collection: str = "a") -> Any:
        """The vector store of a collection; opened again, it is another object on the same collection."""
        makers: dict[str, Callable[[str], Any]] = {
            "memory": self._memory,
            "chroma": self._chroma,
            "faiss": self._faiss,
            "qdrant": self._qdrant,
            "pgvector": self._pgvector,
            "pgvectorstore": self._pgvectorstore,
        }
        return makers[self.kind](collection)

    def close(self) -> None:
        self._clean.close()

    def do(self, store: Any, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of the vector store itself, or its asynchronous twin."""
        if self.mode == "sync":
            return getattr(store, method)(*args, **options)
        return self.loop.run(getattr(store, f"a{method}")(*args, **options))

    def call(self, function: Callable[..., Any], twin: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function, or its asynchronous twin."""
        return function(*args, **options) if self.mode == "sync" else self.loop.run(twin(*args, **options))

    # What lives in the process is one object for each collection.

    def _memory(self, collection: str) -> VectorStore:
        return self._process.setdefault(collection, InMemoryVectorStore(self.embeddings))

    def _faiss(self, collection: str) -> VectorStore:
        if collection not in self._process:
            index = faiss.IndexFlatL2(SIZE)
            self._process[collection] = FAISS(self.embeddings, index, InMemoryDocstore(), {})
        return self._process[collection]

    def _chroma(self, collection: str) -> Any:
        if self._client is None:
            self._client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        # The client's data are those of the process.
        name = f"{self._name}-{collection}"
        if collection not in self._process:
            self._process[collection] = Chroma(name, self.embeddings, client=self._client)
            self._clean.callback(self._client.delete_collection, name)
        return Chroma(name, self.embeddings, client=self._client)

    def _qdrant(self, collection: str) -> Any:
        if self._client is None:
            self._client = QdrantClient(":memory:")
            self._clean.callback(self._client.close)
        if not self._client.collection_exists(collection):
            vectors = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
            self._client.create_collection(collection, vectors_config=vectors)
        # Each validation would embed a text.
        unchecked = {"validate_embeddings": False, "validate_collection_config": False}
        return QdrantVectorStore(self._client, collection, self.embeddings, **unchecked)

    def _pgvector(self, collection: str) -> Any:
        driver = "psycopg" if self.mode == "sync" else "asyncpg"
        url = self.url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
        store = PGVector(
            self.embeddings,
            connection=url,
            collection_name=collection,
            create_extension=False,
            async_mode=self.mode == "async",
        )
        if self.mode == "sync":
            self._clean.callback(store._engine.dispose)
        else:
            self._clean.callback(lambda: self.loop.run(store._async_engine.dispose()))
        return store

    def _pgvectorstore(self, collection: str) -> Any:
        engine = self.engine
        if collection not in self._process:
            engine.init_vectorstore_table(collection, SIZE)
            self._process[collection] = PGVectorStore.create_sync(engine, self.embeddings, collection)
        return PGVectorStore.create_sync(engine, self.embeddings, collection)

    @property
    def engine(self) -> Any:
        """The PGEngine of the kind "pgvectorstore", with an event loop of its own."""
        if self._client is None:
            url = self.url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
            self._client = PGEngine.from_connection_string(url)
            self._clean.callback(lambda: self.loop.run(self._client.close()))
        return self._client
