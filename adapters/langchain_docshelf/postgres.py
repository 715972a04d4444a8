"""`PostgresByteStore`: the names and arguments of the specification's byte store, on docshelf."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.documents import Document
from langchain_core.stores import BaseStore

from docshelf import ConfigurationError, Op, Report, canonical_bytes
from docshelf.adapters import ShelfOptions, Url
from langchain_docshelf.base import LangChainStore, notes_of
from langchain_docshelf.documents import document_content_types, dump_document

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from docshelf.moving import Target

Pairs = Mapping[str, Any] | Iterable[tuple[str, Any] | tuple[str, Any, str]]
"""Pairs (key, value), or (key, value, filename) where the file name is not the one of the call."""


class PostgresByteStore(LangChainStore, BaseStore[str, Any]):
    """A store of any supported value (Document, dict, list, text, bytes, ...) that writes only what changed.

    Key and file name identify a value; a read by key alone returns the one that was written last. Values are stored as
    canonical JSON, never as a pickle. By default every part of a value counts as change, and so do a document's
    metadata; with `hash_on="text"` only what `extract_hashable_content` returns does.

    A store on a url can be pickled and deep-copied. A copy opens connections of its own; a pickle holds the password.

    Args:
        conninfo: as `url` for `docshelf.DocShelf`, for sync and async calls. It may be None beside `engine=` or
            `async_engine=` only.
        collection_name: the named set of entries that this store works on.
        document_types: your own subclasses of Document, which the store returns as such.
        options: as for `docshelf.DocShelf`.

    Raises:
        ConfigurationError: as `docshelf.DocShelf`; or neither `conninfo` nor an engine names a database.

    Example:
        >>> store = PostgresByteStore(":memory:", "files")
        >>> store.conditional_set("a", {"page": 1}, "report.pdf")
        ('a', 'INS')
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
        document_types = tuple(document_types)
        self._open(
            conninfo,
            collection_name,
            None,
            options,
            default=collection_name,
            content_types=document_content_types(document_types),
            document_types=document_types,
        )
        self.conninfo = conninfo

    def __setstate__(self, recipe: dict[str, Any]) -> None:
        options = {name: value for name, value in recipe.items() if name not in ("url", "collection")}
        self.__init__(recipe["url"], recipe["collection"], **options)  # type: ignore[misc]

    @property
    def collection_name(self) -> str:
        """The name of the collection that this store works on."""
        return self._shelf.collection

    # What is hashed

    def compute_hash(self, content: str | bytes) -> str:
        """The SHA-256 of a content, in hexadecimal."""
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        return hashlib.sha256(data).hexdigest()

    def serialize_value(self, value: Any) -> bytes:
        """The bytes of a value. Equal values have equal bytes in every process.

        Raises:
            UnsupportedValueError: the value has data that cannot be stored without loss.
        """
        if isinstance(value, bytes):
            return value
        return canonical_bytes(dump_document(value) if isinstance(value, Document) else value)

    def extract_hashable_content(self, value: Any) -> str | bytes:
        """The text of a document; text and bytes as they are; the serialized bytes of any other value."""
        if isinstance(value, Document):
            return value.page_content
        return value if isinstance(value, str) else self.serialize_value(value)

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes into this store."""
        from langchain_docshelf.moving.targets import ValuesTarget

        return ValuesTarget(self._shelf)

    # Reading

    def get(self, key: str, filename: str | None = None) -> Any:
        """The value of a key, or None: the one of a file if `filename` is given, else the one that was written last."""
        return self._shelf.get(key, source=filename)

    async def aget(self, key: str, filename: str | None = None) -> Any:
        """As `get`."""
        return await self._shelf.aget(key, source=filename)

    def mget(self, keys: Sequence[str], filename: str | None = None) -> list[Any]:
        """The values of keys, in the order of the keys; None for a key that has no value. `filename` as for `get`."""
        return self._shelf.mget(keys, source=filename)

    async def amget(self, keys: Sequence[str], filename: str | None = None) -> list[Any]:
        """As `mget`."""
        return await self._shelf.amget(keys, source=filename)

    def yield_keys(self, prefix: str | None = None, *, filename: str | None = None) -> Iterator[str]:
        """Yield each key that has a value once, in order, in constant memory. `prefix` is literal text."""
        return self._shelf.yield_keys(prefix, source=filename, with_value=True)

    def ayield_keys(self, prefix: str | None = None, *, filename: str | None = None) -> AsyncIterator[str]:
        """As `yield_keys`."""
        return self._shelf.ayield_keys(prefix, source=filename, with_value=True)

    # Writing

    def set(self, key: str, value: Any, filename: str | None = "") -> None:
        """Write a value if it differs from the stored one."""
        self._shelf.set(key, value, source=filename or "")

    async def aset(self, key: str, value: Any, filename: str | None = "") -> None:
        """As `set`."""
        await self._shelf.aset(key, value, source=filename or "")

    def mset(self, key_value_pairs: Pairs, filename: str | None = "") -> None:
        """Write the values that differ from the stored ones, in one transaction.

        Args:
            key_value_pairs: (key, value) or (key, value, filename), or a mapping of keys to values.
            filename: the file of the pairs that name none. None is the same as "".
        """
        self._shelf.mset(key_value_pairs, source=filename or "")

    async def amset(self, key_value_pairs: Pairs, filename: str | None = "") -> None:
        """As `mset`."""
        await self._shelf.amset(key_value_pairs, source=filename or "")

    def mdelete(self, keys: Sequence[str], filename: str | None = None) -> None:
        """Delete the values of keys: those of a file if `filename` is given, else those of all files."""
        self._shelf.mdelete(keys, source=filename)

    async def amdelete(self, keys: Sequence[str], filename: str | None = None) -> None:
        """As `mdelete`."""
        await self._shelf.amdelete(keys, source=filename)

    def conditional_set(self, key: str, value: Any, filename: str | None = "") -> tuple[str, Op]:
        """Write a value if its hash differs from the stored one's; returns (key, "INS" | "UPD" | "SKIP")."""
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
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
    ) -> list[tuple[str, Op]]:
        """Make files hold exactly these values, in one transaction.

        Args:
            key_value_pairs: (key, value) or (key, value, filename), or a mapping of keys to values.
            filename: the file of the pairs that name none, "" by default. A file that is named here is synced even if
                no pair belongs to it.
            scope: which keys that are not among the pairs are deleted. "sources": the keys of the files that are named;
                "collection": all.
            max_delete: as for `docshelf.DocShelf.sync`. By default a call is refused that would remove at least 10
                files whole and more than half of all files.
            allow_mass_delete: refuse no call.

        Returns:
            (key, "INS" | "UPD" | "SKIP") in the order of the pairs, then (key, "DEL").

        Raises:
            MassDeleteError: the call would delete more than it may. Nothing was written.
        """
        return _results(
            self._shelf.sync(
                key_value_pairs,
                source=filename or "",
                scope=scope,
                max_delete=max_delete,
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
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
    ) -> list[tuple[str, Op]]:
        """As `conditional_mset`."""
        return _results(
            await self._shelf.async_(
                key_value_pairs,
                source=filename or "",
                scope=scope,
                max_delete=max_delete,
                allow_mass_delete=allow_mass_delete,
                notes=notes_of(filename),
            )
        )


def _results(report: Report) -> list[tuple[str, Op]]:
    return [(change.key, change.op) for change in report]
