"""The readers in the box: a file to its documents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.folder.files import File
from docshelf.folder.markup import declared_encoding, document_of_html
from docshelf.folder.text import UnreadableError
from docshelf.types import Document

Reader = Callable[[File], "str | Document | Iterable[str | Document]"]
"""Makes the documents of a file: a text, a `docshelf.Document`, or several of them. It may take the file as a path."""

# Of a table, what is looked at to find its delimiter.
_SAMPLE: Final = 65_536


def read_text(file: File) -> str:
    """The whole text."""
    return file.text


def read_html(file: File) -> Document:
    """The text of a page as Markdown, so that headings, lists and tables stay what they are; its title as metadata.

    The encoding is that of a byte order mark, or the one that the page declares, or that of the call.
    """
    declared = declared_encoding(file.data)
    page = file if declared is None else File(file.path, file.name, file.data, declared)
    try:
        text = page.text
    except (LookupError, UnreadableError):
        text = file.text
    return document_of_html(text)


def read_json(file: File) -> Iterator[str]:
    """Each element of a list as a document, and anything else as one."""
    try:
        content = json.loads(file.text)
    except (ValueError, RecursionError) as exc:
        raise UnreadableError(f"it is not JSON: {exc}") from None
    return map(_json_text, content if isinstance(content, list) else [content])


def read_json_lines(file: File) -> Iterator[str]:
    """Each line as a document."""
    for number, line in enumerate(file.text.split("\n"), 1):
        if line.strip():
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as exc:
                raise UnreadableError(f"line {number:,} is not JSON: {exc}") from None
            yield _json_text(content)


def read_csv(file: File) -> Iterator[str]:
    """Each row as a document, a line for each cell: the column's name and the cell. The first row has the names."""
    return _rows(file, _delimiter_of(file.text))


def read_tsv(file: File) -> Iterator[str]:
    """As `read_csv`, with tabs between the cells."""
    return _rows(file, "\t")


def _rows(file: File, delimiter: str) -> Iterator[str]:
    rows = csv.reader(io.StringIO(file.text, newline="\n"), delimiter=delimiter, strict=True)
    names: list[str] = []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names = row
                continue
            named = [*names, *[""] * (len(row) - len(names))]
            cells = zip(named, row, strict=False)
            yield "\n".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell.strip())
    except csv.Error as exc:
        raise UnreadableError(f"line {rows.line_num:,}: {exc}") from None


def _delimiter_of(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|").delimiter
    except csv.Error:  # one column
        return ","


def _json_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)


BUILT_IN: Final[Mapping[str, tuple[str, Reader]]] = MappingProxyType(
    {
        ".txt": ("text 1", read_text),
        ".text": ("text 1", read_text),
        ".md": ("text 1", read_text),
        ".markdown": ("text 1", read_text),
        ".rst": ("text 1", read_text),
        ".html": ("html 1", read_html),
        ".htm": ("html 1", read_html),
        ".json": ("json 1", read_json),
        ".jsonl": ("json lines 1", read_json_lines),
        ".ndjson": ("json lines 1", read_json_lines),
        ".csv": ("csv 1", read_csv),
        ".tsv": ("tsv 1", read_tsv),
    }
)
"""The readers in the box by suffix, each with the name of what it makes. Another name reads all such files again."""


def check_readers(readers: Mapping[str, Reader | None] | None) -> dict[str, Reader]:
    """The readers of a call by suffix: those in the box, and the caller's, which replace them. None takes one out.

    Raises:
        ArgumentTypeError, ArgumentValueError: a suffix or a reader is none.
    """
    checked: dict[str, Reader] = {suffix: reader for suffix, (_, reader) in BUILT_IN.items()}
    if readers is None:
        return checked
    if not isinstance(readers, Mapping):
        raise ArgumentTypeError(f"readers is a {type(readers).__name__}; give a mapping of suffixes to functions")
    for suffix, reader in readers.items():
        if not isinstance(suffix, str):
            raise ArgumentTypeError(f"readers has a {type(suffix).__name__}; a suffix is text, as '.pdf'")
        if suffix and (not suffix.startswith(".") or len(suffix) < 2 or "." in suffix[1:]):
            raise ArgumentValueError(
                f"readers has the suffix {suffix!r:.60}; give the last one with its dot, as '.pdf'"
            )
        if reader is None:
            checked.pop(suffix.lower(), None)
        elif callable(reader):
            checked[suffix.lower()] = reader
        else:
            raise ArgumentTypeError(
                f"the reader of {suffix!r:.60} is a {type(reader).__name__}; give a function that takes a file"
            )
    return checked


def label_of(suffix: str, reader: Reader) -> str | None:
    """The name of what a reader in the box makes; None for a caller's reader."""
    label, built_in = BUILT_IN.get(suffix, ("", None))
    return label if reader is built_in else None
