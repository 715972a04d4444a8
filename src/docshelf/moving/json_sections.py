"""A JSON file that is an object of objects, read entry by entry, so that it may be larger than memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from docshelf.errors import BadFileError

_BLOCK: Final = 1024 * 1024
_BLANKS: Final = " \t\n\r"
_AFTER_NUMBERS: Final = frozenset(_BLANKS + ",:}")


def json_sections(path: str | os.PathLike[str], max_value_chars: int = 512 * _BLOCK) -> Iterator[tuple[str, str, Any]]:
    """For each entry of each section of a file: the name of the section, the key, and the value.

    Args:
        path: a JSON file, an object whose values are objects.
        max_value_chars: how long the text of one value may be.

    Raises:
        BadFileError: it is no such file, is cut short, or cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from _Scanner(file, os.fspath(path), max_value_chars).sections()
    except (OSError, UnicodeDecodeError) as exc:
        raise BadFileError(f"{os.fspath(path)!r} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


class _Scanner:
    """Text of a file of which only a window is in memory."""

    def __init__(self, file: TextIO, name: str, max_value_chars: int) -> None:
        self._file = file
        self._name = name
        self._max_value_chars = max_value_chars
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def sections(self) -> Iterator[tuple[str, str, Any]]:
        for section in self._keys():
            for key in self._keys():
                yield section, key, self._value()
        if self._next():
            raise self._broken("there is text after the end")

    def _keys(self) -> Iterator[str]:
        """The keys of an object; the caller reads the value of each."""
        self._expect("{")
        if self._next() == "}":
            self._at += 1
            return
        while True:
            key = self._value()
            if type(key) is not str:
                raise self._broken("a key that is no text")
            self._expect(":")
            yield key
            if self._next() == "}":
                self._at += 1
                return
            self._expect(",")

    def _value(self) -> Any:
        wanted = _BLOCK
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as exc:
                problem: Exception | None = exc
            else:
                problem = None
                # A number may go on behind the window, also after "1." or "1e"; other values show their end.
                if type(value) not in (int, float) or self._text[end : end + 1] in _AFTER_NUMBERS:
                    self._at = end
                    return value
            if len(self._text) - self._at > self._max_value_chars:
                raise self._broken(f"a value of more than {self._max_value_chars:,} characters, or not JSON")
            if not self._more(wanted):
                raise self._broken(f"it is cut short or not JSON ({problem or 'a number without an end'})")
            wanted *= 2

    def _expect(self, char: str) -> None:
        found = self._next()
        if found != char:
            raise self._broken(f"{found!r} where {char!r} belongs" if found else "it is cut short")
        self._at += 1

    def _next(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_BLOCK):
                return ""

    def _more(self, chars: int) -> bool:
        block = self._file.read(chars)
        self._text = self._text[self._at :] + block
        self._at = 0
        return bool(block)

    def _broken(self, problem: str) -> BadFileError:
        return BadFileError(f"{self._name!r} is no file of this kind: {problem:.200}")
