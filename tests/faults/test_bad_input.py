"""Bad input: each gets an error of docshelf's own that says what to do, and the tables stay as they were."""

from __future__ import annotations

import inspect
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    ClosedError,
    ConfigurationError,
    DatabaseError,
    DocShelf,
    DocShelfError,
    Item,
    SourceNote,
    UnreachableError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.operations import BY_NAME, OPERATIONS
from tests.support.tables import contents

# A password that no line of this file shows, since tracebacks show lines.
SECRET = "-".join(("swordfish", "42"))


class Unknown:
    """Nothing that could be stored."""


@pytest.fixture
def refused(face: Face, location: Location) -> Iterator[Callable[..., DocShelfError]]:
    """Asserts that a call on a filled store fails with an error of docshelf's; in the end, that nothing changed."""
    face.sync({"a": 1, "b": {"c": 2}}, source="f.txt", fingerprint="f1", metadata={"pages": 2})
    face.set("a", 3)
    before = contents(location)

    def refused(call: Callable[[], object], kind: type[Exception], *said: str) -> DocShelfError:
        with pytest.raises(DocShelfError) as caught:
            call()
        assert isinstance(caught.value, kind)
        for words in said:
            assert words in str(caught.value)
        return caught.value

    yield refused
    assert contents(location) == before


# Each with the kind of the error and what it says; what to do comes last.
BAD_NAMES: list[tuple[Any, type[Exception], tuple[str, ...]]] = [
    ("a\0b", ValueError, ("'a\\x00b'", "NUL", "remove it")),
    ("a\ud800", ValueError, ("'a\\ud800'", "surrogate", "not UTF-8")),
    ("k" * 1025, ValueError, ("'kkk", "1,025 bytes", "1,024", "shorten")),
    ("é" * 513, ValueError, ("'ééé", "1,026 bytes", "1,024", "shorten")),
    (5, TypeError, ("5", "int", "must be a str")),
    (b"k", TypeError, ("b'k'", "bytes", "must be a str")),
    (("k", "l"), TypeError, ("('k', 'l')", "tuple", "must be a str")),
]
BAD_KEYS = [
    *BAD_NAMES,
    ("", ValueError, ("empty", "1 to 1,024 bytes")),
    (None, TypeError, ("None", "must be a str")),
]


def key_calls(face: Face, key: Any) -> dict[str, Callable[[], object]]:
    """Every way to give a key, beside good ones where there is room for them."""
    return {
        "set": lambda: face.set(key, 1),
        "mset": lambda: face.mset([("new", 1), (key, 1)]),
        "mset of a mapping": lambda: face.mset({"new": 1, key: 1}),
        "conditional_set": lambda: face.conditional_set(key, 1),
        "conditional_mset": lambda: face.conditional_mset([Item("new", 1), Item(key, 1)]),
        "sync": lambda: face.sync([("new", 1), (key, 1)], source="f.txt"),
        "sync of the collection": lambda: face.sync([("new", 1), (key, 1)], scope="collection"),
        "set_versions": lambda: face.set_versions({"a": "v", key: "v"}),
        "mdelete": lambda: face.mdelete(["a", key]),
        "get": lambda: face.get(key),
        "mget": lambda: face.mget(["a", key]),
        "get_entry": lambda: face.get_entry(key),
        "mget_entries": lambda: face.mget_entries(["a", key]),
        "pair_entries": lambda: face.pair_entries([("a", ""), (key, "")]),
        "exists": lambda: face.exists(key),
        "mexists": lambda: face.mexists(["a", key]),
        "delete_sources": lambda: face.delete_sources(["f.txt"], keys=["a", key]),
    }


