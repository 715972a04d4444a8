"""The raw drivers with the best statement each has, on a table of docshelf's layout. `by hand` does docshelf's packing.

Measured on PostgreSQL 18 with 10,000 documents of 2 KB, microseconds a document: psycopg2 unnest 31, execute_values 35,
COPY into a temporary table and INSERT from it 33; psycopg 3 unnest with binary arrays 16, COPY 20, executemany 25;
asyncpg unnest 14, executemany 18, COPY 19.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar

import asyncpg
import orjson
import psycopg
import psycopg2
import zstandard
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import text

from benchmarks.corpus import Documents
from benchmarks.peers.base import AsyncPeer, Operation, Peer
from benchmarks.peers.place import Place

COLLECTION = SOURCE = "bench"
CHUNK_ROWS = 2_000
# As many connections as SQLAlchemy's pool, and so docshelf's, opens by default: 5, and 10 more when they are asked for.
POOL = 15

_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


Row = tuple[str, bytes, bytes, str, int]
"""What a raw peer writes: key, value, value_hash, encoding, seq. Plain tuples cost the garbage collector nothing."""

Fetched = Any
"""A row as its driver gives it; of a read: key, value, value_hash, encoding."""


def encode(documents: Documents) -> list[Row]:
    """JSON and hash of documents, sorted by key, not yet packed."""
    rows: list[Row] = []
    for position, (key, document) in enumerate(documents.items()):
        data = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        rows.append((key, data, hashlib.sha256(b"json\n" + data).digest(), "plain", position))
    rows.sort()
    return rows


def pack(row: Row) -> Row:
    """The row with its value compressed, unless it is too small to gain or packed before."""
    key, value, value_hash, encoding, position = row
    if encoding != "plain" or len(value) < 512:
        return row
    return key, _compressor.compress(value), value_hash, "zstd", position


def unpack(row: Fetched) -> Any:
    """The document of a row that was read, checked against its hash."""
    _, value, value_hash, encoding = row
    data = _decompressor.decompress(value) if encoding == "zstd" else bytes(value)
    if hashlib.sha256(b"json\n" + data).digest() != bytes(value_hash):
        raise ValueError("a damaged row")
    return orjson.loads(data)


class Statements:
    """SQL over docshelf's own layout, with a driver's placeholders."""

    def __init__(self, place: Place, placeholder: str) -> None:
        entries = place.tables.entries.fullname
        p = [placeholder.format(number) for number in range(1, 8)]
        columns = "collection, source, key, value, value_hash, encoding, seq, content_type, created_at, updated_at"
        update = f"""ON CONFLICT (collection, key, source) DO UPDATE
            SET value = excluded.value, value_hash = excluded.value_hash, encoding = excluded.encoding,
                updated_at = excluded.updated_at
            WHERE {entries.partition(".")[2] or entries}.value_hash IS DISTINCT FROM excluded.value_hash"""
        self.upsert_arrays = f"""INSERT INTO {entries} ({columns})
            SELECT {p[0]}::text, {p[1]}::text, t.key, t.value, t.value_hash, t.encoding, t.seq, 'json', now(), now()
            FROM unnest({p[2]}::text[], {p[3]}::bytea[], {p[4]}::bytea[], {p[5]}::text[], {p[6]}::bigint[])
                AS t(key, value, value_hash, encoding, seq)
            {update}"""
        self.upsert_one = f"INSERT INTO {entries} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, 'json', ?, ?) {update}"
        self.hashes = f"SELECT key, value_hash FROM {entries} WHERE collection = {p[0]} AND source = {p[1]}"
        read = f"SELECT key, value, value_hash, encoding FROM {entries} WHERE collection = {p[0]}"
        self.read_array = f"{read} AND key = ANY({p[1]})"
        self.read_list = f"{read} AND key IN"
        self.read_one = f"{read} AND key = {p[1]}"
        of_source = f"FROM {entries} WHERE collection = {p[0]} AND source = {p[1]}"
        self.count = f"SELECT count(*) {of_source}"
        self.delete_source = f"DELETE {of_source} RETURNING key"
        self.delete_array = f"DELETE {of_source} AND key = ANY({p[2]}) RETURNING key"
        self.delete_list = f"DELETE {of_source} AND key IN"


class RawShared(Peer):
    """What sync and async raw peers share.

    Args:
        place: where its table is.
        by_hand: pack and unpack with the timed work; else the batch is packed before, and values are left packed.
    """

    placeholder: ClassVar[str]

    def __init__(self, place: Place, *, by_hand: bool) -> None:
        self._place = place
        self._by_hand = by_hand
        self._sql = Statements(place, self.placeholder)
        self.name = "by hand" if by_hand else "raw"
        self.remark = (
            "the driver, with orjson, SHA-256 and zstd around it as docshelf has them, hashes checked when read"
            if by_hand
            else "the driver alone: rows were packed and hashed before the clock ran, and are read as packed bytes"
        )

    def reset(self) -> None:
        self._place.truncate()

    def analyze(self) -> None:
        self._place.analyze()

    def prepare(self, documents: Documents) -> Any:
        return documents if self._by_hand else [pack(row) for row in encode(documents)]

    def documents(self, values: Any) -> list[Any]:
        return list(values) if self._by_hand else [unpack(row) for row in values]

    def _rows(self, batch: Any) -> Sequence[Row]:
        return encode(batch) if self._by_hand else batch

    def _changed(self, batch: Any, standing: Mapping[str, bytes]) -> list[Row]:
        return [pack(row) for row in self._rows(batch) if standing.get(row[0]) != row[2]]

    def _gone(self, batch: Any, standing: Mapping[str, bytes]) -> list[str]:
        there = {row[0] for row in batch} if not self._by_hand else batch.keys()
        return [key for key in standing if key not in there]

    def _values(self, rows: Sequence[Fetched], keys: Sequence[str]) -> list[Any]:
        found = {row[0]: unpack(row) if self._by_hand else row for row in rows}
        return [found.get(key) for key in keys]

    def _make_tables(self) -> None:
        with self._place.connection() as connection:
            self._place.tables.metadata.create_all(connection)


class RawPeer(RawShared):
    """A driver with plain methods."""

    def load(self, batch: Any) -> None:
        self._upsert([pack(row) for row in self._rows(batch)])

    def sync(self, batch: Any) -> None:
        changed = self._changed(batch, self._hashes())
        if changed:
            self._upsert(changed)

    def prune(self, batch: Any) -> None:
        standing = self._hashes()
        gone, changed = self._gone(batch, standing), self._changed(batch, standing)
        if gone:
            self._delete(gone)
        if changed:
            self._upsert(changed)

    def count(self, source: str) -> int:
        return int(self._execute(self._sql.count, COLLECTION, source)[0][0])

    def drop(self, source: str) -> None:
        self._execute(self._sql.delete_source, COLLECTION, source)

    def mget(self, keys: list[str]) -> list[Any]:
        return self._values(self._read(keys), keys)

    def get(self, key: str) -> Any:
        return self._values(self._read_one(key), [key])[0]

    @abstractmethod
    def _upsert(self, rows: Sequence[Row]) -> None:
        """Write rows in one transaction."""

    @abstractmethod
    def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        """One statement by itself, and the rows that it gives."""

    def _hashes(self) -> dict[str, bytes]:
        """What stands."""
        return dict(self._execute(self._sql.hashes, COLLECTION, SOURCE))

    def _read(self, keys: list[str]) -> Sequence[Fetched]:
        """The rows of keys."""
        return self._execute(self._sql.read_array, COLLECTION, keys)

    def _read_one(self, key: str) -> Sequence[Fetched]:
        """The row of one key."""
        return self._execute(self._sql.read_one, COLLECTION, key)

    def _delete(self, keys: list[str]) -> None:
        """Delete rows."""
        self._execute(self._sql.delete_array, COLLECTION, SOURCE, keys)


class RawAsyncPeer(AsyncPeer, RawShared):
    """A driver with coroutines."""

    async def load(self, batch: Any) -> None:
        await self._upsert([pack(row) for row in self._rows(batch)])

    async def sync(self, batch: Any) -> None:
        changed = self._changed(batch, await self._hashes())
        if changed:
            await self._upsert(changed)

    async def prune(self, batch: Any) -> None:
        standing = await self._hashes()
        gone, changed = self._gone(batch, standing), self._changed(batch, standing)
        if gone:
            await self._delete(gone)
        if changed:
            await self._upsert(changed)

    async def count(self, source: str) -> int:
        return int((await self._execute(self._sql.count, COLLECTION, source))[0][0])

    async def drop(self, source: str) -> None:
        await self._execute(self._sql.delete_source, COLLECTION, source)

    async def mget(self, keys: list[str]) -> list[Any]:
        return self._values(await self._read(keys), keys)

    async def get(self, key: str) -> Any:
        return self._values(await self._read_one(key), [key])[0]

    @abstractmethod
    async def _upsert(self, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    async def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]: ...

    async def _hashes(self) -> dict[str, bytes]:
        return dict(await self._execute(self._sql.hashes, COLLECTION, SOURCE))

    async def _read(self, keys: list[str]) -> Sequence[Fetched]:
        return await self._execute(self._sql.read_array, COLLECTION, keys)

    async def _read_one(self, key: str) -> Sequence[Fetched]:
        return await self._execute(self._sql.read_one, COLLECTION, key)

    async def _delete(self, keys: list[str]) -> None:
        await self._execute(self._sql.delete_array, COLLECTION, SOURCE, keys)


class RawSQLite(RawPeer):
    """sqlite3: executemany in one transaction, write-ahead log, full synchronization, as docshelf has it."""

    placeholder = "?"

    def open(self) -> None:
        self._make_tables()
        # Threads of the async peer take turns with it.
        self._connection = sqlite3.connect(self._place.file, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL").fetchone()

    def close(self) -> None:
        self._connection.close()

    def reset(self) -> None:
        self.close()
        self._place.remove_file()
        self.open()

    def _upsert(self, rows: Sequence[Row]) -> None:
        now = datetime.now(timezone.utc).replace(tzinfo=None).isoformat(" ")
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._sql.upsert_one, [(COLLECTION, SOURCE, *row, now, now) for row in rows])
        self._connection.execute("COMMIT")

    def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        return self._connection.execute(statement, parameters).fetchall()

    def _read(self, keys: list[str]) -> Sequence[Fetched]:
        return self._execute(f"{self._sql.read_list} ({_marks(keys)})", COLLECTION, *keys)

    def _delete(self, keys: list[str]) -> None:
        self._execute(f"{self._sql.delete_list} ({_marks(keys)}) RETURNING key", COLLECTION, SOURCE, *keys)


class RawSQLiteInThread(RawAsyncPeer):
    """sqlite3 has no async half: each call goes to a thread of the event loop."""

    placeholder = RawSQLite.placeholder

    def __init__(self, place: Place, *, by_hand: bool) -> None:
        super().__init__(place, by_hand=by_hand)
        self._inner = RawSQLite(place, by_hand=by_hand)

    async def aopen(self) -> None:
        self._inner.open()

    async def aclose(self) -> None:
        self._inner.close()

    def reset(self) -> None:
        self._inner.reset()

    async def _upsert(self, rows: Sequence[Row]) -> None:
        await asyncio.to_thread(self._inner._upsert, rows)

    async def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        return await asyncio.to_thread(self._inner._execute, statement, *parameters)

    async def _read(self, keys: list[str]) -> Sequence[Fetched]:
        return await asyncio.to_thread(self._inner._read, keys)

    async def _delete(self, keys: list[str]) -> None:
        await asyncio.to_thread(self._inner._delete, keys)


class RawPsycopg2(RawPeer):
    """psycopg2: arrays through unnest."""

    placeholder = "%s"

    def open(self) -> None:
        self._make_tables()
        self._connection = psycopg2.connect(self._place.dsn)
        self._connection.autocommit = True

    def close(self) -> None:
        self._connection.close()

    def _upsert(self, rows: Sequence[Row]) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for arrays in _arrays(rows):
                cursor.execute(self._sql.upsert_arrays, (COLLECTION, SOURCE, *arrays))
            cursor.execute("COMMIT")

    def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def _hashes(self) -> dict[str, bytes]:
        rows = self._execute(self._sql.hashes, COLLECTION, SOURCE)
        return {key: bytes(value_hash) for key, value_hash in rows}


class RawPsycopg(RawPeer):
    """psycopg 3: arrays through unnest, in binary."""

    placeholder = "%s"

    def open(self) -> None:
        self._make_tables()
        self._connection = psycopg.connect(self._place.dsn, autocommit=True)
        self._connection.adapters.register_dumper(list, ListBinaryDumper)

    def close(self) -> None:
        self._connection.close()

    def _upsert(self, rows: Sequence[Row]) -> None:
        with self._connection.transaction():
            for arrays in _arrays(rows):
                self._connection.execute(self._sql.upsert_arrays, (COLLECTION, SOURCE, *arrays))

    def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        return self._connection.execute(statement, parameters, binary=True).fetchall()


class RawAsyncPsycopg(RawAsyncPeer):
    """psycopg 3, async."""

    placeholder = RawPsycopg.placeholder

    async def aopen(self) -> None:
        self._make_tables()
        self._connection = await psycopg.AsyncConnection.connect(self._place.dsn, autocommit=True)
        self._connection.adapters.register_dumper(list, ListBinaryDumper)

    async def aclose(self) -> None:
        await self._connection.close()

    async def _upsert(self, rows: Sequence[Row]) -> None:
        async with self._connection.transaction():
            for arrays in _arrays(rows):
                await self._connection.execute(self._sql.upsert_arrays, (COLLECTION, SOURCE, *arrays))

    async def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        cursor = await self._connection.execute(statement, parameters, binary=True)
        return await cursor.fetchall()


class RawAsyncpg(RawAsyncPeer):
    """asyncpg: arrays through unnest, statements prepared by the driver. Many tasks take turns at a pool."""

    placeholder = "${}"

    async def aopen(self) -> None:
        self._make_tables()
        self._connection = await asyncpg.connect(self._place.dsn)
        self._pool = await asyncpg.create_pool(self._place.dsn, min_size=POOL, max_size=POOL)

    async def aclose(self) -> None:
        await self._connection.close()
        await self._pool.close()

    async def gets(self, keys: list[str]) -> list[Any]:
        return await asyncio.gather(*map(self._get_from_pool, keys))

    async def _get_from_pool(self, key: str) -> Any:
        async with self._pool.acquire() as connection:
            rows: Sequence[Any] = await connection.fetch(self._sql.read_one, COLLECTION, key)
        return self._values(rows, [key])[0]

    async def _upsert(self, rows: Sequence[Row]) -> None:
        async with self._connection.transaction():
            for arrays in _arrays(rows):
                await self._connection.execute(self._sql.upsert_arrays, COLLECTION, SOURCE, *arrays)

    async def _execute(self, statement: str, *parameters: Any) -> Sequence[Fetched]:
        rows: Sequence[Fetched] = await self._connection.fetch(statement, *parameters)
        return rows


class PooledAsyncpg(RawAsyncpg):
    """What people write for single reads: the pool's own method, and the decoding around it."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, by_hand=True)
        self.name = "Pool.fetch"
        self.remark = f"asyncpg's pool of {POOL} connections and its own method, decoded and checked by hand"

    def can(self, operation: Operation) -> bool:
        return operation in ("load", "get", "gets")

    async def get(self, key: str) -> Any:
        return await self._get_from_pool(key)

    async def _get_from_pool(self, key: str) -> Any:
        return self._values(await self._pool.fetch(self._sql.read_one, COLLECTION, key), [key])[0]


