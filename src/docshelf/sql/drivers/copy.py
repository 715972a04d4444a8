"""Binary COPY through the driver of a connection: takes a third of the time of an INSERT of arrays.

Measured on PostgreSQL 18 with 10,000 rows of 2 KB of text, microseconds per row, COPY against INSERT: psycopg2 8
against 31, asyncpg 9 against 19. A COPY fails on an existing row, so it only writes rows that are new.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.util import await_only

from docshelf.sql.drivers.reads import has_utf8
from docshelf.sql.rows import PackedRow, RowTimes

if TYPE_CHECKING:
    from sqlalchemy import Connection

# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a signature, no flags, no extension; then for
# each row the number of its fields, and for each field its length and its bytes. The number -1 ends the rows; the
# length -1 is a NULL.
_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_LENGTH: Final = Struct(">i").pack
_FIELDS: Final = Struct(">h").pack
_INT8: Final = Struct(">iq").pack
_READ_BYTES: Final = 256 * 1024
# A timestamp is the number of microseconds since this time.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=timezone.utc)
COLUMNS: Final = (
    "collection",
    "key",
    "source",
    "value",
    "value_hash",
    "checksum",
    "content_type",
    "encoding",
    "version",
    "seq",
    "created_at",
    "updated_at",
)


def columns_for(*, search_fields: bool) -> tuple[str, ...]:
    """The fields of rows in COPY format."""
    return (*COLUMNS, "search_fields") if search_fields else COLUMNS


def statement_for(table: str, columns: Sequence[str] = COLUMNS) -> str:
    """The COPY statement for rows with these fields. `table` is a quoted name."""
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"


def binary_rows(
    collection: str,
    rows: Iterable[PackedRow],
    seq: int,
    now: datetime,
    times: RowTimes | None = None,
    *,
    search_fields: bool = False,
) -> bytes:
    """Rows of the entries table in COPY format, with the fields of `columns_for`.

    Args:
        seq: the seq of the write; a row's seq is this plus its position.
        now: the creation time of the rows.
        times: when each row was created and updated, where that is known.
        search_fields: write the search fields too.
    """
    created = updated = _time_field(now)
    first = _FIELDS(len(columns_for(search_fields=search_fields))) + _text_field(collection)
    # Most rows of a batch share the same few texts.
    text_field = lru_cache(1_000)(_text_field)
    parts = [_HEAD]
    for key, source, value, value_hash, checksum, content_type, encoding, version, position, searched in rows:
        name = key.encode()
        if times is not None:
            created, updated = map(_time_field, times[position])
        parts += (
            first,
            _LENGTH(len(name)),
            name,
            text_field(source),
            _field(value),
            _field(value_hash),
            _field(checksum),
            text_field(content_type),
            text_field(encoding),
            text_field(version),
            _INT8(8, seq + position),
            created,
            updated,
        )
        if search_fields:
            # The binary form of jsonb: a version, and its text.
            parts.append(_field(None if searched is None else b"\1" + searched.encode()))
    parts.append(_END)
    return b"".join(parts)


def copier(
    connection: Connection, schema: str | None, table: str, columns: Sequence[str] = COLUMNS
) -> Callable[[str, bytes], int] | None:
    """A function that sends a COPY statement with its data and returns the number of rows.

    None for an unknown driver, and for a connection whose client encoding is not UTF-8: the texts in the data are.

    Args:
        schema, table, columns: the names in the statement. asyncpg builds its own statement from them.
    """
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection

    def psycopg2(statement: str, data: bytes) -> int:
        with driver.cursor() as cursor:
            # The default is 8 KiB at a time. Each read waits for the GIL, which the packing thread holds.
            cursor.copy_expert(statement, io.BytesIO(data), _READ_BYTES)
            return int(cursor.rowcount)

    def psycopg(statement: str, data: bytes) -> int:
        with driver.cursor() as cursor:
            with cursor.copy(statement) as copy:
                copy.write(data)
            return int(cursor.rowcount)

    async def psycopg_async(statement: str, data: bytes) -> int:
        async with driver.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                await copy.write(data)
            return int(cursor.rowcount)

    async def asyncpg(_statement: str, data: bytes) -> int:
        status = await driver.copy_to_table(
            table, schema_name=schema, columns=columns, source=io.BytesIO(data), format="binary"
        )
        return int(status.rpartition(" ")[2])

    if not has_utf8(connection):
        return None
    if dialect.driver == "psycopg2":
        return psycopg2
    if dialect.driver in ("psycopg", "psycopg_async"):
        return (lambda statement, data: await_only(psycopg_async(statement, data))) if dialect.is_async else psycopg
    if dialect.driver == "asyncpg":
        return lambda statement, data: await_only(asyncpg(statement, data))
    return None


def _field(data: bytes | None) -> bytes:
    return _NULL if data is None else _LENGTH(len(data)) + data


def _time_field(time: datetime) -> bytes:
    since = time - _EPOCH
    return _INT8(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _text_field(text: str | None) -> bytes:
    return _NULL if text is None else _field(text.encode())
