"""Records by key that memory need not hold: a temporary SQLite file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import sqlite3


class KeyedRecords:
    """JSON-like records by key, for sources that keep what belongs together in several places. A context manager."""

    def __enter__(self) -> KeyedRecords:
        import sqlite3

        self._folder = tempfile.TemporaryDirectory(prefix="docshelf-", ignore_cleanup_errors=True)
        self._connection: sqlite3.Connection = sqlite3.connect(
            f"{self._folder.name}/records.db", isolation_level=None, check_same_thread=False
        )
        for statement in (
            *("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"),
            "CREATE TABLE records (key TEXT PRIMARY KEY, record BLOB, taken INTEGER DEFAULT 0) WITHOUT ROWID",
        ):
            self._connection.execute(statement)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Add records; of equal keys the last one wins."""
        rows = ((key, orjson.dumps(record)) for key, record in pairs)
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR REPLACE INTO records (key, record) VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def take(self, keys: Sequence[str]) -> list[Any]:
        """The records of keys, in their order, None for each that has none. `rest` leaves them out."""
        found = []
        for key in keys:
            row = self._connection.execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()
            found.append(None if row is None else orjson.loads(row[0]))
        self._connection.execute("BEGIN")
        self._connection.executemany("UPDATE records SET taken = 1 WHERE key = ?", ((key,) for key in keys))
        self._connection.execute("COMMIT")
        return found

    def rest(self, count: int) -> Iterator[list[tuple[str, Any]]]:
        """The records that were not taken, by key, so many at a time."""
        after = ""
        statement = "SELECT key, record FROM records WHERE taken = 0 AND key > ? ORDER BY key LIMIT ?"
        while rows := self._connection.execute(statement, (after, count)).fetchall():
            after = rows[-1][0]
            yield [(key, orjson.loads(record)) for key, record in rows]
