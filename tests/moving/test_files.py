"""Files of exports: whole or not there, continued wherever they were cut, read as often as needed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import threading
from pathlib import Path

import pytest

from docshelf import BadFileError, ConfigurationError, DocShelfError
from docshelf.moving.files import Writer, is_export_name, opened

HEADER = b'{"kind":"header","format":1}\n'
LINES = [b'{"kind":"%s","n":%d,"text":"%s"}\n' % ((b"entry", b"source")[n % 2], n, b"x" * (n % 40)) for n in range(60)]
END = b'{"kind":"end"}\n'
LIMIT = 10_000


def write(path: Path, *, resume: bool = True) -> Writer:
    """Write what is missing of the file, five lines at a time."""
    writer = Writer(path, HEADER, resume=resume)
    rest = LINES[writer.lines - 1 :]
    for start in range(0, len(rest), 5):
        writer.write(rest[start : start + 5])
    assert not path.exists(), "it has its name only when it is whole"
    writer.finish(END)
    return writer


def read(path: Path) -> list[bytes]:
    with opened(path, LIMIT) as reader:
        found = list(reader.lines())
        assert list(reader.lines()) == found
        return found


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
class TestWriter:
    def test_a_file_is_continued_wherever_it_was_cut(self, tmp_path: Path, name: str) -> None:
        path, part = tmp_path / name, tmp_path / f"{name}.part"
        whole = write(path)
        assert read(path) == [HEADER, *LINES, END]
        assert (whole.lines, whole.sha256) == (62, hashlib.sha256(b"".join([HEADER, *LINES, END])).hexdigest())
        data, chosen = path.read_bytes(), random.Random(1)
        for length in [0, 1, len(data), *(chosen.randrange(len(data)) for _ in range(40))]:
            path.unlink()
            # The last line of a file that was not finished is missing.
            part.write_bytes(data[: min(length, len(data) - (len(END) if name == "a.jsonl" else 30))])
            again = write(path)
            assert (again.lines, again.sha256) == (whole.lines, whole.sha256)
            entries, sources = again.resumed_counts
            assert 0 <= entries - sources <= 1
            assert read(path) == [HEADER, *LINES, END]
            assert not part.exists()

    def test_a_part_of_another_export_and_resume_false_begin_anew(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        other = Writer(path, b'{"kind":"header","other":1}\n', resume=True)
        other.write(LINES)
        other.close()
        assert write(path).resumed_counts == (0, 0)
        assert read(path) == [HEADER, *LINES, END]
        path.unlink()
        mine = Writer(path, HEADER, resume=True)
        mine.write(LINES[:7])
        mine.close()
        assert write(path, resume=False).resumed_counts == (0, 0)
        assert read(path) == [HEADER, *LINES, END]

    def test_a_line_that_is_too_long_is_told(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        write(path)
        with opened(path, 30) as reader, pytest.raises(BadFileError, match=r"a line of more than 30 bytes"):
            list(reader.lines())


def test_names_and_places_that_will_not_do_are_told(tmp_path: Path) -> None:
    assert [is_export_name(name) for name in ("a.jsonl", Path("a.jsonl.zst"), "a.json", 7)] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(ConfigurationError, match=r"'a.csv' has another suffix than .jsonl or .jsonl.zst"):
        Writer(tmp_path / "a.csv", HEADER, resume=True)
    with pytest.raises(DocShelfError, match=r"the export '.*a\.jsonl' cannot be written: No such file"):
        Writer(tmp_path / "no" / "a.jsonl", HEADER, resume=True)
    with pytest.raises(BadFileError, match=r"a\.jsonl' cannot be read: No such file"), opened(tmp_path / "a.jsonl", 9):
        pass


def test_an_open_file_a_named_pipe_and_a_stream_are_read_twice(tmp_path: Path) -> None:
    data = b"".join([HEADER, *LINES, END])
    with opened(io.BytesIO(data), LIMIT) as reader:
        assert list(reader.lines()) == list(reader.lines()) == [HEADER, *LINES, END]
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(data,))
    writing.start()
    assert read(pipe) == [HEADER, *LINES, END]
    writing.join()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(DocShelfError, match="the export cannot be written: No space left on device"):
        Writer(Full(), HEADER, resume=True)
