"""Checks of arguments: keys, sources, collections, versions, items. Each error says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from docshelf.errors import ArgumentTypeError, ArgumentValueError

# A PostgreSQL index row holds 2,704 bytes, for collection, key and source together.
MAX_KEY_BYTES: Final = 1024
MAX_SOURCE_BYTES: Final = 1024
MAX_COLLECTION_BYTES: Final = 255


def check_key(key: Any) -> str:
    """The key as plain `str`.

    Raises:
        ArgumentTypeError: it is not text.
        ArgumentValueError: it is empty, over 1,024 bytes, or contains a NUL or a lone surrogate.
    """
    if type(key) is str and 0 < len(key) <= MAX_KEY_BYTES and key.isascii() and "\0" not in key:
        return key  # the fast path, for nearly all keys
    checked = _check_text(key, "key", MAX_KEY_BYTES)
    if not checked:
        raise ArgumentValueError("a key is empty; a key is text of 1 to 1,024 bytes")
    return checked


def plain_value(value: Any) -> Any:
    """A path as its text with forward slashes, an Enum as its value, and anything else as it is.

    These are the only values that do not come back as they were given.

    Example:
        >>> from pathlib import PurePath
        >>> plain_value(PurePath("docs", "guide.md"))
        'docs/guide.md'
    """
    if isinstance(value, PurePath):
        return value.as_posix()
    return value.value if isinstance(value, Enum) else value


def check_source(source: Any, of: str = "") -> str:
    """A source as plain `str`; "" means no source. A path or an Enum of text stands for its text.

    `of` names the source's item in errors. Raises as `check_key` does.
    """
    if type(source) is not str:
        source = plain_value(source)
    return _check_text(source, "source", MAX_SOURCE_BYTES, of)


def check_collection(collection: Any) -> str:
    """The collection's name as plain `str`. Raises as `check_key` does."""
    checked = _check_text(collection, "collection", MAX_COLLECTION_BYTES)
    if not checked:
        raise ArgumentValueError("the collection's name is empty; give a name, or leave it out for 'default'")
    return checked


def check_label(value: Any, what: str, of: str = "") -> str | None:
    """A version or fingerprint: text without NUL, or None. `of` as for `check_source`. Raises as `check_key` does."""
    return None if value is None else _check_text(value, what, None, of)


def check_prefix(prefix: Any) -> str | None:
    """A prefix of keys, as literal text. None and "" mean all keys. Raises as `check_key` does."""
    return None if prefix is None else _check_text(prefix, "prefix", MAX_KEY_BYTES) or None


def check_keys(keys: Any) -> list[str]:
    """The keys of a batch. Raises as `check_iterable` and `check_key` do."""
    return [check_key(key) for key in check_iterable(keys, "keys", "keys")]


CheckedItem = tuple[tuple[str, str], Any, "str | None"]
"""A checked item: (key, source), value, version."""


def check_items(items: Iterable[Any], source: str, first: int = 0) -> Iterator[CheckedItem]:
    """The items of a batch, or of a part of it.

    Args:
        items: each is an `Item` or a tuple `(key, value[, source[, version]])`.
        source: the source of items that name none.
        first: the position of the first item in the batch, for errors.

    Raises:
        ArgumentTypeError, ArgumentValueError: an item, key, source or version is invalid.
    """
    checked_sources: set[str] = set()
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
            length = f" of {size}" if size else ""
            raise ArgumentTypeError(
                f"item {position} is a {type(pair).__name__}{length}; give a mapping of keys to values, or an iterable "
                "of Item or (key, value)"
            )
        key = check_key(key)
        if given is None:
            given = source
        elif type(given) is not str or given not in checked_sources:
            given = check_source(given, f" of the key {key!r}")
            checked_sources.add(given)
        if version is not None and (type(version) is not str or not version.isascii() or "\0" in version):
            version = _check_text(version, "version", None, f" of the key {key!r}")
        yield (key, given), value, version


def prefix_end(prefix: str) -> str | None:
    """The smallest text, by code points, that is greater than every text with this prefix; None if there is none."""
    for position in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[position]) + 1
        if point == 0xD800:
            point = 0xE000  # skip the surrogates, which are not text
        if point <= 0x10FFFF:
            return prefix[:position] + chr(point)
    return None


