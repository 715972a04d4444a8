"""The document store and the byte store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from langchain_core.documents import Document
from langchain_core.stores import BaseStore

from docshelf import ArgumentTypeError, DocShelf, Entry, Item, Report, SourceNote
from docshelf.adapters import ReportKind, ShelfOptions, Url, as_list
from langchain_docshelf.base import LangChainStore, are_of, notes_of
from langchain_docshelf.byte_keys import fits_scan, is_folded, scan_prefix, stored_item, unfolded
from langchain_docshelf.documents import SourceKey, check_document, document_content_types, document_in, source_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from docshelf.folder import FolderTarget
    from docshelf.moving import Target

Documents = Mapping[str, Document] | Iterable[tuple[str, Document]]

# Number of folded keys that are read together.
_PAGE: Final = 500


class DocShelfStore(LangChainStore, BaseStore[str, Document]):
    """A store of documents, for a retriever's `docstore` and anything else that takes a `BaseStore[str, Document]`.

    A document belongs to the source that its metadata name. Key and source identify it: two sources may have a document
    with the same key, and a read by key returns the one that was written last. A document that is stored already is not
    written again.

    A store on a url can be pickled and deep-copied. A copy opens connections of its own; a pickle holds the password.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: as for `docshelf.DocShelf`. By default "documents", or the collection of a given shelf.
        shelf: a shelf whose connections the store uses, instead of a url and options other than `on_corrupt`.
        source_key: the key of a document's metadata that holds its source; or a function that takes a document and
            returns its source as text, path or None. None and a missing key mean no source ("").
        document_types: your own subclasses of Document. The store returns their documents as instances of them, and
            documents of other subclasses as `StoredDocument` with all their data.
        options: as for `docshelf.DocShelf`.

    Raises:
        ConfigurationError: as `docshelf.DocShelf`; or a shelf beside a url or options.

    Example:
        >>> from langchain_core.documents import Document
        >>> docstore = DocShelfStore(":memory:")
        >>> docstore.mset([("a", Document(page_content="A page.", metadata={"source": "a.md"}))])
        >>> docstore.mget(["a"])[0].page_content, docstore.sources()[0].source
        ('A page.', 'a.md')
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str | None = None,
        *,
        shelf: DocShelf | None = None,
        source_key: SourceKey = "source",
        document_types: Iterable[type[Document]] = (),
        **options: Unpack[ShelfOptions],
    ) -> None:
        document_types = tuple(document_types)
        self._open(
            url,
            collection,
            shelf,
            options,
            default="documents",
            content_types=document_content_types(document_types),
            source_key=source_key,
            document_types=document_types,
        )
        self.source_key = source_key

    def source_of(self, document: Document, key: str = "") -> str:
        """The source that a document is stored under.

        Args:
            document: the document.
            key: its key, for the error.

        Raises:
            ArgumentTypeError: the source is neither text nor a path.
        """
        return source_of(document, self.source_key, key)

    def mget(self, keys: Sequence[str]) -> list[Document | None]:
        """The documents of keys, in the order of the keys; None for a key that has no document."""
        keys = as_list(keys)
        values = self._shelf.mget(keys)
        return values if are_of(Document, values) else self._of_kind(self._shelf.mget_entries(keys), Document)

    async def amget(self, keys: Sequence[str]) -> list[Document | None]:
        """As `mget`."""
        keys = as_list(keys)
        values = await self._shelf.amget(keys)
        return values if are_of(Document, values) else self._of_kind(await self._shelf.amget_entries(keys), Document)

    def mset(self, key_value_pairs: Documents) -> None:
        """Write the documents that differ from the stored ones, in one transaction.

        Raises:
            ArgumentTypeError: a value is no document, or its source is no text. Nothing was written.
            UnsupportedValueError: a document has data that cannot be stored without loss. Nothing was written.
        """
        self.conditional_mset(key_value_pairs, report="counts")

    async def amset(self, key_value_pairs: Documents) -> None:
        """As `mset`."""
        await self.aconditional_mset(key_value_pairs, report="counts")

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete the documents of keys, in all sources."""
        self._shelf.mdelete(keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """As `mdelete`."""
        await self._shelf.amdelete(keys)

    def yield_keys(self, prefix: str | None = None) -> Iterator[str]:
        """Yield each key that has a document once, in order, in constant memory. `prefix` is literal text."""
        return self._shelf.yield_keys(prefix, with_value=True)

    def ayield_keys(self, prefix: str | None = None) -> AsyncIterator[str]:
        """As `yield_keys`."""
        return self._shelf.ayield_keys(prefix, with_value=True)

    def conditional_mset(
        self,
        key_value_pairs: Documents,
        *,
        move: bool = False,
        dry_run: bool = False,
        diff: bool = False,
        report: ReportKind = "changes",
        chunked: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `mset`; returns one change for each document.

        Args:
            move: keep each key in one source only. A document that is written under another source than before is
                deleted from the old one, and the report lists that as DEL.
            dry_run, diff, report, chunked: as for `docshelf.DocShelf.conditional_mset`.
            show_progress: show a progress bar.
        """
        items = self._items(key_value_pairs, None)
        return self._shelf.conditional_mset(
            items,
            move=move,
            dry_run=dry_run,
            diff=diff,
            report=report,
            chunked=chunked,
            show_progress=show_progress,
        )

    async def aconditional_mset(
        self,
        key_value_pairs: Documents,
        *,
        move: bool = False,
        dry_run: bool = False,
        diff: bool = False,
        report: ReportKind = "changes",
        chunked: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `conditional_mset`."""
        items = self._items(key_value_pairs, None)
        return await self._shelf.aconditional_mset(
            items,
            move=move,
            dry_run=dry_run,
            diff=diff,
            report=report,
            chunked=chunked,
            show_progress=show_progress,
        )

    def sync(
        self,
        key_value_pairs: Documents,
        *,
        source: str | None = None,
        scope: Literal["sources", "collection"] = "sources",
        dry_run: bool = False,
        diff: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        report: ReportKind = "changes",
        chunked: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """Make sources hold exactly these documents: insert, update, skip, and delete the rest, in one transaction.

        Args:
            key_value_pairs: the documents by key.
            source: store all documents under this source, whatever their metadata say, and leave other sources as they
                are. By default every source that a document or `notes` names is synced.
            scope: "collection" deletes the documents of all other sources too.
            dry_run, diff, max_delete, allow_mass_delete, notes, report, chunked, show_progress: as for
                `docshelf.DocShelf.sync`.

        Raises:
            MassDeleteError: the sync would delete more than it may. Nothing was written.
            As `mset` otherwise.
        """
        return self._shelf.sync(
            self._items(key_value_pairs, source),
            scope=scope,
            dry_run=dry_run,
            diff=diff,
            max_delete=max_delete,
            allow_mass_delete=allow_mass_delete,
            notes=notes_of(source, notes),
            report=report,
            chunked=chunked,
            show_progress=show_progress,
        )

    async def async_(
        self,
        key_value_pairs: Documents,
        *,
        source: str | None = None,
        scope: Literal["sources", "collection"] = "sources",
        dry_run: bool = False,
        diff: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        report: ReportKind = "changes",
        chunked: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `sync`."""
        return await self._shelf.async_(
            self._items(key_value_pairs, source),
            scope=scope,
            dry_run=dry_run,
            diff=diff,
            max_delete=max_delete,
            allow_mass_delete=allow_mass_delete,
            notes=notes_of(source, notes),
            report=report,
            chunked=chunked,
            show_progress=show_progress,
        )

    def delete_source(self, source: str, *, report: ReportKind = "changes", chunked: bool = False) -> Report:
        """Delete a source with all its documents. The same keys in other sources stay.

        Args:
            source: its name.
            report, chunked: as for `docshelf.DocShelf.delete_source`.
        """
        return self._shelf.delete_source(source, report=report, chunked=chunked)

    async def adelete_source(self, source: str, *, report: ReportKind = "changes", chunked: bool = False) -> Report:
        """As `delete_source`."""
        return await self._shelf.adelete_source(source, report=report, chunked=chunked)

    def documents_of(self, entries: Iterable[Entry | None]) -> list[Document | None]:
        """The documents of entries of `shelf`; None for each entry that is missing.

        Raises:
            CorruptEntryError: an entry has another kind of value, under `on_corrupt="raise"`.
        """
        return self._of_kind(entries, Document)

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes into this store."""
        from langchain_docshelf.moving.targets import DocumentTarget

        return DocumentTarget(self._shelf, self.source_key)

    def folder_target(self) -> FolderTarget:
        """How `docshelf.folder.sync_folder` writes into this store."""
        from langchain_docshelf.folder import StoreTarget

        return StoreTarget(self._shelf, self.source_key if isinstance(self.source_key, str) else "source")

    def _value_of(self, entry: Entry) -> Any:
        return document_in(entry, self.source_key)

    def _items(self, pairs: Documents, source: str | None) -> Iterator[tuple[str, Document, str]]:
        source_of = self.source_of
        for key, document in _pairs(pairs):
            check_document(document, key)
            yield key, document, source_of(document, key) if source is None else source


class DocShelfByteStore(LangChainStore, BaseStore[str, bytes]):
    """A store of bytes, for `CacheBackedEmbeddings`, `MultiVectorRetriever(byte_store=...)` and the like.

    Any text may be a key. A key that docshelf cannot store (longer than 1,024 bytes, empty, with a NUL) is stored as a
    digest, and comes back as it was.

    A store on a url can be pickled and deep-copied. A copy opens connections of its own; a pickle holds the password.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: as for `docshelf.DocShelf`. By default "bytes", or the collection of a given shelf.
        shelf: a shelf whose connections the store uses, instead of a url and options other than `on_corrupt`.
        options: as for `docshelf.DocShelf`.

    Raises:
        ConfigurationError: as `docshelf.DocShelf`; or a shelf beside a url or options.

    Example:
        >>> store = DocShelfByteStore(":memory:")
        >>> store.mset([("vector", b"bytes")])
        >>> store.mget(["vector", "none"])
        [b'bytes', None]
    """

    def __init__(
        self,
        url: Url | None = None,
        collection: str | None = None,
        *,
        shelf: DocShelf | None = None,
        **options: Unpack[ShelfOptions],
    ) -> None:
        self._open(url, collection, shelf, options, default="bytes")

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys, in the order of the keys; None for a key that has no value."""
        stored = _stored(keys)
        values = self._shelf.mget(stored)
        return values if are_of(bytes, values) else self._of_kind(self._shelf.mget_entries(stored), bytes)

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """As `mget`."""
        stored = _stored(keys)
        values = await self._shelf.amget(stored)
        return values if are_of(bytes, values) else self._of_kind(await self._shelf.amget_entries(stored), bytes)

    def mset(self, key_value_pairs: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> None:
        """Write the values that differ from the stored ones, in one transaction. Of equal keys the last one wins."""
        self._shelf.mset(_byte_items(key_value_pairs))

    async def amset(self, key_value_pairs: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> None:
        """As `mset`."""
        await self._shelf.amset(_byte_items(key_value_pairs))

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete the values of keys."""
        self._shelf.mdelete(_stored(keys))

    async def amdelete(self, keys: Sequence[str]) -> None:
        """As `mdelete`."""
        await self._shelf.amdelete(_stored(keys))

    def yield_keys(self, prefix: str | None = None) -> Iterator[str]:
        """Yield each key that has a value once, in constant memory. `prefix` is literal text."""
        folded: list[str] = []
        for key in self._shelf.yield_keys(scan_prefix(prefix), with_value=True):
            if is_folded(key):
                folded.append(key)
                if len(folded) == _PAGE:
                    yield from unfolded(self._shelf.mget_entries(folded, values=False), prefix)
                    folded = []
            elif fits_scan(key, prefix):
                yield key
        yield from unfolded(self._shelf.mget_entries(folded, values=False), prefix)

    async def ayield_keys(self, prefix: str | None = None) -> AsyncIterator[str]:
        """As `yield_keys`."""
        folded: list[str] = []
        async for key in self._shelf.ayield_keys(scan_prefix(prefix), with_value=True):
            if is_folded(key):
                folded.append(key)
                if len(folded) == _PAGE:
                    for original in unfolded(await self._shelf.amget_entries(folded, values=False), prefix):
                        yield original
                    folded = []
            elif fits_scan(key, prefix):
                yield key
        for original in unfolded(await self._shelf.amget_entries(folded, values=False), prefix):
            yield original

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes into this store."""
        from langchain_docshelf.moving.targets import BytesTarget

        return BytesTarget(self._shelf)


def _pairs(pairs: Any) -> Iterator[Sequence[Any]]:
    """(key, value) pairs of a mapping or an iterable of pairs."""
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise ArgumentTypeError(f"the pairs are a {type(pairs).__name__}; give (key, value) pairs")
    for position, pair in enumerate(pairs.items() if isinstance(pairs, Mapping) else pairs):
        if not (type(pair) is tuple or isinstance(pair, tuple | list)) or len(pair) != 2:
            raise ArgumentTypeError(f"pair {position} is a {type(pair).__name__}; each is a tuple (key, value)")
        yield pair


def _stored(keys: Any) -> list[str]:
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise ArgumentTypeError(f"keys is a {type(keys).__name__}; give an iterable of keys")
    return [stored_item(key).key for key in keys]


def _byte_items(pairs: Any) -> Iterator[Item]:
    for key, value in _pairs(pairs):
        if not isinstance(value, bytes | bytearray | memoryview):
            raise ArgumentTypeError(f"key {key!r:.60}: the value is a {type(value).__name__}; give bytes")
        yield stored_item(key, bytes(value))
