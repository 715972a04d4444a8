"""What docshelf needs of a Citus coordinator, in a schema of a plain PostgreSQL: its catalog, its functions, its words.

Names without a schema find these objects as they find those of Citus in pg_catalog. Nothing is distributed: tests see
which functions were called, and what is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

_OBJECTS = (
    "CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY, partmethod text, partkey text, shards int)",
    "CREATE TABLE pg_dist_local_group (groupid int)",
    "INSERT INTO pg_dist_local_group VALUES (0)",
    "CREATE TABLE pg_dist_node (groupid int, nodename text, nodeport int)",
    "INSERT INTO pg_dist_node VALUES (1, '10.0.0.2', 5432), (0, '10.0.0.1', 5432)",
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
        INSERT INTO pg_dist_partition VALUES (name, method, key, shards);
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
)


def install_citus(connection: Connection) -> None:
    """Create the objects in the first schema of the connection's search path."""
    for statement in _OBJECTS:
        connection.execute(text(statement))


def make_worker(connection: Connection) -> None:
    """Turn the coordinator into a worker that has the metadata."""
    connection.execute(text("UPDATE pg_dist_local_group SET groupid = 1"))


def citus_calls(connection: Connection) -> Sequence[str]:
    """What docshelf has asked of Citus, in order."""
    return connection.scalars(text("SELECT call FROM citus_calls ORDER BY number")).all()
