"""Files of exports: written under another name until they are whole, compressed by suffix, read as often as needed."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from docshelf.errors import BadFileError, ConfigurationError, DocShelfError

Destination = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file that is open."""

_SUFFIXES: Final = (".jsonl", ".jsonl.zst")
_COMPRESSED: Final = ".zst"
_PART: Final = ".part"
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LEVEL: Final = 3
# How the lines begin that the last line counts.
_COUNTED: Final = (b'{"kind":"entry"', b'{"kind":"source"')
_BLOCK: Final = 1024 * 1024


def is_export_name(path: object) -> bool:
    """True for the name of an export: it ends with .jsonl or .jsonl.zst."""
    return isinstance(path, str | os.PathLike) and os.fspath(path).endswith(_SUFFIXES)


class Writer:
    """Writes lines, and knows how many there are and what their SHA-256 is.

    A path gets its name when `finish` is called; until then the lines are in a file beside it that ends with ".part".
    A writer of the same path continues after the last whole line of such a file, if its first line is the same.

    Args:
        destination: where to write. A path that ends with ".zst" is compressed.
        header: the first line.
        resume: False begins anew.

    Raises:
        ConfigurationError: the path has another suffix.
        DocShelfError: the file cannot be written.
    """

    def __init__(self, destination: Destination, header: bytes, *, resume: bool) -> None:
        self.lines = 0
        self._digest = hashlib.sha256()
        self._path: Path | None = None
        self._compressor: zstandard.ZstdCompressor | None = None
        # Of the part that an earlier writer left: entries, sources, and the last lines.
        self.resumed_counts = (0, 0)
        self.resumed_last: list[bytes] = []
        if not isinstance(destination, str | os.PathLike):
            self._file: BinaryIO = destination
            self.write([header])
            return
        path = Path(destination)
        if not is_export_name(path):
            raise ConfigurationError(f"the export {path.name!r} has another suffix than {' or '.join(_SUFFIXES)}")
        self._path = path
        if path.name.endswith(_COMPRESSED):
            self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        try:
            self._file = self._part.open("r+b" if resume and self._part.exists() else "w+b")
            end = self._continue(header) if resume else 0
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as exc:
            raise _failed(path, exc) from exc
        if not self.lines:
            self.write([header])

    @property
    def _part(self) -> Path:
        assert self._path is not None
        return self._path.with_name(self._path.name + _PART)

    @property
    def sha256(self) -> str:
        """SHA-256 of all lines so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines, each with its line end. Compressed, they are one frame.

        Raises:
            DocShelfError: the file cannot be written.
        """
        data = b"".join(lines)
        self.lines += len(lines)
        self._digest.update(data)
        try:
            self._file.write(data if self._compressor is None else self._compressor.compress(data))
        except OSError as exc:
            raise _failed(self._path, exc) from exc

    def finish(self, last: bytes) -> None:
        """Write the last line, and give the file its name.

        Raises:
            DocShelfError: the file cannot be written.
        """
        self.write([last])
        try:
            self._file.flush()
            if self._path is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._part.replace(self._path)
        except OSError as exc:
            raise _failed(self._path, exc) from exc

    def close(self) -> None:
        """Close the file of a path. What was written stays, for the next writer."""
        if self._path is not None:
            self._file.close()

    def _continue(self, header: bytes) -> int:
        """Take the whole lines of a part of the same export as written. Returns where to write on."""
        end = 0
        for lines, position in _whole_lines(self._file, compressed=self._compressor is not None):
            if not end and lines[0] != header:
                return 0
            self.lines += len(lines)
            self._digest.update(b"".join(lines))
            counts = (sum(line.startswith(kind) for line in lines) for kind in _COUNTED)
            self.resumed_counts = (self.resumed_counts[0] + next(counts), self.resumed_counts[1] + next(counts))
            self.resumed_last = lines
            end = position
        return end


def _whole_lines(file: BinaryIO, *, compressed: bool) -> Iterator[tuple[list[bytes], int]]:
    """The lines of a file that may be cut short, some at a time, and the position after them."""
    file.seek(0)
    if not compressed:
        position = 0
        while lines := file.readlines(_BLOCK):
            if not lines[-1].endswith(b"\n"):
                lines.pop()
            if lines:
                position += sum(map(len, lines))
                yield lines, position
        return
    position, rest = 0, b""
    while True:
        frame, parts = zstandard.ZstdDecompressor().decompressobj(), []
        while not frame.eof:
            block = rest or file.read(_BLOCK)
            rest = b""
            if not block:
                return
            position += len(block)
            try:
                parts.append(frame.decompress(block))
            except zstandard.ZstdError:
                return
        rest = frame.unused_data
        position -= len(rest)
        yield b"".join(parts).splitlines(keepends=True), position


class Reader:
    """Reads the lines of an export from the beginning, as often as wanted."""

    def __init__(self, file: BinaryIO, name: str, max_line_bytes: int) -> None:
        self.name = name
        self._file = file
        self._max_line_bytes = max_line_bytes

    def lines(self) -> Iterator[bytes]:
        """Each line with its line end. The last one has none if the file is cut short.

        Raises:
            BadFileError: a line is too long, or the compression is broken.
        """
        self._file.seek(0)
        compressed = self._file.read(len(_MAGIC)) == _MAGIC
        self._file.seek(0)
        stream: BinaryIO = self._file
        if compressed:
            decompressor = zstandard.ZstdDecompressor()
            opened = decompressor.stream_reader(self._file, read_across_frames=True, closefd=False)
            stream = io.BufferedReader(opened, _BLOCK)
        try:
            while line := stream.readline(self._max_line_bytes + 1):
                if len(line) > self._max_line_bytes:
                    raise BadFileError(f"{self.name}: a line of more than {self._max_line_bytes:,} bytes")
                yield line
        except zstandard.ZstdError as exc:
            raise BadFileError(f"{self.name}: the compression is broken ({exc}); make the export again") from exc


@contextmanager
def opened(origin: Destination, max_line_bytes: int) -> Iterator[Reader]:
    """An export to read. A pipe is copied to a temporary file first, since an import reads twice.

    Raises:
        BadFileError: the file cannot be read.
    """
    if not isinstance(origin, str | os.PathLike):
        with _spooled(origin) as file:
            yield Reader(file, "the export", max_line_bytes)
        return
    path = Path(origin)
    try:
        file = path.open("rb")
    except OSError as exc:
        raise BadFileError(f"{os.fspath(path)!r} cannot be read: {exc.strerror or exc}") from exc
    with file:
        if path.is_file():
            yield Reader(file, os.fspath(path), max_line_bytes)
        else:
            with _spooled(file) as copy:
                yield Reader(copy, os.fspath(path), max_line_bytes)


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(prefix="docshelf-") as copy:
        try:
            shutil.copyfileobj(stream, copy, _BLOCK)
        except OSError as exc:
            raise DocShelfError(
                f"the export cannot be copied to a temporary file ({exc}); make room in the folder of temporary files, "
                "name another in TMPDIR, or give the path of a file"
            ) from exc
        yield copy


def _failed(path: Path | None, exc: OSError) -> DocShelfError:
    where = "the export" if path is None else f"the export {os.fspath(path)!r}"
    return DocShelfError(f"{where} cannot be written: {exc.strerror or exc}")
