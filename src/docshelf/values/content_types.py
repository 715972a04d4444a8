"""Encodes a value into the columns of its row, and decodes it: content types, hashes, packing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pprint import pformat
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from docshelf.errors import (
    ConfigurationError,
    CorruptEntryError,
    CorruptEntryWarning,
    UnsupportedValueError,
    ValueTooLargeError,
)
from docshelf.types import Document, Problem
from docshelf.values.compression import UnpackError, pack_all, unpack
from docshelf.values.documents import (
    BYTES,
    DOCUMENT,
    DOCUMENT_FIELDS,
    JSON,
    MAX_CONTENT_TYPE,
    UnknownDocument,
    dump_document,
    is_content_type,
    load_document,
    read_unknown,
)
from docshelf.values.hashing import checksum_of, hash_prefix, is_intact
from docshelf.values.json import DecodeError, EncodeError, dumps, loads
from docshelf.values.search import search_fields
from docshelf.values.stored import NOT_READ, RawEntry, Stored, check_columns, raw_bytes, utc_time
from docshelf.values.where import Condition, Fields

HashOn = Literal["value", "text"] | Callable[[Any], Any]
OnCorrupt = Literal["raise", "skip"]
# PostgreSQL limits a field to 1 GB, and psycopg2 may send four bytes for each byte of the value.
DEFAULT_MAX_VALUE_BYTES: Final = 255 * 1024 * 1024
_NO_FIELDS: Final[Fields] = MappingProxyType({})


@dataclass(frozen=True)
class ContentType:
    """How a framework's documents are stored and read. Adapters pass these to `DocShelf(content_types=...)`.

    Attributes:
        name: the content type in the row, "langchain/document" for example.
        python_types: the classes that are written with this content type; empty if it is only read.
        dump: document -> dict of storable values.
        load: that dict -> document. It must build the same classes, whatever the dict contains.
        text_field: the key in that dict that holds the document's text, for `hash_on="text"`.
        metadata_field: the key in that dict that holds the metadata, for `hash_exclude`.

    Example:
        >>> class Note:
        ...     def __init__(self, text):
        ...         self.text = text
        >>> note = ContentType("example/note", (Note,), dump=vars, load=lambda fields: Note(**fields))
        >>> with DocShelf(":memory:", content_types=[note]) as shelf:
        ...     shelf.set("a", Note("Hello."))
        ...     shelf.get("a").text
        'Hello.'
    """

    name: str
    python_types: tuple[type, ...]
    dump: Callable[[Any], dict[str, Any]]
    load: Callable[[dict[str, Any]], Any]
    text_field: str | None = None
    metadata_field: str | None = None


_DOCUMENTS: Final = ContentType(
    DOCUMENT, (Document,), dump_document, load_document, text_field="text", metadata_field="metadata"
)
Encoded = tuple[str, bytes, bytes, "bytes | None"]
"""An encoded value before packing: content type, canonical bytes, value_hash, checksum.

