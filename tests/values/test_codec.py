"""Encoding a value into a row and back: content types, what counts as a change, limits, forged rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docshelf import (
    ConfigurationError,
    ContentType,
    CorruptEntryError,
    CorruptEntryWarning,
    DocShelfError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from docshelf.values.content_types import DEFAULT_MAX_VALUE_BYTES, Codec
from docshelf.values.stored import Stored
from tests.support.effort import examples
from tests.support.values import odd_document, shape, storable


@dataclass
class Page:
    text: str | None
    metadata: dict[str, Any] | None = field(default_factory=dict)


class LongPage(Page):
    pass


def page_type(name: str = "test/page", *, load: Callable[[dict[str, Any]], Any] | None = None) -> ContentType:
    return ContentType(
        name,
        (Page,),
        lambda page: {"text": page.text, "metadata": page.metadata},
        load or (lambda content: Page(content["text"], content["metadata"])),
        text_field="text",
        metadata_field="metadata",
    )


PAGES = page_type()


class Encoded(NamedTuple):
    """What `Codec.encode` gives."""

    content_type: str
    data: bytes
    value_hash: bytes
    checksum: bytes | None


def encode(codec: Codec, value: Any) -> Encoded:
    return Encoded(*codec.encode(value, "k"))


def row_of(codec: Codec, value: Any, /, **changes: Any) -> Stored:
    """The row that a store with this codec would write, with changes made by hand."""
    encoded = encode(codec, value)
    [(encoding, packed)] = codec.pack_all([encoded.data])
    row = Stored(
        *("k", "s", packed, encoded.value_hash, encoded.checksum, encoded.content_type, encoding),
        *(None, datetime(2024, 1, 1), datetime(2024, 1, 1), 1),
    )
    return row._replace(**changes)


def hash_of(value: Any, **options: Any) -> bytes:
    return encode(Codec(content_types=[PAGES], **options), value).value_hash


# Values and rows


@given(storable, st.sampled_from(["zstd", None]), st.sampled_from(["value", "text", len]))
@settings(max_examples=examples(150), deadline=None)
def test_a_row_reads_back_as_its_value_by_any_codec(value: Any, compression: Any, hash_on: Any) -> None:
    writer = Codec(compression=compression, hash_on=hash_on if hash_on != len else lambda value: repr(type(value)))
    assert shape(Codec().decode(row_of(writer, value))) == shape(value)


@given(st.binary())
@settings(max_examples=examples(100), deadline=None)
def test_bytes_are_stored_as_they_are(data: bytes) -> None:
    encoded = encode(Codec(), data)
    assert encoded.content_type == "bytes"
    assert encoded.data == data
    assert Codec(compression=None).pack_all([data]) == [("plain", data)]
    assert Codec().decode(row_of(Codec(), data)) == data


def test_a_row_of_a_driver_that_gives_memoryviews_is_read() -> None:
    row = row_of(Codec(hash_on="text"), "text")
    assert row.value is not None
    assert row.value_hash is not None
    assert row.checksum is not None
    views: dict[str, Any] = {name: memoryview(getattr(row, name)) for name in ("value", "value_hash", "checksum")}
    assert Codec().decode(row._replace(**views)) == "text"
    assert Codec().decode(row_of(Codec(), b"\0", value=memoryview(b"\0"))) == b"\0"


def test_a_row_with_neither_value_nor_hash_reads_as_none() -> None:
    assert Codec().decode(row_of(Codec(), 1, value=None, value_hash=None, content_type=None, encoding=None)) is None


def test_a_document_comes_back_as_its_class() -> None:
    codec = Codec(content_types=[PAGES])
    page = Page("text", odd_document()["metadata"])
    encoded = encode(codec, page)
    assert encoded.content_type == "test/page"
    back = codec.decode(row_of(codec, page))
    assert type(back) is Page
    assert shape(back.metadata) == shape(page.metadata)


def test_a_subclass_is_written_with_the_first_content_type_that_knows_it() -> None:
    codec = Codec(content_types=[page_type("first"), page_type("second")])
    assert encode(codec, LongPage("text")).content_type == "first"


def test_a_content_type_without_classes_is_only_read() -> None:
    reader = Codec(content_types=[ContentType("test/page", (), lambda page: {}, lambda content: content["text"])])
    assert reader.decode(row_of(Codec(content_types=[PAGES]), Page("text"))) == "text"
    with pytest.raises(UnsupportedValueError, match=r"^key 'k': cannot store a Page "):
        reader.encode(Page("text"), "k")


def test_compression_packs_only_what_gets_smaller() -> None:
    assert row_of(Codec(), "word " * 1000).encoding == "zstd"
    assert row_of(Codec(compression=None), "word " * 1000).encoding == "plain"
    assert row_of(Codec(), os.urandom(5000)).encoding == "plain"
    assert row_of(Codec(), "short").encoding == "plain"


# What cannot be stored


class Foo:
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"metadata": {"pages": [0, 1, 2, {"loc": Foo()}]}}, "key 'k': metadata.pages[3].loc: cannot store a Foo ("),
        (Page("text", {"pages": [{"loc": Foo()}]}), "key 'k': metadata.pages[0].loc: cannot store a Foo ("),
        (Foo(), "key 'k': cannot store a Foo ("),
        (bytearray(b"x"), "key 'k': cannot store a bytearray ("),
        ([b"x", memoryview(b"x")], "key 'k': [1]: cannot store a memoryview ("),
    ],
    ids=["dict", "document", "itself", "bytearray", "memoryview"],
)
def test_an_error_names_key_and_path(value: Any, message: str) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        Codec(content_types=[PAGES]).encode(value, "k")
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, TypeError)


def test_a_value_that_is_part_of_itself_is_unsupported() -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    with pytest.raises(UnsupportedValueError, match=r"^key 'k': nested deeper than"):
        Codec().encode(value, "k")


def test_the_result_of_a_hash_on_callable_must_be_storable() -> None:
    with pytest.raises(UnsupportedValueError, match=r"^key 'k': .*cannot store a Foo "):
        Codec(hash_on=lambda value: {"a": Foo()}).encode("text", "k")


def test_a_dump_that_is_not_an_object_is_refused_when_written() -> None:
    # The row could never be read again.
    broken = ContentType("test/broken", (Foo,), lambda foo: ["no", "object"], Foo)  # type: ignore[arg-type,return-value]
    with pytest.raises(DocShelfError):
        Codec(content_types=[broken]).encode(Foo(), "k")


@pytest.mark.parametrize(("value", "size"), [(b"x" * 100, 100), ("x" * 98, 100), ("é" * 49, 100), ([1] * 50, 101)])
def test_a_value_may_have_as_many_canonical_bytes_as_the_limit(value: Any, size: int) -> None:
    assert encode(Codec(max_value_bytes=size), value).data
    with pytest.raises(ValueTooLargeError, match=rf"^key 'k': the value has {size} bytes; the limit is {size - 1};"):
        Codec(max_value_bytes=size - 1).encode(value, "k")


# What counts as change


BASE = Page("text", {"mtime": 1, "page": 2, "deep": {"mtime": 3}})
VARIANTS = {
    "text": Page("other", {"mtime": 1, "page": 2, "deep": {"mtime": 3}}),
    "mtime": Page("text", {"mtime": 99, "page": 2, "deep": {"mtime": 3}}),
    "no mtime": Page("text", {"page": 2, "deep": {"mtime": 3}}),
    "page": Page("text", {"mtime": 1, "page": 2.0, "deep": {"mtime": 3}}),
    "deep": Page("text", {"mtime": 1, "page": 2, "deep": {"mtime": 99}}),
}


@pytest.mark.parametrize(
    ("options", "counting"),
    [
        ({}, {"text", "mtime", "no mtime", "page", "deep"}),
        ({"hash_on": "text"}, {"text"}),
        ({"hash_on": "text", "hash_exclude": ("page",)}, {"text"}),
        ({"hash_exclude": ("mtime",)}, {"text", "page", "deep"}),
        ({"hash_exclude": ("mtime", "page", "deep")}, {"text"}),
        ({"hash_exclude": ("text", "metadata", "absent")}, {"text", "mtime", "no mtime", "page", "deep"}),
        ({"hash_on": lambda page: page.metadata["page"]}, {"page"}),
        ({"hash_on": lambda page: (page.text, page.metadata["deep"])}, {"text", "deep"}),
        ({"hash_on": lambda page: None}, set()),
    ],
    ids=["default", "text", "text and exclude", "exclude", "exclude all", "absent", "callable", "tuple", "constant"],
)
def test_only_the_counted_part_of_a_document_changes_its_hash(options: dict[str, Any], counting: set[str]) -> None:
    base = hash_of(BASE, **options)
    assert base == hash_of(Page("text", dict(reversed(BASE.metadata.items()))), **options)  # type: ignore[union-attr]
    assert {name for name, page in VARIANTS.items() if hash_of(page, **options) != base} == counting


def test_of_a_plain_dict_the_excluded_keys_do_not_count() -> None:
    def counted(value: Any) -> bytes:
        return hash_of(value, hash_exclude=("mtime",))

    base = counted({"a": 1, "mtime": 5})
    assert counted({"mtime": Decimal6(), "a": 1}) == base
    assert counted({"a": 1}) == base
    assert counted({"a": 2, "mtime": 5}) != base
    assert counted({"a": 1, "b": {"mtime": 5}}) != counted({"a": 1, "b": {"mtime": 6}})
    assert counted([{"mtime": 5}]) != counted([{"mtime": 6}])


class Decimal6(int):
    """Any value of another type will do where it does not count."""


@pytest.mark.parametrize(
    ("one", "other"),
    [("text", "other"), ({"text": "a", "b": 1}, {"text": "a", "b": 2}), (b"one", b"two"), ([1], [2])],
    ids=["str", "dict", "bytes", "list"],
)
def test_on_text_a_value_that_is_no_document_counts_whole(one: Any, other: Any) -> None:
    assert hash_of(one, hash_on="text") != hash_of(other, hash_on="text")


def test_on_text_a_document_without_a_text_counts_whole() -> None:
    assert hash_of(Page(None, {"a": 1}), hash_on="text") != hash_of(Page(None, {"a": 2}), hash_on="text")
    assert hash_of(Page(None, {"a": 1}), hash_on="text") != hash_of(Page("", {"a": 1}), hash_on="text")


def test_a_text_with_a_lone_surrogate_counts() -> None:
    assert hash_of(Page("\ud800"), hash_on="text") != hash_of(Page("\ud801"), hash_on="text")


def test_a_document_without_metadata_can_be_hashed_without_excluded_names() -> None:
    assert hash_of(Page("a", None), hash_exclude=("mtime",)) != hash_of(Page("b", None), hash_exclude=("mtime",))


@pytest.mark.parametrize(
    "options",
    [{}, {"hash_on": "text"}, {"hash_exclude": ("a",)}, {"hash_on": lambda value: 1}],
    ids=["value", "text", "exclude", "callable"],
)
def test_the_content_type_is_part_of_the_hash(options: dict[str, Any]) -> None:
    first, second = Codec(content_types=[page_type("a")], **options), Codec(content_types=[page_type("b")], **options)
    page = Page("text", {"a": 1})
    assert encode(first, page).data == encode(second, page).data
    assert encode(first, page).value_hash != encode(second, page).value_hash
    as_json, as_bytes = encode(first, 1), encode(first, b"1")
    assert as_json.data == as_bytes.data
    assert as_json.value_hash != as_bytes.value_hash


def test_the_hash_is_sha256_of_content_type_and_canonical_bytes() -> None:
    # Stored rows hold these hashes. With another formula every stored entry would look changed.
    assert hash_of({"b": 1, "a": 2}) == hashlib.sha256(b'json\n{"a":2,"b":1}').digest()
    assert hash_of(b"x") == hashlib.sha256(b"bytes\nx").digest()
    assert hash_of(Page("é"), hash_on="text") == hashlib.sha256(b"test/page\n\xc3\xa9").digest()


@pytest.mark.parametrize(
    ("value", "options", "partial"),
    [
        (BASE, {}, False),
        (b"bytes", {}, False),
        (BASE, {"hash_on": "text"}, True),
        (BASE, {"hash_exclude": ("mtime",)}, True),
        (BASE, {"hash_on": lambda page: 1}, True),
        ({"a": 1, "b": 2}, {"hash_exclude": ("a",)}, True),
        ("text", {"hash_on": lambda text: len(text)}, True),
        ([1], {"hash_on": "text"}, False),
        ([1], {"hash_exclude": ("a",)}, False),
        (b"bytes", {"hash_on": "text", "hash_exclude": ("a",)}, False),
        (Page(None), {"hash_on": "text"}, False),
        (Page("text", None), {"hash_exclude": ("a",)}, False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else type(value).__name__,
)
def test_a_row_has_a_checksum_if_its_hash_covers_only_a_part(
    value: Any, options: dict[str, Any], partial: bool
) -> None:
    checksum = encode(Codec(content_types=[PAGES], **options), value).checksum
    assert (checksum is not None) is partial
    assert checksum is None or len(checksum) == 32


def test_the_checksum_covers_what_the_hash_does_not() -> None:
    def encoded(page: Page) -> Encoded:
        return encode(Codec(content_types=[PAGES], hash_on="text"), page)

    assert encoded(BASE).value_hash == encoded(VARIANTS["page"]).value_hash
    assert encoded(BASE).checksum != encoded(VARIANTS["page"]).checksum


# Forged rows


def corrupt(codec: Codec, row: Stored) -> str:
    with pytest.raises(CorruptEntryError) as caught:
        codec.decode(row)
    [problem] = caught.value.problems
    assert (problem.key, problem.source) == ("k", "s")
    assert "'k'" in str(caught.value)
    assert problem.reason in str(caught.value)
    return problem.reason


PLAIN = Codec(content_types=[PAGES])
PARTIAL = Codec(content_types=[PAGES], hash_on="text")


@pytest.mark.parametrize("writer", [PLAIN, PARTIAL], ids=["whole", "partial"])
@pytest.mark.parametrize("words", [2, 400], ids=["plain", "zstd"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": None}, "a hash without a value"),
        ({"value": b""}, ""),
        ({"value": b'"other"', "encoding": "plain"}, "do not match"),
        ({"value_hash": None}, "do not match"),
        ({"value_hash": b""}, "do not match"),
        ({"value_hash": bytes(32)}, "do not match"),
        ({"checksum": bytes(32)}, "do not match"),
        ({"checksum": b""}, "do not match"),
        ({"content_type": "json"}, "do not match"),
        ({"content_type": "bytes"}, "do not match"),
        ({"content_type": "builtins.eval"}, "do not match"),
        ({"content_type": None}, "do not match"),
        ({"content_type": ""}, "do not match"),
        ({"content_type": "\ud800"}, "do not match"),
        ({"encoding": "gzip"}, "unknown encoding 'gzip'"),
        ({"encoding": "pickle"}, "unknown encoding 'pickle'"),
        ({"encoding": None}, "unknown encoding None"),
        ({"encoding": "n" * 10_000}, "unknown encoding"),
    ],
    ids=str,
)
def test_a_row_altered_by_hand_is_corrupt(writer: Codec, words: int, changes: dict[str, Any], reason: str) -> None:
    row = row_of(writer, Page("word " * words, {"a": 1}))
    assert PLAIN.decode(row) == Page("word " * words, {"a": 1})
    found = corrupt(PLAIN, row._replace(**changes))
    assert reason in found
    assert len(found) < 300


@pytest.mark.parametrize("words", [2, 400], ids=["plain", "zstd"])
def test_the_other_encoding_is_corrupt(words: int) -> None:
    row = row_of(PLAIN, Page("word " * words))
    corrupt(PLAIN, row._replace(encoding={"plain": "zstd", "zstd": "plain"}[row.encoding or ""]))


def test_a_row_whose_checksum_was_taken_away_is_corrupt() -> None:
    assert "do not match" in corrupt(PLAIN, row_of(PARTIAL, BASE, checksum=None))


@given(st.data())
@settings(max_examples=examples(200), deadline=None)
def test_one_changed_bit_anywhere_is_seen(data: st.DataObject) -> None:
    writer = data.draw(st.sampled_from([PLAIN, PARTIAL]))
    row = row_of(writer, Page(data.draw(st.sampled_from(["short", "word " * 200])), {"n": 1}))
    name = data.draw(st.sampled_from(["value", "value_hash", *(["checksum"] if row.checksum else [])]))
    altered = bytearray(getattr(row, name))
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if name == "value" and row.encoding == "zstd":
        # A bit without meaning may change. The value that is read is still the one that was written.
        try:
            served = PLAIN.decode(row._replace(value=bytes(altered)))
        except CorruptEntryError:
            return
        assert served == PLAIN.decode(row)
        return
    changes: dict[str, Any] = {name: bytes(altered)}
    corrupt(PLAIN, row._replace(**changes))


def forged(content_type: str, data: bytes) -> Stored:
    """A row whose hash is right for bytes that no codec writes."""
    value_hash = hashlib.sha256(f"{content_type}\n".encode() + data).digest()
    return row_of(Codec(), None, value=data, value_hash=value_hash, content_type=content_type)


@pytest.mark.parametrize(
    ("content_type", "data", "reason"),
    [
        ("builtins.eval", b'"1 + 1"', "the content of a builtins.eval is not an object"),
        ("builtins.eval", b"\x80\x04\x95", "not canonical JSON"),
        ("x" * 100, b"1", f"the content of a {'x' * 60} is not an object"),
        ("", b"{}", "a content type of 0 characters"),
        ("x" * 256, b"{}", "a content type of 256 characters"),
        ("document", b'{"text":"t"}', "a document with other fields than id, metadata and text"),
        ("document", b'{"id":null,"metadata":[],"text":"t"}', "a document with a field of another type"),
        ("json", b'{"$object": ["os.system", "true"]}', "unknown tag '$object'"),
        ("json", b"\x80\x04\x95", "not canonical JSON"),
        ("json", b"[" * 100_000, "not canonical JSON"),
        ("test/page", b"[]", "the content of a test/page is not an object"),
        ("test/page", b"{}", "not a test/page (KeyError: 'text')"),
        ("test/page", b'{"$tuple": []}', "the content of a test/page is not an object"),
    ],
)
def test_a_forged_row_with_the_right_hash_is_corrupt(content_type: str, data: bytes, reason: str) -> None:
    found = corrupt(PLAIN, forged(content_type, data))
    assert found.startswith(reason)
    assert len(found) < 300


class VerboseError(Exception):
    """As validation errors of frameworks are."""

    def __str__(self) -> str:
        return "detail " * 10_000


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("no"), KeyError("text"), RuntimeError(), AssertionError(), StopIteration()),
        *(OSError(5, "I/O"), VerboseError(), AttributeError("x"), UserWarning()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_a_load_makes_the_row_corrupt(error: Exception) -> None:
    def load(content: dict[str, Any]) -> Any:
        raise error

    reader = Codec(content_types=[page_type(load=load)])
    reason = corrupt(reader, row_of(PLAIN, Page("text")))
    assert reason.startswith(f"not a test/page ({type(error).__name__}")
    assert len(reason) < 300


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), ImportError("gone"), ModuleNotFoundError()])
def test_what_a_load_lacks_in_this_process_is_no_corruption(error: Exception) -> None:
    def load(content: dict[str, Any]) -> Any:
        raise error

    for on_corrupt in ("raise", "skip"):
        reader = Codec(content_types=[page_type(load=load)], on_corrupt=on_corrupt)
        with pytest.raises(type(error)):
            reader.decode_all([row_of(PLAIN, Page("text"))])


def test_an_interrupt_in_a_load_is_not_caught() -> None:
    def load(content: dict[str, Any]) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Codec(content_types=[page_type(load=load)]).decode(row_of(PLAIN, Page("text")))


def test_a_row_over_the_limit_of_the_reader_is_corrupt() -> None:
    row = row_of(PLAIN, "word " * 1000)
    assert "over the limit of 5,001" in corrupt(Codec(max_value_bytes=5001), row)
    assert Codec(max_value_bytes=5002).decode(row) == "word " * 1000


def test_of_a_batch_every_bad_row_is_named() -> None:
    rows = [
        row_of(PLAIN, 1, key="good"),
        row_of(PLAIN, 2, key="bad", value=b"3"),
        row_of(PLAIN, 4, key="worse", encoding="gzip"),
        row_of(PLAIN, 5, key="also good"),
    ]
    with pytest.raises(CorruptEntryError, match=r"key 'bad' and source 's'.*\(and 1 more, see \.problems\)") as caught:
        PLAIN.decode_all(rows)
    assert [problem.key for problem in caught.value.problems] == ["bad", "worse"]
    skipping = PLAIN.derived(content_types=None, on_corrupt="skip")
    with pytest.warns(CorruptEntryWarning) as warned:
        served = skipping.decode_all(rows)
    assert [(row.key, value) for row, value in served] == [("good", 1), ("also good", 5)]
    assert [str(warning.message).split(":")[0] for warning in warned] == [
        "left out the entry with key 'bad' and source 's'",
        "left out the entry with key 'worse' and source 's'",
    ]


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"content_types": [page_type("json")]}, "'json' is reserved"),
        ({"content_types": [page_type("bytes")]}, "'bytes' is reserved"),
        ({"hash_on": "metadata"}, "hash_on='metadata'"),
        ({"hash_on": None}, "hash_on=None"),
        ({"hash_exclude": "mtime"}, r"\('mtime',\)"),
        ({"hash_exclude": 5}, "hash_exclude=5"),
        ({"on_corrupt": "ignore"}, "on_corrupt='ignore'"),
        ({"compression": "gzip"}, "compression='gzip'"),
        ({"compression": True}, "compression=True"),
        ({"max_value_bytes": 0}, "max_value_bytes=0"),
        ({"max_value_bytes": -1}, "max_value_bytes=-1"),
        ({"max_value_bytes": DEFAULT_MAX_VALUE_BYTES + 1}, "max_value_bytes="),
        ({"max_value_bytes": "1"}, "max_value_bytes="),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_error_names_an_invalid_option(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Codec(**options)


def test_a_derived_codec_keeps_the_options_that_are_not_given() -> None:
    codec = Codec(content_types=[PAGES], hash_on="text", hash_exclude=("a",), compression=None, max_value_bytes=500)
    derived = codec.derived(content_types=None, on_corrupt="skip")
    assert derived.encode(BASE, "k") == codec.encode(BASE, "k")
    assert derived.on_corrupt == "skip"
    assert derived.pack_all([b"x" * 5000]) == [("plain", b"x" * 5000)]
    with pytest.raises(ValueTooLargeError):
        derived.encode(b"x" * 501, "k")
    other = codec.derived(content_types=[], on_corrupt=None)
    assert other.on_corrupt == "raise"
    with pytest.raises(UnsupportedValueError):
        other.encode(BASE, "k")
