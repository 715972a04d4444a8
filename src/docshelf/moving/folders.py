"""Folders in which each file is a value, read in the order in which the files were written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from docshelf.errors import ConfigurationError, DocShelfError
from docshelf.moving.ends import Record, Source, Take
from docshelf.moving.sorting import SortedRecords
from docshelf.steps import Compute, Flow

_PAGE_FILES: Final = 500
_PAGE_BYTES: Final = 8 * 1024 * 1024
_LISTED_FILES: Final = 5_000


class FolderSource(Source):
    """The files of a folder and its folders: keys are their paths, with slashes.

    Args:
        path: the folder.
        record: makes a record of a key and the bytes of its file.

    Raises:
        ConfigurationError: there is no such folder.
    """

    def __init__(self, path: str | os.PathLike[str], record: Callable[[str, bytes], Record]) -> None:
        self._path = Path(path)
        self._record = record
        if not self._path.is_dir():
            raise ConfigurationError(f"there is no folder {os.fspath(path)!r} to move from")

    def count(self) -> Flow[int]:
        """How many files there are."""
        count: int = yield Compute(lambda: sum(1 for _ in self._files()))
        return count

    def read(self, take: Take) -> Flow[None]:
        """Read every file, the one that was written first first."""
        with SortedRecords() as files:
            listed = self._files()
            while found := (yield Compute(_some, listed)):
                yield Compute(files.add, found)
            pages = self._pages(iter(files))
            while page := (yield Compute(next, pages, [])):
                yield from take(page)

    def _files(self) -> Iterator[tuple[int, str]]:
        for folder, _, names in os.walk(self._path):
            for name in names:
                path = Path(folder, name)
                try:
                    yield path.stat().st_mtime_ns, path.relative_to(self._path).as_posix()
                except OSError as exc:
                    raise _unreadable(path, exc) from exc

    def _pages(self, files: Iterator[tuple[Any, ...]]) -> Iterator[list[Record]]:
        page: list[Record] = []
        held = 0
        for _, key in files:
            path = self._path / key
            try:
                data = path.read_bytes()
            except OSError as exc:
                raise _unreadable(path, exc) from exc
            page.append(self._record(key, data))
            held += len(data)
            if held >= _PAGE_BYTES or len(page) >= _PAGE_FILES:
                yield page
                page, held = [], 0
        if page:
            yield page


def _some(files: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    return list(islice(files, _LISTED_FILES))


def _unreadable(path: Path, exc: OSError) -> DocShelfError:
    return DocShelfError(f"the file {os.fspath(path)!r} cannot be read: {exc.strerror or exc}")
