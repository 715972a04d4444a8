"""Valid and invalid names, compared with a simple model, with unusual Unicode."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docshelf import ArgumentTypeError, ArgumentValueError, DocShelf, DocShelfError, Item
from docshelf.validation import (
    check_collection,
    check_items,
    check_iterable,
    check_key,
    check_keys,
    check_label,
    check_prefix,
    check_source,
    prefix_end,
)
from tests.support.effort import examples

# Ends of the ranges that UTF-8 writes in 1, 2, 3 and 4 bytes, of the surrogates, and what LIKE would take for its own.
EDGES = "\x01 %_\\az\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010fffe\U0010ffff"
texts = st.text(st.sampled_from(EDGES), max_size=6) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
any_text = texts | st.text(st.characters() | st.sampled_from("\0\ud800\udfff" + EDGES), max_size=20)


def is_a_name(text: str, limit: int | None, *, may_be_empty: bool) -> bool:
    """The rule in the words of the documentation."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return "\0" not in text and (limit is None or size <= limit) and (may_be_empty or size > 0)


CHECKS: list[tuple[str, Callable[[Any], Any], int | None, bool]] = [
    ("key", check_key, 1024, False),
    ("source", check_source, 1024, True),
    ("collection", check_collection, 255, False),
    ("prefix", check_prefix, 1024, True),
    ("version", lambda text: check_label(text, "version"), None, True),
]
each_check = pytest.mark.parametrize(
    ("what", "check", "limit", "may_be_empty"), CHECKS, ids=[name for name, *_ in CHECKS]
)


@each_check
@given(any_text)
def test_a_name_is_taken_exactly_when_the_rule_allows_it(
    what: str, check: Callable[[Any], Any], limit: int | None, may_be_empty: bool, text: str
) -> None:
    if is_a_name(text, limit, may_be_empty=may_be_empty):
        assert check(text) == (None if what == "prefix" and text == "" else text)
    else:
        with pytest.raises(ArgumentValueError, match=what):
            check(text)


