"""SQLite: one writer at a time, arrays as JSON, the clock of this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from sqlalchemy import Text, bindparam, case, delete, func, literal_column, select, text, tuple_, update
from sqlalchemy.dialects.sqlite import Insert, dialect, insert
from sqlalchemy.types import NullType

from docshelf.errors import ConfigurationError
from docshelf.schema import UTCDateTime
from docshelf.sql.dialects.base import Dialect, unfilled_index
from docshelf.sql.rows import SEQ_PER_WRITE, Identity, UpsertBatch, WriteStamp, checked_identity
from docshelf.types import INS, UPD, Op

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

    from docshelf.schema import Tables
    from docshelf.values.search import Asked


# The last number of an entry that leaves room for further writes.
_LAST_SEQ: Final = 2**63 - 1 - 2 * SEQ_PER_WRITE


_DIALECT: Final = dialect()
# A time as the columns of the tables hold it.
_to_text: Final[Any] = UTCDateTime().dialect_impl(_DIALECT).bind_processor(_DIALECT)


class SQLite(Dialect):
    name: ClassVar[str] = "sqlite"
    chunk_rows: ClassVar[int] = 2_000
    upsert_compares: ClassVar[bool] = False
    # SQLite's busy handler sleeps up to 0.1 seconds at a time.
    polling_seconds: ClassVar[float] = 0.11

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        entries = tables.entries
        if entries.schema is not None:
            raise ConfigurationError(f"schema={entries.schema!r}: SQLite has no schemas; leave it out")
        of_identity = (
            entries.c.collection == bindparam("of_collection"),
            entries.c.key == bindparam("of_key"),
            entries.c.source == bindparam("of_source"),
        )
        self._delete = delete(entries).where(*of_identity)
        self._set_version = update(entries).where(*of_identity).values(version=bindparam("of_version"))

    def in_array(self, column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
        each = func.json_each(bindparam(parameter, type_=Text)).table_valued("value")
        return column.in_(select(each.c.value))

    def array(self, texts: Collection[str]) -> str:
        return orjson.dumps(list(texts)).decode()

    def in_pairs(self, key: ColumnElement[Any], source: ColumnElement[Any]) -> ColumnElement[bool]:
        each = func.json_each(bindparam("pairs", type_=Text)).table_valued("value").c.value
        pair = (func.json_extract(each, f"$[{position}]") for position in (0, 1))
        return tuple_(key, source).in_(select(*pair))

    def pairs(self, identities: Sequence[Identity]) -> Mapping[str, Any]:
        return {"pairs": orjson.dumps(identities).decode()}

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def now(self, connection: Connection) -> datetime:
        return datetime.now(timezone.utc)

    def begin_write(
        self, connection: Connection, collection: str, sources: Collection[str] | None, *, exclusive: bool
    ) -> WriteStamp:
        _begin_immediate(connection)
        # Writes reserve their `seq` numbers in order, so the row that was inserted last has a number of the last write.
        # External rows may have any number: those too large to count on from are passed over.
        seq = self.tables.entries.c.seq
        plausible = (func.typeof(seq) == "integer") & seq.between(0, _LAST_SEQ)
        last = connection.scalar(select(seq).where(plausible).order_by(literal_column("rowid").desc()).limit(1))
        number = 1 if last is None else last // SEQ_PER_WRITE + 1
        return WriteStamp(datetime.now(timezone.utc), number * SEQ_PER_WRITE)

    def upsert(self, connection: Connection, batch: UpsertBatch) -> Mapping[int, Op]:
        stamp, collection, times = batch.stamp, batch.collection, batch.times
        now = _to_text(stamp.now)
        # Tuples in the order of the table's columns. SQLAlchemy would take longer for each row than SQLite does.
        rows = []
        for row in [*batch.new, *batch.existing]:
            key, source, value, value_hash, checksum, content_type, encoding, version, position, search_fields = row
            created_at, updated_at = (now, now) if times is None else map(_to_text, times[position])
            before = (collection, key, source, stamp.seq + position, created_at, updated_at, value_hash, checksum)
            rows.append((*before, content_type, encoding, version, value, search_fields))
        connection.exec_driver_sql(self._upsert, rows)
        # This transaction is the only writer: the entries are still those that were read under its lock.
        ops: dict[int, Op] = {row.position: INS for row in batch.new}
        return ops | {row.position: UPD for row in batch.existing}

    def copy_entries(self, connection: Connection, collection: str, new: str, stamp: WriteStamp) -> None:
        # The row that was inserted last must have the highest number: `begin_write` takes the next one from it.
        seq = self.tables.entries.c.seq
        first = select(func.min(seq)).where(self.tables.entries.c.collection == collection).scalar_subquery()
        self._copy_entries(connection, collection, new, seq - first + stamp.seq, seq)

    def delete(self, connection: Connection, collection: str, identities: Sequence[Identity]) -> list[Identity]:
        entries = self.tables.entries
        keys = self.array([key for key, _ in identities])
        statement = select(entries.c.key, entries.c.source).where(
            entries.c.collection == collection, self.in_array(entries.c.key, "keys")
        )
        existing = {(key, source) for key, source in connection.execute(statement, {"keys": keys})}
        deleted = [identity for identity in identities if identity in existing]
        if deleted:
            parameters = [{"of_collection": collection, "of_key": k, "of_source": s} for k, s in deleted]
            connection.execute(self._delete, parameters)
        return deleted

    def delete_where(
        self,
        connection: Connection,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        sources: Collection[str] | None = None,
    ) -> list[Identity]:
        entries = self.tables.entries
        conditions, parameters = [entries.c.collection == bindparam("of_collection")], {"of_collection": collection}
        for column, names in ((entries.c.key, keys), (entries.c.source, sources)):
            if names is not None:
                conditions.append(self.in_array(column, f"{column.name}s"))
                parameters[f"{column.name}s"] = self.array(names)
        # Not by RETURNING, which SQLite has since 3.35 only. Under the lock of the write both find the same rows.
        rows = connection.execute(select(entries.c.key, entries.c.source).where(*conditions), parameters)
        deleted = [checked_identity((key, source)) for key, source in rows]
        if deleted:
            connection.execute(delete(entries).where(*conditions), parameters)
        return deleted

    def set_versions(
        self, connection: Connection, collection: str, identities: Sequence[Identity], versions: Mapping[str, str]
    ) -> list[Identity]:
        # This transaction is the only writer: the entries that were read under its lock are still there.
        fixed = {"of_collection": collection}
        connection.execute(
            self._set_version,
            [{**fixed, "of_key": key, "of_source": of, "of_version": versions[key]} for key, of in identities],
        )
        return list(identities)

    def lock_schema(self, connection: Connection) -> None:
        _begin_immediate(connection)

    def create_namespace(self, connection: Connection) -> None:
        pass

    def may_select(self, connection: Connection, table: Table) -> bool:
        return True

    def owns_tables(self, connection: Connection) -> bool:
        return True

    def has_form(self, asked: Asked, parameter: str) -> tuple[ColumnElement[bool], Any]:
        column = self.tables.entries.c.search_fields
        path: ColumnElement[Any] = literal_column(_path(asked.name))
        if asked.member:
            each = func.json_each(column, path).table_valued("value", "type")
            member = (
                each.c.type == "null" if asked.form is None else each.c.value == bindparam(parameter, type_=NullType())
            )
            return select(1).select_from(each).where(member).exists(), _scalar(asked.form)
        if asked.form is None:
            return func.json_type(column, path) == "null", None
        if isinstance(asked.form, list):  # its text may be written in other ways
            return func.json_type(column, path) == "array", None
        # SQLite does not see that the second condition follows from the first, and takes the index for both only.
        wanted = func.json_extract(column, path) == bindparam(parameter, type_=NullType())
        return wanted & column.is_not(None), _scalar(asked.form)

    def is_unfilled(self, collection: str) -> ColumnElement[bool]:
        # The condition of the index, word for word: SQLite does not compare it with a parameter.
        e = self.tables.entries.c
        return e.search_fields.is_(None) & (e.collection == literal_column(_literal(collection)))

    def search_indexes(self, collection: str, fields: Sequence[str]) -> Mapping[str, str]:
        entries = self.tables.entries.name
        indexes = {
            unfilled_index(entries, collection): f"ON {entries} (collection, key, source) "
            f"WHERE collection = {_literal(collection)} AND search_fields IS NULL"
        }
        for field in fields:
            name = f"{entries}_f{sha256(field.encode()).hexdigest()[:8]}_idx"
            indexes[name] = (
                f"ON {entries} (collection, json_extract(search_fields, {_path(field)}), key, source) "
                "WHERE search_fields IS NOT NULL"
            )
        return indexes

    def existing_indexes(self, connection: Connection) -> set[str]:
        entries = self.tables.entries.name
        names = text("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table")
        return set(connection.scalars(names, {"table": entries}))

    def create_index(self, connection: Connection, name: str, definition: str, *, concurrently: bool) -> None:
        connection.exec_driver_sql(f"CREATE INDEX IF NOT EXISTS {name} {definition}")

    def drop_index(self, connection: Connection, name: str) -> None:
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")

    def fill_search_fields(self, connection: Connection, collection: str, forms: Mapping[Identity, str | None]) -> None:
        e = self.tables.entries.c
        statement = (
            update(self.tables.entries)
            .where(e.collection == collection, e.key == bindparam("of_key"), e.source == bindparam("of_source"))
            .values(search_fields=bindparam("forms"))
        )
        rows = [{"of_key": key, "of_source": source, "forms": form} for (key, source), form in forms.items()]
        connection.execute(statement, rows)

    def server(self, connection: Connection) -> str:
        return f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar()}"

    def estimated_entries(self, connection: Connection, collection: str) -> int:
        # SQLite has no estimate of its own; to count the rows of an index reads no value.
        entries = self.tables.entries
        statement = select(func.count()).select_from(entries).where(entries.c.collection == bindparam("collection"))
        return int(connection.scalar(statement, {"collection": collection}) or 0)

    def disk_bytes(self, connection: Connection) -> int:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        size = connection.exec_driver_sql("PRAGMA page_size").scalar() or 0
        return int(pages) * int(size)

    @cached_property
    def _upsert(self) -> str:
        """The conditional upsert, whose parameters are all columns of the table in their order."""
        entries = self.tables.entries
        statement = insert(entries).values({column.name: bindparam(column.name) for column in entries.c})
        new = statement.excluded
        names = ("value", "value_hash", "checksum", "content_type", "encoding", "version", "search_fields")
        other_value = entries.c.value_hash.is_distinct_from(new.value_hash)
        updated_at = case((other_value, new.updated_at), else_=entries.c.updated_at)
        upsert = statement.on_conflict_do_update(
            index_elements=[entries.c.collection, entries.c.key, entries.c.source],
            set_={**{name: new[name] for name in names}, "updated_at": updated_at},
            where=other_value | (new.version.is_not(None) & entries.c.version.is_distinct_from(new.version)),
        )
        return str(upsert.compile(dialect=_DIALECT))


def _literal(value: str) -> str:
    """A text as a constant in a statement."""
    return "'{}'".format(value.replace("'", "''"))


def _path(field: str) -> str:
    """The path of a field in JSON, as a constant: an index of an expression is used only for the same text."""
    return f"'$.\"{field}\"'"


def _scalar(form: Any) -> Any:
    """A form as SQLite gives it: objects as their text."""
    return orjson.dumps(form).decode() if isinstance(form, dict) else form


def _begin_immediate(connection: Connection) -> None:
    # The driver would begin in deferred mode, where a transaction that reads first may fail when it starts to write.
    driver: Any = connection.connection.driver_connection
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
