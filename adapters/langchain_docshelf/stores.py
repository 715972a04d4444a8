"""The document store and the byte store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.documents import Document
from langchain_core.stores import BaseStore

from docshelf import ArgumentTypeError, DocShelf, Entry, Item, Report, SourceNote
from langchain_docshelf.base import ShelfOptions, ShelfStore, Url, are_of, kept, notes_of
from langchain_docshelf.byte_keys import fits_scan, is_folded, scan_prefix, stored_item, unfolded
from langchain_docshelf.documents import SourceKey, check_document, document_content_types, document_in, source_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Documents = Mapping[str, Document] | Iterable[tuple[str, Document]]

# Folded keys looked up together.
_PAGE = 500


class DocShelfStore(ShelfStore, BaseStore[str, Document]):
    """A store of documents, for a retriever's `docstore` and whatever else takes a `BaseStore[str, Document]`.

    A document belongs to the source that its metadata names, and is known by key and source: the same key may stand in
    two sources, and a read by key gives the one written last. Writing a document that stands already writes nothing.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: as for `docshelf.DocShelf`; by default "documents", or that of a given shelf.
        shelf: a ready shelf whose connections to use, instead of a url and options other than `on_corrupt`.
        source_key: the key of a document's metadata that names its source, or a function of a document, which may
            give a path. None and a missing key mean no source ("").
        document_types: your own subclasses of Document, to come back as such; others come back as `StoredDocument`,
            with all their data.
        options: as for `docshelf.DocShelf`.
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
        content_types = document_content_types(document_types)
        self._open(url, collection, shelf, options, default="documents", content_types=content_types)
        self.source_key = source_key

    def source_of(self, document: Document, key: str = "") -> str:
        """The source that a document would be stored under; `key` is for the error.

        Raises:
            ArgumentTypeError: it is neither text nor a path.
        """
        return source_of(document, self.source_key, key)

    def mget(self, keys: Sequence[str]) -> list[Document | None]:
        """The documents of keys, in their order, None for each that has none."""
        keys = kept(keys)
        values = self._shelf.mget(keys)
        return values if are_of(Document, values) else self._of_kind(self._shelf.mget_entries(keys), Document)

    async def amget(self, keys: Sequence[str]) -> list[Document | None]:
        """As `mget`."""
        keys = kept(keys)
        values = await self._shelf.amget(keys)
        return values if are_of(Document, values) else self._of_kind(await self._shelf.amget_entries(keys), Document)

    def mset(self, key_value_pairs: Documents) -> None:
        """Write those of the documents that differ from what stands, in one transaction.

        Raises:
            ArgumentTypeError: a value is no document, or its source no text. Nothing was written.
            UnsupportedValueError: a document holds what cannot be stored without loss. Nothing was written.
        """
        self.conditional_mset(key_value_pairs)

    async def amset(self, key_value_pairs: Documents) -> None:
        """As `mset`."""
        await self.aconditional_mset(key_value_pairs)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete the documents of keys, in all sources."""
        self._shelf.mdelete(keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """As `mdelete`."""
        await self._shelf.amdelete(keys)

    def yield_keys(self, prefix: str | None = None) -> Iterator[str]:
        """Each key once, in order, in constant memory; `prefix` is literal text."""
        return self._shelf.yield_keys(prefix)

    def ayield_keys(self, prefix: str | None = None) -> AsyncIterator[str]:
        """As `yield_keys`."""
        return self._shelf.ayield_keys(prefix)

    def conditional_mset(
        self,
        key_value_pairs: Documents,
        *,
        move: bool = False,
        dry_run: bool = False,
        diff: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `mset`; returns what each key went through.

        Args:
            move: a key lives in one source only: a document written under another source than before leaves the old
                one, which the report lists as DEL.
            dry_run, diff: as for `docshelf.DocShelf.conditional_mset`.
            show_progress: show a progress bar.
        """
        items = self._items(key_value_pairs, None)
        return self._shelf.conditional_mset(items, move=move, dry_run=dry_run, diff=diff, show_progress=show_progress)

    async def aconditional_mset(
        self,
        key_value_pairs: Documents,
        *,
        move: bool = False,
        dry_run: bool = False,
        diff: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `conditional_mset`."""
        items = self._items(key_value_pairs, None)
        return await self._shelf.aconditional_mset(
            items, move=move, dry_run=dry_run, diff=diff, show_progress=show_progress
        )

    def sync(
        self,
        key_value_pairs: Documents,
        *,
        source: str | None = None,
        scope: Literal["sources", "collection"] = "sources",
        dry_run: bool = False,
        diff: bool = False,
        max_delete: float = 1.0,
        allow_mass_delete: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        show_progress: bool = False,
    ) -> Report:
        """Make sources hold exactly these documents: insert, update, skip, and delete the rest, in one transaction.

        Args:
            key_value_pairs: the documents by key.
            source: file all documents under this source, whatever their metadata say, and leave others alone. By
                default every source that a document or `notes` names is made so.
            scope: "collection" deletes the documents of all other sources too.
            dry_run, diff, max_delete, allow_mass_delete, notes, show_progress: as for `docshelf.DocShelf.sync`.

        Raises:
            MassDeleteError: it was refused; nothing was written.
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
        max_delete: float = 1.0,
        allow_mass_delete: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
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
            show_progress=show_progress,
        )

    def delete_source(self, source: str) -> Report:
        """Delete a source with all its documents; the same keys in other sources stay."""
        return self._shelf.delete_source(source)

    async def adelete_source(self, source: str) -> Report:
        """As `delete_source`."""
        return await self._shelf.adelete_source(source)

    def documents_of(self, entries: Iterable[Entry | None]) -> list[Document | None]:
        """The documents of entries of `shelf`, None for each that is missing.

        Raises:
            CorruptEntryError: an entry holds something else, under `on_corrupt="raise"`.
        """
        return self._of_kind(entries, Document)

    def _value_of(self, entry: Entry) -> Any:
        return document_in(entry, self.source_key)

    def _items(self, pairs: Documents, source: str | None) -> Iterator[tuple[str, Document, str]]:
        source_of = self.source_of
        for key, document in _pairs(pairs):
            check_document(document, key)
            yield key, document, source_of(document, key) if source is None else source


