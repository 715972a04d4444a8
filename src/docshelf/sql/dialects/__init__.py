"""What differs between PostgreSQL and SQLite: one class for each, behind one interface."""

from __future__ import annotations

from docshelf.errors import ConfigurationError
from docshelf.schema import Tables
from docshelf.sql.dialects.base import Dialect

__all__ = ["Dialect", "dialect_for"]


def dialect_for(name: str, tables: Tables) -> Dialect:
    """The dialect of a SQLAlchemy dialect's name.

    Raises:
        ConfigurationError: docshelf does not know that database, or the tables cannot be there.
    """
    # Each dialect imports SQLAlchemy's part for its database, which takes 60 ms: only the one in use is imported.
    if name == "postgresql":
        from docshelf.sql.dialects.postgresql import PostgreSQL

        return PostgreSQL(tables)
    if name == "sqlite":
        from docshelf.sql.dialects.sqlite import SQLite

        return SQLite(tables)
    raise ConfigurationError(f"docshelf keeps its table in PostgreSQL or SQLite, not in {name!r}")
