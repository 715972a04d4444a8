"""The catalog entries of tables, to compare two databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

_POSTGRESQL = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage,
               (SELECT collname FROM pg_collation WHERE oid = a.attcollation), pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind IN ('r', 'p')
          AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "options": """
        SELECT relname, relkind, reloptions FROM pg_class
        WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p', 'S', 'v')
    """,
    "constraints": """
        SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = to_regnamespace(:schema)
    """,
    "indexes": """
        SELECT indexname, replace(indexdef, schemaname || '.', '') FROM pg_indexes WHERE schemaname = :schema
    """,
}
_SQLITE = {"tables": "SELECT type, name, sql FROM sqlite_master"}


def catalog(connection: Connection, schema: str) -> dict[str, list[Any]]:
    """Tables, columns, constraints, indexes and storage of a PostgreSQL schema or of an SQLite file."""
    queries = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    parameters = {} if queries is _SQLITE else {"schema": schema}
    return {
        name: sorted(tuple(row) for row in connection.execute(text(query), parameters))
        for name, query in queries.items()
    }
