"""Citus in tests: a real coordinator, on which every table is distributed, or what seems to be one.

The latter is what docshelf needs of a coordinator, in a schema of a plain PostgreSQL: its catalog, functions and words.

Names without a schema find these objects as they find those of Citus in pg_catalog. Nothing is distributed: tests see
which functions were called, and what is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from docshelf.sql.dialects.postgresql_tables import PostgreSQLTables
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout

# Of each table, in tests on a real cluster. Few, because each is a table on a worker.
_SHARDS = 4
_OBJECTS = (
    "CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY, partmethod text, partkey text)",
    "CREATE TABLE pg_dist_shard (logicalrelid regclass, shardid bigint GENERATED ALWAYS AS IDENTITY)",
    "CREATE TABLE pg_dist_local_group (groupid int)",
    "INSERT INTO pg_dist_local_group VALUES (0)",
    "CREATE TABLE pg_dist_node (groupid int, nodename text, nodeport int)",
    "INSERT INTO pg_dist_node VALUES (1, '10.0.0.2', 5432), (0, '10.0.0.1', 5432)",
    "CREATE FUNCTION citus_version() RETURNS text LANGUAGE sql AS $$ SELECT 'Citus 13.2.2 on x86_64-pc-linux-gnu' $$",
    "CREATE TABLE shards (name regclass)",
    "CREATE TABLE citus_calls (number int GENERATED ALWAYS AS IDENTITY, call text)",
    """
    CREATE FUNCTION distribute(name regclass, method text, key text, shards int) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = name) THEN
            RAISE EXCEPTION 'table "%" is already distributed', name USING ERRCODE = '42P16';
        END IF;
        IF EXISTS (SELECT FROM pg_class WHERE oid = name AND relkind NOT IN ('r', 'p')) THEN
            RAISE EXCEPTION '% is not a regular, foreign or partitioned table', name USING ERRCODE = '42809';
        END IF;
        INSERT INTO pg_dist_partition VALUES (name, method, key);
        INSERT INTO pg_dist_shard (logicalrelid) SELECT name FROM generate_series(1, shards);
    END $$
    """,
    """
    CREATE FUNCTION create_distributed_table(
        table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
        colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL
    ) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO citus_calls (call)
            VALUES (format('distributed %s %s %s %s', table_name, distribution_column, colocate_with, shard_count));
        PERFORM distribute(table_name, 'h', distribution_column, coalesce(shard_count, 32));
    END $$
    """,
    """
    CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO citus_calls (call) VALUES (format('reference %s', table_name));
        PERFORM distribute(table_name, 'n', NULL, 1);
    END $$
    """,
    """
    CREATE FUNCTION truncate_local_data_after_distributing_table(function_table_name regclass)
    RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = function_table_name) THEN
            RAISE EXCEPTION 'supplied parameter is not a distributed relation' USING ERRCODE = '22023';
        END IF;
        INSERT INTO citus_calls (call) VALUES (format('truncated %s', function_table_name));
    END $$
    """,
    """
    CREATE FUNCTION run_command_on_shards(
        table_name regclass, command text, OUT shardid bigint, OUT success boolean, OUT result text
    ) RETURNS SETOF record LANGUAGE plpgsql AS $$
    DECLARE
        shard text;
    BEGIN
        shardid := 102007;
        success := true;
        FOR shard IN SELECT name FROM shards LOOP
            shardid := shardid + 1;
            EXECUTE format(command, shard) INTO result;
            RETURN NEXT;
        END LOOP;
    END $$
    """,
    """
    CREATE FUNCTION citus_total_relation_size(table_name regclass) RETURNS bigint LANGUAGE sql AS $$
        SELECT sum(pg_total_relation_size(name))::bigint FROM shards
    $$
    """,
    """
    CREATE FUNCTION refuse_alter_column() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- A trigger of events is for the whole database; other tests have no such table.
        IF to_regclass('pg_dist_partition') IS NOT NULL AND current_query() LIKE '%ALTER COLUMN%' AND EXISTS (
            SELECT FROM pg_event_trigger_ddl_commands() JOIN pg_dist_partition ON logicalrelid = objid
        ) THEN
            RAISE EXCEPTION 'alter table command is currently unsupported' USING ERRCODE = '0A000';
        END IF;
    END $$
    """,
    """
    DO $$ BEGIN
        EXECUTE format(
            'CREATE EVENT TRIGGER %I ON ddl_command_end WHEN TAG IN (''ALTER TABLE'') EXECUTE FUNCTION '
            'refuse_alter_column()', current_schema
        );
    END $$
    """,
)


def install_citus(connection: Connection) -> None:
    """Create the objects in the first schema of the connection's search path."""
    for statement in _OBJECTS:
        connection.execute(text(statement))


