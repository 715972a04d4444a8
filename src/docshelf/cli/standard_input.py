"""The standard input, read so that Ctrl-C ends a read at once."""

from __future__ import annotations

import sys
from typing import Any, Final

_PART: Final = 65_536


def raw_input() -> Any:
    """The binary file itself, whose `read` returns what is there.

    A buffered one goes on until its buffer is full, and does not notice a Ctrl-C that comes together with a part.
    """
    return getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)


def everything() -> bytes:
    """All that the standard input gives, to its end."""
    file, parts = raw_input(), []
    while part := file.read(_PART):
        parts.append(part)
    return b"".join(parts)
