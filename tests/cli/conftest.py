"""The command on each backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from docshelf import DocShelf, Document, Item
from tests.conftest import Location
from tests.support.command import Command


@pytest.fixture(params=["sqlite", "pg18"])
def location(request: pytest.FixtureRequest, new_location: Callable[[str], Location]) -> Location:
    """A fresh place for tables. Other servers and drivers are the business of the store's own tests."""
    return new_location(request.param)


@pytest.fixture
def command(location: Location, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command on a database without tables."""
    return Command(location.url, capsys)


@pytest.fixture
def shelf(location: Location) -> Iterator[DocShelf]:
    """A store with entries of each kind, in two sources."""
    with DocShelf(location.url) as shelf:
        shelf.sync(
            [
                Item("a", Document("Call me Ishmael.\nSome years ago", {"author": "Melville", "year": 1851})),
                Item(
                    "b", Document("Emma Woodhouse", {"author": "Austen", "year": 1815, "tags": ["novel"]}), version="v1"
                ),
            ],
            source="books.md",
            fingerprint="f1",
            metadata={"pages": 3},
        )
        shelf.mset({"bytes": b"\x00\xff", "dict": {"author": "Ann", "n": 1}, "text": "tab\tand\nline", "ünï": 5})
        yield shelf
