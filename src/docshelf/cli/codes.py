"""The exit codes of the command."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
IN_PART: Final = 3
REFUSED: Final = 4
WOULD_CHANGE: Final = 5
# As a shell reports a process that Ctrl-C ended.
INTERRUPTED: Final = 130

MEANINGS: Final = {
    DONE: "done; for verify and doctor: healthy",
    FAILED: "failed, or verify and doctor found something wrong",
    USAGE: "an argument is invalid",
    IN_PART: "done in part",
    REFUSED: "refused by a guard: it would delete too much",
    WOULD_CHANGE: "something would change (--dry-run, diff, init --check)",
    INTERRUPTED: "interrupted by Ctrl-C",
}


class CommandError(Exception):
    """An error whose text is for the person at the terminal.

    Args:
        text: what is wrong, and what to do.
        code: the exit code.
    """

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code
