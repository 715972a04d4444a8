"""Holds the bytes of a call between its steps: in memory up to a budget, the rest in a temporary file."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from typing import BinaryIO, cast

from docshelf.errors import DocShelfError


class Spill:
    """Byte strings, stored one after the other.

    Memory holds the first `budget` bytes, an anonymous temporary file the rest. Where no temporary file can be made, as
    in a read-only container, memory holds everything. Not thread-safe: one thread at a time may use it.
    """

    def __init__(self, budget: int) -> None:
        # One array for all: memory that the process touches for the first time costs 1 µs for 2 KB.
        self._memory = bytearray()
        self._budget = budget
        self._file: BinaryIO | None = None
        self._end = 0
        self._closed = False

    def __len__(self) -> int:
        """The number of bytes that were put."""
        return self._end

    def put(self, data: bytes) -> int:
        """Store a byte string. Returns its start, for `get`.

        Raises:
            DocShelfError: the temporary file cannot be written, for example because the disk is full.
        """
        start = self._end
        self._end = end = start + len(data)
        if self._file is None and (end <= self._budget or not self._open_file()):
            self._memory += data
            return start
        file = cast("BinaryIO", self._file)
        try:
            file.seek(start - len(self._memory))  # `get` may have moved the position
            file.write(data)
        except (OSError, ValueError) as exc:
            raise _failed(exc) from exc
        return start

    def get(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`, all within one byte string that was put.

        Raises:
            DocShelfError: the temporary file cannot be read, or was not completely written.
        """
        in_memory = len(self._memory)
        if start < in_memory or not size:
            return bytes(memoryview(self._memory)[start : start + size])
        file = cast("BinaryIO", self._file)
        try:
            file.seek(start - in_memory)
            data = file.read(size)
        except (OSError, ValueError) as exc:
            raise _failed(exc) from exc
        if len(data) != size:
            raise _failed(f"it holds {len(data):,} of {size:,} bytes")
        return data

    def close(self) -> None:
        """Delete the file. The thread of a cancelled call may still try to write: it gets an error."""
        self._closed = True
        if self._file is not None:
            with suppress(OSError):  # `put` has already reported what could not be written
                self._file.close()

    def _open_file(self) -> bool:
        """False if no temporary file can be made."""
        if self._file is None:
            if self._closed:
                raise _failed("the call has ended")
            try:
                self._file = tempfile.TemporaryFile(prefix="docshelf-")  # noqa: SIM115 - close() closes it
            except OSError:
                self._budget = sys.maxsize
        return self._file is not None


def _failed(reason: object) -> DocShelfError:
    return DocShelfError(
        f"the temporary file for the items of this call: {reason}; free space in the folder of temporary files, set "
        "TMPDIR to another folder, or write in several calls"
    )
