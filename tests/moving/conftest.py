"""The functions of `docshelf.moving` under one face, sync and async, and shelves to move between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from docshelf import DocShelf, moving
from tests.conftest import Location
from tests.support.face import Loop


class Moving:
    """The functions of `docshelf.moving`, called as sync ones; under mode "async" their twins run in a loop."""

    def __init__(self, mode: str, loop: Loop) -> None:
        self.mode = mode
        self.loop = loop

    def __getattr__(self, name: str) -> Any:
        if self.mode == "sync":
            return getattr(moving, name)
        twin = getattr(moving, f"a{name}")
        return lambda *args, **options: self.loop.run(twin(*args, **options))


@pytest.fixture
def move(mode: str, loop: Loop) -> Moving:
    return Moving(mode, loop)


@pytest.fixture
def new_shelf(new_location: Callable[[str], Location], loop: Loop) -> Iterator[Callable[..., DocShelf]]:
    """Makes shelves at fresh places; all are closed after the test."""
    shelves: list[DocShelf] = []

    def make(backend: str = "sqlite", collection: str = "default", **options: Any) -> DocShelf:
        shelves.append(DocShelf(new_location(backend).url, collection, **options))
        return shelves[-1]

    yield make
    for shelf in shelves:
        loop.run(shelf.aclose())
        shelf.close()


@pytest.fixture
def shelf(location: Location, loop: Loop) -> Iterator[DocShelf]:
    """A shelf on each backend."""
    with DocShelf(location.url) as shelf:
        yield shelf
        loop.run(shelf.aclose())