def source_calls(face: Face, source: Any) -> dict[str, Callable[[], object]]:
    """Every way to give a source."""
    return {
        "set": lambda: face.set("new", 1, source=source),
        "mset": lambda: face.mset({"new": 1}, source=source),
        "mset of an item": lambda: face.mset([("new", 1), Item("a", 2, source)]),
        "conditional_mset": lambda: face.conditional_mset({"new": 1}, source=source),
        "conditional_mset of notes": lambda: face.conditional_mset({"new": 1}, notes={source: SourceNote("f1")}),
        "conditional_set": lambda: face.conditional_set("new", 1, source=source),
        "sync": lambda: face.sync({"new": 1}, source=source),
        "sync of sources": lambda: face.sync([("new", 1), Item("a", 2, source)], scope="sources"),
        "set_versions": lambda: face.set_versions({"a": "v"}, source=source),
        "mdelete": lambda: face.mdelete(["a"], source=source),
        "delete_source": lambda: face.delete_source(source),
        "delete_sources": lambda: face.delete_sources(["f.txt", source]),
        "get": lambda: face.get("a", source=source),
        "mget": lambda: face.mget(["a"], source=source),
        "get_entry": lambda: face.get_entry("a", source=source),
        "mget_entries": lambda: face.mget_entries(["a"], source=source),
        "pair_entries": lambda: face.pair_entries([("a", ""), ("a", source)]),
        "exists": lambda: face.exists("a", source=source),
        "mexists": lambda: face.mexists(["a"], source=source),
        "count": lambda: face.count(source=source),
        "yield_keys": lambda: list(face.yield_keys(source=source)),
        "yield_items": lambda: list(face.yield_items(source=source)),
        "yield_entries": lambda: list(face.yield_entries(source=source)),
        "find": lambda: list(face.find(source=source)),
        "source_entries": lambda: face.source_entries(["f.txt", source]),
        "source_notes": lambda: face.source_notes(["f.txt", source]),
        "source_changed": lambda: face.source_changed(source, "f1"),
        "changed_sources": lambda: face.changed_sources({"f.txt": "f1", source: "f1"}),
    }


# What an argument is called that is a key, holds keys, or is a source or holds sources.
KEY_ARGUMENTS = {"key", "keys", "items", "pairs", "versions"}
SOURCE_ARGUMENTS = {"source", "sources", "pairs", "fingerprints"}


def operations_with(arguments: set[str]) -> set[str]:
    return {name for name in BY_NAME if arguments & inspect.signature(getattr(DocShelf, name)).parameters.keys()}


def test_every_operation_that_takes_keys_or_sources_is_tried_with_bad_ones(face: Face) -> None:
    for of, calls, arguments in (
        ("key_calls", key_calls(face, "k"), KEY_ARGUMENTS),
        ("source_calls", source_calls(face, "s"), SOURCE_ARGUMENTS),
    ):
        tried = {name.split()[0] for name in calls}
        assert operations_with(arguments) == tried, f"{of} has to try exactly the operations that take {arguments}"


def test_every_call_rejects_an_invalid_key(face: Face, refused: Callable[..., DocShelfError]) -> None:
    for key, kind, said in BAD_KEYS:
        for call in key_calls(face, key).values():
            refused(call, kind, "key", *said)


def test_every_call_rejects_an_invalid_source(face: Face, refused: Callable[..., DocShelfError]) -> None:
    for source, kind, said in BAD_NAMES:
        for call in source_calls(face, source).values():
            refused(call, kind, "source", *said)


def test_an_invalid_prefix_is_rejected_at_once(face: Face, refused: Callable[..., DocShelfError]) -> None:
    for prefix, kind, said in BAD_NAMES:
        for name in ("count", "yield_keys", "yield_items", "yield_entries", "yield_sources"):
            refused(lambda name=name, prefix=prefix: getattr(face, name)(prefix), kind, "prefix", *said)


