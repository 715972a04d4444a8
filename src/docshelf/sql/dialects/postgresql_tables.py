"""PostgreSQL: what concerns whole tables: creating, layout, indexes, rights, statistics and sizes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import MetaData, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateSchema

from docshelf.errors import ConfigurationError, SchemaError
from docshelf.sql.dialects.base import Dialect
from docshelf.sql.rows import Layout

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from docshelf.schema import Tables

# Values of up to a page are read faster when they are stored in line.
_STORAGE = "toast_tuple_target = 8160"
# The planner's estimate of distinct sources, as a share of the rows. Its own sample of a small table finds few sources,
# and PostgreSQL 18 then answers an mget with a skip scan of the index on sources: 1.9 ms for 100 keys of 10,000
# entries, against 0.2 ms with the primary key.
_DISTINCT_SOURCES = -0.5
# By default autovacuum waits until a fifth of the rows are dead: in a table of 5 million, a million.
_AUTOVACUUM = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"
# ANALYZE is due after this share of new rows. Autovacuum does it too, but up to a minute later, and after the whole
# table has grown. Until then the planner takes a new collection for one row, and reads all of it to find some keys: in
# a table of 100,000 entries an mget of 100 keys took 20 ms, and 0.3 ms after ANALYZE. It samples at most 30,000 rows of
# a table and of each partition: 15 ms for 10,000 entries, 250 ms for 400,000 and more.
_ANALYZE_SHARE = 0.1
# Citus lists what it distributes in pg_catalog, which PostgreSQL searches first for every name.
_DISTRIBUTED = "SELECT count(*) FROM pg_dist_partition"
_HAS_CITUS = "to_regclass('pg_dist_partition') IS NOT NULL"
# The group of this node of Citus, which is 0 on the coordinator alone, and the address of the coordinator.
_NODE = """
    groupid, (SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE groupid = 0 LIMIT 1) FROM pg_dist_local_group
