"""Opens the store that the options name. A verb that only reads creates neither a file nor tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from docshelf.cli.arguments import Arguments
from docshelf.cli.codes import USAGE, CommandError
from docshelf.engines.url import Target, parse_url
from docshelf.store import DocShelf

_CREATING = "docshelf init and docshelf put create one"


@contextmanager
def reading(arguments: Arguments) -> Iterator[DocShelf]:
    """The store, which has to exist."""
    target = parse_url(arguments.url)
    if target.dialect == "sqlite" and not target.memory:
        _check_file(target, arguments.table_prefix)
    with _opened(arguments) as shelf:
        if not shelf.is_set_up():
            raise CommandError(f"the tables in {target} are missing or of an older version; run docshelf init")
        yield shelf


@contextmanager
def writing(arguments: Arguments) -> Iterator[DocShelf]:
    """The store; its tables are created where they are missing."""
    if arguments.url == ":memory:":
        raise CommandError("a database in memory ends with this command; name a file or a server", USAGE)
    with _opened(arguments) as shelf:
        yield shelf


@contextmanager
def planning(arguments: Arguments) -> Iterator[DocShelf]:
    """The store for a plan of what a write would do. An empty one in memory stands for an SQLite file to be made."""
    if _is_missing(parse_url(arguments.url)):
        with DocShelf(":memory:", arguments.collection) as shelf:
            yield shelf
        return
    with reading(arguments) as shelf:
        yield shelf


def target(arguments: Arguments) -> AbstractContextManager[DocShelf]:
    """The store for a verb that writes, or under --dry-run says what it would do."""
    return (planning if arguments.dry_run else writing)(arguments)


@contextmanager
def examining(arguments: Arguments) -> Iterator[DocShelf]:
    """The store, which may be missing in a database, but not be a file that is missing."""
    target = parse_url(arguments.url)
    if _is_missing(target):
        raise CommandError(f"there is no SQLite file {_path(target)}; {_CREATING}")
    with _opened(arguments) as shelf:
        yield shelf


@contextmanager
def _opened(arguments: Arguments) -> Iterator[DocShelf]:
    options = {"table_prefix": arguments.table_prefix, "schema": arguments.schema, "pooler": arguments.pooler}
    with DocShelf(arguments.url, arguments.collection, **options) as shelf:
        yield shelf


def _path(target: Target) -> Path:
    return Path(target.sync_url.database or "")


def _is_missing(target: Target) -> bool:
    """True for an SQLite file that is not there. SQLite's own URI, which says how to open it, is not looked into."""
    path = _path(target)
    return target.dialect == "sqlite" and not target.memory and not (str(path).startswith("file:") or path.exists())


def _check_file(target: Target, table_prefix: str) -> None:
    """Look into the file without changing it: to open it as a store would set its journal mode."""
    path = _path(target)
    if str(path).startswith("file:"):
        return
    if _is_missing(target):
        raise CommandError(f"there is no SQLite file {path}; {_CREATING}")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
            [count] = connection.execute(query, (f"{table_prefix}_entries",)).fetchone()
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise CommandError(f"{path} is not an SQLite database that can be read: {exc}") from exc
    if not count:
        raise CommandError(f"{path} has no tables of docshelf (prefix {table_prefix!r}); docshelf init creates them")
