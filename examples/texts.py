"""Real text for the demo: documents by name, and the chunks of a document by key."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# A chunk is whole paragraphs up to this many characters or a little more; a longer paragraph is cut.
CHUNK_CHARACTERS = 800
LONGEST_PARAGRAPH = 2_400
# Bytes of one file and of all files together: the demo holds them in memory.
LARGEST_FILE = 20_000_000
LARGEST_FOLDER = 100_000_000
# Bytes of a file's name: a key is the name and the chunk's first words, and has at most 1,024.
LONGEST_NAME = 700


class NoTextError(Exception):
    """There is nothing to show the demo with; the text says why."""


class Library(NamedTuple):
    """Documents by name, and the files that are not among them with the reason."""

    documents: dict[str, str]
    left_out: dict[str, str]


def python_reference() -> Library:
    """The reference texts that come with Python, those that `help("topics")` lists."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise NoTextError(
            "this Python comes without its reference texts; give a folder: make demo DOCS=folder"
        ) from None
    return Library(dict(topics), {})


def folder_of_texts(folder: Path) -> Library:
    """Every text file below a folder, by its path in it; hidden files and folders are passed over.

    Raises:
        NoTextError: there is no such folder, or no text in it.
    """
    if not folder.is_dir():
        raise NoTextError(f"{printable(str(folder))} is not a folder")
    library = Library({}, {})
    room = LARGEST_FOLDER
    for path in _files(folder):
        # A file's name may be any bytes; a source is text.
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
        try:
            size = path.stat().st_size
            if size > min(room, LARGEST_FILE):
                library.left_out[name] = f"{size:,} bytes are too many for a demo"
            elif len(name.encode()) > LONGEST_NAME:
                library.left_out[name] = "its name is too long"
            else:
                text = _decoded(path.read_bytes())
                room -= size
                library.documents[name] = text
        except (OSError, ValueError) as exc:
            library.left_out[name] = exc.strerror or "unreadable" if isinstance(exc, OSError) else "not UTF-8 text"
    if not any(chunks(name, text) for name, text in library.documents.items()):
        unusable = f" ({len(library.left_out):,} files left out)" if library.left_out else ""
        raise NoTextError(f"no text in the folder {printable(str(folder))}{unusable}")
    return library


def chunks(source: str, text: str) -> dict[str, str]:
    """A document's chunks by key, in order.

    A chunk is named by its first words and not by its number: what is put in or taken out at the top of a document
    does not rename what follows, so the rest stays as it is.
    """
    found: dict[str, str] = {}
    names: Counter[str] = Counter()
    for chunk in _joined(_paragraphs(text)):
        words = "-".join(re.findall(r"\w+", chunk[:200])[:8])[:60].lower()
        name = f"{source}#{words}"
        names[name] += 1
        found[name if names[name] == 1 else f"{name}~{names[name]}"] = chunk
    return found


def printable(name: str) -> str:
    """A name for the screen, whatever bytes and control characters it has."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        raise ValueError("a NUL: this is no text")
    return data.decode("utf-8-sig").replace("\r\n", "\n")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        start = 0
        while len(paragraph) - start > LONGEST_PARAGRAPH:
            end = start + LONGEST_PARAGRAPH
            cut = max(paragraph.rfind(space, start, end) for space in "\n ") + 1 or end
            yield paragraph[start:cut]
            start = cut
        yield paragraph[start:]


def _joined(paragraphs: Iterator[str]) -> Iterator[str]:
    """Short paragraphs, headings above all, together with those that follow."""
    held: list[str] = []
    for paragraph in paragraphs:
        if paragraph.strip():
            held.append(paragraph.strip("\n"))
        if sum(map(len, held)) >= CHUNK_CHARACTERS:
            yield "\n\n".join(held)
            held = []
    if held:
        yield "\n\n".join(held)