"""


class PostgreSQLTables(Dialect):
    """The part of the dialect that is about tables."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self._entries = self._quoted(tables.entries)

    def lock_schema(self, connection: Connection) -> None:
        # One lock for the whole database: stores with other prefixes may create the same schema.
        number = lock_number("docshelf schema")
        statement = text(f"SELECT pg_advisory_xact_lock(CAST(:number AS bigint)), {_HAS_CITUS}")
        _, has_citus = connection.execute(statement, {"number": number}).one()
        if has_citus:
            _check_node(*connection.execute(text(f"SELECT {_NODE}")).one())

    def create_namespace(self, connection: Connection) -> None:
        schema = self.tables.entries.schema
        if schema is not None:
            exists = text("SELECT 1 FROM pg_namespace WHERE nspname = CAST(:name AS text)")
            if not connection.scalar(exists, {"name": schema}):
                connection.execute(CreateSchema(schema))

    def create_tables(self, connection: Connection, layout: Layout) -> None:
        if layout.partitions is not None:
            # Partitions inherit the storage of a column, but not the options of the table.
            parent = self.tables.entries.to_metadata(MetaData())
            parent.dialect_options["postgresql"]["partition_by"] = "HASH (key)"
            parent.create(connection, checkfirst=True)
        super().create_tables(connection, layout)
        self._set_storage(connection)
        if layout.partitions is not None:
            for number in range(layout.partitions):
                name = self._quoted(self.tables.entries, f"_p{number}")
                connection.execute(
                    text(
                        f"CREATE TABLE {name} PARTITION OF {self._entries} "
                        f"FOR VALUES WITH (MODULUS {layout.partitions}, REMAINDER {number}) WITH ({_STORAGE})"
                    )
                )

    def _set_storage(self, connection: Connection) -> None:
        # Values arrive compressed, and compressing them again costs the server time. Measured on PostgreSQL 18 with
        # 20 KB values, without and with it: 33 and 2 thousand rows per second written, 130 and 22 thousand read.
        # Roles that do not own the table skip this step.
        kind = connection.scalar(
            text(
                "SELECT relkind FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
                f"WHERE attrelid = '{self._entries}'::regclass AND attname = 'value' AND attstorage <> 'e' "
                "AND pg_has_role(relowner, 'USAGE')"
            )
        )
        if kind is not None:
            connection.execute(text(f"ALTER TABLE {self._entries} ALTER COLUMN value SET STORAGE EXTERNAL"))
            if _char(kind) != "p":  # a partitioned table has no options of its own
                connection.execute(text(f"ALTER TABLE {self._entries} SET ({_STORAGE})"))

    def tune_tables(self, connection: Connection) -> None:
        # Roles that do not own the table skip this step.
        leaves = connection.execute(
            text(
                "SELECT CAST(oid AS regclass)::text, relkind FROM pg_class "
                "WHERE (oid = CAST(:table AS regclass) OR oid IN "
                "(SELECT inhrelid FROM pg_inherits WHERE inhparent = CAST(:table AS regclass))) "
                "AND pg_has_role(relowner, 'USAGE') ORDER BY 1"
            ),
            {"table": self._entries},
        ).all()
        for name, kind in leaves:
            is_parent = _char(kind) == "p"
            distinct = "n_distinct_inherited" if is_parent else "n_distinct"
            connection.execute(text(f"ALTER TABLE {name} ALTER COLUMN source SET ({distinct} = {_DISTINCT_SOURCES})"))
            if not is_parent:  # a partitioned table has no options of its own
                connection.execute(text(f"ALTER TABLE {name} SET ({_AUTOVACUUM})"))

    def is_laid_out(self, connection: Connection, layout: Layout) -> bool:
        table = f"'{self._entries}'::regclass"
        if layout.partitions is not None:
            count = connection.scalar(text(f"SELECT count(*) FROM pg_inherits WHERE inhparent = {table}"))
            if count != layout.partitions:
                raise SchemaError(
                    f"the table {self.tables.entries.fullname} exists with {count} partitions, not "
                    f"{layout.partitions}; partitions are set when a table is created; use another table_prefix"
                )
        if layout.distribute is None:
            return True
        if not connection.scalar(text(f"SELECT {_HAS_CITUS}")):
            raise SchemaError(
                "this database does not have the extension citus; run CREATE EXTENSION citus, or leave out distribute"
            )
        return bool(connection.scalar(text(f"{_DISTRIBUTED} WHERE logicalrelid = {table}")))

    def learn_layout(self, connection: Connection) -> None:
        table = f"'{self._entries}'::regclass"
        found = f"SELECT relkind, {_HAS_CITUS} FROM pg_class WHERE oid = {table}"
        kind, has_citus = connection.execute(text(found)).one()
        self.layout = "partitioned" if _char(kind) == "p" else "plain"
        if has_citus:
            asked = f"SELECT ({_DISTRIBUTED} WHERE logicalrelid = {table}), {_NODE}"
            is_distributed, *node = connection.execute(text(asked)).one()
            _check_node(*node)
            self.layout = "citus" if is_distributed else self.layout

    def lay_out(self, connection: Connection, layout: Layout) -> None:
        if layout.distribute is not None:
            # No colocation: the distribution columns of other tables may have another collation.
            connection.execute(
                text(f"SELECT create_distributed_table('{self._entries}', 'key', colocate_with => 'none')")
            )

    def refresh_statistics(self, connection: Connection, new_rows: int) -> int | None:
        estimate = connection.scalar(text(f"SELECT reltuples FROM pg_class WHERE oid = '{self._entries}'::regclass"))
        due_from = int((estimate or 0) * _ANALYZE_SHARE)
        if new_rows < due_from:
            return due_from
        # A role without the right gets a warning only. If another session holds the lock, it may be running ANALYZE.
        connection.execute(text(f"ANALYZE (SKIP_LOCKED) {self._entries} (collection, key, source)"))
        return None

    def may_select(self, connection: Connection, table: Table) -> bool:
        privilege = text("SELECT has_table_privilege(CAST(:table AS regclass), 'SELECT')")
        return bool(connection.scalar(privilege, {"table": self._quoted(table)}))

    def owns_tables(self, connection: Connection) -> bool:
        owner = f"SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = '{self._entries}'::regclass"
        return bool(connection.scalar(text(owner)))

    def existing_indexes(self, connection: Connection) -> set[str]:
        names = connection.scalars(
            text(
                "SELECT relname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
                f"WHERE indrelid = '{self._entries}'::regclass AND indisvalid"
            )
        )
        return set(names)

    def create_index(self, connection: Connection, name: str, definition: str, *, concurrently: bool) -> None:
        quoted = connection.dialect.identifier_preparer.quote(name)
        kind = connection.scalar(text(f"SELECT relkind FROM pg_class WHERE oid = '{self._entries}'::regclass"))
        concurrently &= _char(kind) != "p"  # PostgreSQL cannot do that on a partitioned table
        # An interrupted CREATE INDEX CONCURRENTLY leaves an unusable index with the same name.
        self.drop_index(connection, name)
        connection.execute(text(f"CREATE INDEX {'CONCURRENTLY ' * concurrently}{quoted} {definition}"))

    def drop_index(self, connection: Connection, name: str) -> None:
        entries = self.tables.entries
        connection.execute(text(f"DROP INDEX IF EXISTS {self._quoted(entries, name.removeprefix(entries.name))}"))

    def server(self, connection: Connection) -> str:
        version = connection.scalar(text("SELECT current_setting('server_version')"))
        return f"PostgreSQL {str(version).partition(' ')[0]}"

    def estimated_entries(self, connection: Connection, collection: str) -> int:
        # The planner's own estimate, from its statistics: the number of rows that it would expect.
        rows = f"FROM {self._entries} WHERE collection = CAST(:collection AS text)"
        given = connection.scalar(text(f"EXPLAIN (FORMAT JSON) SELECT 1 {rows}"), {"collection": collection})
        [explained] = orjson.loads(given) if isinstance(given, str) else given
        plan = explained["Plan"]
        if plan["Node Type"] == "Custom Scan":  # the coordinator of Citus has no statistics of what its workers hold
            return int(connection.scalar(text(f"SELECT count(*) {rows}"), {"collection": collection}) or 0)
        return int(plan["Plan Rows"])

    def disk_bytes(self, connection: Connection) -> int:
        table = f"'{self._entries}'::regclass"
        size = f"SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree({table})"
        return int(connection.scalar(text(f"SELECT coalesce(({size}), pg_total_relation_size({table}))")) or 0)

    def _quoted(self, table: Table, suffix: str = "") -> str:
        """The quoted name of a table, with an optional suffix, for use in statements."""
        quote = postgresql.dialect().identifier_preparer.format_table  # type: ignore[no-untyped-call]
        return str(quote(table, name=table.name + suffix))


def _check_node(group: int, coordinator: str | None) -> None:
    """Raise a ConfigurationError on a worker of Citus.

    A worker sees distributed tables, and no others: docshelf would make a second, local store there. And numbers of its
    sequences are too large for `seq`.
    """
    if group != 0:
        raise ConfigurationError(
            "this server is a worker of Citus, where docshelf would make a second store beside that of the cluster; "
            f"connect to the coordinator, which the workers know as {coordinator or 'the node of group 0'}"
        )


def _char(value: str | bytes) -> str:
    """The value of a "char" column. Some drivers return text, others bytes."""
    return value.decode() if isinstance(value, bytes) else value


def lock_number(name: str) -> int:
    """The number of an advisory lock."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)