class CopyAsyncpg(AsyncPeer):
    """The server's limit for a first load."""

    name = "COPY"
    remark = "asyncpg's COPY of canonical JSON into a table of a text and a bytea column, without hashes and indexes"

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def _table(self) -> str:
        return f"{self._place.prefix}_copy"

    async def aopen(self) -> None:
        self._connection = await asyncpg.connect(self._place.dsn)
        await self._connection.execute(f"CREATE TABLE {self._place.schema}.{self._table} (key text, value bytea)")

    async def aclose(self) -> None:
        await self._connection.close()

    def reset(self) -> None:
        with self._place.connection() as connection:
            connection.execute(text(f"TRUNCATE {self._place.schema}.{self._table}"))

    def prepare(self, documents: Documents) -> list[tuple[str, bytes]]:
        return [(key, data) for key, data, *_ in encode(documents)]

    async def load(self, batch: list[tuple[str, bytes]]) -> None:
        await self._connection.copy_records_to_table(self._table, schema_name=self._place.schema, records=batch)


def _arrays(rows: Sequence[Row]) -> Iterator[list[list[Any]]]:
    """Columns of a statement's worth of rows."""
    for start in range(0, len(rows), CHUNK_ROWS):
        yield [list(column) for column in zip(*rows[start : start + CHUNK_ROWS], strict=True)]


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))
