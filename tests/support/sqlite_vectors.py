"""A vector store in an SQLite file: what it added survives the process that added it, and is written down for good."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore


class SQLiteVectors(VectorStore):
    """Each call is one transaction. The table `added` keeps the id of every child that was ever added."""

    def __init__(self, path: Path, embedding: Embeddings) -> None:
        self._embedding = embedding
        self._database = sqlite3.connect(path, timeout=30, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=wal")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS vectors (id TEXT PRIMARY KEY, text TEXT, metadata TEXT, vector TEXT)"
        )
        self._database.execute("CREATE TABLE IF NOT EXISTS added (id TEXT)")
        self._database.commit()

    @property
    def embeddings(self) -> Embeddings:
        return self._embedding

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **_kwargs: Any) -> list[str]:
        assert ids is not None
        vectors = self._embedding.embed_documents([document.page_content for document in documents])
        rows = [
            (child, document.page_content, json.dumps(document.metadata, sort_keys=True), json.dumps(vector))
            for child, document, vector in zip(ids, documents, vectors, strict=True)
        ]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            self._database.executemany("INSERT INTO added VALUES (?)", [(child,) for child in ids])
        return ids

    def delete(self, ids: list[str] | None = None, **_kwargs: Any) -> bool:
        with self._database:
            self._database.executemany("DELETE FROM vectors WHERE id = ?", [(child,) for child in ids or ()])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        found = []
        for child in ids:
            for text, metadata in self._database.execute("SELECT text, metadata FROM vectors WHERE id = ?", (child,)):
                found.append(Document(id=child, page_content=text, metadata=json.loads(metadata)))
        return found

    def contents(self) -> list[tuple[str, str, str]]:
        """Text, metadata and vector of each child, without its id, in order."""
        return sorted(self._database.execute("SELECT text, metadata, vector FROM vectors"))

    def additions(self) -> tuple[int, int]:
        """How many children were ever added, and how many of them more than once."""
        total = self._database.execute("SELECT count(*) FROM added").fetchone()[0]
        counts = "SELECT count(*) FROM (SELECT id FROM added GROUP BY id HAVING count(*) > 1)"
        return total, self._database.execute(counts).fetchone()[0]

    def close(self) -> None:
        self._database.close()

    def similarity_search(self, query: str, k: int = 4, **_kwargs: Any) -> list[Document]:
        wanted = self._embedding.embed_query(query)
        rows = self._database.execute("SELECT text, metadata, vector FROM vectors").fetchall()
        rows.sort(key=lambda row: -sum(a * b for a, b in zip(wanted, json.loads(row[2]), strict=True)))
        return [Document(page_content=text, metadata=json.loads(metadata)) for text, metadata, _ in rows[:k]]

    @classmethod
    def from_texts(cls, *_args: Any, **_kwargs: Any) -> SQLiteVectors:
        raise NotImplementedError
