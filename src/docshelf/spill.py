"""Where a call keeps byte strings between its steps: in memory, and past a budget in a temporary file."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from typing import BinaryIO, cast

from docshelf.errors import DocShelfError

Held = bytes | int
"""A byte string that is kept: itself, or where it begins in the file."""


class Spill:
    """Byte strings, of which memory holds so many bytes; a file that nobody else sees takes the rest.

    Where no temporary file can be made, as in a container that may not write anywhere, memory holds them all. One
    thread at a time may use it.
    """

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._file: BinaryIO | None = None
        self._end = 0
        self._closed = False

    def put(self, data: bytes) -> Held:
        """Keep a byte string; what it returns is what `get` takes.

        Raises:
            DocShelfError: the temporary file cannot be written, because the disk is full for example.
        """
        self._left -= len(data)
        if self._left >= 0 or not self._opened():
            # A copy: what orjson 3.13 returns holds on to a buffer of eight times its length.
            return bytes(memoryview(data))
        start = self._end
        try:
            cast("BinaryIO", self._file).write(data)
        except (OSError, ValueError) as exc:
            raise _failed(exc) from exc
        self._end += len(data)
        return start

    def get(self, held: Held, size: int) -> bytes:
        """The byte string, of so many bytes.

        Raises:
            DocShelfError: the temporary file cannot be read, or was never wholly written.
        """
        if isinstance(held, bytes):
            return held
        file = cast("BinaryIO", self._file)
        try:
            file.seek(held)
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
                self._left = sys.maxsize
        return self._file is not None


def _failed(reason: object) -> DocShelfError:
    return DocShelfError(
        f"the temporary file for what one call writes: {reason}; make room in the folder of temporary files, name "
        "another in TMPDIR, or write in several calls"
    )
