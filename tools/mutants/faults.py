"""Reads the faults of a room."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = Path(__file__).parent


class WrongError(Exception):
    """A file of faults, or a fault, that cannot be used."""


class Fault(NamedTuple):
    """One edit of a file.

    Attributes:
        file: the path, from the top of the project.
        old: the lines that it replaces.
        new: what stands there instead.
        first: the files of tests that run before the others, as they notice it soonest.
    """

    file: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    first: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """One line that tells it from others."""
        old, new = (" ".join(line.strip() for line in lines) for lines in (self.old, self.new))
        return f"{self.file.rpartition('/')[2]}: {old[:90]} -> {new[:60] or 'nothing'}"

    def put_into(self, root: Path) -> str:
        """The text of its file under `root`, with the fault.

        Raises:
            WrongError: its lines do not occur once, or the file is no Python with it.
        """
        lines = (root / self.file).read_text(encoding="utf-8").split("\n")
        size = len(self.old)
        places = [at for at in range(len(lines) - size + 1) if tuple(lines[at : at + size]) == self.old]
        if len(places) != 1:
            raise WrongError(f"{self.name}: its lines occur {len(places)} times in {self.file}; it has to be once")
        [at] = places
        text = "\n".join([*lines[:at], *self.new, *lines[at + size :]])
        try:
            compile(text, self.file, "exec")
        except SyntaxError as exc:
            raise WrongError(f"{self.name}: {exc}") from exc
        return text


class Room(NamedTuple):
    """Faults that the same tests have to notice.

    Attributes:
        name: the name of its file.
        tests: arguments of pytest.
        faults: the faults, in order.
    """

    name: str
    tests: tuple[str, ...]
    faults: tuple[Fault, ...]

    def tests_of(self, fault: Fault) -> list[str]:
        """Arguments of pytest for one fault."""
        return [*fault.first, *(test for test in self.tests if test not in fault.first)]


def read_room(path: Path) -> Room:
    """The faults of a file.

    Raises:
        WrongError: a line cannot be read.
    """
    tests: list[str] = []
    faults: list[Fault] = []
    file = ""
    first: tuple[str, ...] = ()
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if not line.startswith("#")]
    for is_edit, group in groupby(lines, lambda line: line.startswith(("-", "+"))):
        if is_edit:
            edit = list(group)
            faults.append(Fault(file, tuple(_marked(edit, "-")), tuple(_marked(edit, "+")), first))
            continue
        for line in filter(None, group):
            word, _, rest = line.partition(" ")
            if word == "tests":
                tests += shlex.split(rest)
            elif word == "file":
                file, first = rest, ()
            elif word == "first":
                first = tuple(shlex.split(rest))
            else:
                raise WrongError(f"{path.name}: {line!r} is neither `tests`, `file`, `first`, a fault nor a comment")
    return Room(path.stem, tuple(tests), tuple(faults))


def read_rooms() -> list[Room]:
    """All rooms that have faults."""
    return [read_room(path) for path in sorted(FOLDER.glob("*.diff"))]


def _marked(lines: list[str], mark: str) -> Iterator[str]:
    return (line[1:] for line in lines if line.startswith(mark))
