"""`yield_keys`, `yield_items`, `yield_entries`: order, prefixes, pages, and memory."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from docshelf import Item
from docshelf.operations import reading
from tests.support.face import Face
from tests.support.tables import held_connections

# Each pair of neighbours breaks one wrong idea of order or of prefixes: case, % and _ of LIKE, backslashes, composed
# and decomposed accents, the gap of the surrogates, and the order of UTF-16 against that of code points.
ODD_KEYS = [
    " ",
    "%",
    "%a",
    "A",
    "_",
    "_x",
    "\\",
    "\\%",
    "a",
    "a%b",
    "a\\b",
    "a_b",
    "aXb",
    "ab",
    "a\t",
    "a\x7f",
    "b",
    "e\u0301",
    "é",
    "éa",
    "ß",
    "ss",
    "İ",
    "i",
    "\u0100",
    "\ud7ff",
    "\ud7ffa",
    "\ue000",
    "\uffff",
    "\uffffa",
    "\U00010000",
    "😀",
    "😀b",
    "\U0010ffff",
    "\U0010ffff\U0010ffff",
    "a\U0010ffff",
    "a\U0010ffffz",
    "k" * 1024,
    "日本語",
    "日本",
]
PREFIXES = ["", "%", "_", "\\", "a", "a%", "a_", "a\\", "é", "e", "\ud7ff", "\uffff", "\U0010ffff", "a\U0010ffff", "日"]


def by_bytes(keys: list[str]) -> list[str]:
    return sorted(keys, key=str.encode)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE_KEYS", 3)


@pytest.mark.usefixtures("small_pages")
def test_order_and_prefixes_equal_a_plain_python_model(face: Face) -> None:
    keys = ODD_KEYS.copy()
    random.Random(0).shuffle(keys)
    face.mset({key: f"value of {key}" for key in keys})
    face.mset(dict.fromkeys(keys[:5], "another collection's"), source="f.txt")
    face.mdelete(keys[:5], source="f.txt")
    for prefix in [None, *PREFIXES]:
        expected = by_bytes([key for key in ODD_KEYS if key.startswith(prefix or "")])
        assert list(face.yield_keys(prefix)) == expected
        assert list(face.yield_items(prefix)) == [(key, f"value of {key}") for key in expected]
        assert [entry.key for entry in face.yield_entries(prefix, values=False)] == expected
        assert face.count(prefix) == len(expected)


@pytest.mark.usefixtures("small_pages")
def test_a_key_in_many_sources_is_yielded_once_across_pages(face: Face) -> None:
    sources = [f"{number}.txt" for number in range(7)]
    face.mset([Item(key, f"{key} of {source}", source) for key in "ab" for source in sources])
    face.mset([Item("c", "c", "0.txt"), Item("d", "d", "6.txt"), Item("e", "e")])
    assert list(face.yield_keys()) == ["a", "b", "c", "d", "e"]
    assert list(face.yield_items()) == [("a", "a of 6.txt"), ("b", "b of 6.txt"), ("c", "c"), ("d", "d"), ("e", "e")]
    assert list(face.yield_items(source="0.txt")) == [("a", "a of 0.txt"), ("b", "b of 0.txt"), ("c", "c")]
    assert list(face.yield_keys("d", source="6.txt")) == ["d"]
    assert list(face.yield_keys(source="nowhere")) == []


@pytest.mark.usefixtures("small_pages")
def test_pages_end_where_the_keys_end(face: Face) -> None:
    for size in (0, 1, 2, 3, 4, 6, 7):
        sized = face.of(face.shelf.view(f"of {size}"))
        keys = [f"k{number}" for number in range(size)]
        sized.mset(dict.fromkeys(keys, 1))
        assert list(sized.yield_keys()) == keys
        assert list(sized.yield_keys("k")) == keys
        assert list(sized.yield_items()) == [(key, 1) for key in keys]


@pytest.mark.parametrize("added", [1, 20])
def test_entries_that_are_added_after_their_page_was_read_are_left_out(
    face: Face, monkeypatch: pytest.MonkeyPatch, added: int
) -> None:
    monkeypatch.setattr(reading, "_PAGE_VALUES", 2)
    face.mset({key: key for key in "adgj"})
    items = face.yield_items()
    found = [next(items)]
    face.mset({f"h{number}": "new" for number in range(added)})
    face.mdelete(["g"])
    assert [*found, *items] == [("a", "a"), ("d", "d"), ("j", "j")]


@pytest.mark.usefixtures("small_pages")
def test_keys_of_entries_that_hold_only_a_version_are_left_out_on_request(face: Face) -> None:
    keys = [f"k{number}" for number in range(9)]
    face.mset(dict.fromkeys(keys[::2]), source="f.txt")
    face.set_versions(dict.fromkeys(keys, "h"), source="f.txt")
    assert list(face.yield_keys()) == keys
    assert list(face.yield_keys(with_value=True)) == keys[::2], "None is a value"
    assert list(face.yield_keys("k1", source="f.txt", with_value=True)) == []


def test_entries_are_yielded_with_or_without_values(face: Face) -> None:
    face.sync({"b": {"x": 1}, "a": b"2"}, source="f.txt")
    whole = list(face.yield_entries())
    assert whole == face.mget_entries(["a", "b"])
    bare = list(face.yield_entries(values=False))
    assert [(entry.key, entry.source, entry.value) for entry in bare] == [("a", "f.txt", None), ("b", "f.txt", None)]
    assert [entry.value_hash for entry in bare] == [entry.value_hash for entry in whole]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("name", ["yield_keys", "yield_items", "yield_entries"])
def test_left_early_or_between_pages_no_connection_is_held(face: Face, name: str) -> None:
    with held_connections() as held:
        face.mset({f"k{number}": number for number in range(10)})
        stream = getattr(face, name)()
        for _ in islice(stream, 4):
            assert held.number == 0
        face.set("k4", "written in between")
        stream.close()
        for _ in getattr(face, name)():
            break
        assert held.number == 0
    assert face.count() == 10


@pytest.mark.usefixtures("small_pages")
def test_entries_may_be_deleted_and_inserted_while_they_are_listed(face: Face) -> None:
    face.mset({f"k{number}": number for number in range(9)})
    seen = []
    for key, value in face.yield_items():
        seen.append((key, value))
        if key == "k2":
            face.mdelete(["k3", "k8"])
            face.mset({"k5": "new", "k6a": 1, "a": 1})
    assert seen == [("k0", 0), ("k1", 1), ("k2", 2), ("k4", 4), ("k5", "new"), ("k6", 6), ("k6a", 1), ("k7", 7)]
    assert list(face.yield_keys("k7")) == ["k7"]


@pytest.mark.usefixtures("small_pages")
def test_deleting_every_key_that_is_listed_empties_the_store(face: Face) -> None:
    face.mset({f"k{number}": number for number in range(10)})
    for key in face.yield_keys():
        face.mdelete([key])
    assert face.count() == 0


def test_more_values_than_one_batch_are_yielded_in_order(face: Face) -> None:
    values = {f"k{number:04}": number for number in range(1_201)}
    face.mset(values)
    assert list(face.yield_items()) == list(values.items())
    assert list(face.yield_items("k11")) == [(f"k{number}", number) for number in range(1_100, 1_200)]
