"""Folders as sources: every file once, in the order in which they were written, a page at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from docshelf import ConfigurationError, DocShelf, DocShelfError, Item
from docshelf.moving import FolderSource, Record, Refused, folders, migrate
from docshelf.steps import Flow, perform


def source_of(path: Path) -> FolderSource:
    return FolderSource(path, lambda key, data: Refused(key, "", "empty") if not data else Item(key, data))


def pages_of(source: FolderSource) -> list[list[str]]:
    pages: list[list[str]] = []

    def take(page: Sequence[Record]) -> Flow[None]:
        pages.append([record.key for record in page if isinstance(record, Item)])
        yield from ()

    perform(source.read(take))
    return pages


def write(path: Path, count: int, size: int = 1) -> list[str]:
    """Files in two folders, whose names are in another order than their times."""
    names = [f"{'deep/' if number % 2 else ''}f{(number * 7) % count:03}" for number in range(count)]
    (path / "deep").mkdir()
    for number, name in enumerate(names):
        (path / name).write_bytes(b"x" * size)
        os.utime(path / name, (number, 1_000 + number))
    return names


@pytest.mark.parametrize("listed", [1, 2, 5, 22, 23, 24])
def test_no_file_is_lost_where_a_part_of_the_list_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    monkeypatch.setattr(folders, "_LISTED_FILES", listed)
    names = write(tmp_path, 23)
    source = source_of(tmp_path)
    assert [key for page in pages_of(source) for key in page] == names
    assert perform(source.count()) == 23


def test_a_page_holds_some_files_and_some_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = write(tmp_path, 10, size=100)
    monkeypatch.setattr(folders, "_PAGE_FILES", 4)
    assert [len(page) for page in pages_of(source_of(tmp_path))] == [4, 4, 2]
    monkeypatch.setattr(folders, "_PAGE_BYTES", 250)
    assert [len(page) for page in pages_of(source_of(tmp_path))] == [3, 3, 3, 1]
    assert [key for page in pages_of(source_of(tmp_path)) for key in page] == names


def test_an_empty_folder_is_a_source_of_nothing(tmp_path: Path) -> None:
    assert pages_of(source_of(tmp_path)) == []
    with DocShelf(tmp_path / "new.db") as shelf:
        (tmp_path / "old").mkdir()
        assert migrate(source_of(tmp_path / "old"), shelf).entries == 0


def test_a_folder_that_is_none_and_a_file_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match=r"there is no folder '.*file' to move from"):
        source_of(tmp_path / "file")
    source = source_of(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    for read in (lambda: pages_of(source), lambda: perform(source.count())):
        with pytest.raises(DocShelfError, match=r"the file '.*gone' cannot be read: No such file"):
            read()