The checksum covers all bytes. It is None where the value hash already does.
"""


class _Kind(NamedTuple):
    """How values of a class are written: the content type, the prefix of the hashed bytes, what dumps the values."""

    content_type: str
    prefix: bytes
    handler: ContentType | None


class Codec:
    """Encodes and decodes values with the options of one store. Thread-safe."""

    def __init__(
        self,
        *,
        content_types: Iterable[ContentType] = (),
        hash_on: HashOn = "value",
        hash_exclude: Iterable[str] = (),
        on_corrupt: OnCorrupt = "raise",
        compression: Literal["zstd"] | None = "zstd",
        max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES,
    ) -> None:
        if hash_on not in ("value", "text") and not callable(hash_on):
            raise ConfigurationError(f"hash_on={hash_on!r}: give 'value', 'text' or a callable")
        if isinstance(hash_exclude, str) or not hasattr(hash_exclude, "__iter__"):
            raise ConfigurationError(f"hash_exclude={hash_exclude!r}: give a tuple of names, ({hash_exclude!r},)")
        if on_corrupt not in ("raise", "skip"):
            raise ConfigurationError(f"on_corrupt={on_corrupt!r}: give 'raise' or 'skip'")
        if compression not in ("zstd", None):
            raise ConfigurationError(f"compression={compression!r}: give 'zstd' or None")
        if type(max_value_bytes) is not int or not 0 < max_value_bytes <= DEFAULT_MAX_VALUE_BYTES:
            raise ConfigurationError(f"max_value_bytes={max_value_bytes!r}: give 1 to {DEFAULT_MAX_VALUE_BYTES:,}")
        try:
            self.content_types = tuple(content_types)
        except TypeError:
            raise ConfigurationError(f"content_types={content_types!r:.60}: give an iterable of ContentType") from None
        for one in self.content_types:
            if not isinstance(one, ContentType):
                raise ConfigurationError(f"content_types holds a {type(one).__name__}; give ContentType")
        self.hash_on = hash_on
        self.hash_exclude = frozenset(hash_exclude)
        self.on_corrupt = on_corrupt
        self.compression = compression
        self.max_value_bytes = max_value_bytes
        self._kinds: dict[type, _Kind] = {bytes: _Kind(BYTES, hash_prefix(BYTES), None)}
        self._loaders: dict[str, Callable[[bytes], Any]] = {
            JSON: loads,
            BYTES: lambda data: data,
            DOCUMENT: partial(_load, _DOCUMENTS),
        }
        for one in self.content_types:
            if one.name in (JSON, BYTES, DOCUMENT):
                raise ConfigurationError(f"the content type name {one.name!r} is reserved; use another")
            if not is_content_type(one.name):
                raise ConfigurationError(f"content type {one.name!r:.60}: give text of 1 to {MAX_CONTENT_TYPE}")
            self._loaders[one.name] = partial(_load, one)
        self._metadata_fields = {one.name: one.metadata_field for one in self.content_types}
        self._hashes_all = hash_on == "value" and not self.hash_exclude

    def __reduce__(self) -> Any:
        names = ("content_types", "hash_on", "hash_exclude", "on_corrupt", "compression", "max_value_bytes")
        return partial(Codec, **{name: getattr(self, name) for name in names}), ()

    def derived(
        self,
        *,
        content_types: Iterable[ContentType] | None = None,
        on_corrupt: OnCorrupt | None = None,
        hash_on: HashOn | None = None,
        hash_exclude: Iterable[str] | None = None,
    ) -> Codec:
        """A copy of this codec with other options. None keeps an option."""
        return Codec(
            content_types=self.content_types if content_types is None else content_types,
            hash_on=self.hash_on if hash_on is None else hash_on,
            hash_exclude=self.hash_exclude if hash_exclude is None else hash_exclude,
            on_corrupt=self.on_corrupt if on_corrupt is None else on_corrupt,
            compression=self.compression,
            max_value_bytes=self.max_value_bytes,
        )

    def encode(self, value: Any, key: str) -> Encoded:
        """Encode the value of `key`.

        Raises:
            UnsupportedValueError: a part of the value cannot be stored. Names the key and the path to it.
            ValueTooLargeError: the canonical bytes exceed `max_value_bytes`.
        """
        content_type, prefix, handler = self._kinds.get(type(value)) or self._kind_of(value)
        content: Any
        data: bytes
        try:
            if handler is not None:
                content = handler.dump(value)
                if not isinstance(content, dict):
                    raise EncodeError("", f"{content_type} dumps a {type(content).__name__}; it must dump a dict")
                data = dumps(content)
            elif content_type == BYTES:
                content = data = value
            else:
                content, data = value, dumps(value)
            hashed_part = None if self._hashes_all else self._hashed_part(value, content, handler)
        except EncodeError as exc:
            raise UnsupportedValueError(f"key {key!r}: {exc}") from exc
        if len(data) > self.max_value_bytes:
            raise ValueTooLargeError(
                f"key {key!r}: the value has {len(data):,} bytes; the limit is {self.max_value_bytes:,}; split it"
            )
        if type(value) is UnknownDocument:
            hashes = value.stored_hashes
            self._check_known(content_type, data, key)
            if hashes is not None and is_intact(*hashes, content_type, data):
                return content_type, data, *hashes
        if hashed_part is None:
            return content_type, data, sha256(prefix + data).digest(), None
        value_hash = sha256(prefix + hashed_part).digest()
        return content_type, data, value_hash, checksum_of(value_hash, content_type, data)

    def pack_all(self, values: Sequence[bytes]) -> list[tuple[str, bytes]]:
        """The name of the encoding and the packed bytes of each value."""
        return pack_all(values, compress=self.compression is not None)

    def fields(self, content_type: str, data: bytes) -> Fields:
        """What searches look at: the metadata of a document, a plain dict itself, and nothing in other values.

        Raises:
            DecodeError: the bytes stand for no value.
        """
        if content_type == BYTES:
            return _NO_FIELDS
        content = loads(data)
        if content_type != JSON and isinstance(content, dict):
            content = content.get(self._metadata_fields.get(content_type, "metadata"))
        return content if isinstance(content, dict) else _NO_FIELDS

    def search_fields(self, content_type: str, data: bytes, names: Sequence[str]) -> str | None:
        """What an index is to know of canonical bytes, as JSON; None where it can know nothing."""
        try:
            return search_fields(self.fields(content_type, data), names)
        except DecodeError:
            return None

    def search_fields_of(self, row: Stored, names: Sequence[str]) -> str | None:
        """As `search_fields`, of a row. None for one that cannot be read, or has no value."""
        try:
            found = self._contents(row)
        except (UnpackError, DecodeError):
            return None
        return None if found is None else self.search_fields(found[0], found[1], names)

    def matching(
        self, rows: Iterable[Stored], condition: Condition, *, values: bool = True
    ) -> list[tuple[Stored, Any]]:
        """Those of the rows whose fields match, with their values, under this store's `on_corrupt`.

        Args:
            values: False leaves the values out (None).

        Raises:
            CorruptEntryError: under "raise", naming every bad row of the batch.
        """
        matching: list[tuple[Stored, Any]] = []
        problems: list[Problem] = []
        for row in rows:
            try:
                found = self._contents(row)
                fields = _NO_FIELDS if found is None else self.fields(found[0], found[1])
                if condition.matches(fields):
                    matching.append((row, self.decode(row) if values else None))
            except (UnpackError, DecodeError) as exc:
                problems.append(Problem(row.key, row.source, str(exc)))
            except CorruptEntryError as exc:
                problems += exc.problems
        self.report_problems(problems)
        return matching

    def _contents(self, row: Stored) -> Encoded | None:
        """The value of a row as it was encoded, checked against its hashes; None if the row has no value.

        Raises:
            UnpackError, DecodeError: docshelf cannot have written this row.
        """
        if type(row.key) is not str or type(row.source) is not str:
            raise DecodeError("a key or source that is not text")
        check_columns(row)
        if row.value is None and row.value_hash is None:
            return None
        return self._unpacked(row.value, row.value_hash, row.checksum, row.content_type, row.encoding)

    def decode(self, row: Stored, *, values: bool = True) -> Any:
        """The value of a row. None if the row has no value, or if `values` is False because it was not read.

        Raises:
            CorruptEntryError: docshelf cannot have written this row.
        """
        try:
            key, source, packed, given_hash, checksum, content_type, encoding, _, created_at, _, _ = row
            if type(key) is not str or type(source) is not str:
                raise DecodeError("a key or source that is not text")
            if created_at is not NOT_READ:
                check_columns(row)
            if not values or (packed is None and given_hash is None):
                return None
            content_type, data, value_hash, checksum = self._unpacked(
                packed, given_hash, checksum, content_type, encoding
            )
            if content_type in self._loaders:
                return self.value_of(content_type, data)
            return read_unknown(content_type, _fields(content_type, data), value_hash, checksum)
        except (UnpackError, DecodeError) as exc:
            raise CorruptEntryError([Problem(row.key, row.source, str(exc))]) from exc

    def raw_entry(self, row: Stored) -> RawEntry:
        """The entry of a row with its canonical bytes, which match its hash.

        Raises:
            CorruptEntryError: docshelf cannot have written this row.
        """
        try:
            if type(row.key) is not str or type(row.source) is not str:
                raise DecodeError("a key or source that is not text")
            check_columns(row)
            value: Any = (None, None, None, None)
            if row.value is not None or row.value_hash is not None:
                value = self._unpacked(row.value, row.value_hash, row.checksum, row.content_type, row.encoding)
            times = utc_time(row.created_at), utc_time(row.updated_at)
            return RawEntry._make((row.key, row.source, *value, row.version, *times, row.seq))
        except (UnpackError, DecodeError) as exc:
            raise CorruptEntryError([Problem(row.key, row.source, str(exc))]) from exc

    def raw_entries(self, rows: Iterable[Stored]) -> list[RawEntry]:
        """The entries of rows. Bad rows are handled as `on_corrupt` says; raises as `decode_all` does."""
        entries: list[RawEntry] = []
        problems: list[Problem] = []
        for row in rows:
            try:
                entries.append(self.raw_entry(row))
            except CorruptEntryError as exc:
                problems += exc.problems
        self.report_problems(problems)
        return entries

    def _unpacked(self, packed: Any, value_hash: Any, checksum: Any, content_type: Any, encoding: Any) -> Encoded:
        """The value of a row as it was encoded, checked against its hashes."""
        value, value_hash, checksum = raw_bytes(packed), raw_bytes(value_hash) or b"", raw_bytes(checksum)
        if value is None:
            raise DecodeError("a hash without a value")
        data = unpack(encoding, value, limit=self.max_value_bytes)
        if not isinstance(content_type, str):
            content_type = ""  # any SQLite column may hold any type
        if len(content_type) > MAX_CONTENT_TYPE:
            raise DecodeError(f"a content type of {len(content_type):,} characters")
        if not is_intact(value_hash, checksum, content_type, data):
            raise DecodeError("its bytes do not match its hash")
        if not content_type:
            raise DecodeError("a content type of 0 characters")
        return content_type, data, value_hash, checksum

    def value_of(self, content_type: str, data: bytes) -> Any:
        """The value of some canonical bytes.

        Raises:
            DecodeError: the bytes are not of this content type.
        """
        load = self._loaders.get(content_type)
        return UnknownDocument(content_type, _fields(content_type, data)) if load is None else load(data)

    def _check_known(self, content_type: str, data: bytes, key: str) -> None:
        """Refuse an `UnknownDocument` of a content type that this store knows but could not read again."""
        if content_type in self._loaders:
            try:
                self.value_of(content_type, data)
            except DecodeError as exc:
                raise UnsupportedValueError(f"key {key!r}: the UnknownDocument is {exc}") from exc

    def decode_all(self, rows: Iterable[Stored], *, values: bool = True) -> list[tuple[Stored, Any]]:
        """Rows with their values. Bad rows are handled as `on_corrupt` says.

        Raises:
            CorruptEntryError: with "raise". Names every bad row of the batch.
        """
        decoded: list[tuple[Stored, Any]] = []
        problems: list[Problem] = []
        for row in rows:
            try:
                decoded.append((row, self.decode(row, values=values)))
            except CorruptEntryError as exc:
                problems += exc.problems
        self.report_problems(problems)
        return decoded

    def report_problems(self, problems: Sequence[Problem]) -> None:
        """Raise or warn about rows that cannot be read, as `on_corrupt` says.

        Raises:
            CorruptEntryError: with "raise". Names every bad row.
        """
        if problems and self.on_corrupt == "raise":
            raise CorruptEntryError(problems)
        for problem in problems:
            warnings.warn(
                f"left out the entry with key {problem.key!r} and source {problem.source!r}: {problem.reason}",
                CorruptEntryWarning,
                stacklevel=3,
            )

    def readable(self, old: Any, new: Any) -> tuple[str, str]:
        """Two values as texts for a reader to compare: of documents the text; with metadata, or all, only if needed."""
        for with_metadata in (False, True):
            texts = self._text_of(old, with_metadata), self._text_of(new, with_metadata)
            if texts[0] != texts[1]:
                return texts
        return _printed(self._content(old)), _printed(self._content(new))

    def _content(self, value: Any) -> Any:
        handler = self._kind_of(value).handler
        return handler.dump(value) if handler else value

    def _text_of(self, value: Any, with_metadata: bool) -> str:
        """The text of a document, with or without its metadata."""
        handler, content = self._kind_of(value).handler, self._content(value)
        if handler is None or handler.text_field is None:
            return _printed(content)
        text = _printed(content.get(handler.text_field))
        metadata = content.get(handler.metadata_field) if handler.metadata_field else None
        return f"{text}\n\n{_printed(metadata)}" if with_metadata and metadata else text

    def _kind_of(self, value: Any) -> _Kind:
        python_type = type(value)
        kind = self._kinds.get(python_type)
        if kind is None and python_type is UnknownDocument:
            # Each of them names its own content type.
            name = value.content_type
            return _Kind(name, hash_prefix(name), self._handler_of(name))
        if kind is None:
            known = (*self.content_types, _DOCUMENTS)
            matching = (one for one in known if one.python_types and issubclass(python_type, one.python_types))
            handler = next(matching, None)
            name = handler.name if handler else JSON
            kind = self._kinds.setdefault(python_type, _Kind(name, hash_prefix(name), handler))
        return kind

    def _handler_of(self, name: str) -> ContentType:
        """How the fields of an `UnknownDocument` are written, and which of them are its text and its metadata."""
        registered = next((one for one in (*self.content_types, _DOCUMENTS) if one.name == name), None)
        if registered is not None:
            return replace(registered, dump=dict)
        text_field, metadata_field = DOCUMENT_FIELDS.get(name, (None, None))
        return ContentType(name, (), dict, dict, text_field=text_field, metadata_field=metadata_field)

    def _hashed_part(self, value: Any, content: Any, handler: ContentType | None) -> bytes | None:
        """The bytes of the part that counts as a change; None if everything counts."""
        if callable(self.hash_on):
            return dumps(self.hash_on(value))
        if self.hash_on == "text":
            text = content.get(handler.text_field) if handler and handler.text_field else content
            if isinstance(text, str):
                return text.encode("utf-8", "surrogatepass")
        if not self.hash_exclude or not isinstance(content, dict):
            return None
        if handler is None:
            return dumps(self._without_excluded(content))
        metadata = content.get(handler.metadata_field) if handler.metadata_field else None
        if not isinstance(metadata, dict):
            return None
        return dumps({**content, handler.metadata_field: self._without_excluded(metadata)})

    def _without_excluded(self, mapping: dict[Any, Any]) -> dict[Any, Any]:
        return {name: item for name, item in mapping.items() if name not in self.hash_exclude}


def _printed(value: Any) -> str:
    """A text as it is; any other value as Python prints it."""
    if isinstance(value, str):
        return value
    try:
        return pformat(value, width=100)
    except ValueError:  # Python refuses to print an int with thousands of digits
        return dumps(value).decode("utf-8", "replace")


def canonical_bytes(value: Any) -> bytes:
    """The canonical bytes of a JSON-like value: UTF-8 JSON, the same for equal values in every process.

    Raises:
        UnsupportedValueError: a part of the value cannot be stored without loss. Names the path to it.

    Example:
        >>> canonical_bytes({"b": (1, 2), "a": b"x"})
        b'{"a":{"$bytes":"eA=="},"b":{"$tuple":[1,2]}}'
    """
    try:
        return dumps(value)
    except EncodeError as exc:
        raise UnsupportedValueError(str(exc)) from exc


def _fields(content_type: str, data: bytes) -> dict[str, Any]:
    """The fields of a document, from its canonical bytes."""
    content = loads(data)
    if not isinstance(content, dict):
        raise DecodeError(f"the content of a {content_type:.60} is not an object")
    return content


def _load(handler: ContentType, data: bytes) -> Any:
    content = _fields(handler.name, data)
    try:
        return handler.load(content)
    except (DecodeError, MemoryError, RecursionError, ImportError):
        raise  # the last three are about this process and not about the row
    except Exception as exc:  # a framework's validation may raise anything; it means that the row is bad
        raise DecodeError(f"not a {handler.name} ({type(exc).__name__}: {exc!s:.200})") from exc
