"""Files as readers get them: their bytes, read whole and while nobody wrote to them."""

from __future__ import annotations

import io
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from docshelf.folder.scan import Found, suffix_of
from docshelf.folder.text import UnreadableError, decode

# How often a file is read again that changed meanwhile.
_ATTEMPTS: Final = 3
# A file that was modified so short a time ago may change again without another time: some file systems count seconds.
_SETTLED_NS: Final = 2_000_000_000


class File(os.PathLike[str]):
    """A file of the folder, which a reader makes documents of. It stands for its path wherever a path is taken.

    Attributes:
        path: where it is.
        name: its path below the folder, with forward slashes.
        data: its bytes. A reader that takes these sees what was hashed.
        encoding: the name of the encoding for `text`, or "detect".
        state: size, time of the last change in nanoseconds, and inode, when it was read.

    Example:
        >>> from pathlib import Path
        >>> def read_shouting(file):
        ...     return file.text.upper()
        >>> Path("notes").mkdir()
        >>> _ = Path("notes", "a.txt").write_text("Hello.", encoding="utf-8")
        >>> with DocShelf(":memory:") as shelf:
        ...     _ = sync_folder("notes", shelf, readers={".txt": read_shouting})
        ...     shelf.get("notes:a.txt").text
        'HELLO.'
    """

    def __init__(
        self, path: Path, name: str, data: bytes, encoding: str = "utf-8", state: tuple[int, int, int] | None = None
    ) -> None:
        self.path = path
        self.name = name
        self.data = data
        self.encoding = encoding
        self.state = state

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<File {self.name!r}, {len(self.data):,} bytes>"

    @property
    def suffix(self) -> str:
        """The last suffix of its name in lower case, with the dot."""
        return suffix_of(self.name)

    @property
    def text(self) -> str:
        """Its text, with line ends as "\\n"."""
        return decode(self.data, self.encoding)

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, 64 hexadecimal digits."""
        return sha256(self.data).hexdigest()

    def stream(self) -> io.BytesIO:
        """Its bytes as an open file."""
        return io.BytesIO(self.data)


def read_file(found: Found, encoding: str, max_bytes: int) -> File:
    """Read a file whole. One that is written to meanwhile is read again.

    Raises:
        UnreadableError: it is too large, or changed each time.
        OSError: the system did not let it be read.
    """
    path = Path(found.path)
    for _ in range(_ATTEMPTS):
        with path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            if before.st_size > max_bytes:
                raise UnreadableError(
                    f"it has {before.st_size:,} bytes, and max_file_bytes={max_bytes:,}; exclude it, or allow more"
                )
            data = stream.read(max_bytes + 1)
            after = os.fstat(stream.fileno())
        # Another file may have taken its place.
        now = path.stat()
        states = {_state_of(one) for one in (before, after, now)}
        if len(states) == 1 and len(data) == after.st_size:
            return File(path, found.name, data, encoding, states.pop())
    raise UnreadableError("it changes while it is read; the next run reads it again")


def has_changed(file: File) -> bool:
    """True if a file is another one than was read: a reader that opened its path may have seen that one."""
    try:
        return _state_of(file.path.stat()) != file.state
    except OSError:
        return True


def settled_time(file: File) -> int | None:
    """When a file was modified, in nanoseconds; None if that was just now, so that it may change unnoticed."""
    if file.state is None or file.state[1] >= time.time_ns() - _SETTLED_NS:
        return None
    return file.state[1]


def _state_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
