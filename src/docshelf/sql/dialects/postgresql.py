"""PostgreSQL: upserts of rows and arrays, advisory locks, the server's clock. Partitions and Citus take it all too."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count as count_from
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import orjson
from sqlalchemy import (
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    text,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, Insert, insert
from sqlalchemy.exc import DBAPIError

from docshelf.sql.dialects.base import unfilled_index
from docshelf.sql.dialects.postgresql_tables import PostgreSQLTables, check_encoding, lock_number
from docshelf.sql.drivers.copy import binary_rows, columns_for, copier, statement_for
from docshelf.sql.drivers.reads import NOT_SUPPORTED, driver_call, sql_state
from docshelf.sql.rows import SEQ_PER_WRITE, Identity, KeyForm, PackedNote, PackedRow, RowTimes, UpsertBatch, WriteStamp
from docshelf.types import INS, UPD, Op

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, CursorResult, Select, Table, TextClause

    from docshelf.schema import Tables
    from docshelf.values.search import Asked

_Row = TypeVar("_Row")
# Sources share this many locks, so that a batch with many sources takes a bounded number of locks.
_LOCK_SLOTS = 64
# How many KB of new rows an index of searchable fields keeps aside, which every search reads from end to end. With the
# server's default of 4 MB, after 200,000 new rows a search took 17 ms instead of 3.
_PENDING_KB = 256
# From this many new rows on, a COPY within a savepoint is faster than an INSERT.
_COPY_FROM_ROWS = 50
# An upsert has so few rows in its text, as VALUES ($1, ...), ($9, ...). More are arrays, through unnest. Measured on
# PostgreSQL 18 with values of 2 KB, VALUES took of the time of arrays with psycopg2, psycopg 3 and asyncpg: for 1 row
# 0.67, 0.48, 0.61; for 7 rows 0.78, 0.75, 0.65; for 30 rows 1.0, 1.8, 1.0; for 1,000 rows 1.1, 1.9, 0.95.
_ROWS_IN_TEXT = 16
# Citus takes arrays through the coordinator, and locks all shards until the end of the transaction. There all rows are
# in the text, at most so many at a time. It has few lengths, because the server keeps a plan for each: powers of two.
_CITUS_ROWS_IN_TEXT = 512
# Beginnings of SQL states that concern the transaction and not the rows, so that an INSERT would fail as well:
# serialization and deadlock, a lock that is not available, a time limit. The others are those of Citus for a worker
# that is lost or has no connection left.
_TRANSACTION_STATES = ("40", "55", "57", "08", "53", "58")
# The state by which Citus tells all that a worker says of a COPY, of rows and of connections.
_INTERNAL_ERROR = "XX000"
_NO_TRANSACTION = "25P01"
# How many keys to look for one by one, by a LATERAL subquery. Citus has none. On 8 partitions it took 100 keys from 1.8
# ms to 0.9, on 64 from 15 to 4; for a few keys planning it for all partitions takes longer. In one table the array is
# as fast, and faster from 1,000 keys on. But for some keys the planner may read the whole collection: where asyncpg's
# prepared statement met many small collections and one of 300,000 entries, 10 keys took 92 ms, and 0.2 one by one.
_EACH_KEY = {"plain": range(2, 1_000), "partitioned": range(20, sys.maxsize), "citus": range(0)}
_COLUMNS = {
    "key": "text",
    "source": "text",
    "value": "bytea",
    "value_hash": "bytea",
    "checksum": "bytea",
    "content_type": "text",
    "encoding": "text",
    "version": "text",
    "position": "bigint",
}
_TIMES = {"created_at": "timestamptz", "updated_at": "timestamptz"}
# Where a collection has searchable fields. The server makes jsonb of the text.
_SEARCH = {"search_fields": "text"}


class PostgreSQL(PostgreSQLTables):
    name: ClassVar[str] = "postgresql"
    chunk_rows: ClassVar[int] = 2_000
    upsert_compares: ClassVar[bool] = True

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self._upserts: dict[tuple[Any, ...], Any] = {}
        self._copy_is_refused = False
        # By whether all entries are of one source.
        self._delete_statements = {one: self._delete_statement(_where(one)) for one in (True, False)}
        self._version_statements = {one: self._version_statement(_where(one)) for one in (True, False)}

    def in_array(self, column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
        return column == any_(bindparam(parameter, type_=ARRAY(Text)))

    def array(self, texts: Collection[str]) -> list[str]:
        return list(texts)

    def key_form(self, count: int) -> KeyForm:
        if count == 1:
            return "one"
        return "each" if count in _EACH_KEY[self.layout] else "array"

    def of_keys(
        self, form: KeyForm, columns: Sequence[ColumnElement[Any]], *conditions: ColumnElement[bool]
    ) -> Select[Any]:
        if form == "array" or self.layout == "citus":
            return super().of_keys(form, columns, *conditions)
        # The planner does not look into the subquery: it expects a collection of the usual size. A new one is not in
        # its statistics, and it takes an index that reads all of a collection of one row: 10 ms for a single key.
        e = self.tables.entries.c
        of_collection = e.collection == select(cast(bindparam("collection"), Text)).scalar_subquery()
        if form == "one":
            return select(*columns).where(of_collection, e.key == bindparam("key"), *conditions)
        key = func.unnest(bindparam("keys", type_=ARRAY(Text))).table_valued("key").render_derived("keys")
        # With OFFSET the subquery stays one: so each key is a look at the primary key of one partition, and the planner
        # has no choice to get wrong by the number of keys or the sizes of collections.
        of_key = select(*columns).where(of_collection, e.key == key.c.key, *conditions)
        found = of_key.offset(literal_column("0")).lateral("entry")
        return select(*found.c).select_from(key.join(found, true()))

    def in_pairs(self, key: ColumnElement[Any], source: ColumnElement[Any]) -> ColumnElement[bool]:
        # Two conditions `= ANY(array)` would be fast in PostgreSQL 17 and newer. Older servers try each key with each
        # source: 6 seconds for 10,000 keys in 950 sources, where this takes 20 ms.
        arrays = (bindparam(name, type_=ARRAY(Text)) for name in ("pair_keys", "pair_sources"))
        pair = func.unnest(*arrays).table_valued("key", "source").render_derived()
        return self.in_array(key, "pair_keys") & tuple_(key, source).in_(select(pair.c.key, pair.c.source))

    def pairs(self, identities: Sequence[Identity]) -> Mapping[str, Any]:
        return {"pair_keys": [key for key, _ in identities], "pair_sources": [source for _, source in identities]}

    def readable_time(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        # Python has the years 1 to 9999. A driver may move a time by the offset of the session's time zone.
        first: ColumnElement[Any] = literal_column("timestamptz '0002-01-01 00:00:00+00'")
        last: ColumnElement[Any] = literal_column("timestamptz '9999-01-01 00:00:00+00'")
        return case((column.between(first, last), column))

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def now(self, connection: Connection) -> datetime:
        time: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return time

    def begin_write(
        self, connection: Connection, collection: str, sources: Collection[str] | None, *, exclusive: bool
    ) -> WriteStamp:
        if self.layout == "citus":
            check_encoding(connection)
        # The expressions of a SELECT list are evaluated in order: the clock is read after the locks are taken.
        lock = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
        table = f"CAST(CAST('{self._entries}'::regclass AS oid) AS int)"
        now = f"clock_timestamp() AS time, nextval(pg_get_serial_sequence('{self._entries}', 'seq')) AS number"
        now += self._unlocked_shards
        parameters: dict[str, Any] = {"whole": lock_number(collection)}
        if sources is None:
            statement = text(f"SELECT {lock}({table}, CAST(:whole AS int)), {now}")
        else:
            slots = {hashlib.sha256(source.encode()).digest()[0] % _LOCK_SLOTS for source in sources}
            numbers = sorted(lock_number(f"{slot}\0{collection}") for slot in slots)
            # As texts: asyncpg asks the catalogs about other arrays, for each connection, and Citus takes seconds.
            parameters["slots"] = [str(number) for number in numbers]
            statement = text(
                f"SELECT pg_advisory_xact_lock_shared({table}, CAST(:whole AS int)), (SELECT "
                f"count({lock}({table}, CAST(slot AS int))) FROM unnest(CAST(:slots AS text[])) AS slot), {now}"
            )
        row = connection.execute(statement, parameters).one()
        return WriteStamp(row.time, row.number * SEQ_PER_WRITE)

    @property
    def _unlocked_shards(self) -> str:
        """What else the first statement of a write selects.

        On Citus, an UPDATE or DELETE of several shards locks them for all collections until the transaction ends. That
        prevents deadlocks; docshelf's own locks do so too, and are for one collection or source.
        """
        return ", set_config('citus.enable_deadlock_prevention', 'off', true)" if self.layout == "citus" else ""

    def upsert_batch(
        self,
        collection: str,
        rows: Sequence[PackedRow],
        stamp: WriteStamp,
        existing: Sequence[int],
        times: RowTimes | None = None,
    ) -> UpsertBatch:
        batch = super().upsert_batch(collection, rows, stamp, existing, times)
        if len(batch.new) < _COPY_FROM_ROWS or self._copy_is_refused:
            return batch
        data = binary_rows(collection, batch.new, stamp.seq, stamp.now, times, search_fields=batch.has_search_fields)
        return replace(batch, data=data)

    def upsert(self, connection: Connection, batch: UpsertBatch) -> Mapping[int, Op]:
        stamp, rows = batch.stamp, [*batch.new, *batch.existing]
        ops: dict[int, Op] = {}
        if batch.data is not None and self._copy(connection, batch):
            ops, rows = dict.fromkeys([row.position for row in batch.new], INS), [*batch.existing]
            if not rows:
                return ops
        positions = {(row.key, row.source): row.position for row in rows}
        for result in self._upsert_rows(connection, batch, rows):
            for key, source, seq in result:
                # An updated row keeps the seq of its insertion, and seq numbers are unique to a write. Times are not:
                # writers that waited for the same lock may read the same time.
                position = positions[key, source]
                ops[position] = INS if seq == stamp.seq + position else UPD
        return ops

    def _upsert_rows(
        self, connection: Connection, batch: UpsertBatch, rows: Sequence[PackedRow]
    ) -> Iterator[Iterable[Any]]:
        """Write rows in the order of their keys, by as many statements as they need."""
        if self._takes_arrays(rows):
            yield self._upsert_arrays(connection, batch, rows)
            return
        for some in _in_few_lengths(sorted(rows, key=itemgetter(0, 1))):
            yield self._upsert_values(connection, batch, some)

    def _takes_arrays(self, rows: Sequence[Any]) -> bool:
        """True when rows are written faster as arrays of one statement than in the text of some."""
        return len(rows) > _ROWS_IN_TEXT and not self.has_citus

    def _upsert_values(
        self, connection: Connection, batch: UpsertBatch, rows: Sequence[PackedRow]
    ) -> CursorResult[Any]:
        """Write rows that are in the text of the statement."""
        name = (connection.dialect.paramstyle, batch.has_search_fields, len(rows))
        statement = self._upserts.get(name)
        if statement is None:
            columns = {**_COLUMNS, **(_SEARCH if batch.has_search_fields else {}), **_TIMES}
            values = _values(connection, len(rows), 1 + len(columns))
            statement = self._upserts[name] = self._upsert_text(columns, values)
        collection, stamp, times = batch.collection, batch.stamp, batch.times
        of_write = (stamp.now, stamp.now)
        parameters: list[Any] = []
        for row in rows:
            parameters.append(collection)
            parameters += row[:8]
            parameters.append(stamp.seq + row.position)
            if batch.has_search_fields:
                parameters.append(row.search_fields)
            parameters += of_write if times is None else times[row.position]
        return connection.exec_driver_sql(statement, tuple(parameters))

    def _upsert_arrays(
        self, connection: Connection, batch: UpsertBatch, rows: Sequence[PackedRow]
    ) -> CursorResult[Any]:
        """Write rows that are arrays of the statement, one for each column."""
        has_times, has_search = batch.times is not None, batch.has_search_fields
        names = {**_COLUMNS, **(_SEARCH if has_search else {})}
        columns = zip(*rows, strict=True)
        # Without search fields the last column of the rows is left out, so that other collections do not pay for it.
        parameters: dict[str, Any] = {name: list(column) for name, column in zip(names, columns, strict=False)}
        parameters["position"] = [batch.stamp.seq + position for position in parameters["position"]]
        parameters["collection"] = batch.collection
        if batch.times is None:
            parameters["now"] = batch.stamp.now
        else:
            times = zip(*(batch.times[row.position] for row in rows), strict=True)
            parameters |= {name: list(column) for name, column in zip(_TIMES, times, strict=True)}
        statement = self._upserts.get((has_times, has_search))
        if statement is None:
            statement = self._upserts[has_times, has_search] = self._array_upsert(names, _TIMES if has_times else {})
        return connection.execute(statement, parameters)

    def put_notes(self, connection: Connection, collection: str, notes: Sequence[PackedNote], now: datetime) -> None:
        if self._takes_arrays(notes):
            columns = zip(*notes, strict=True)
            parameters = {name: list(column) for name, column in zip(PackedNote._fields, columns, strict=True)}
            arrays = ", ".join(f"CAST(:{name} AS text[])" for name in PackedNote._fields)
            given = ", ".join(f"t.{name}" for name in PackedNote._fields)
            rows = (
                f"SELECT CAST(:collection AS text), {given}, CAST(:now AS timestamptz) "
                f'FROM unnest({arrays}) AS t({", ".join(PackedNote._fields)}) ORDER BY t.source COLLATE "C"'
            )
            statement = text(self._notes_text(rows))
            connection.execute(statement, {**parameters, "collection": collection, "now": now})
            return
        for some in _in_few_lengths(notes):
            values = [value for note in some for value in (collection, *note, now)]
            rows = _values(connection, len(some), 2 + len(PackedNote._fields))
            connection.exec_driver_sql(self._notes_text(rows), tuple(values))

    def _notes_text(self, rows: str) -> str:
        """The upsert of notes. `rows` is what gives them, in the order of their sources."""
        columns = [*PackedNote._fields, "synced_at"]
        updated = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "source")
        return (
            f"INSERT INTO {self._quoted(self.tables.sources)} (collection, {', '.join(columns)}) {rows} "
            f"ON CONFLICT (collection, source) DO UPDATE SET {updated}"
        )

    def _copy(self, connection: Connection, batch: UpsertBatch) -> bool:
        """Insert the new rows of a batch by COPY. False if that is not possible; nothing was written then."""
        entries = self.tables.entries
        columns = columns_for(search_fields=batch.has_search_fields)
        copy = copier(connection, entries.schema, entries.name, columns)
        if copy is None or batch.data is None:
            return False
        try:
            savepoint = connection.begin_nested()
        except DBAPIError as exc:
            if exc.orig is None or sql_state(exc.orig) != _NO_TRANSACTION:
                raise
            return False  # the caller's connection autocommits
        try:
            with driver_call(connection):
                done = copy(statement_for(self._entries, columns), batch.data) == len(batch.new)
        except Exception as exc:
            if _ends_transaction(exc):
                raise
            # PostgreSQL refuses COPY on tables with row-level security: do not try again.
            self._copy_is_refused = self._copy_is_refused or sql_state(exc) == NOT_SUPPORTED
            # Another writer has inserted one of the rows; or the rows are bad, and the INSERT gives a clearer error.
            done = False
        if done:
            savepoint.commit()
        else:
            savepoint.rollback()
        return done

    def delete(self, connection: Connection, collection: str, identities: Sequence[Identity]) -> list[Identity]:
        one_source, parameters = self._parameters(collection, identities)
        result = connection.execute(self._delete_statements[one_source], parameters)
        return [(key, source) for key, source in result]

    def delete_where(
        self,
        connection: Connection,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        sources: Collection[str] | None = None,
    ) -> list[Identity]:
        parameters: dict[str, Any] = {"collection": collection}
        condition = "collection = :collection"
        for column, names in (("key", keys), ("source", sources)):
            if names is not None and len(names) == 1:
                condition += f" AND {column} = :{column}"
                [parameters[column]] = names
            elif names is not None:
                condition += f" AND {column} = ANY(CAST(:{column}s AS text[]))"
                parameters[f"{column}s"] = list(names)
        return [(key, source) for key, source in connection.execute(self._delete_statement(condition), parameters)]

    def set_versions(
        self, connection: Connection, collection: str, identities: Sequence[Identity], versions: Mapping[str, str]
    ) -> list[Identity]:
        one_source, parameters = self._parameters(collection, identities)
        parameters["versions"] = {key: versions[key] for key, _ in identities}
        result = connection.execute(self._version_statements[one_source], parameters)
        return [(key, source) for key, source in result]

    def _parameters(self, collection: str, identities: Sequence[Identity]) -> tuple[bool, dict[str, Any]]:
        """Whether all entries are of one source, and the parameters of `_where` for them."""
        parameters: dict[str, Any] = {"collection": collection, "keys": [key for key, _ in identities]}
        sources = {source for _, source in identities}
        if len(sources) == 1:
            return True, {**parameters, "source": sources.pop()}
        return False, {**parameters, **self.pairs(identities)}

    def has_form(self, asked: Asked, parameter: str) -> tuple[ColumnElement[bool], Any]:
        form = orjson.dumps({asked.name: [asked.form] if asked.member else asked.form}).decode()
        column = type_coerce(self.tables.entries.c.search_fields, JSONB)
        return column.op("@>", is_comparison=True)(cast(bindparam(parameter, type_=Text), JSONB)), form

    def search_indexes(self, collection: str, fields: Sequence[str]) -> Mapping[str, str]:
        entries = self.tables.entries.name
        return {
            f"{entries}_search_idx": f"ON {self._entries} USING gin (search_fields jsonb_path_ops) "
            f"WITH (gin_pending_list_limit = {_PENDING_KB}) WHERE search_fields IS NOT NULL",
            unfilled_index(entries, collection): f"ON {self._entries} (key, source) "
            f"WHERE collection = {_literal(collection)} AND search_fields IS NULL",
        }

    def fill_search_fields(self, connection: Connection, collection: str, forms: Mapping[Identity, str | None]) -> None:
        by_key: dict[str, dict[str, Any]] = {}
        for (key, source), form in forms.items():
            by_key.setdefault(key, {})[source] = None if form is None else orjson.Fragment(form)
        new = "CAST(CAST(:forms AS text) AS jsonb) -> key"
        form = f"NULLIF({new} -> source, CAST('null' AS jsonb))"
        statement = text(
            f"UPDATE {self._entries} SET search_fields = {form} "
            "WHERE collection = CAST(:collection AS text) AND key = ANY(CAST(:keys AS text[])) "
            f"AND jsonb_exists({new}, source) AND search_fields IS DISTINCT FROM {form}"
        )
        parameters = {"forms": orjson.dumps(by_key).decode(), "collection": collection, "keys": sorted(by_key)}
        connection.execute(statement, parameters)

    def _array_upsert(self, columns: Mapping[str, str], times: Mapping[str, str]) -> TextClause:
        """The upsert of arrays. The times come in arrays too, or all rows get the time of the write."""
        given = {**columns, **times}
        arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in given.items())
        selected = [f"CAST(t.{name} AS jsonb)" if name in _SEARCH else f"t.{name}" for name in columns]
        selected += [f"t.{name}" if times else f"CAST(:now AS {kind})" for name, kind in _TIMES.items()]
        rows = (
            f"SELECT CAST(:collection AS text), {', '.join(selected)} FROM unnest({arrays}) AS t({', '.join(given)}) "
            'ORDER BY t.key COLLATE "C", t.source COLLATE "C"'
        )
        # Untyped on purpose: every driver sends a list as an array. SQLAlchemy's ARRAY would copy the list first.
        return text(self._upsert_text({**columns, **_TIMES}, rows))

    def _upsert_text(self, columns: Iterable[str], rows: str) -> str:
        """The conditional upsert.

        Search fields that are not given become NULL: those of the old value are not those of the new one.

        Args:
            columns: what the rows have after the name of the collection. Their position becomes seq.
            rows: what gives the rows, in the order of their keys: SELECT or VALUES.
        """
        names = ["seq" if name == "position" else name for name in columns]
        updated = [name for name in _COLUMNS if name not in ("key", "source", "position")] + ["search_fields"]
        # A row without a version is no change by itself. But where a row is written, its version is written too.
        return f"""
            INSERT INTO {self._entries} AS entries (collection, {", ".join(names)})
            {rows}
            ON CONFLICT (collection, key, source) DO UPDATE
            SET {", ".join(f"{name} = excluded.{name}" for name in updated)},
                updated_at = CASE WHEN entries.value_hash IS DISTINCT FROM excluded.value_hash
                                  THEN excluded.updated_at ELSE entries.updated_at END
            WHERE entries.value_hash IS DISTINCT FROM excluded.value_hash
               OR (excluded.version IS NOT NULL AND entries.version IS DISTINCT FROM excluded.version)
            RETURNING key, source, seq
        """

    def _delete_statement(self, condition: str) -> TextClause:
        return text(f"DELETE FROM {self._entries} WHERE {condition} RETURNING key, source")

    def _version_statement(self, condition: str) -> TextClause:
        # An object of all versions, because Citus cannot join an array to the rows. Its parameter has the type jsonb:
        # of a text, a generic plan would parse the whole object for each row (2,000 rows took 2.4 s instead of 0.1).
        statement = text(
            f"UPDATE {self._entries} SET version = CAST(:versions AS jsonb) ->> key WHERE {condition} "
            "RETURNING key, source"
        )
        return statement.bindparams(bindparam("versions", type_=JSONB))


def _in_few_lengths(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Split rows so that the statements that have them in their text are of few lengths."""
    start = 0
    while start < len(rows):
        count = len(rows) - start
        if count > _ROWS_IN_TEXT:
            count = min(1 << (count.bit_length() - 1), _CITUS_ROWS_IN_TEXT)
        yield rows[start : start + count]
        start += count


