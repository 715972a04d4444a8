"""Bytes to text: byte order marks, a given encoding, or detection."""

from __future__ import annotations

import codecs
from typing import Final

from docshelf.errors import ArgumentTypeError, ConfigurationError

DETECT: Final = "detect"
# UTF-32 first: its mark for little-endian begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class UnreadableError(Exception):
    """A file cannot be read as what it is. The message says why, and what helps.

    Example:
        >>> from pathlib import Path
        >>> def read_csv(file):
        ...     if "," not in file.text:
        ...         raise UnreadableError("it has no columns; separate them by commas")
        ...     return file.text
        >>> Path("tables").mkdir()
        >>> _ = Path("tables", "a.csv").write_text("no table", encoding="utf-8")
        >>> with DocShelf(":memory:") as shelf:
        ...     report = sync_folder("tables", shelf, readers={".csv": read_csv})
        >>> [(file.name, file.reason) for file in report.failed]
        [('a.csv', 'it has no columns; separate them by commas')]
    """


def check_encoding(encoding: object) -> str:
    """The name of an encoding that Python knows, or "detect".

    Raises:
        ArgumentTypeError: it is no text.
        ConfigurationError: Python does not know it.
    """
    if not isinstance(encoding, str):
        raise ArgumentTypeError(f"encoding is a {type(encoding).__name__}; give a name, as 'utf-8', or 'detect'")
    if encoding == DETECT:
        return encoding
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise ConfigurationError(
            f"encoding={encoding!r:.60}: Python does not know it; give a name as 'utf-8' or 'latin-1', or 'detect'"
        ) from None


def decode(data: bytes, encoding: str) -> str:
    """The text of a file, with line ends as "\\n".

    A byte order mark says the encoding, whatever `encoding` is.

    Args:
        encoding: as `check_encoding` returns it. "detect" tries UTF-8, and then guesses.

    Raises:
        UnreadableError: the bytes are no text in this encoding.
        ConfigurationError: charset-normalizer is not installed.
    """
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if marked == "utf-8":
        data = data[len(codecs.BOM_UTF8) :]
    try:
        text = data.decode(marked or ("utf-8" if encoding == DETECT else encoding))
    except UnicodeDecodeError as exc:
        if marked is not None or encoding != DETECT:
            where = f"byte {data[exc.start]:#04x} at {exc.start:,}"
            mend = "" if marked else "; give encoding='detect', or the name of its encoding"
            raise UnreadableError(f"it is not {marked or encoding}: {where}{mend}") from None
        text = _detected(data)
    if "\0" in text:
        raise UnreadableError("it has NUL characters, so it is no text, or UTF-16 without a mark: give encoding=")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _detected(data: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ModuleNotFoundError as exc:
        raise ConfigurationError("encoding='detect' needs charset-normalizer: pip install 'docshelf[folder]'") from exc
    best = from_bytes(data).best()
    if best is None:
        raise UnreadableError("its encoding is not known; give the name of its encoding")
    return str(best)
