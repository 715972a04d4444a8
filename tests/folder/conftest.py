"""A folder to sync, `sync_folder` and its twin under one face, and which files a run read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docshelf import DocShelf
from docshelf.folder import FolderReport, async_folder, sync_folder
from docshelf.folder import files as folder_files
from docshelf.folder import run as folder_run
from tests.conftest import Location
from tests.support.face import Loop

# In the past, so that a file counts as settled.
_START = 1_700_000_000


class Tree:
    """A folder whose files have times in the past, each another one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._clock = _START
        root.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.touch(name)
        return path

    def touch(self, name: str) -> None:
        """Give a file another time."""
        self._clock += 10
        os.utime(self.root / name, (self._clock, self._clock))

    def move(self, old: str, new: str) -> None:
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).rename(self.root / new)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


class Syncing:
    """`sync_folder`, or in mode "async" its twin, of one folder."""

    def __init__(self, tree: Tree, mode: str, loop: Loop) -> None:
        self._tree = tree
        self._mode = mode
        self._loop = loop

    def __call__(self, target: Any, path: Path | None = None, **options: Any) -> FolderReport:
        root = self._tree.root if path is None else path
        if self._mode == "sync":
            return sync_folder(root, target, **options)
        return self._loop.run(async_folder(root, target, **options))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "docs")


@pytest.fixture
def sync(tree: Tree, mode: str, loop: Loop) -> Syncing:
    """Sync and async."""
    return Syncing(tree, mode, loop)


@pytest.fixture
def sync_once(tree: Tree, loop: Loop) -> Syncing:
    """For what both modes have in common."""
    return Syncing(tree, "sync", loop)


@pytest.fixture
def any_shelf(location: Location, loop: Loop) -> Iterator[DocShelf]:
    """A shelf on each backend."""
    with DocShelf(location.url) as shelf:
        yield shelf
        loop.run(shelf.aclose())


@pytest.fixture
def shelf(new_location: Callable[[str], Location], loop: Loop) -> Iterator[DocShelf]:
    """A shelf in an SQLite file."""
    with DocShelf(new_location("sqlite").url) as shelf:
        yield shelf
        loop.run(shelf.aclose())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, in order."""
    names: list[str] = []
    original = folder_files.read_file

    def read_file(found: Any, *arguments: Any) -> Any:
        names.append(found.name)
        return original(found, *arguments)

    monkeypatch.setattr(folder_run, "read_file", read_file)
    return names


def texts_of(shelf: DocShelf) -> dict[tuple[str, str], str]:
    """The texts of all documents, by source and key."""
    found = {}
    for source in shelf.sources():
        for entry in shelf.source_entries([source.source])[0]:
            found[source.source, entry.key] = entry.value.text
    return found
