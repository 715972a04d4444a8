"""What the shelf knows of a folder's files: the note of each source that a sync of this folder wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.operations.reading import note_page
from docshelf.steps import Flow
from docshelf.store import DocShelf, OnShelf
from docshelf.types import SourceNote
from docshelf.values.json import DecodeError, loads

_MAX_NAME_BYTES: Final = 128


class Known(NamedTuple):
    """A file as the last sync left it.

    Attributes:
        name: its path below the folder.
        source: the source of its entries.
        id: what its keys begin with. A file that was moved keeps the id that it had.
        sha256: the hash of its bytes; "" if its entries are not those of a finished sync.
        settings: the digest of the settings of that sync.
        size: in bytes; None if it is not known.
        mtime_ns: when the file was modified, in nanoseconds; None if it has to be hashed to see a change.
        gone: another file has taken over its entries; what is left of it is to be deleted.
    """

    name: str
    source: str
    id: str
    sha256: str = ""
    settings: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    gone: bool = False

    @property
    def note(self) -> SourceNote:
        """What is stored about it."""
        metadata: dict[str, Any] = {"path": self.name, "size": self.size, "mtime_ns": self.mtime_ns}
        if self.id != self.source:
            metadata["id"] = self.id
        if self.gone:
            metadata["gone"] = True
        folder = self.source[: len(self.source) - len(self.name) - 1]
        return SourceNote(self.fingerprint, {"folder": folder, **metadata})

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of its source; None without a finished sync."""
        return fingerprint_from(self.sha256, self.settings) if self.sha256 else None


def fingerprint_from(sha256: str, settings: str) -> str:
    """The fingerprint of a source: of the bytes of its file and of the settings."""
    return f"{sha256}:{settings}"


def check_name(name: Any) -> str:
    """The name of a folder, which its sources begin with.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is no text, empty, over 128 bytes, or has a colon or a slash.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"name is a {type(name).__name__}; give the text that the folder's sources begin with")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ArgumentValueError(f"the folder's name {name!r:.60} is not UTF-8; give name=") from None
    if not 0 < size <= _MAX_NAME_BYTES or set(name) & {":", "/", "\0"}:
        raise ArgumentValueError(
            f"the folder's name {name!r:.60}: give name= with 1 to {_MAX_NAME_BYTES} bytes, without colon and slash"
        )
    return name


def read_known(shelf: DocShelf, name: str) -> Flow[dict[str, Known]]:
    """The files of a folder that a shelf knows, by path below the folder.

    Sources under the same name that no sync of a folder wrote are left alone.
    """
    prefix = f"{name}:"
    known: dict[str, Known] = {}
    last: str | None = prefix
    while last is not None and last.startswith(prefix):
        page, last = yield OnShelf(shelf, note_page, last, partial(_known_in, name))
        known.update(page)
    return known


def _known_in(folder: str, rows: Iterable[Sequence[Any]]) -> dict[str, Known]:
    found = {}
    for source, fingerprint, metadata in rows:
        note = _read_note(metadata)
        path = note.get("path")
        if note.get("folder") == folder and isinstance(path, str) and source == f"{folder}:{path}":
            sha256, _, settings = (fingerprint if isinstance(fingerprint, str) else "").partition(":")
            own_id = note.get("id")
            size, mtime_ns = note.get("size"), note.get("mtime_ns")
            found[path] = Known(
                path,
                source,
                own_id if isinstance(own_id, str) else source,
                sha256,
                settings,
                size if isinstance(size, int) else None,
                mtime_ns if isinstance(mtime_ns, int) else None,
                note.get("gone") is True,
            )
        elif note.get("source") == source:
            # A document store that was given the documents again has put their metadata in the place of the note.
            path = source[len(folder) + 1 :]
            found[path] = Known(path, source, source)
    return found


def _read_note(metadata: Any) -> dict[str, Any]:
    """The metadata of a source; none where they cannot be read, as then no sync of a folder wrote them."""
    if not isinstance(metadata, str):
        return {}
    try:
        note = loads(metadata.encode("utf-8", "surrogatepass"))
    except DecodeError:
        return {}
    return note if isinstance(note, dict) else {}
