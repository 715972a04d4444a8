"""Where the documents of a folder go: the protocol that stores implement, and what a plain shelf does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from docshelf.folder.pieces import Piece
from docshelf.moving.ends import find_target
from docshelf.steps import Call, Flow
from docshelf.store import DocShelf
from docshelf.types import Item, Report, SourceNote


class Content(NamedTuple):
    """All documents of one file.

    Attributes:
        source: the source of its entries.
        pieces: its documents with their keys.
    """

    source: str
    pieces: Sequence[Piece]


class FolderTarget:
    """A shelf, which gets `docshelf.Document`s. An adapter's target writes what its store or retriever writes.

    Args:
        shelf: the shelf of the documents, which also keeps the notes of the folder's files.

    Attributes:
        settings: what the documents, or what is made of them, depend on besides; JSON. Other settings read all files
            again.
        writes_notes_last: True if `write` stores documents and notes in more than one transaction.
    """

    settings: Any = None
    writes_notes_last: bool = False

    def __init__(self, shelf: DocShelf) -> None:
        self.shelf = shelf

    def convert(self, piece: Any) -> Any:
        """A piece that a reader or splitter of the framework made, as text or `docshelf.Document`; else as it is."""
        return piece

    def item(self, piece: Piece, source: str) -> Item:
        """What is stored of a document."""
        return Item(piece.key, piece.document, source)

    def changed(self, fingerprints: Mapping[str, str]) -> Flow[set[str]]:
        """Of sources whose notes have these fingerprints: those that have to be written all the same."""
        yield from ()
        return set()

    def write(
        self, contents: Sequence[Content], notes: Mapping[str, SourceNote], *, dry_run: bool, diff: bool
    ) -> Flow[Report]:
        """Make the sources of files hold exactly these documents, and store the notes.

        Args:
            contents: the documents of some files.
            notes: a note for each of their sources, and for sources that are to lose all entries.
            dry_run: write nothing.
            diff: add the texts of updated entries to the report.
        """
        items = [self.item(piece, content.source) for content in contents for piece in content.pieces]
        report: Report = yield Call(
            self.shelf,
            "sync",
            items,
            scope="sources",
            notes=notes,
            dry_run=dry_run,
            diff=diff,
            allow_mass_delete=True,
        )
        return report

    def remove(self, sources: Sequence[str], *, dry_run: bool) -> Flow[Report]:
        """Delete sources with all that belongs to them."""
        report: Report
        if dry_run:
            report = yield from self.write((), dict.fromkeys(sources, SourceNote()), dry_run=True, diff=False)
        else:
            report = yield Call(self.shelf, "delete_sources", sources)
        return report


class HasFolderTarget(Protocol):
    """A store or a retriever that a folder can be synced into."""

    def folder_target(self) -> FolderTarget:
        """How this store takes the documents of a folder."""


def target_of(into: Any) -> FolderTarget:
    """How a shelf, or a store or a retriever of an adapter, takes the documents of a folder.

    Raises:
        ConfigurationError: it does not.
    """
    refusal = (
        f"a folder cannot be synced into a {type(into).__name__}; give a DocShelf, or a store or a retriever of an "
        "adapter"
    )
    return find_target(into, FolderTarget, "folder_target", refusal)