def test_names_of_exactly_their_limit_are_stored_and_found(new_face: Callable[..., Face]) -> None:
    # Letters of many kinds, so that no index can pack them: (collection, key, source) has to fit one index row.
    def name(size: int, start: int) -> str:
        return "".join(chr(start + number * 37 % 1_000) for number in range(size // 2)) + "x" * (size % 2)

    key, source, collection = name(1024, 0x100), name(1024, 0x200), name(255, 0x300)
    assert [len(text.encode()) for text in (key, source, collection)] == [1024, 1024, 255]
    face = new_face(collection)
    assert face.sync({key: "value"}, source=source, fingerprint="f1")[0] == (key, "INS", source)
    assert face.get(key, source=source) == "value"
    assert list(face.yield_keys(key)) == [key]
    assert not face.source_changed(source, "f1")
    assert face.mdelete([key], source=source).counts["DEL"] == 1


@pytest.mark.parametrize("collection", ["", "a\0b", "c" * 256, "é" * 128, 5, None], ids=repr)
def test_an_invalid_collection_name_is_rejected(collection: Any) -> None:
    kind = ArgumentValueError if isinstance(collection, str) else ArgumentTypeError
    with pytest.raises(kind, match="collection"):
        DocShelf(":memory:", collection)
    with DocShelf(":memory:") as shelf:
        if collection is not None:
            with pytest.raises(kind, match="collection"):
                shelf.view(collection)


def test_a_bad_part_of_an_item_is_named_with_its_key(face: Face, refused: Callable[..., DocShelfError]) -> None:
    bad: list[tuple[Any, type[Exception]]] = [(5, TypeError), ("a\0b", ValueError)]
    for version, kind in bad:
        items = [("new", 1), Item("a", 1, None, version)]
        for call in (face.mset, face.conditional_mset, face.sync):
            refused(lambda call=call, items=items: call(items), kind, "version", "'a'")
        refused(lambda version=version: face.set_versions({"new": "v", "a": version}), kind, "version", "'a'")
    refused(lambda: face.mset([("new", 1), Item("a", 1, 5)]), TypeError, "source", "'a'")  # type: ignore[arg-type]


def test_a_batch_of_the_wrong_shape_is_refused(face: Face, refused: Callable[..., DocShelfError]) -> None:
    for keys in ("abc", b"abc", None, 5):
        for name in ("mget", "mget_entries", "mexists", "mdelete"):
            told = "give either keys or where=" if (name, keys) == ("mdelete", None) else "give an iterable"
            refused(lambda name=name, keys=keys: getattr(face, name)(keys), ArgumentTypeError, "keys", told)
        for name in ("source_entries", "source_notes"):
            refused(
                lambda name=name, keys=keys: getattr(face, name)(keys), ArgumentTypeError, "sources", "give an iterable"
            )
    for at_most, kind in (("1", ArgumentTypeError), (1.0, ArgumentTypeError), (True, ArgumentTypeError)):
        refused(lambda at_most=at_most: face.count(at_most=at_most), kind, "at_most", "give a whole number")
    refused(lambda: face.count(at_most=0), ArgumentValueError, "at_most", "give 1 or more")
    batches: list[Any] = ["ab", b"ab", None, 5, ["ab"], [("a",)], [("a", 1, "s", "v", "x")], [{"a": 1}], [None]]
    for items in batches:
        for name in ("mset", "conditional_mset", "sync"):
            refused(lambda name=name, items=items: getattr(face, name)(items), ArgumentTypeError, "item")
    for labels in (["a"], "a", None, {"a": None}, {"a": 5}):
        refused(lambda labels=labels: face.set_versions(labels), ArgumentTypeError, "version")
        refused(lambda labels=labels: face.changed_sources(labels), ArgumentTypeError, "fingerprint")


SELF: list[Any] = []
SELF.append(SELF)
# Each with what the error says: the path, in the words of the caller's own data, and what is there.
UNSUPPORTED: list[tuple[object, str]] = [
    (Unknown(), "cannot store a Unknown"),
    ({"metadata": {"pages": [1, 2, 3, {"loc": Unknown()}]}}, "metadata.pages[3].loc: cannot store a Unknown"),
    ({"metadata": {"a b": ({1: Unknown()},)}}, "metadata['a b'][0][1]: cannot store a Unknown"),
    ({"metadata": {Unknown: 1}}, "cannot store a type"),
    ([1j], "[0]: cannot store a complex"),
    ({"f": print}, "f: cannot store a builtin_function_or_method"),
    (iter([1]), "cannot store a list_iterator"),
    (bytearray(b"x"), "cannot store a bytearray"),
    (SELF, "nested deeper than"),
]


def test_an_unsupported_value_is_named_by_key_and_path(face: Face, refused: Callable[..., DocShelfError]) -> None:
    for value, path in UNSUPPORTED:
        items = [("a", 2), ("bad", value), ("c", 1)]
        calls: list[Callable[[], object]] = [
            lambda value=value: face.set("bad", value),  # type: ignore[misc]
            lambda value=value: face.conditional_set("bad", value),  # type: ignore[misc]
            lambda items=items: face.mset(items),  # type: ignore[misc]
            lambda items=items: face.conditional_mset(items, dry_run=True),  # type: ignore[misc]
            lambda items=items: face.sync(items, source="f.txt", fingerprint="f2"),  # type: ignore[misc]
        ]
        for call in calls:
            error = refused(call, UnsupportedValueError, "'bad'", path)
            assert isinstance(error, TypeError)
        refused(lambda value=value: face.sync({"a": 2}, metadata={"x": value}), TypeError, "metadata", path)


def test_a_value_over_the_limit_is_rejected_even_if_it_packs_small(
    new_face: Callable[..., Face], location: Location
) -> None:
    face = new_face(max_value_bytes=1_000)
    # Quotes count: it is the canonical bytes that are bounded.
    face.mset({"a": "x" * 998, "b": b"x" * 1_000, "c": "é" * 499})
    before = contents(location)
    for value, size in (("x" * 999, "1,001"), (b"x" * 1_001, "1,001"), ("é" * 500, "1,002"), (["x" * 999], "1,003")):
        calls: list[Callable[[], object]] = [
            lambda value=value: face.set("big", value),  # type: ignore[misc]
            lambda value=value: face.mset({"a": 1, "big": value}),  # type: ignore[misc]
            lambda value=value: face.sync({"a": 1, "big": value}),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(ValueTooLargeError, match=f"'big'.*{size} bytes.*limit is 1,000; split it"):
                call()
    assert contents(location) == before


def test_invalid_options_are_rejected(face: Face, refused: Callable[..., DocShelfError]) -> None:
    def sync(**options: Any) -> Callable[[], object]:
        return lambda: face.sync({"a": 2}, **options)

    refused(sync(scope="everything"), ArgumentValueError, "scope", "'source', 'sources' or 'collection'")
    shares: list[Any] = [-0.1, 1.1, float("nan")]
    for share in shares:
        refused(sync(max_delete=share), ArgumentValueError, "max_delete", "give a share from 0 to 1")
    shares = ["0.5", b"1", [1]]
    for share in shares:
        refused(sync(max_delete=share), ArgumentTypeError, "max_delete", "give a share from 0 to 1")
    refused(sync(fingerprint=b"f2"), ArgumentTypeError, "fingerprint", "must be a str")
    refused(sync(fingerprint="f\0"), ArgumentValueError, "fingerprint", "NUL")
    refused(sync(metadata=[("pages", 2)]), ArgumentTypeError, "metadata", "give a mapping")
    refused(sync(notes={"f.txt": SourceNote("f2")}), ArgumentValueError, "notes", "scope='sources'")
    for scope in ("sources", "collection"):
        refused(sync(scope=scope, fingerprint="f2"), ArgumentValueError, "fingerprint", "pass notes=")
        refused(sync(scope=scope, notes={"f.txt": "f2"}), ArgumentTypeError, "'f.txt'", "give a SourceNote")
        refused(sync(scope=scope, notes=["f.txt"]), ArgumentTypeError, "notes", "give a mapping")


def test_an_item_of_another_source_is_refused_in_a_sync_of_one(
    face: Face, refused: Callable[..., DocShelfError]
) -> None:
    items = [("new", 1), Item("a", 2, "g.txt")]
    refused(lambda: face.sync(items, source="f.txt"), ArgumentValueError, "'a'", "'g.txt'", "scope='sources'")
    refused(lambda: face.sync(items), ArgumentValueError, "'a'", "'g.txt'", "scope='sources'")


def test_a_move_of_one_key_to_two_sources_is_refused(face: Face, refused: Callable[..., DocShelfError]) -> None:
    items = [Item("a", 2, "f.txt"), Item("a", 2, "g.txt")]
    refused(lambda: face.conditional_mset(items, move=True), ArgumentValueError, "move=True")


def test_a_closed_store_refuses_every_call(face: Face, refused: Callable[..., DocShelfError]) -> None:
    view = face.of(face.shelf.view("other"))
    face.close()
    face.close()
    for store in (face, view):
        calls = key_calls(store, "k") | source_calls(store, "s")
        calls["an empty batch"] = lambda store=store: store.mset([])  # type: ignore[misc]
        for operation in OPERATIONS:
            calls[operation.name] = lambda operation=operation, store=store: operation.call(store)  # type: ignore[misc]
        for call in calls.values():
            refused(call, ClosedError, "closed", "make a new DocShelf")


def everything_about(error: BaseException) -> str:
    """What a handler, a logger or a debugger might print of an error and of all that stands behind it."""
    shown = traceback.format_exception(error)
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (one := waiting.pop()) is not None:
            shown += [str(one), repr(one)]
            waiting += [one.__cause__, one.__context__]
    return "".join(shown)


@pytest.mark.parametrize(
    "template",
    [
        "postgresql://ann:{}@127.0.0.1:port/db",
        "postgresql://ann:{}@127.0.0.1:5432x/db",
        "postgresql://127.0.0.1:{}/db",
        "postgresql://ann:x@{}@127.0.0.1/db",
        "postgresql://ann:x@{}:1@127.0.0.1/db",
        "postgresql://ann:{}@[::1/db",
        "postgresql:/ann:{}@127.0.0.1/db",
        "postgresql//ann:{}@127.0.0.1/db",
        "postgresql;//ann:{}@127.0.0.1/db",
        "//ann:{}@127.0.0.1/db",
        "ann:{}@127.0.0.1/db",
        "jdbc:postgresql://127.0.0.1/db?user=ann&password={}",
        "host=127.0.0.1 user=ann password={} dbname=db",
        "mysql://ann:{}@127.0.0.1/db",
        "mysql+pymysql://ann:{}@127.0.0.1/db",
        "https://ann:{}@127.0.0.1/db",
    ],
)
def test_an_invalid_url_is_rejected_without_showing_its_password(template: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DocShelf(template.format(SECRET))
    assert isinstance(caught.value, ValueError)
    assert SECRET not in everything_about(caught.value)


@pytest.mark.parametrize("scheme", ["mysql", "oracle+oracledb", "mongodb"])
def test_the_error_for_an_unknown_dialect_lists_the_supported_ones(scheme: str) -> None:
    dialect = scheme.partition("+")[0]
    with pytest.raises(ConfigurationError, match=f"PostgreSQL and SQLite, not '{dialect}'"):
        DocShelf(f"{scheme}://127.0.0.1/db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_server_that_is_not_there_is_unreachable_and_its_password_shown_nowhere(
    scheme: str, mode: str, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        face = Face(DocShelf(f"{scheme}://ann:{SECRET}@127.0.0.1:{port}/db"), mode, loop)
        calls: list[Callable[[], object]] = [lambda: face.get("k"), lambda: face.set("k", 1), face.setup]
        for call in calls:
            with pytest.raises(UnreachableError, match="check host, port and network") as caught:
                call()
            assert str(port) in str(caught.value)
            assert SECRET not in everything_about(caught.value)
        face.close()
    assert SECRET not in caplog.text
    assert SECRET not in repr(face.shelf)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_port_out_of_range_is_an_error_of_docshelf(scheme: str, mode: str, loop: Loop) -> None:
    with pytest.raises(DocShelfError, match="port") as caught:
        face = Face(DocShelf(f"{scheme}://ann:{SECRET}@127.0.0.1:99999/db"), mode, loop)
        try:
            face.get("k")
        finally:
            face.close()
    assert SECRET not in everything_about(caught.value)


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path, mode: str, loop: Loop) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("A text of which somebody thinks well.\n" * 100)
    before = file.read_bytes()
    face = Face(DocShelf(file), mode, loop)
    with pytest.raises(DatabaseError, match="not a database"):
        face.set("k", 1)
    face.close()
    assert file.read_bytes() == before
