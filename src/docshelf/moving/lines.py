"""Lines of an export: entries, sources and collections as JSON objects, and back. No I/O.

The format is for other programs and languages as well: docs/export-format.md describes it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, TypeVar

import orjson

from docshelf.errors import BadFileError, DocShelfError
from docshelf.sql.transfer import RawCollection, RawSource
from docshelf.validation import check_collection, check_key, check_label, check_source
from docshelf.values.content_types import Codec
from docshelf.values.documents import BYTES, DOCUMENT, DOCUMENT_FIELDS, JSON, is_content_type
from docshelf.values.hashing import is_intact
from docshelf.values.json import DecodeError, loads
from docshelf.values.stored import RawEntry

T = TypeVar("T")

FORMAT: Final = 1
HEADER, COLLECTION, ENTRY, SOURCE, END = "header", "collection", "entry", "source", "end"
_TEXT, _METADATA, _FIELDS, _VALUE = "text", "metadata", "fields", "value"
_NO_ID: Final[Mapping[str, None]] = {"id": None}
_BYTES_TAG: Final = "$bytes"
_HASH_BYTES: Final = 32
_SORTED: Final = orjson.OPT_SORT_KEYS


def header_line(codec: Codec, collection: str, filters: Mapping[str, Any], *, everything: bool) -> bytes:
    """The first line: what the file is, and what it was taken from."""
    hash_on = codec.hash_on if isinstance(codec.hash_on, str) else "a function"
    return _line(
        kind=HEADER,
        format=FORMAT,
        made_by="docshelf",
        everything=everything,
        collection=None if everything else collection,
        hash_on=hash_on,
        hash_exclude=sorted(codec.hash_exclude),
        **{name: given for name, given in filters.items() if given is not None},
    )


def end_line(lines: int, entries: int, sources: int, digest: str) -> bytes:
    """The last line: counts and SHA-256, which tell a reader that the file is whole."""
    return _line(kind=END, lines=lines, entries=entries, sources=sources, sha256=digest)


def collection_line(row: RawCollection) -> bytes:
    """A collection, before its entries."""
    return _line(kind=COLLECTION, **row._asdict())


def source_line(collection: str, row: RawSource) -> bytes:
    """What is stored about a source, after the entries of its collection."""
    metadata = None if row.metadata is None else orjson.loads(row.metadata)
    return _line(
        kind=SOURCE,
        collection=collection,
        source=row.source,
        fingerprint=row.fingerprint,
        metadata=metadata,
        synced_at=_printed(row.synced_at),
    )


def entry_line(collection: str, entry: RawEntry) -> bytes:
    """An entry. Text and metadata of a document are fields of the line, and so is the value of anything else."""
    fields: dict[str, Any] = {"kind": ENTRY, "collection": collection, "key": entry.key, "source": entry.source}
    if entry.data is not None:
        assert entry.content_type is not None
        fields["type"] = entry.content_type
        fields |= _split(entry.content_type, entry.data)
        fields["hash"] = _hex(entry.value_hash)
        if entry.checksum is not None:
            fields["checksum"] = _hex(entry.checksum)
    if entry.version is not None:
        fields["version"] = entry.version
    fields |= {"created_at": _printed(entry.created_at), "updated_at": _printed(entry.updated_at), "seq": entry.seq}
    return _line(**fields)


def document_parts(content_type: str | None, data: bytes | None) -> tuple[str | None, str | None, str | None]:
    """A value as three columns: a document's text, its metadata as JSON, and the rest as JSON. None where it has none.

    A text that UTF-8 cannot hold goes into the rest.
    """
    if content_type is None or data is None:
        return None, None, None
    parts = _split(content_type, data)
    rest = parts.get(_VALUE, parts.get(_FIELDS))
    has_rest = _VALUE in parts or bool(rest)
    metadata = orjson.dumps(parts[_METADATA], option=_SORTED).decode() if _METADATA in parts else None
    return parts.get(_TEXT), metadata, orjson.dumps(rest, option=_SORTED).decode() if has_rest else None


class Parser:
    """Reads lines of an export.

    Args:
        codec: the codec of the shelf that the entries go to. It hashes the entries that come without a hash.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def parse(self, line: bytes, number: int) -> dict[str, Any]:
        """The JSON object of a line.

        Raises:
            BadFileError: it is none, or one of a kind that is not known.
        """
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            raise BadFileError(f"line {number:,}: not JSON ({exc})") from None
        if type(fields) is not dict or fields.get("kind") not in (HEADER, COLLECTION, ENTRY, SOURCE, END):
            kinds = ", ".join((HEADER, COLLECTION, ENTRY, SOURCE, END))
            raise BadFileError(f'line {number:,}: a JSON object with a "kind" of {kinds} belongs here')
        return fields

    def header(self, fields: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        """Check a header.

        Raises:
            BadFileError: it is none, or of another format.
        """
        if fields["kind"] != HEADER:
            raise BadFileError("the first line is no header; this file is no export of docshelf")
        if fields.get("format") != FORMAT:
            raise BadFileError(
                f"the file has the format {fields.get('format')!r:.20}; this docshelf reads format {FORMAT}; upgrade it"
            )
        if not isinstance(fields.get("everything", False), bool):
            raise BadFileError(f'line {number:,}: "everything" has to be true or false')
        return fields

    def collection(self, fields: Mapping[str, Any], number: int) -> RawCollection:
        """A line of a collection. Raises as `entry` does."""
        with_name = _checked(number, fields, "collection", check_collection)
        owner = _checked(number, fields, "owner", lambda name: None if name is None else check_collection(name))
        settings = _checked(number, fields, "settings", lambda given: check_label(given, "settings"))
        return RawCollection(with_name, owner, settings)

    def source(self, fields: Mapping[str, Any], number: int) -> RawSource:
        """A line of a source. Raises as `entry` does."""
        metadata = fields.get("metadata")
        if metadata is not None:
            data = orjson.dumps(metadata, option=_SORTED)
            if not isinstance(metadata, dict) or not _is_decodable(data):
                raise BadFileError(f"line {number:,}: the metadata of a source are a JSON object; see the tags")
        return RawSource(
            _checked(number, fields, "source", check_source),
            _checked(number, fields, "fingerprint", lambda given: check_label(given, "fingerprint")),
            None if metadata is None else data.decode(),
            _time(fields, "synced_at", number) or datetime.now(timezone.utc),
        )

    def entry(self, fields: Mapping[str, Any], number: int) -> RawEntry:
        """A line of an entry.

        Raises:
            BadFileError: something in it is of the wrong type, or the value does not match its hash. Names the line.
        """
        key: str = _checked(number, fields, "key", check_key)
        source: str = _checked(number, fields, "source", lambda given: check_source("" if given is None else given))
        version: str | None = _checked(number, fields, "version", lambda given: check_label(given, "version"))
        value: Any = (None, None, None, None)
        if _TEXT in fields or _VALUE in fields:
            try:
                value = self._value(fields, key)
            except (DecodeError, DocShelfError, ValueError, TypeError, binascii.Error) as exc:
                raise BadFileError(f"line {number:,}, key {key!r:.60}: {exc!s:.300}") from exc
        times = _time(fields, "created_at", number), _time(fields, "updated_at", number)
        seq = fields.get("seq")
        return RawEntry._make((key, source, *value, version, *times, seq if type(seq) is int else None))

    def _value(self, fields: Mapping[str, Any], key: str) -> tuple[str, bytes, bytes, bytes | None]:
        content_type = fields.get("type", DOCUMENT if _TEXT in fields else JSON)
        if not is_content_type(content_type):
            raise ValueError(f"the type {content_type!r:.60} is no name of a content type")
        data = _joined(content_type, fields)
        if "hash" not in fields:
            return self._codec.encode(self._codec.value_of(content_type, data), key)
        value_hash, checksum = _digest(fields, "hash"), _digest(fields, "checksum")
        assert value_hash is not None
        if not is_intact(value_hash, checksum, content_type, data):
            raise ValueError("the value does not match its hash")
        if content_type != BYTES and not _is_decodable(data):
            raise ValueError("the value has a tag that docshelf does not know")
        if len(data) > self._codec.max_value_bytes:
            raise ValueError(f"the value has {len(data):,} bytes; the limit is {self._codec.max_value_bytes:,}")
        return content_type, data, value_hash, checksum


def _split(content_type: str, data: bytes) -> dict[str, Any]:
    """The fields of a line that hold a value."""
    if content_type == BYTES:
        return {_VALUE: {_BYTES_TAG: base64.b64encode(data).decode("ascii")}}
    content = orjson.loads(data)
    text_field, metadata_field = DOCUMENT_FIELDS.get(content_type, ("", ""))
    if not isinstance(content, dict) or not isinstance(content.get(text_field), str) or metadata_field not in content:
        return {_VALUE: content}
    text, metadata = content.pop(text_field), content.pop(metadata_field)
    if content_type == DOCUMENT and content == _NO_ID:
        content = {}
    return {_TEXT: text, _METADATA: metadata, **({_FIELDS: content} if content else {})}


def _joined(content_type: str, fields: Mapping[str, Any]) -> bytes:
    """The canonical bytes of the value of a line."""
    if _TEXT not in fields:
        value = fields[_VALUE]
        if content_type != BYTES:
            return orjson.dumps(value, option=_SORTED)
        if not isinstance(value, dict) or value.keys() != {_BYTES_TAG}:
            raise ValueError(f'bytes are written as {{"{_BYTES_TAG}": base64}}')
        return base64.b64decode(value[_BYTES_TAG], validate=True)
    if content_type not in DOCUMENT_FIELDS:
        raise ValueError(f'a value of the type {content_type!r:.60} has no text of its own; give it as "value"')
    text_field, metadata_field = DOCUMENT_FIELDS[content_type]
    rest = fields.get(_FIELDS, {})
    if not isinstance(rest, dict):
        raise ValueError(f'"{_FIELDS}" is a {type(rest).__name__}; it has to be an object')
    content = {
        **(_NO_ID if content_type == DOCUMENT else {}),
        **rest,
        text_field: fields[_TEXT],
        metadata_field: fields.get(_METADATA, {}),
    }
    return orjson.dumps(content, option=_SORTED)


def _is_decodable(data: bytes) -> bool:
    try:
        loads(data)
    except DecodeError:
        return False
    return True


def _checked(number: int, fields: Mapping[str, Any], name: str, check: Callable[[Any], T]) -> T:
    try:
        return check(fields.get(name))
    except DocShelfError as exc:
        raise BadFileError(f"line {number:,}: {exc!s:.300}") from exc


def _digest(fields: Mapping[str, Any], name: str) -> bytes | None:
    given = fields.get(name)
    if given is None and name == "checksum":
        return None
    digest = bytes.fromhex(given) if isinstance(given, str) else b""
    if len(digest) != _HASH_BYTES:
        raise ValueError(f'"{name}" is no SHA-256 in hexadecimal digits')
    return digest


def _time(fields: Mapping[str, Any], name: str, number: int) -> datetime | None:
    given = fields.get(name)
    if given is None:
        return None
    try:
        time = datetime.fromisoformat(given.removesuffix("Z") + ("+00:00" if given.endswith("Z") else ""))
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise BadFileError(
            f'line {number:,}: "{name}" is {given!r:.60}; give a time such as 2026-03-01T12:00:00Z'
        ) from None


def _printed(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(timezone.utc).isoformat()


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def _line(**fields: Any) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