def _ends_transaction(exc: Exception) -> bool:
    """True for an error of a COPY after which an INSERT would fail as well."""
    state = sql_state(exc) or ""
    if state == _INTERNAL_ERROR:
        return re.search(r"\bconnections?\b", str(exc).partition("\n")[0]) is not None
    return state.startswith(_TRANSACTION_STATES)


def _values(connection: Connection, rows: int, columns: int) -> str:
    """VALUES with the placeholders of the driver."""
    numbered = connection.dialect.paramstyle == "numeric_dollar"
    marks = (f"${number}" if numbered else "%s" for number in count_from(1))
    return "VALUES " + ", ".join(f"({', '.join(islice(marks, columns))})" for _ in range(rows))


def _where(one_source: bool) -> str:
    """The condition that an entry is one of some, which are all of one source or of several."""
    by_key = "collection = :collection AND key = ANY(CAST(:keys AS text[]))"
    if one_source:
        return f"{by_key} AND source = :source"
    return (
        f"{by_key} AND (key, source) IN (SELECT t.key, t.source FROM unnest(CAST(:pair_keys AS text[]), "
        "CAST(:pair_sources AS text[])) AS t(key, source))"
    )


def _literal(value: str) -> str:
    """A text as a constant in a statement, of letters, digits and escapes alone."""
    escaped = (c if c.isascii() and c.isalnum() else f"\\+{ord(c):06x}" for c in value)
    return f"U&'{''.join(escaped)}'"
