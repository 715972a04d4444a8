"""Where a call keeps byte strings between its steps: in memory, and past a budget in a temporary file."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from typing import BinaryIO, cast

from docshelf.errors import DocShelfError


class Spill:
    """Byte strings one after the other, of which memory holds so many bytes; a file that nobody else sees has the rest.

    Where no temporary file can be made, as in a container that may not write anywhere, memory holds them all. One
    thread at a time may use it.
    """

    def __init__(self, budget: int) -> None:
        # One array, not an object for each: memory that the process touches for the first time costs 1 µs for 2 KB.
        self._memory = bytearray()
        self._budget = budget
        self._file: BinaryIO | None = None
        self._end = 0
        self._closed = False

    def __len__(self) -> int:
        """Bytes that were put."""
        return self._end

    def put(self, data: bytes) -> int:
        """Keep a byte string; what it returns is where `get` finds it, and parts of it.

        Raises:
            DocShelfError: the temporary file cannot be written, because the disk is full for example.
        """
        start = self._end
        self._end = end = start + len(data)
        if self._file is None and (end <= self._budget or not self._opened()):
            self._memory += data
            return start
        try:
            cast("BinaryIO", self._file).write(data)
        except (OSError, ValueError) as exc:
            raise _failed(exc) from exc
        return start

    def get(self, start: int, size: int) -> bytes:
        """So many bytes that begin there, of one byte string that was put.

        Raises:
            DocShelfError: the temporary file cannot be read, or was never wholly written.
        """
        kept = len(self._memory)
        if start < kept or not size:
            return bytes(memoryview(self._memory)[start : start + size])
        file = cast("BinaryIO", self._file)
        try:
            file.seek(start - kept)
            data = file.read(size)
        except (OSError, ValueError) as exc:
            raise _failed(exc) from exc
        if len(data) != size:
            raise _failed(f"it holds {len(data):,} of {size:,} bytes")
        return data

    def close(self) -> None:
        """Let go of the file. The thread of a call that was cancelled may still come to write: it gets an error."""
        self._closed = True
        if self._file is not None:
            with suppress(OSError):  # of what could not be written, it was told
                self._file.close()

    def _opened(self) -> bool:
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
        f"the temporary file for what one call writes: {reason}; make room in the folder of temporary files, name "
        "another in TMPDIR, or write in several calls"
    )
