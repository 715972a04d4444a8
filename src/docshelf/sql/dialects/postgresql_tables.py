"""PostgreSQL: what concerns whole tables: creating, layout, indexes, rights, statistics and sizes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import MetaData, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateSchema

from docshelf.errors import ConfigurationError, SchemaError
from docshelf.logs import LOGGER
from docshelf.sql.dialects.base import Dialect
from docshelf.sql.drivers.reads import has_utf8
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout, LayoutKind

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
        # True once the extension is known to be there, whether or not it distributes the entries.
        self.has_citus = False

    def lock_schema(self, connection: Connection) -> None:
        # One lock for the whole database: stores with other prefixes may create the same schema.
        number = lock_number("docshelf schema")
        statement = text(f"SELECT pg_advisory_xact_lock(CAST(:number AS bigint)), {_HAS_CITUS}")
        _, has_citus = connection.execute(statement, {"number": number}).one()
        if has_citus:
            self.layout = "citus" if self._is_distributed(connection) else "plain"

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
        # A table that Alembic made may be a plain one, or have its partitions: `is_laid_out` tells what it lacks.
        if layout.partitions is not None and self._awaits_partitions(connection):
            for number in range(layout.partitions):
                name = self._quoted(self.tables.entries, f"_p{number}")
                connection.execute(
                    text(
                        f"CREATE TABLE {name} PARTITION OF {self._entries} "
                        f"FOR VALUES WITH (MODULUS {layout.partitions}, REMAINDER {number}) WITH ({_STORAGE})"
                    )
                )

    def _awaits_partitions(self, connection: Connection) -> bool:
        """True where the entries table is partitioned, but has no partition yet."""
        awaits = "relkind = 'p' AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = pg_class.oid)"
        return bool(connection.scalar(text(f"SELECT {awaits} FROM pg_class WHERE oid = '{self._entries}'::regclass")))

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
        if kind is not None and self.layout == "citus":
            LOGGER.warning(
                "the table %s was distributed before docshelf had set how it stores values, and Citus does not change "
                "that any more: its workers try to compress compressed values again, which is slow for large ones",
                self.tables.entries.fullname,
            )
        elif kind is not None:
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
            if self.layout != "citus":  # it refuses the first, and would not tell it to the shards
                connection.execute(
                    text(f"ALTER TABLE {name} ALTER COLUMN source SET ({distinct} = {_DISTINCT_SOURCES})")
                )
            if not is_parent:  # a partitioned table has no options of its own
                connection.execute(text(f"ALTER TABLE {name} SET ({_AUTOVACUUM})"))

    def is_laid_out(self, connection: Connection, layout: Layout) -> bool:
        table = f"'{self._entries}'::regclass"
        count = 0
        if layout != DEFAULT_LAYOUT:
            count = connection.scalar(text(f"SELECT count(*) FROM pg_inherits WHERE inhparent = {table}")) or 0
        if layout.partitions is not None and count != layout.partitions:
            raise SchemaError(
                f"the table {self.tables.entries.fullname} exists with {count} partitions, not "
                f"{layout.partitions}; partitions are set when a table is created; use another table_prefix"
            )
        if layout.distribute is None:
            return True
        if count:
            raise SchemaError(
                f"the table {self.tables.entries.fullname} exists with {count} partitions; Citus distributes "
                "no table that has some; use another table_prefix"
            )
        if not connection.scalar(text(f"SELECT {_HAS_CITUS}")):
            raise SchemaError(
                "this database does not have the extension citus; run CREATE EXTENSION citus, or leave out distribute"
            )
        return not self._to_distribute(connection, layout.shards)

    def _to_distribute(self, connection: Connection, shards: int | None) -> list[str]:
        """The quoted names of the tables that Citus has yet to distribute, or of which the coordinator has a copy.

        Raises:
            SchemaError: the entries have another number of shards.
        """
        names = [self._quoted(table) for table in (self.tables.entries, self.tables.sources)]
        found = {
            name: connection.execute(
                text(
                    "SELECT (SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = CAST(:name AS regclass)), "
                    "pg_relation_size(CAST(:name AS regclass))"
                ),
                {"name": name},
            ).one()
            for name in names
        }
        existing = found[self._entries][0]
        if shards is not None and existing not in (0, shards):
            raise SchemaError(
                f"the table {self.tables.entries.fullname} is distributed over {existing} shards, not {shards}; their "
                "number is set when a table is distributed; leave out shards, or use another table_prefix"
            )
        return [name for name, (count, size) in found.items() if not count or size]

    def learn_layout(self, connection: Connection) -> None:
        table = f"'{self._entries}'::regclass"
        found = f"SELECT relkind, {_HAS_CITUS} FROM pg_class WHERE oid = {table}"
        kind, has_citus = connection.execute(text(found)).one()
        layout: LayoutKind = "partitioned" if _char(kind) == "p" else "plain"
        if has_citus and self._is_distributed(connection):
            layout = "citus"
            check_encoding(connection)
        self.layout, self.has_citus = layout, bool(has_citus)  # once: other threads read it meanwhile

    def _is_distributed(self, connection: Connection) -> bool:
        """True where Citus distributes the entries table.

        Raises:
            ConfigurationError: this server is a worker of Citus.
        """
        asked = f"SELECT ({_DISTRIBUTED} WHERE logicalrelid = to_regclass(CAST(:table AS text))), {_NODE}"
        is_distributed, *node = connection.execute(text(asked), {"table": self._entries}).one()
        _check_node(*node)
        return bool(is_distributed)

    def lay_out(self, connection: Connection, layout: Layout) -> None:
        # The small tables stay on the coordinator, where all statements begin. The sources may be millions: by source,
        # a sync writes to one shard of them. As a reference table, every node would have them all, and each write of a
        # fingerprint would lock all others out until its transaction ends.
        columns = {self._entries: "key", self._quoted(self.tables.sources): "source"}
        shards = "" if layout.shards is None else f", shard_count => {layout.shards}"
        for name in self._to_distribute(connection, layout.shards):
            if not connection.scalar(text(f"{_DISTRIBUTED} WHERE logicalrelid = '{name}'::regclass")):
                # No colocation: the distribution columns of other tables may have another collation.
                options = f"colocate_with => 'none'{shards}"
                connection.execute(text(f"SELECT create_distributed_table('{name}', '{columns[name]}', {options})"))
            # Citus copies the rows to the shards, and leaves them where nothing reads them any more.
            connection.execute(text(f"SELECT truncate_local_data_after_distributing_table('{name}')"))

    def refresh_statistics(self, connection: Connection, new_rows: int) -> int | None:
        estimate = connection.scalar(text(self._estimate))
        due_from = int((estimate or 0) * _ANALYZE_SHARE)
        if new_rows < due_from:
            return due_from
        # A role without the right gets a warning only. If another session holds the lock, it may be running ANALYZE.
        connection.execute(text(f"ANALYZE (SKIP_LOCKED) {self._entries} (collection, key, source)"))
        return None

    @property
    def _estimate(self) -> str:
        """The statement that asks for the planner's estimate of the number of entries."""
        if self.layout != "citus":
            return f"SELECT reltuples FROM pg_class WHERE oid = '{self._entries}'::regclass"
        # The coordinator has no statistics of what the workers hold.
        of_shard = "SELECT reltuples FROM pg_class WHERE oid = ''%s''::regclass"
        shards = f"run_command_on_shards('{self._entries}', '{of_shard}')"
        return f"SELECT sum(CAST(result AS float)) FROM {shards} WHERE success"

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
        if self.layout == "citus":
            return int(connection.scalar(text(f"SELECT citus_total_relation_size({table})")) or 0)
        size = f"SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree({table})"
        return int(connection.scalar(text(f"SELECT coalesce(({size}), pg_total_relation_size({table}))")) or 0)

    def _quoted(self, table: Table, suffix: str = "") -> str:
        """The quoted name of a table, with an optional suffix, for use in statements."""
        quote = postgresql.dialect().identifier_preparer.format_table  # type: ignore[no-untyped-call]
        return str(quote(table, name=table.name + suffix))


def check_encoding(connection: Connection) -> None:
    """Raise a ConfigurationError for a connection to Citus whose client encoding is not UTF-8.

    Citus passes texts on to its workers in the client's encoding, as if they were UTF-8: keys are altered when they are
    written, and not found when they are read.
    """
    if not has_utf8(connection):
        raise ConfigurationError(
            "the client encoding of this engine is not UTF-8, so Citus would store other keys than those given; create "
            "the engine with client_encoding=utf8"
        )


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
