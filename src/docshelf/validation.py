"""Checks of names: keys, sources, collections, versions. Each error says which one, why, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from docshelf.errors import ArgumentTypeError, ArgumentValueError

# One PostgreSQL index row holds 2,704 bytes and carries collection, key and source.
MAX_KEY_BYTES: Final = 1024
MAX_SOURCE_BYTES: Final = 1024
MAX_COLLECTION_BYTES: Final = 255


def check_key(key: Any) -> str:
    """The key as plain `str`.

    Raises:
        ArgumentTypeError: it is not text.
        ArgumentValueError: it is empty, over 1,024 bytes, or holds a NUL or a lone surrogate.
    """
    if type(key) is str and 0 < len(key) <= MAX_KEY_BYTES and key.isascii() and "\0" not in key:
        return key  # nearly all
    checked = _check_text(key, "key", MAX_KEY_BYTES)
    if not checked:
        raise ArgumentValueError("a key is empty; a key is text of 1 to 1,024 bytes")
    return checked


def check_source(source: Any, of: str = "") -> str:
    """The source `of` something as plain `str`; "" means no source. Raises as `check_key` does."""
    return _check_text(source, "source", MAX_SOURCE_BYTES, of)


def check_collection(collection: Any) -> str:
    """The collection's name as plain `str`. Raises as `check_key` does."""
    checked = _check_text(collection, "collection", MAX_COLLECTION_BYTES)
    if not checked:
        raise ArgumentValueError("the collection's name is empty; give it one, or leave it out for 'default'")
    return checked


def check_label(value: Any, what: str, of: str = "") -> str | None:
    """A version or fingerprint `of` something: text without NUL, or None. Raises as `check_key` does."""
    return None if value is None else _check_text(value, what, None, of)


def check_prefix(prefix: Any) -> str | None:
    """A prefix of keys, literal text; None and "" mean all keys. Raises as `check_key` does."""
    return None if prefix is None else _check_text(prefix, "prefix", MAX_KEY_BYTES) or None


def check_keys(keys: Any) -> list[str]:
    """The keys of a batch, from any iterable but one string. Raises as `check_key` does."""
    return [check_key(key) for key in check_iterable(keys, "keys", "keys")]


class CheckedItems(NamedTuple):
    """The items of a batch by (key, source), in input order.

    Attributes:
        values: what each of them is to hold.
        versions: of those that state one.
    """

    values: dict[tuple[str, str], Any]
    versions: dict[tuple[str, str], str]


def check_items(items: Any, source: str) -> CheckedItems:
    """The items of a batch; of those with equal key and source the last wins, in the place of the first.

    Args:
        items: a mapping of keys to values, or any iterable of `Item` or of tuples `(key, value[, source[, version]])`.
        source: the source of items that name none.

    Raises:
        ArgumentTypeError, ArgumentValueError: for items, keys, sources or versions that cannot be.
    """
    values: dict[tuple[str, str], Any] = {}
    versions: dict[tuple[str, str], str] = {}
    if isinstance(items, Mapping):
        for key, value in items.items():
            values[check_key(key), source] = value
        return CheckedItems(values, versions)
    known: set[str] = set()
    for position, pair in enumerate(check_iterable(items, "items", "(key, value) pairs")):
        if not isinstance(pair, tuple | list) or not 2 <= len(pair) <= 4:
            raise ArgumentTypeError(
                f"item {position} is a {type(pair).__name__}; each item is a tuple (key, value), an Item, "
                "or the whole is a mapping of keys to values"
            )
        key, value, given, version = (*pair, None, None)[:4]
        key = check_key(key)
        if given is None:
            given = source
        elif type(given) is not str or given not in known:
            given = check_source(given, f" of the key {key!r}")
            known.add(given)
        identity = (key, given)
        values[identity] = value
        if version is not None:
            if type(version) is not str or not version.isascii() or "\0" in version:
                version = _check_text(version, "version", None, f" of the key {key!r}")
            versions[identity] = version
        elif versions:
            versions.pop(identity, None)
    return CheckedItems(values, versions)


def prefix_end(prefix: str) -> str | None:
    """The first text after all that start with `prefix`, by code point; None where there is none."""
    for position in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[position]) + 1
        if point == 0xD800:
            point = 0xE000  # surrogates are not text
        if point <= 0x10FFFF:
            return prefix[:position] + chr(point)
    return None


def check_iterable(value: Any, what: str, of_what: str) -> Iterable[Any]:
    """An iterable that is not one string.

    Raises:
        ArgumentTypeError: it is a string, bytes, or nothing to iterate over.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ArgumentTypeError(f"{what} is a {type(value).__name__}; give an iterable of {of_what}")
    return value


def _check_text(text: Any, what: str, limit: int | None, of: str = "") -> str:
    if not isinstance(text, str):
        raise ArgumentTypeError(f"the {what} {text!r:.60}{of} is a {type(text).__name__}; it has to be a str")
    plain: str = str.__str__(text)
    if "\0" in plain:
        raise ArgumentValueError(f"the {what} {text!r:.60}{of} holds a NUL character; take it out")
    try:
        size = len(plain) if plain.isascii() else len(plain.encode())
    except UnicodeEncodeError:
        raise ArgumentValueError(f"the {what} {text!r:.60}{of} holds a lone surrogate, which is not UTF-8") from None
    if limit is not None and size > limit:
        raise ArgumentValueError(
            f"the {what} {text!r:.60}...{of} has {size:,} bytes of UTF-8; the limit is {limit:,}; shorten or hash it"
        )
    return plain