def check_iterable(value: Any, what: str, of_what: str) -> Iterable[Any]:
    """An iterable that is not a string.

    Raises:
        ArgumentTypeError: it is a string, bytes, or not iterable.
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


def check_share(max_delete: Any, *, may_be_none: bool = True) -> float | None:
    """The share of what is there that may be deleted, 0 to 1, or None. Raises as `check_key` does.

    Example:
        >>> check_share(0.2)
        0.2
    """
    if max_delete is None and may_be_none:
        return None
    if not isinstance(max_delete, float | int) or isinstance(max_delete, bool):
        other = ", or None" if may_be_none else ""
        raise ArgumentTypeError(f"max_delete={max_delete!r:.60}: give a share from 0 to 1{other}")
    if not 0 <= max_delete <= 1:
        raise ArgumentValueError(f"max_delete={max_delete!r}: give a share from 0 to 1")
    return max_delete


def check_report(report: Any) -> bool:
    """True where the report of a call is to have counts alone.

    Raises:
        ArgumentValueError: neither "changes" nor "counts".
    """
    if report not in ("changes", "counts"):
        raise ArgumentValueError(f"report={report!r:.60}: give 'changes' or 'counts'")
    return bool(report == "counts")


def check_optional_source(source: str | None) -> str | None:
    """A source, or None for all sources. Raises as `check_source` does."""
    return None if source is None else check_source(source)


def check_sources(sources: Iterable[str]) -> list[str]:
    """The names of sources, as a list. Raises as `check_iterable` and `check_source` do."""
    return [check_source(source) for source in check_iterable(sources, "sources", "sources")]


def check_at_most(at_most: int | None) -> int | None:
    """The number to stop counting at, or None.

    Raises:
        ArgumentTypeError: it is not a whole number.
        ArgumentValueError: it is less than 1.
    """
    if at_most is None:
        return None
    if type(at_most) is not int:
        raise ArgumentTypeError(f"at_most={at_most!r:.60} is a {type(at_most).__name__}; give a whole number")
    if at_most < 1:
        raise ArgumentValueError(f"at_most={at_most}: give 1 or more")
    return at_most


def check_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of key and source, as a list. Raises as `check_iterable`, `check_key` and `check_source` do."""
    checked = []
    for pair in check_iterable(pairs, "pairs", "(key, source) pairs"):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ArgumentTypeError(f"the pair {pair!r:.60} is a {type(pair).__name__}; give tuples (key, source)")
        checked.append((check_key(pair[0]), check_source(pair[1])))
    return checked


def check_versions(versions: Mapping[str, str]) -> dict[str, str]:
    """Versions by key. Raises as `check_key` and `check_label` do."""
    return _check_labels(versions, "version", check_key)


def check_expected(expected: Mapping[str, str | None] | None, keys: Collection[str]) -> dict[str, str | None] | None:
    """The expected versions, one for each key, or None. Raises as `check_versions` does."""
    if expected is None:
        return None
    if not isinstance(expected, Mapping):
        raise ArgumentTypeError(f"expected is a {type(expected).__name__}; give a mapping of keys to versions")
    checked = {check_key(key): check_label(version, "version", f" of {key!r:.60}") for key, version in expected.items()}
    for key in keys:
        if key not in checked:
            raise ArgumentValueError(f"expected has no version for the key {key!r:.60}; give one for each key")
    return checked


def check_fingerprints(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints by source. Raises as `check_source` and `check_label` do."""
    return _check_labels(fingerprints, "fingerprint", check_source)


def _check_text(text: Any, what: str, limit: int | None, of: str = "") -> str:
    if not isinstance(text, str):
        raise ArgumentTypeError(f"the {what} {text!r:.60}{of} is a {type(text).__name__}; it must be a str")
    plain: str = str.__str__(text)
    if "\0" in plain:
        raise ArgumentValueError(f"the {what} {text!r:.60}{of} contains a NUL character; remove it")
    try:
        size = len(plain) if plain.isascii() else len(plain.encode())
    except UnicodeEncodeError:
        raise ArgumentValueError(f"the {what} {text!r:.60}{of} contains a lone surrogate, which is not UTF-8") from None
    if limit is not None and size > limit:
        raise ArgumentValueError(
            f"the {what} {text!r:.60}...{of} has {size:,} bytes of UTF-8; the limit is {limit:,}; shorten or hash it"
        )
    return plain


def check_new_sources(new_sources: Mapping[str, str] | None, source: str | None) -> dict[str, str]:
    """The sources of new entries by key. Raises as `check_key` and `check_source` do."""
    if new_sources is None:
        return {}
    if not isinstance(new_sources, Mapping):
        raise ArgumentTypeError(f"new_sources is a {type(new_sources).__name__}; give a mapping of keys to sources")
    if source is not None:
        raise ArgumentValueError("both source and new_sources were given; give one of them")
    return {check_key(key): check_source(of, f" of the key {key!r:.60}") for key, of in new_sources.items()}


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
