"""What differs between PostgreSQL and SQLite: one class for each, behind one interface."""

from __future__ import annotations

from docshelf.errors import ConfigurationError
from docshelf.schema import Tables
from docshelf.sql.dialects.base import Dialect

__all__ = ["Dialect", "dialect_for"]


def dialect_for(name: str, tables: Tables) -> Dialect:
    """The dialect for the name of a SQLAlchemy dialect.

    Raises:
        ConfigurationError: docshelf does not support this database, or the tables cannot be in it.
    """
    # Importing SQLAlchemy's part for a database takes 60 ms: only the one in use is imported.
    if name == "postgresql":
        from docshelf.sql.dialects.postgresql import PostgreSQL

        return PostgreSQL(tables)
    if name == "sqlite":
        from docshelf.sql.dialects.sqlite import SQLite

        return SQLite(tables)
    raise ConfigurationError(f"docshelf supports PostgreSQL and SQLite, not {name!r}")
