"""The stores of frameworks that installed packages offer to the option `--store`.

A package names a store as an entry point of the group `docshelf.stores`: a class that takes `shelf=`, a `DocShelf`.
"""

from __future__ import annotations

from argparse import ArgumentParser
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from docshelf.cli.codes import USAGE, CommandError
from docshelf.store import DocShelf

_GROUP: Final = "docshelf.stores"


def add_store(parser: ArgumentParser) -> None:
    """Add the option --store."""
    # Not a list of what is installed: to look for it would slow down every start of the command.
    parser.add_argument("--store", metavar="NAME", help="write as this framework's store does: langchain, llama-index")


def store_on(shelf: DocShelf, name: str | None) -> Any:
    """A store of a framework on a shelf; the shelf itself for None.

    Raises:
        CommandError: no package offers it, or its framework is not installed.
    """
    if name is None:
        return shelf
    found = _found().get(name)
    if found is None:
        known = ", ".join(sorted(_found()))
        raise CommandError(f"no installed package has a store {name!r}; there is {known}", USAGE)
    try:
        return found.load()(shelf=shelf)
    except ImportError as exc:
        raise CommandError(str(exc)) from exc


def _found() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=_GROUP)}
