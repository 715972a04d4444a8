"""Where peers keep their tables: one SQLite file, or one schema of a PostgreSQL server, both gone afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url

from docshelf.schema import Tables, define_tables

PREFIX = "bench"


@dataclass(frozen=True)
class Place:
    """A place for the tables of one peer.

    Attributes:
        url: a SQLAlchemy URL without a driver.
        schema: the PostgreSQL schema; None on SQLite.
        number: tells the peers of one run apart.
    """

    url: URL
    schema: str | None
    number: int

    @property
    def prefix(self) -> str:
        """What the names of this peer's tables begin with."""
        return f"{PREFIX}{self.number}"

    @property
    def tables(self) -> Tables:
        """docshelf's tables at this place; the raw peers use the same layout and indexes."""
        return define_tables(schema=self.schema, table_prefix=self.prefix)

    @property
    def dsn(self) -> str:
        """The URL as libpq takes it."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def file(self) -> Path:
        """The SQLite file."""
        assert self.url.database is not None
        return Path(self.url.database)

    def remove_file(self) -> None:
        """Remove the SQLite file with its companions."""
        for suffix in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)

    def shelf_url(self, driver: str) -> URL:
        """For `DocShelf`, which takes psycopg2 and asyncpg unless psycopg 3 is named."""
        return self.url.set(drivername="postgresql+psycopg") if driver == "psycopg" else self.url

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection of the benchmark's own, in a transaction."""
        engine = admin_engine(self.url)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def truncate(self) -> None:
        """Empty the tables, on PostgreSQL."""
        names = ", ".join(table.fullname for table in (self.tables.entries, self.tables.sources))
        with self.connection() as connection:
            connection.execute(text(f"TRUNCATE {names}"))

    def analyze(self) -> None:
        """Gather statistics, as autovacuum and `PRAGMA optimize` do after a while."""
        with self.connection() as connection:
            connection.execute(text(f"ANALYZE {self.tables.entries.fullname}"))


def admin_engine(url: URL) -> Engine:
    """An engine for what is not measured."""
    return create_engine(url.set(drivername="postgresql+psycopg2") if url.drivername != "sqlite" else url)


@contextlib.contextmanager
def postgresql_schema(url: str) -> Iterator[tuple[URL, str]]:
    """A schema for this run on a server."""
    target = make_url(url)
    schema = f"docshelf_bench_{os.getpid()}"
    engine = admin_engine(target)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        yield target, schema
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()