class DocShelfByteStore(ShelfStore, BaseStore[str, bytes]):
    """A store of bytes, for `CacheBackedEmbeddings`, `MultiVectorRetriever(byte_store=...)` and the like.

    Any text may be a key: one that docshelf has no room for (longer than 1,024 bytes, empty, with a NUL) is stored
    under a digest and comes back as it was.

    Args:
        url: as for `docshelf.DocShelf`.
        collection: as for `docshelf.DocShelf`; by default "bytes", or that of a given shelf.
        shelf: a ready shelf whose connections to use, instead of a url and options other than `on_corrupt`.
        options: as for `docshelf.DocShelf`.
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
        """The values of keys, in their order, None for each that has none."""
        stored = _stored(keys)
        values = self._shelf.mget(stored)
        return values if are_of(bytes, values) else self._of_kind(self._shelf.mget_entries(stored), bytes)

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """As `mget`."""
        stored = _stored(keys)
        values = await self._shelf.amget(stored)
        return values if are_of(bytes, values) else self._of_kind(await self._shelf.amget_entries(stored), bytes)

    def mset(self, key_value_pairs: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> None:
        """Write those of the values that differ from what stands, in one transaction; of equal keys the last wins."""
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
        """Each key once, in constant memory; `prefix` is literal text."""
        folded: list[str] = []
        for key in self._shelf.yield_keys(scan_prefix(prefix)):
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
        async for key in self._shelf.ayield_keys(scan_prefix(prefix)):
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
