"""The stores of frameworks that installed packages offer to `docshelf migrate --store`.

A package names a store as an entry point of the group `docshelf.stores`: a class that takes `shelf=`, a `DocShelf`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from docshelf.cli.codes import USAGE, CommandError
from docshelf.store import DocShelf

_GROUP: Final = "docshelf.stores"


def store_on(shelf: DocShelf, name: str) -> Any:
    """A store of a framework on a shelf.

    Raises:
        CommandError: no package offers it, or its framework is not installed.
    """
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
