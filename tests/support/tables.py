"""Looks at a store's tables from outside, over a connection of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, create_engine, event, select, text
from sqlalchemy.pool import NullPool, Pool

from docshelf.schema import define_tables

if TYPE_CHECKING:
    from tests.conftest import Location

TABLES = define_tables()


@contextlib.contextmanager
def connected(location: Location) -> Iterator[Connection]:
    """One transaction at a location."""
    engine = create_engine(location.sync_url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def contents(location: Location) -> list[Row[Any]]:
    """Every row of both tables, with all columns. A failed call must not change them."""
    entries, sources = TABLES.entries, TABLES.sources
    with connected(location) as connection:
        found = connection.execute(select(entries).order_by(entries.c.collection, entries.c.key, entries.c.source))
        known = connection.execute(select(sources).order_by(sources.c.collection, sources.c.source))
        return [*found, *known]


def keys_by_seq(location: Location) -> list[tuple[str, str]]:
    """(key, source) of every entry, in the order of `seq`."""
    entries = TABLES.entries
    with connected(location) as connection:
        return [(row.key, row.source) for row in connection.execute(select(entries).order_by(entries.c.seq))]


def entry_rows(location: Location) -> dict[tuple[str, str], Row[Any]]:
    """The row of each entry by (key, source)."""
    with connected(location) as connection:
        return {(row.key, row.source): row for row in connection.execute(select(TABLES.entries))}


def refuse(location: Location, doing: str, key: str) -> None:
    """From now on the database itself refuses to insert, or to delete, the entry of one key."""
    if location.dialect == "sqlite":
        row = "NEW" if doing == "INSERT" else "OLD"
        statements = [
            f"CREATE TRIGGER refusing BEFORE {doing} ON docshelf_entries WHEN {row}.key = '{key}' "
            "BEGIN SELECT RAISE(ABORT, 'refused by a trigger'); END"
        ]
    else:
        row = "NEW" if doing == "INSERT" else "OLD"
        statements = [
            "CREATE FUNCTION refusing() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused by a trigger'; END $$",
            f"CREATE TRIGGER refusing BEFORE {doing} ON docshelf_entries FOR EACH ROW "
            f"WHEN ({row}.key = '{key}') EXECUTE FUNCTION refusing()",
        ]
    with connected(location) as connection:
        for statement in statements:
            connection.execute(text(statement))


class Held:
    """How many connections are out of their pools."""

    number = 0


@contextlib.contextmanager
def held_connections() -> Iterator[Held]:
    """Counts the connections that are checked out of any pool in the block."""
    held = Held()

    def taken(*_: Any) -> None:
        held.number += 1

    def returned(*_: Any) -> None:
        held.number -= 1

    event.listen(Pool, "checkout", taken)
    event.listen(Pool, "checkin", returned)
    try:
        yield held
    finally:
        event.remove(Pool, "checkout", taken)
        event.remove(Pool, "checkin", returned)
