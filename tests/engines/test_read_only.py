"""An SQLite file that may only be read: by its options, or because of the rights on its folder."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from docshelf import DatabaseError, DocShelf, DocShelfError
from tests.support.face import Face, Loop

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one entry, closed cleanly, in a folder with a name that a URI must quote."""
    folder = tmp_path / "a folder#1"
    folder.mkdir()
    with DocShelf(folder / "docs 100%.db") as shelf:
        shelf.sync({"k": "value"}, source="s", fingerprint="f")
    return folder / "docs 100%.db"


@pytest.mark.parametrize("option", ["mode=ro", "immutable=1"])
def test_a_file_is_read_and_never_written(file: Path, option: str, mode: str, loop: Loop) -> None:
    before = file.read_bytes()
    face = Face(DocShelf(f"sqlite:///{file}?{option}"), mode, loop)
    assert (face.get("k"), face.count(), face.changed_sources({"s": "f"})) == ("value", 1, [])
    assert face.conditional_set("k", "value", source="s") == ("k", "SKIP")
    with pytest.raises(DatabaseError, match="open the file without mode=ro"):
        face.set("k", "other")
    face.close()
    assert file.read_bytes() == before


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with DocShelf(f"sqlite:///{tmp_path / 'absent.db'}?mode=ro") as shelf, pytest.raises(DatabaseError, match="unable"):
        shelf.get("k")
    assert list(tmp_path.iterdir()) == []


def _read_as_nobody(urls: list[str], pipe: Any) -> None:
    if os.getuid() == 0:  # nobody restricts root
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for url in urls:
        with DocShelf(url) as shelf:
            try:
                pipe.send(shelf.get("k"))
            except DocShelfError as exc:
                pipe.send(f"{type(exc).__name__}: {exc}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_file_in_a_folder_that_may_not_be_written_is_read_or_the_error_says_how(file: Path) -> None:
    file.chmod(0o444)
    file.parent.chmod(0o555)
    if os.getuid() == 0:
        for parent in [parent for parent in file.parent.parents if parent.stat().st_uid == 0][:-1]:
            parent.chmod(parent.stat().st_mode | 0o011)
    urls = [f"sqlite:///{file}?immutable=1", str(file), f"sqlite:///{file}?mode=ro"]
    context = multiprocessing.get_context("fork")
    pipe, other = context.Pipe()
    process = context.Process(target=_read_as_nobody, args=(urls, other))
    process.start()
    other.close()
    try:
        answers = [pipe.recv() for _ in urls]
    finally:
        process.join()
        pipe.close()
        file.parent.chmod(0o755)
    assert answers[0] == "value"
    for answer in answers[1:]:
        assert answer == "value" or "?immutable=1" in answer
