"""The only place that knows PostgreSQL from SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docshelf.dialects.base import Dialect, PackedRow, Ticket
from docshelf.errors import ConfigurationError

if TYPE_CHECKING:
    from docshelf.schema import Tables

__all__ = ["Dialect", "PackedRow", "Ticket", "dialect_for"]


def dialect_for(name: str, tables: Tables) -> Dialect:
    """The dialect of a SQLAlchemy dialect's name.

    Raises:
        ConfigurationError: docshelf does not know that database, or the tables cannot be there.
    """
    # SQLAlchemy's part of a database is imported with ours: 60 ms for who needs it.
    if name == "postgresql":
        from docshelf.dialects.postgresql import PostgreSQL

        return PostgreSQL(tables)
    if name == "sqlite":
        from docshelf.dialects.sqlite import SQLite

        return SQLite(tables)
    raise ConfigurationError(f"docshelf keeps its table in PostgreSQL or SQLite, not in {name!r}")
