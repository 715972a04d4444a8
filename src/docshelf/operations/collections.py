"""Operations on whole collections: which collection one belongs to, and its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docshelf.errors import ArgumentValueError
from docshelf.operations.context import Context
from docshelf.operations.repeatable import repeatable_write
from docshelf.sql.collections import CollectionQueries
from docshelf.steps import Flow, Read
from docshelf.types import Collection

if TYPE_CHECKING:
    from sqlalchemy import Connection


def register(context: Context, owner: str) -> Flow[None]:
    """Store that the collection belongs to `owner`, unless it is stored already."""
    queries, collection = CollectionQueries(context.dialect), context.collection
    if (yield Read(lambda connection: queries.owner(connection, collection))) != owner:
        yield repeatable_write(lambda connection: queries.register(connection, collection, owner), lambda _, last: last)


def listed(context: Context, *, exact: bool) -> Flow[list[Collection]]:
    """Every collection of the table, in the order of their names."""
    queries = CollectionQueries(context.dialect)
    found: list[Collection] = yield Read(queries.counted if exact else queries.estimated)
    return found


def companions(context: Context) -> Flow[list[str]]:
    """The names of the collections that belong to the collection, directly or through others."""
    queries = CollectionQueries(context.dialect)
    family: list[str] = yield Read(lambda connection: queries.family(connection, context.collection))
    return family[1:]


def rename(context: Context, new: str) -> Flow[int]:
    """Rename the collection and all collections that belong to it. Returns how many entries it has.

    Raises:
        ArgumentValueError: there is no such collection, or the new name is taken.
    """
    queries, dialect, old = CollectionQueries(context.dialect), context.dialect, context.collection

    def apply(connection: Connection) -> int | None:
        names = {name: f"{new}{name.removeprefix(old)}" for name in queries.family(connection, old)}
        # In the same order in every process, so that two renames cannot deadlock.
        for name in sorted({*names, *names.values()}):
            dialect.begin_write(connection, name, None, exclusive=True)
        if queries.family(connection, old) != list(names):
            raise ArgumentValueError(f"another process changed what belongs to the collection {old!r}; rename it again")
        # The owner itself may be empty: a key-value store has values only in the collections that belong to it.
        if not queries.taken(connection, list(names)):
            return None
        taken = queries.taken(connection, list(names.values()))
        if taken:
            raise ArgumentValueError(
                f"a collection {taken[0]!r} exists already; give another name, or rename that collection first"
            )
        counts = [queries.rename(connection, name, renamed) for name, renamed in names.items()]
        return counts[0]

    if new == old:
        return int((yield Read(lambda connection: context.queries.count(connection, old, prefix=None, source=None))))
    count: int | None = yield repeatable_write(apply, lambda earlier, last: earlier if last is None else last)
    if count is None:
        raise ArgumentValueError(f"there is no collection {old!r} to rename")
    return count


def copy(context: Context, new: str) -> Flow[int]:
    """Copy the collection's entries and sources to a new collection. Returns how many entries it has.

    Raises:
        ArgumentValueError: there is no such collection, or one has the new name already.
    """
    queries, dialect, old = CollectionQueries(context.dialect), context.dialect, context.collection

    def apply(connection: Connection) -> int | None:
        stamps = {name: dialect.begin_write(connection, name, None, exclusive=True) for name in sorted({old, new})}
        if not queries.taken(connection, [old]):
            raise ArgumentValueError(f"there is no collection {old!r} to copy")
        if queries.taken(connection, [new]):
            return None
        dialect.copy_entries(connection, old, new, stamps[new])
        queries.copy_sources_and_settings(connection, old, new)
        return context.queries.count(connection, new, prefix=None, source=None)

    count: int | None = yield repeatable_write(apply, lambda earlier, last: earlier if last is None else last)
    if count is None:
        raise ArgumentValueError(f"there is a collection {new!r} already; give another name, or clear that one first")
    return count