def make_worker(connection: Connection) -> None:
    """Turn the coordinator into a worker that has the metadata."""
    connection.execute(text("UPDATE pg_dist_local_group SET groupid = 1"))


def add_shard(connection: Connection, rows: int) -> int:
    """Make a shard with so many rows, which its worker has counted. Returns its size in bytes."""
    name = f"shard_{connection.scalar(text('SELECT count(*) FROM shards'))}"
    connection.execute(text(f"CREATE TABLE {name} AS SELECT * FROM generate_series(1, {rows})"))
    connection.execute(text(f"ANALYZE {name}"))
    connection.execute(text(f"INSERT INTO shards VALUES ('{name}')"))
    return int(connection.scalar(text(f"SELECT pg_total_relation_size('{name}')")) or 0)


def refuse_copies_of_existing_rows(connection: Connection) -> None:
    """Let a COPY of an entry that is there fail as on Citus, which tells what a worker said without its SQLSTATE."""
    connection.connection.cursor().execute("""
        CREATE FUNCTION copied() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_query() LIKE 'COPY%' AND EXISTS (
                SELECT FROM docshelf_entries AS stored
                WHERE (stored.collection, stored.key, stored.source) = (NEW.collection, NEW.key, NEW.source)
            ) THEN
                RAISE EXCEPTION 'duplicate key value violates unique constraint "docshelf_entries_pkey_102007"'
                    USING ERRCODE = 'XX000', DETAIL = format('Key=(%s) already exists: no connection.', NEW.key);
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER copied BEFORE INSERT ON docshelf_entries FOR EACH ROW EXECUTE FUNCTION copied()
    """)


def citus_calls(connection: Connection) -> Sequence[str]:
    """What docshelf has asked of Citus, in order."""
    return connection.scalars(text("SELECT call FROM citus_calls ORDER BY number")).all()


def distribute_every_table() -> None:
    """Let `setup` without a layout distribute the tables, where the database has Citus."""
    plain, lay_out = PostgreSQLTables.is_laid_out, PostgreSQLTables.lay_out

    def wanted(connection: Connection, layout: Layout) -> Layout:
        # Of the server, and not of the URL, which may be that of a proxy or a pooler.
        if layout == DEFAULT_LAYOUT and connection.scalar(text("SELECT to_regclass('pg_dist_partition') IS NOT NULL")):
            return Layout(distribute="citus", shards=_SHARDS)
        return layout

    def is_laid_out(self: PostgreSQLTables, connection: Connection, layout: Layout) -> bool:
        # Some tests make tables as Alembic or another version did, and roles that may only read see what is there.
        return plain(self, connection, wanted(connection, layout)) or not self.owns_tables(connection)

    def distribute(self: PostgreSQLTables, connection: Connection, layout: Layout) -> None:
        lay_out(self, connection, wanted(connection, layout))

    PostgreSQLTables.is_laid_out = is_laid_out  # type: ignore[method-assign]
    PostgreSQLTables.lay_out = distribute  # type: ignore[method-assign]