@each_check
@pytest.mark.parametrize("character", ["a", "é", "\u0800", "\U0010ffff"])
def test_the_limit_counts_bytes_of_utf_8(
    what: str, check: Callable[[Any], Any], limit: int | None, may_be_empty: bool, character: str
) -> None:
    width = len(character.encode())
    if limit is None:
        assert check(character * 100_000) == character * 100_000
        return
    longest = character * (limit // width) + "x" * (limit % width)
    assert check(longest) == longest
    with pytest.raises(
        ArgumentValueError, match=rf"the {what} .* has {limit + 1:,} bytes of UTF-8; the limit is {limit:,}; shorten"
    ):
        check(longest + "x")


@each_check
@pytest.mark.parametrize(
    "value", [5, 1.5, b"k", ["k"], ("k", "v"), object(), True, np.array(["a", "b"])], ids=lambda v: type(v).__name__
)
def test_anything_but_text_is_a_type_error_that_names_it(
    what: str, check: Callable[[Any], Any], limit: int | None, may_be_empty: bool, value: Any
) -> None:
    name = type(value).__name__
    with pytest.raises(ArgumentTypeError, match=rf"the {what} .* is a {name}; it must be a str"):
        check(value)


def test_none_is_a_name_only_where_it_has_a_meaning() -> None:
    assert check_prefix(None) is None
    assert check_label(None, "version") is None
    for check in (check_key, check_source, check_collection):
        with pytest.raises(ArgumentTypeError, match="is a NoneType; it must be a str"):
            check(None)


@each_check
@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("a\0b", "contains a NUL character; remove it"),
        ("a\ud800", "contains a lone surrogate, which is not UTF-8"),
        ("\ud83d\ude00", "contains a lone surrogate, which is not UTF-8"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_do(
    what: str, check: Callable[[Any], Any], limit: int | None, may_be_empty: bool, text: str, mend: str
) -> None:
    with pytest.raises(ArgumentValueError) as caught:
        check(text)
    assert str(caught.value) == f"the {what} {text!r} {mend}"
    assert isinstance(caught.value, DocShelfError)
    assert isinstance(caught.value, ValueError)


def test_the_error_for_an_empty_name_says_what_a_name_must_be() -> None:
    with pytest.raises(ArgumentValueError, match=r"^a key is empty; a key is text of 1 to 1,024 bytes$"):
        check_key("")
    with pytest.raises(ArgumentValueError, match=r"^the collection's name is empty; give a name, or leave it out"):
        check_collection("")


def test_an_error_does_not_repeat_a_long_name() -> None:
    for text in ("x" * 100_000, "x" * 100_000 + "\0", "x" * 100_000 + "\ud800"):
        with pytest.raises(ArgumentValueError) as caught:
            check_key(text)
        assert len(str(caught.value)) < 250


class Name(str):
    def __str__(self) -> str:
        return "something else"


class Part(str, Enum):
    ONE = "one"


@each_check
@pytest.mark.parametrize(("given_name", "plain"), [(Name("n"), "n"), (Part.ONE, "one"), (np.str_("np"), "np")])
def test_a_subclass_of_str_is_taken_as_the_text_it_holds(
    what: str, check: Callable[[Any], Any], limit: int | None, may_be_empty: bool, given_name: Any, plain: str
) -> None:
    assert check(given_name) == plain
    assert type(check(given_name)) is str


# Batches


@given(st.lists(texts.filter(bool)))
def test_keys_of_any_iterable_keep_their_order(keys: list[str]) -> None:
    valid = [key for key in keys if len(key.encode()) <= 1024]
    assert check_keys(valid) == check_keys(iter(valid)) == check_keys(tuple(valid)) == valid
    assert check_keys(dict.fromkeys(valid)) == list(dict.fromkeys(valid))


@pytest.mark.parametrize("keys", ["abc", b"abc", 5, None, object()])
def test_one_string_is_no_batch_of_keys(keys: Any) -> None:
    name = type(keys).__name__
    with pytest.raises(ArgumentTypeError, match=rf"^keys is a {name}; give an iterable of keys$"):
        check_keys(keys)
    with pytest.raises(ArgumentTypeError, match=rf"^sources is a {name}; give an iterable of sources$"):
        check_iterable(keys, "sources", "sources")


@pytest.mark.parametrize("items", ["abc", b"abc", 5, None, object()])
def test_one_string_is_no_batch_of_items(items: Any) -> None:
    name = type(items).__name__
    with pytest.raises(ArgumentTypeError, match=rf"^items is a {name}; give an iterable of \(key, value\) pairs$"):
        DocShelf(":memory:").mset(items)


@pytest.mark.parametrize(
    "pair", ["ab", {"k": "v"}, 5, None, ("k",), ("k", 1, "s", "v", 5), (), frozenset("k")], ids=repr
)
def test_the_error_for_an_invalid_item_names_its_position(pair: Any) -> None:
    with pytest.raises(
        ArgumentTypeError, match=rf"^item 6 is a {type(pair).__name__}( of \d)?; give a mapping of keys to values"
    ):
        list(check_items([("good", 1), pair], "", 5))


@pytest.mark.parametrize(
    ("pair", "error", "said"),
    [
        (("", 1), ArgumentValueError, "a key is empty"),
        ((5, 1), ArgumentTypeError, "the key 5 is a int"),
        (("k", 1, 5), ArgumentTypeError, "the source 5 of the key 'k' is a int"),
        (("k", 1, "s\0"), ArgumentValueError, "the source .* of the key 'k' contains a NUL"),
        (("k", 1, None, 5), ArgumentTypeError, "the version 5 of the key 'k' is a int"),
        (("k", 1, None, "\ud800"), ArgumentValueError, "the version .* of the key 'k' contains a lone surrogate"),
        (("k", 1, "x" * 1025), ArgumentValueError, "the source .* of the key 'k' has 1,025 bytes"),
    ],
)
def test_each_part_of_an_item_is_checked(pair: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(check_items([pair], ""))


def test_items_may_be_pairs_or_longer() -> None:
    expected = [(("a", "s"), 1, None), (("b", "s"), 2, None)]
    assert list(check_items([("a", 1), ["b", 2]], "s")) == expected
    assert list(check_items(iter([Item("a", 1), ("b", 2, None, None)]), "s")) == expected
    assert list(check_items([("a", 1, "", "v")], "s")) == [(("a", ""), 1, "v")]
    assert list(check_items([], "s")) == []


# Prefixes


def in_range(text: str, prefix: str) -> bool:
    """As the database compares: by bytes of UTF-8, which is by code point."""
    end = prefix_end(prefix)
    return prefix.encode() <= text.encode() and (end is None or text.encode() < end.encode())


def all_texts(alphabet: str, length: int) -> Iterator[str]:
    for size in range(length + 1):
        yield from map("".join, itertools.product(alphabet, repeat=size))


def test_a_prefix_has_exactly_its_texts_between_itself_and_its_end() -> None:
    for alphabet in ("\x01\x7f\x80\U0010ffff", "\ud7ff\ue000a%", "_\U0010fffe\U0010ffff\u07ff"):
        universe = list(all_texts(alphabet, 4))
        for prefix in all_texts(alphabet, 2):
            assert [text for text in universe if in_range(text, prefix)] == [
                text for text in universe if text.startswith(prefix)
            ]


@given(texts, texts)
@settings(max_examples=examples(300))
@example("\ud7ff", "\ue000")
@example("a\U0010ffff", "b")
@example("\U0010ffff", "\U0010ffff\U0010ffff")
@example("", "")
def test_a_text_is_in_the_range_of_a_prefix_exactly_when_it_starts_with_it(prefix: str, text: str) -> None:
    assert in_range(text, prefix) is text.startswith(prefix)
    assert in_range(prefix + text, prefix)


@given(texts)
@settings(max_examples=examples(300))
def test_the_end_of_a_prefix_is_the_first_text_after_it(prefix: str) -> None:
    end = prefix_end(prefix)
    if end is None:
        assert set(prefix) <= {"\U0010ffff"}
        return
    assert end.encode() > prefix.encode(), "and it is text: it has a UTF-8 form"
    assert not end.startswith(prefix)
    # Anything smaller than the end that is not below the prefix starts with the prefix: the largest such text does.
    last = end[:-1] + _before(end[-1]) + "\U0010ffff" * 8
    assert last.startswith(prefix)


def _before(character: str) -> str:
    point = ord(character) - 1
    return chr(0xD7FF if point == 0xDFFF else point)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("a", "b"),
        ("a%", "a&"),
        ("\x7f", "\x80"),
        ("\ud7ff", "\ue000"),
        ("a\ud7ff", "a\ue000"),
        ("\uffff", "\U00010000"),
        ("a\U0010fffe", "a\U0010ffff"),
        ("a\U0010ffff", "b"),
        ("\ud7ff\U0010ffff\U0010ffff", "\ue000"),
        ("\U0010ffff", None),
        ("\U0010ffff" * 3, None),
        ("", None),
    ],
    ids=ascii,
)
def test_the_end_of_a_prefix(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end
