"""Operations that settle which fields of a collection are searchable, and fill in the rows that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from docshelf.errors import DatabaseError, SchemaError
from docshelf.operations.context import Context
from docshelf.operations.searching import Search
from docshelf.sql.collections import CollectionQueries, Searchable
from docshelf.sql.dialects.base import unfilled_index
from docshelf.sql.rows import Identity
from docshelf.sql.search import Bounds, Page
from docshelf.steps import Flow, Read, Write
from docshelf.values.where import All

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PAGE: Final = 5_000
_EVERYTHING: Final = Search(All(()), Bounds())
# Not the owner of the table.
_NO_RIGHT: Final = "42501"


def make_searchable(context: Context, fields: Sequence[str], *, concurrently: bool) -> Flow[None]:
    """Make these the searchable fields of the collection. Whoever was interrupted here goes on when it is called again.

    First writers learn of the fields, then the rows that are there get their search fields, and then searches use them.

    Args:
        concurrently: create indexes without locking out writers; not inside a transaction.
    """
    queries, dialect, collection = CollectionQueries(context.dialect), context.dialect, context.collection
    wanted = dialect.search_indexes(collection, fields) if fields else {}
    unfilled = unfilled_index(dialect.tables.entries.name, collection)

    def look(connection: Connection) -> tuple[Searchable, set[str]]:
        known = queries.searchable(connection, collection).get(collection, Searchable())
        return known, dialect.existing_indexes(connection)

    def settle(connection: Connection, filled: bool) -> bool:
        """Write down the fields; False where somebody else did so otherwise meanwhile."""
        # Alone: a writer that knows other fields has committed, and one that comes later reads these.
        dialect.begin_write(connection, collection, None, exclusive=True)
        known = queries.searchable(connection, collection).get(collection, Searchable())
        if filled and known.fields != tuple(fields):
            return False
        queries.put_searchable(connection, collection, Searchable(tuple(fields), filled))
        return True

    known, existing = yield Read(look)
    missing = [name for name in wanted if name not in existing]
    if known == Searchable(tuple(fields), bool(fields)):
        context.known_fields.note(collection, known)
        yield from _create(context, {name: wanted[name] for name in missing}, concurrently=concurrently)
        return
    if fields or known.fields:
        yield Write(lambda connection: settle(connection, filled=False))
        context.known_fields.note(collection, Searchable(tuple(fields), filled=False))
    yield from _create(context, {name: wanted[name] for name in missing}, concurrently=concurrently)
    if not fields:
        if unfilled in existing:
            yield Write(lambda connection: dialect.drop_index(connection, unfilled))
        return
    yield from _fill(context, fields)
    if (yield Write(lambda connection: settle(connection, filled=True))):
        context.known_fields.note(collection, Searchable(tuple(fields), filled=True))


def complete_indexes(context: Context, *, concurrently: bool, gone: str | None = None) -> Flow[None]:
    """Create the indexes that searchable collections lack under their new names. Only an owner of the table can.

    Args:
        gone: the name that a collection had before it was renamed.
    """
    dialect = context.dialect
    unfilled = None if gone is None else unfilled_index(dialect.tables.entries.name, gone)

    def look(connection: Connection) -> dict[str, str]:
        context.known_fields.read(connection, dialect)
        settled = context.known_fields.all()
        if not settled or not dialect.owns_tables(connection):
            return {}
        existing = dialect.existing_indexes(connection)
        if unfilled is not None and unfilled in existing:
            dialect.drop_index(connection, unfilled)
        wanted = [dialect.search_indexes(name, searchable.fields) for name, searchable in settled.items()]
        return {name: what for indexes in wanted for name, what in indexes.items() if name not in existing}

    yield from _create(context, (yield Write(look)), concurrently=concurrently)


def _create(context: Context, indexes: dict[str, str], *, concurrently: bool) -> Flow[None]:
    dialect = context.dialect
    step = Read if concurrently else Write
    for name, definition in indexes.items():

        def create(connection: Connection, name: str = name, definition: str = definition) -> None:
            dialect.create_index(connection, name, definition, concurrently=concurrently)

        try:
            yield step(create)
        except DatabaseError as exc:
            if exc.sqlstate != _NO_RIGHT:
                raise
            raise SchemaError(
                f"this role may not create the index {name} of {dialect.tables.entries.fullname} ({exc}); "
                "run setup(searchable=...) once as the owner of the table"
            ) from exc


def _fill(context: Context, fields: Sequence[str]) -> Flow[None]:
    """Write the search fields of all rows of the collection, a page at a time."""
    queries, dialect, collection = context.queries, context.dialect, context.collection
    search = _EVERYTHING
    while True:

        def read(connection: Connection, bounds: Bounds = search.bounds) -> Page:
            return queries.search.candidates(connection, collection, bounds, None, _PAGE)

        page: Page = yield Read(read)
        for batch in search.batches(page):

            def fill(connection: Connection, batch: Sequence[Identity] = batch) -> None:
                # Alone, so that nobody changes a value between the look at it and the note of its fields.
                dialect.begin_write(connection, collection, None, exclusive=True)
                rows = queries.fetch_pairs(connection, collection, batch, values=True)
                forms = {(row.key, row.source): context.codec.search_fields_of(row, fields) for row in rows}
                if forms:
                    dialect.fill_search_fields(connection, collection, forms)

            yield Write(fill)
            context.on_progress(len(batch))
        if page.is_last:
            return
        search = search.after(page)
