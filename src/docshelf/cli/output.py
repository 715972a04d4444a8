"""What the command writes: tables for people, lines for programs.

On a terminal a table has a header and fits the width. In a pipe there is one line for each row, without a header, its
cells separated by tabs. `--json` gives one JSON object per line, `--csv` a file for spreadsheets.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, TextIO

import orjson

from docshelf.display.html import size, visible

# Rows that are measured before the first is written: later ones are cut to the width of these.
_MEASURED: Final = 200
_GAP: Final = "  "
_NARROWEST: Final = 8
_ESCAPES: Final = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"})
_STYLES: Final[Mapping[str, str]] = {
    "bold": "1",
    "faint": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: the header, and the name in JSON.
        kind: "text", "count", "bytes" or "time": how people and programs read the cell.
        flexible: this column is cut where the table is wider than the terminal.
        style: the style of a cell, by its value.
    """

    name: str
    kind: str = "text"
    flexible: bool = False
    style: Callable[[Any], str] | None = None


Row = Sequence[Any]


@dataclass
class Output:
    """Where the command writes, and in which form.

    Attributes:
        form: "table", "lines", "json" or "csv".
        quiet: write no messages and no progress.
    """

    form: str
    quiet: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    @property
    def width(self) -> int:
        return shutil.get_terminal_size().columns

    @property
    def shows_progress(self) -> bool:
        """True where a person waits at a terminal."""
        return not self.quiet and is_terminal(self.err)

    def write(self, text: str) -> None:
        self.out.write(text)

    def line(self, text: str = "") -> None:
        self.out.write(f"{text}\n")

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.out.flush()
        binary = getattr(self.out, "buffer", None)
        if binary is None:
            self.out.write(data.decode("utf-8", "backslashreplace"))
        else:
            binary.write(data)
            binary.flush()

    def say(self, text: str) -> None:
        """Tell a person something that is not part of the result."""
        if not self.quiet:
            self.err.write(f"{text}\n")
            self.err.flush()

    def styled(self, text: str, style: str) -> str:
        """The text in a style, where the terminal shows it."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and has_colour(self.out) else text

    def json_line(self, value: Mapping[str, Any]) -> None:
        self.line(orjson.dumps(value, default=_for_json, option=orjson.OPT_NON_STR_KEYS).decode())

    def rows(self, columns: Sequence[Column], rows: Iterable[Row], *, empty: str = "") -> int:
        """Write rows as they come; returns how many there were.

        Args:
            empty: what to tell a person at a terminal where there are none.
        """
        writer = {"json": self._json, "csv": self._csv, "lines": self._lines}.get(self.form, self._table)
        count = 0

        def counted() -> Iterator[Row]:
            nonlocal count
            for row in rows:
                count += 1
                yield row

        writer(columns, counted())
        if not count and empty and self.form == "table":
            self.say(empty)
        return count

    def facts(self, facts: Mapping[str, tuple[Any, str]]) -> None:
        """Write named values, each with its kind: one below the other for people, one object as JSON."""
        if self.form == "json":
            self.json_line({name: value for name, (value, _) in facts.items()})
        elif self.form == "csv":
            self._csv([Column(name) for name in facts], [[value for value, _ in facts.values()]])
        elif self.form == "lines":
            self._lines([Column("name"), Column("value")], [[name, value] for name, (value, _) in facts.items()])
        else:
            longest = max(map(len, facts))
            for name, (value, kind) in facts.items():
                self.line(f"{self.styled(name.ljust(longest), 'faint')}{_GAP}{for_people(value, kind)}")

    def _json(self, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        for row in rows:
            self.json_line({column.name: cell for column, cell in zip(columns, row, strict=True)})

    def _csv(self, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        writer = csv.writer(self.out, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        for row in rows:
            writer.writerow([for_programs(cell) for cell in row])

    def _lines(self, _columns: Sequence[Column], rows: Iterable[Row]) -> None:
        for row in rows:
            self.line("\t".join(for_programs(cell).translate(_ESCAPES) for cell in row))

    def _table(self, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        def texts_of(row: Row) -> list[str]:
            return [for_people(cell, column.kind) for cell, column in zip(row, columns, strict=True)]

        lines = ((row, texts_of(row)) for row in rows)
        measured = list(islice(lines, _MEASURED))
        if not measured:
            return
        widths = self._widths(columns, [texts for _, texts in measured])
        header = [self._cell(column.name, width, column) for column, width in zip(columns, widths, strict=True)]
        self.line(self.styled(_GAP.join(header).rstrip(), "bold"))
        for row, texts in chain(measured, lines):
            parts = []
            for cell, text, column, width in zip(row, texts, columns, widths, strict=True):
                part = self._cell(text, width, column)
                parts.append(self.styled(part, column.style(cell)) if column.style else part)
            self.line(_GAP.join(parts).rstrip())

    def _widths(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
        """The width of each column; flexible ones share what is left of the terminal."""
        widths = [max(display_width(text) for text in column) for column in zip(*rows, strict=True)]
        widths = [max(width, display_width(column.name)) for width, column in zip(widths, columns, strict=True)]
        if not is_terminal(self.out):
            return widths
        flexible = [position for position, column in enumerate(columns) if column.flexible]
        over = sum(widths) + len(_GAP) * (len(widths) - 1) - self.width
        while over > 0 and flexible:
            widest = max(flexible, key=lambda position: widths[position])
            if widths[widest] <= _NARROWEST:
                break
            cut = min(over, max(1, widths[widest] - _NARROWEST, 1) // 2 + 1)
            widths[widest] -= cut
            over -= cut
        return widths

    def _cell(self, text: str, width: int, column: Column) -> str:
        text = fitted(text, width) if column.flexible and is_terminal(self.out) else text
        padding = " " * max(0, width - display_width(text))
        return padding + text if column.kind in ("count", "bytes") else text + padding


def is_terminal(stream: Any) -> bool:
    """True for a stream that a person looks at."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def has_colour(stream: Any) -> bool:
    """True for a terminal that shows colours, unless NO_COLOR is set (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return False
    return sys.platform != "win32" or "WT_SESSION" in os.environ


def for_people(value: Any, kind: str = "text") -> str:
    """A value as a person reads it, on one line."""
    if value is None:
        return ""
    if kind == "bytes" and isinstance(value, int):
        return size(value)
    if kind == "count" and isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return visible(str(value))


def for_programs(value: Any) -> str:
    """A value as a program reads it: text as it is, times as ISO 8601, everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return orjson.dumps(value, default=_for_json, option=orjson.OPT_NON_STR_KEYS).decode()


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def fitted(text: str, width: int) -> str:
    """The beginning of a text that fits, with a sign where it was cut."""
    if display_width(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _character_width(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _for_json(value: Any) -> Any:
    """What orjson does not know, as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
