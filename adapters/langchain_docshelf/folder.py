"""How a document store and a retriever take the documents of a folder: see `docshelf.folder.sync_folder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from langchain_core.documents import Document

import docshelf
from docshelf import ConfigurationError, DocShelf, Item, Report, SourceNote
from docshelf.adapters import Call, Flow, fingerprint_of
from docshelf.folder import Content, FolderTarget, Piece

_SETTINGS_DEPTH: Final = 8


class StoreTarget(FolderTarget):
    """A `DocShelfStore`: documents of LangChain, each filed under its file's source.

    Args:
        shelf: the shelf of the store.
        source_key: the key of a document's metadata that holds its source.
    """

    def __init__(self, shelf: DocShelf, source_key: str) -> None:
        super().__init__(shelf)
        self._source_key = source_key

    def convert(self, piece: Any) -> Any:
        """A document of LangChain as one of no framework."""
        if not isinstance(piece, Document):
            return piece
        return docshelf.Document(piece.page_content, piece.metadata, piece.id)

    def document(self, piece: Piece, source: str) -> Document:
        """A document of no framework as one of LangChain."""
        metadata = {**piece.document.metadata, self._source_key: source}
        return Document(id=piece.key, page_content=piece.document.text, metadata=metadata)

    def item(self, piece: Piece, source: str) -> Item:
        """What is stored of a document."""
        return Item(piece.key, self.document(piece, source), source)


class RetrieverTarget(StoreTarget):
    """A `ParentDocumentRetriever`: its parents are the documents, and its vector store follows.

    Args:
        retriever: the retriever.
        shelf: the shelf of its document store.
        source_key: that of its document store.
        parent_splitter: that of the retriever.
        unsettled: a flow that tells of sources whose notes have the given fingerprints, which of them have to be synced
            all the same.

    Raises:
        ConfigurationError: the sources of its documents come from a function.
    """

    writes_notes_last = True

    def __init__(
        self,
        retriever: Any,
        shelf: DocShelf,
        source_key: Any,
        parent_splitter: Any,
        unsettled: Callable[[Mapping[str, str]], Flow[set[str]]],
    ) -> None:
        if not isinstance(source_key, str):
            raise ConfigurationError(
                "the retriever's docstore takes sources from a function, so that it cannot file documents under their "
                "files; give it a source_key of text"
            )
        super().__init__(shelf, source_key)
        self._retriever = retriever
        self._unsettled = unsettled
        self._splits_parents = parent_splitter is not None
        self.settings = fingerprint_of(parent_splitter, _SETTINGS_DEPTH)

    def changed(self, fingerprints: Mapping[str, str]) -> Flow[set[str]]:
        """The sources whose children are not all live under the retriever's settings."""
        return (yield from self._unsettled(fingerprints))

    def write(
        self, contents: Sequence[Content], notes: Mapping[str, SourceNote], *, dry_run: bool, diff: bool
    ) -> Flow[Report]:
        """Write parents, bring their children into the vector store, and then store the notes."""
        documents = [self.document(piece, content.source) for content in contents for piece in content.pieces]
        plan: Report | None = None
        if diff and not self._splits_parents:
            plan = yield from super().write(contents, notes, dry_run=True, diff=True)
        report: Report = yield Call(
            self._retriever, "sync", documents, notes=notes, dry_run=dry_run, allow_mass_delete=True
        )
        return report if plan is None else replace(report, diffs=plan.diffs)

    def remove(self, sources: Sequence[str], *, dry_run: bool) -> Flow[Report]:
        """Delete the children of sources, then their documents."""
        if dry_run:
            return (yield from super().remove(sources, dry_run=True))
        named = dict.fromkeys(sources, SourceNote())
        report: Report = yield Call(
            self._retriever, "sync", [], notes=named, allow_mass_delete=True, allow_unknown=True
        )
        if not getattr(report, "unfinished", False):
            yield Call(self.shelf, "delete_sources", sources)
        return report
