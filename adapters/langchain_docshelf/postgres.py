"""`PostgresByteStore`: the byte store of the specification, by its names and arguments, on docshelf."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.documents import Document
from langchain_core.stores import BaseStore

from docshelf import ConfigurationError, Op, Report, canonical_bytes
from langchain_docshelf.base import ShelfOptions, ShelfStore, Url, notes_of
from langchain_docshelf.documents import document_content_types, dump_document

if TYPE_CHECKING:
    from typing_extensions import Unpack

Pairs = Mapping[str, Any] | Iterable[tuple[str, Any] | tuple[str, Any, str]]
"""Keys with values, and with file names where they differ from that of the call."""


class PostgresByteStore(ShelfStore, BaseStore[str, Any]):
    """A store of any supported value (Document, dict, list, text, bytes, ...) that writes only what changed.

    A value is known by key and file name; a read by key alone gives the one written last. What is stored is canonical
    JSON, never a pickle. By default every part of a value counts as change, the metadata of a document too;
    `hash_on="text"` compares what `extract_hashable_content` gives.

    Args:
        conninfo: as `url` for `docshelf.DocShelf`; sync and async calls both work on it; None beside `engine=` or
            `async_engine=` only.
        collection_name: the named set of entries.
        document_types: your own subclasses of Document, to come back as such.
        options: as for `docshelf.DocShelf`.

    Raises:
        ConfigurationError: as `docshelf.DocShelf`, and where nothing says which database.
    """

    def __init__(
        self,
        conninfo: Url | None,
        collection_name: str,
        *,
        document_types: Iterable[type[Document]] = (),
        **options: Unpack[ShelfOptions],
    ) -> None:
        if conninfo is None and options.get("engine") is None and options.get("async_engine") is None:
            raise ConfigurationError("conninfo is None; give a URL, the path of an SQLite file, or engine=")
        content_types = document_content_types(document_types)
        self._open(conninfo, collection_name, None, options, default=collection_name, content_types=content_types)
        self.conninfo = conninfo

    @property
    def collection_name(self) -> str:
        """The name of the collection that this store works on."""
        return self._shelf.collection

    # What is hashed

    def compute_hash(self, content: str | bytes) -> str:
        """SHA-256 of a content, in hexadecimal."""
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        return hashlib.sha256(data).hexdigest()

    def serialize_value(self, value: Any) -> bytes:
        """The bytes of a value: equal values give the same in every process.

        Raises:
            UnsupportedValueError: it holds what cannot be stored without loss.
        """
        if isinstance(value, bytes):
            return value
        return canonical_bytes(dump_document(value) if isinstance(value, Document) else value)

    def extract_hashable_content(self, value: Any) -> str | bytes:
        """The text of a document, a text or bytes themselves, and of any other value its bytes."""
        if isinstance(value, Document):
            return value.page_content
        return value if isinstance(value, str) else self.serialize_value(value)

    # Reading

    def get(self, key: str, filename: str | None = None) -> Any:
        """The value of a key, or None; of one file if it is given, else the one written last."""
        return self._shelf.get(key, source=filename)

    async def aget(self, key: str, filename: str | None = None) -> Any:
        """As `get`."""
        return await self._shelf.aget(key, source=filename)

    def mget(self, keys: Sequence[str], filename: str | None = None) -> list[Any]:
        """The values of keys, in their order, None for each that has none. `filename` as for `get`."""
        return self._shelf.mget(keys, source=filename)

    async def amget(self, keys: Sequence[str], filename: str | None = None) -> list[Any]:
        """As `mget`."""
        return await self._shelf.amget(keys, source=filename)

    def yield_keys(self, prefix: str | None = None, *, filename: str | None = None) -> Iterator[str]:
        """Each key once, in order, in constant memory; `prefix` is literal text."""
        return self._shelf.yield_keys(prefix, source=filename)

    def ayield_keys(self, prefix: str | None = None, *, filename: str | None = None) -> AsyncIterator[str]:
        """As `yield_keys`."""
        return self._shelf.ayield_keys(prefix, source=filename)

    # Writing

    def set(self, key: str, value: Any, filename: str | None = "") -> None:
        """Write a value if it differs from what stands."""
        self._shelf.set(key, value, source=filename or "")

    async def aset(self, key: str, value: Any, filename: str | None = "") -> None:
        """As `set`."""
        await self._shelf.aset(key, value, source=filename or "")

    def mset(self, key_value_pairs: Pairs, filename: str | None = "") -> None:
        """Write those of the values that differ from what stands, in one transaction.

        Args:
            key_value_pairs: (key, value) or (key, value, filename), or a mapping of keys to values.
            filename: the file of pairs that name none; None is "".
        """
        self._shelf.mset(key_value_pairs, source=filename or "")

    async def amset(self, key_value_pairs: Pairs, filename: str | None = "") -> None:
        """As `mset`."""
        await self._shelf.amset(key_value_pairs, source=filename or "")

    def mdelete(self, keys: Sequence[str], filename: str | None = None) -> None:
        """Delete the values of keys, of one file if it is given, else of all."""
        self._shelf.mdelete(keys, source=filename)

    async def amdelete(self, keys: Sequence[str], filename: str | None = None) -> None:
        """As `mdelete`."""
        await self._shelf.amdelete(keys, source=filename)

    def conditional_set(self, key: str, value: Any, filename: str | None = "") -> tuple[str, Op]:
        """Write a value if its hash differs from that of what stands; gives (key, "INS" | "UPD" | "SKIP")."""
        return self._shelf.conditional_set(key, value, source=filename or "")

    async def aconditional_set(self, key: str, value: Any, filename: str | None = "") -> tuple[str, Op]:
        """As `conditional_set`."""
        return await self._shelf.aconditional_set(key, value, source=filename or "")

    def conditional_mset(
        self,
        key_value_pairs: Pairs,
        filename: str | None = None,
        *,
        scope: Literal["sources", "collection"] = "sources",
        allow_mass_delete: bool = False,
    ) -> list[tuple[str, Op]]:
        """Make files hold exactly these values, in one transaction.

        Args:
            key_value_pairs: (key, value) or (key, value, filename), or a mapping of keys to values.
            filename: the file of pairs that name none, "" by default. A file that is named here is made so even if no
                pair is left for it.
            scope: which keys that are not among the pairs are deleted: "sources" those of the files that are named,
                "collection" all.
            allow_mass_delete: leave nothing at all, if that is what the pairs say.

        Returns:
            (key, "INS" | "UPD" | "SKIP") in the order of the pairs, then (key, "DEL").

        Raises:
            MassDeleteError: nothing would be left of what stands; nothing was written.
        """
        return _results(
            self._shelf.sync(
                key_value_pairs,
                source=filename or "",
                scope=scope,
                allow_mass_delete=allow_mass_delete,
                notes=notes_of(filename),
            )
        )

    async def aconditional_mset(
        self,
        key_value_pairs: Pairs,
        filename: str | None = None,
        *,
        scope: Literal["sources", "collection"] = "sources",
        allow_mass_delete: bool = False,
    ) -> list[tuple[str, Op]]:
        """As `conditional_mset`."""
        return _results(
            await self._shelf.async_(
                key_value_pairs,
                source=filename or "",
                scope=scope,
                allow_mass_delete=allow_mass_delete,
                notes=notes_of(filename),
            )
        )


def _results(report: Report) -> list[tuple[str, Op]]:
    return [(change.key, change.op) for change in report]
