"""Checks of names: keys, sources, collections, versions. Each error says which one, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

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


CheckedItem = tuple[tuple[str, str], Any, "str | None"]
"""One item of a batch: the identity of its entry, (key, source), what it is to hold, and the version that it states."""


def check_items(items: Iterable[Any], source: str, first: int = 0) -> Iterator[CheckedItem]:
    """The items of a batch, or of a part of one.

    Args:
        items: each an `Item` or a tuple `(key, value[, source[, version]])`.
        source: the source of items that name none.
        first: the position of the first of them, for errors.

    Raises:
        ArgumentTypeError, ArgumentValueError: for items, keys, sources or versions that cannot be.
    """
    known: set[str] = set()
    for position, pair in enumerate(items, first):
        size = len(pair) if type(pair) is tuple or isinstance(pair, tuple | list) else 0
        given = version = None
        if size == 2:
            key, value = pair
        elif size == 3:
            key, value, given = pair
        elif size == 4:
            key, value, given, version = pair
        else:
            of = f" of {size}" if size else ""
            raise ArgumentTypeError(
                f"item {position} is a {type(pair).__name__}{of}; each item is a tuple (key, value), an Item, "
                "or the whole is a mapping of keys to values"
            )
        key = check_key(key)
        if given is None:
            given = source
        elif type(given) is not str or given not in known:
            given = check_source(given, f" of the key {key!r}")
            known.add(given)
        if version is not None and (type(version) is not str or not version.isascii() or "\0" in version):
            version = _check_text(version, "version", None, f" of the key {key!r}")
        yield (key, given), value, version


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


def check_limit(limit: Any) -> int | None:
    """How many are wanted at most, 0 or more; None for all. Raises as `check_key` does."""
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise ArgumentTypeError(f"limit={limit!r:.60}: give a number, or None for all")
    if limit < 0:
        raise ArgumentValueError(f"limit={limit:,}: give 0 or more, or None for all")
    return int(limit)


def check_share(max_delete: Any) -> float | None:
    """The share of entries that may be deleted, 0 to 1, or None. Raises as `check_key` does."""
    if max_delete is not None and (not isinstance(max_delete, float | int) or isinstance(max_delete, bool)):
        raise ArgumentTypeError(f"max_delete={max_delete!r:.60}: give a share from 0 to 1, or None")
    if max_delete is not None and not 0 <= max_delete <= 1:
        raise ArgumentValueError(f"max_delete={max_delete!r}: give a share from 0 to 1")
    return max_delete


def check_optional_source(source: str | None) -> str | None:
    """A source to narrow a call to, or None for all. Raises as `check_source` does."""
    return None if source is None else check_source(source)


def check_sources(sources: Iterable[str]) -> list[str]:
    """The names of sources, as a list. Raises as `check_iterable` and `check_source` do."""
    return [check_source(source) for source in check_iterable(sources, "sources", "sources")]


def check_versions(versions: Mapping[str, str]) -> dict[str, str]:
    """Versions by key. Raises as `check_key` and `check_label` do."""
    return _check_labels(versions, "version", check_key)


def check_expected(expected: Mapping[str, str] | None, keys: Collection[str]) -> dict[str, str] | None:
    """The versions that entries have to have, one for each of the keys, or None. Raises as `check_versions` does."""
    if expected is None:
        return None
    checked = check_versions(expected)
    for key in keys:
        if key not in checked:
            raise ArgumentValueError(f"expected has no version for the key {key!r:.60}; give one for each key")
    return checked


def check_fingerprints(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints by source. Raises as `check_source` and `check_label` do."""
    return _check_labels(fingerprints, "fingerprint", check_source)


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


def _check_labels(labels: Mapping[str, str], what: str, check_name: Callable[[Any], str]) -> dict[str, str]:
    if not isinstance(labels, Mapping):
        raise ArgumentTypeError(f"the {what}s are a {type(labels).__name__}; give a mapping of names to text")
    checked = {}
    for name, label in labels.items():
        text = check_label(label, what, f" of {name!r:.60}")
        if text is None:
            raise ArgumentTypeError(f"the {what} of {name!r:.60} is None; give text")
        checked[check_name(name)] = text
    return checked
