"""What a file becomes: documents with keys, and the settings that say how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, NamedTuple

from docshelf.errors import ArgumentTypeError, ConfigurationError
from docshelf.folder.files import File
from docshelf.folder.readers import Reader, label_of
from docshelf.folder.text import UnreadableError
from docshelf.types import Document
from docshelf.validation import MAX_KEY_BYTES
from docshelf.values.json import dumps
from docshelf.values.settings import fingerprint_of

Splitter = Callable[[Document], Iterable["str | Document"]]
"""Makes pieces of a document. An object with `split_text`, as the splitters of LangChain and LlamaIndex, is one too."""

_SETTINGS_DEPTH: Final = 8


class Piece(NamedTuple):
    """A document to be stored.

    Attributes:
        key: its key.
        document: the document; its metadata name the source.
    """

    key: str
    document: Document


@dataclass(frozen=True)
class Making:
    """How the files of a folder become documents.

    Attributes:
        readers: by suffix.
        splitter: makes pieces of what a reader made; None takes that as it is.
        encoding: for the text of files.
        version: the caller's label of what readers and splitter do.
        target_settings: what the target adds to that.
        convert: a piece of the target's framework as a text or a document of no framework; anything else as it is.
    """

    readers: Mapping[str, Reader]
    splitter: Any
    encoding: str
    version: str
    target_settings: Any
    convert: Callable[[Any], Any]

    def settings(self, suffix: str) -> str:
        """A digest of what the documents of a file depend on besides its bytes: 16 hexadecimal digits."""
        reader = self.readers[suffix]
        label = label_of(suffix, reader)
        parts = {
            "reader": fingerprint_of(reader, _SETTINGS_DEPTH) if label is None else label,
            "splitter": fingerprint_of(self.splitter, _SETTINGS_DEPTH),
            "encoding": self.encoding,
            "version": self.version,
            "target": self.target_settings,
        }
        return sha256(dumps(parts)).hexdigest()[:16]

    def pieces(self, file: File, source: str, file_id: str) -> list[Piece]:
        """The documents of a file. One that is the whole file has the file's id as its key.

        The keys of several depend on their texts, not on their places: a text that is inserted leaves the others as
        they are.

        Raises:
            UnreadableError: a reader or the splitter failed, or gave something else than documents.
            ConfigurationError: a library is missing.
        """
        try:
            read = list(self._documents(self.readers[file.suffix](file), "reader"))
            documents = [piece for document in read for piece in self._split(document)]
        except (UnreadableError, ConfigurationError, MemoryError):
            raise
        except Exception as exc:  # readers and splitters are the caller's, or libraries: they may raise anything
            raise UnreadableError(f"{type(exc).__name__}: {exc}") from exc
        documents = [document for document in documents if document.text.strip()]
        whole = self.splitter is None and len(read) == 1 and (not documents or documents[0].id is None)
        pieces: dict[str, Piece] = {}
        seen: Counter[str] = Counter()
        for document in documents:
            key = file_id if whole else self._key(document, file_id, seen)
            if key in pieces:
                raise UnreadableError(f"two of its documents have the id {document.id!r:.60}")
            metadata = {**document.metadata, "source": source}
            pieces[key] = Piece(key, replace(document, metadata=metadata, id=None))
        return list(pieces.values())

    def _documents(self, given: Any, what: str) -> Iterable[Document]:
        """What a reader or a splitter gave, as documents."""
        converted = self.convert(given)
        for one in [converted] if isinstance(converted, str | Document) else given:
            piece = self.convert(one)
            if isinstance(piece, str):
                piece = Document(piece)
            if not isinstance(piece, Document) or not isinstance(piece.text, str):
                raise UnreadableError(f"the {what} gave a {type(one).__name__}; give texts or docshelf.Document")
            yield piece

    def _split(self, document: Document) -> Iterable[Document]:
        if self.splitter is None:
            return [document]
        by_text = getattr(self.splitter, "split_text", None)
        given = by_text(document.text) if callable(by_text) else self.splitter(document)
        pieces = self._documents(given, "splitter")
        return [replace(piece, metadata={**document.metadata, **piece.metadata}) for piece in pieces]

    def _key(self, document: Document, file_id: str, seen: Counter[str]) -> str:
        name = document.id
        if name is None:
            name = sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            seen[name] += 1
            if seen[name] > 1:
                name = f"{name}-{seen[name]}"
        key = f"{file_id}#{name}"
        if "\0" in key or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
            key = f"{file_id}#{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return key


def check_splitter(splitter: Any) -> Any:
    """A splitter, or None.

    Raises:
        ArgumentTypeError: it neither has `split_text` nor can be called.
        ConfigurationError: it is a node parser of LlamaIndex that takes nodes only.
    """
    if splitter is None or callable(getattr(splitter, "split_text", None)):
        return splitter
    if hasattr(splitter, "get_nodes_from_documents"):
        raise ConfigurationError(
            f"a {type(splitter).__name__} takes nodes, not text; give a splitter with split_text, or a function that "
            "takes a docshelf.Document and returns texts"
        )
    if not callable(splitter):
        raise ArgumentTypeError(
            f"splitter is a {type(splitter).__name__}; give an object with split_text, or a function that takes a "
            "docshelf.Document and returns texts or documents"
        )
    return splitter
