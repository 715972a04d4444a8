"""Writing and deleting by key: what counts as a change, versions, and what a write does not touch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from docshelf import ArgumentTypeError, ArgumentValueError, Change, ContentType, DocShelf, Item, SourceNote
from tests.conftest import Location
from tests.support.face import Face
from tests.support.tables import contents, entry_rows, keys_by_seq


@dataclass
class Page:
    """A document of some framework."""

    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


PAGE = ContentType(
    "tests/page",
    (Page,),
    dump=lambda page: {"text": page.text, "metadata": page.metadata},
    load=lambda content: Page(content["text"], content["metadata"]),
    text_field="text",
    metadata_field="metadata",
)


def test_mset_returns_none_and_leaves_unchanged_rows_alone(face: Face, location: Location) -> None:
    assert face.mset({"a": 1, "b": 2, "c": 3}) is None
    before = entry_rows(location)
    assert face.mset({"c": 3, "b": "changed", "a": 1, "d": 4}) is None
    after = entry_rows(location)
    assert after["a", ""] == before["a", ""]
    assert after["c", ""] == before["c", ""]
    assert after["b", ""].updated_at > before["b", ""].updated_at
    assert (after["b", ""].seq, after["b", ""].created_at) == (before["b", ""].seq, before["b", ""].created_at)
    assert face.mget(["a", "b", "c", "d"]) == [1, "changed", 3, 4]


def test_set_returns_none_and_conditional_set_a_plain_tuple(face: Face) -> None:
    assert face.set("a", 1) is None
    results = [face.conditional_set("k", 1), face.conditional_set("k", 1), face.conditional_set("k", 2)]
    assert results == [("k", "INS"), ("k", "SKIP"), ("k", "UPD")]
    assert {type(result) for result in results} == {tuple}
    assert face.conditional_set("k", 2, source="f.txt") == ("k", "INS")


def test_conditional_mset_reports_in_input_order(face: Face) -> None:
    face.mset({"same": 1, "other": 1})
    report = face.conditional_mset([("z", 1), ("other", 2), Item("a", 1, "f.txt"), ["same", 1]])
    assert [tuple(change) for change in report] == [
        ("z", "INS", ""),
        ("other", "UPD", ""),
        ("a", "INS", "f.txt"),
        ("same", "SKIP", ""),
    ]
    assert face.count() == 4


def test_of_equal_keys_in_a_batch_the_last_wins_in_the_first_place(face: Face, location: Location) -> None:
    report = face.conditional_mset([("k", "first"), ("a", 1), Item("k", "other source", "f.txt"), ("k", "last")])
    assert [tuple(change) for change in report] == [("k", "INS", ""), ("a", "INS", ""), ("k", "INS", "f.txt")]
    assert face.get("k", source="") == "last"
    assert keys_by_seq(location) == [("k", ""), ("a", ""), ("k", "f.txt")]
    again = face.sync([("k", "never stored"), ("a", 1), ("k", "last")])
    assert [tuple(change) for change in again] == [("k", "SKIP", ""), ("a", "SKIP", "")]
    assert face.mget(["k", "k"], source="f.txt") == ["other source"] * 2
    assert [tuple(change) for change in face.mdelete(["k", "a", "k"])] == [
        ("k", "DEL", ""),
        ("k", "DEL", "f.txt"),
        ("a", "DEL", ""),
    ]


def test_items_come_from_any_iterable(face: Face) -> None:
    values = {"b": 1, "a": 2}
    shapes: list[Callable[[], Any]] = [
        lambda: iter(list(values.items())),
        lambda: (Item(key, value) for key, value in values.items()),
        lambda: values.items(),
        lambda: map(tuple, values.items()),
    ]
    for items in shapes:
        assert [tuple(change) for change in face.conditional_mset(items())] == [("b", "INS", ""), ("a", "INS", "")]
        assert face.sync(items()).counts["SKIP"] == 2
        face.mset(items())
        assert face.mdelete(key for key in ("a", "b")).counts["DEL"] == 2


def test_an_iterator_that_fails_half_way_writes_nothing(face: Face, location: Location) -> None:
    face.sync({"a": 1, "b": 2}, source="f.txt", fingerprint="f1")
    before = contents(location)

    def items() -> Iterator[tuple[str, int]]:
        yield "a", 2
        yield "new", 1
        raise OSError("the disk is gone")

    def keys() -> Iterator[str]:
        yield "a"
        raise OSError("the disk is gone")

    calls: list[Callable[[], object]] = [
        lambda: face.mset(items(), source="f.txt"),
        lambda: face.conditional_mset(items(), source="f.txt"),
        lambda: face.sync(items(), source="f.txt"),
        lambda: face.sync(items(), scope="collection"),
        lambda: face.mdelete(keys()),
    ]
    for call in calls:
        with pytest.raises(OSError, match="the disk is gone"):
            call()
    assert contents(location) == before


def test_an_empty_batch_is_an_empty_answer(face: Face, location: Location) -> None:
    face.set("a", 1)
    before = contents(location)
    assert face.mset([]) is None
    assert face.mset({}) is None
    for report in (face.conditional_mset([]), face.mdelete([]), face.set_versions({}), face.sync([], source="new")):
        assert list(report) == []
        assert not report.changed
    assert contents(location) == before


def test_a_new_version_alone_is_a_change_and_none_is_not(face: Face) -> None:
    assert face.conditional_set("k", "value", version="1") == ("k", "INS")
    assert face.conditional_set("k", "value", version="1") == ("k", "SKIP")
    assert face.conditional_set("k", "value", version="2") == ("k", "UPD")
    assert face.get_entry("k").version == "2"
    assert face.conditional_set("k", "value") == ("k", "SKIP")
    assert face.get_entry("k").version == "2"


def test_a_changed_value_without_a_version_clears_the_old_label(face: Face) -> None:
    face.mset([Item("k", "value", None, "1"), Item("l", "value", None, "1")])
    report = face.sync([Item("k", "new value"), Item("l", "value")])
    assert [change.op for change in report] == ["UPD", "SKIP"]
    assert [entry.version for entry in face.mget_entries(["k", "l"])] == [None, "1"]


def test_set_versions_labels_and_leaves_values_as_they_are(face: Face, location: Location) -> None:
    face.mset([Item("a", {"text": "one"}, "x"), Item("a", "two", "y", "1"), Item("b", b"three")])
    before = entry_rows(location)
    report = face.set_versions({"b": "1", "a": "1", "new": "1"})
    assert [tuple(change) for change in report] == [
        ("b", "UPD", ""),
        ("a", "UPD", "x"),
        ("a", "SKIP", "y"),
        ("new", "INS", ""),
    ]
    after = entry_rows(location)
    assert after["a", "y"] == before["a", "y"]
    for identity in before:
        assert after[identity].version == "1"
        assert after[identity].value == before[identity].value
        assert after[identity].value_hash == before[identity].value_hash
        assert after[identity].updated_at == before[identity].updated_at
    assert face.set_versions({"a": "1", "new": "1"}).counts["SKIP"] == 3
    [only] = face.set_versions({"a": "2"}, source="x")
    assert tuple(only) == ("a", "UPD", "x")
    assert face.get_entry("a", source="y").version == "1"


def test_a_row_may_carry_a_version_and_no_value(face: Face) -> None:
    face.set_versions({"k": "v1"}, source="f.txt")
    entry = face.get_entry("k")
    assert (entry.value, entry.value_hash, entry.version, entry.source) == (None, None, "v1", "f.txt")
    assert face.exists("k")
    assert face.get("k") is None
    assert face.verify() == []
    assert face.conditional_set("k", None, source="f.txt") == ("k", "UPD")
    assert face.get_entry("k").value_hash is not None


def test_labelling_does_not_change_which_source_answers(face: Face) -> None:
    face.set("k", "old", source="1.txt")
    face.set("k", "new", source="2.txt", version="v")
    face.set_versions({"k": "v"})
    assert face.get("k") == "new"
    assert face.conditional_set("k", "old", source="1.txt", version="w") == ("k", "UPD")
    assert face.get("k") == "new"


def test_a_value_of_another_type_is_a_change(face: Face) -> None:
    for value in ("1", b"1", 1, 1.0, True, [1], (1,), {"1": 1}):
        assert face.conditional_set("k", value)[1] != "SKIP"
        assert face.conditional_set("k", value)[1] == "SKIP"
        assert type(face.get("k")) is type(value)


def test_the_order_of_the_keys_of_a_dict_is_no_change(face: Face) -> None:
    face.set("k", {"a": 1, "b": {"c": 2, "d": 3}})
    assert face.conditional_set("k", {"b": {"d": 3, "c": 2}, "a": 1}) == ("k", "SKIP")


def test_by_default_metadata_counts_as_change(new_face: Callable[..., Face]) -> None:
    face = new_face(content_types=[PAGE])
    face.set("k", Page("text", {"page": 1}))
    assert face.conditional_set("k", Page("text", {"page": 2})) == ("k", "UPD")
    assert face.get("k") == Page("text", {"page": 2})


def test_hash_on_text_counts_only_the_text_of_a_document(new_face: Callable[..., Face]) -> None:
    face = new_face(content_types=[PAGE], hash_on="text")
    face.mset({"page": Page("text", {"page": 1}), "plain": "text", "data": {"a": 1}})
    report = face.sync({"page": Page("text", {"page": 2}), "plain": "text", "data": {"a": 2}})
    assert [change.op for change in report] == ["SKIP", "SKIP", "UPD"]
    assert face.get("page") == Page("text", {"page": 1})
    assert face.conditional_set("page", Page("new text", {"page": 2})) == ("page", "UPD")
    assert face.get("page") == Page("new text", {"page": 2})
    assert face.verify() == []


def test_hash_exclude_ignores_the_named_metadata(new_face: Callable[..., Face]) -> None:
    face = new_face(content_types=[PAGE], hash_exclude=("mtime",))
    face.mset({"page": Page("text", {"page": 1, "mtime": 1}), "plain": {"a": 1, "mtime": 1}})
    report = face.sync({"page": Page("text", {"page": 1, "mtime": 2}), "plain": {"a": 1}})
    assert [change.op for change in report] == ["SKIP", "SKIP"]
    report = face.sync({"page": Page("text", {"page": 2, "mtime": 2}), "plain": {"a": 2, "mtime": 2}})
    assert [change.op for change in report] == ["UPD", "UPD"]
    assert face.mget(["page", "plain"]) == [Page("text", {"page": 2, "mtime": 2}), {"a": 2, "mtime": 2}]
    assert face.verify() == []


def test_a_callable_chooses_what_counts_as_a_change(new_face: Callable[..., Face]) -> None:
    face = new_face(hash_on=lambda value: {word.lower() for word in value.split()})
    face.set("k", "To be or not to be")
    assert face.conditional_set("k", "or NOT to be") == ("k", "SKIP")
    assert face.conditional_set("k", "to be") == ("k", "UPD")
    assert face.get("k") == "to be"
    assert face.verify() == []


def test_a_move_leaves_a_key_in_one_source(face: Face) -> None:
    face.sync({"k": 1, "stays": 1}, source="1.txt", fingerprint="f1")
    face.sync({"k": 2, "stays": 2}, source="2.txt", fingerprint="f2")
    report = face.conditional_mset([Item("k", 3, "3.txt")], move=True, notes={"3.txt": SourceNote("f3")})
    assert [tuple(change) for change in report] == [("k", "INS", "3.txt"), ("k", "DEL", "1.txt"), ("k", "DEL", "2.txt")]
    assert face.changed_sources({"1.txt": "f1", "2.txt": "f2", "3.txt": "f3"}) == ["1.txt", "2.txt"]
    assert face.count("k") == 1
    assert face.count("stays") == 2


def test_mdelete_reports_in_the_order_of_keys_and_passes_over_the_absent(face: Face) -> None:
    face.mset([Item("b", 1, "y"), Item("b", 1, "x"), Item("a", 1), Item("c", 1, "x")])
    report = face.mdelete(["nowhere", "c", "b"])
    assert [tuple(change) for change in report] == [("c", "DEL", "x"), ("b", "DEL", "x"), ("b", "DEL", "y")]
    assert not face.mdelete(["c"])
    assert list(face.yield_keys()) == ["a"]


def test_mdelete_of_one_source_leaves_the_key_in_others(face: Face) -> None:
    face.mset([Item("k", 1, "x"), Item("k", 2, "y")])
    assert [tuple(change) for change in face.mdelete(["k"], source="y")] == [("k", "DEL", "y")]
    assert face.get("k") == 1
    assert not face.mdelete(["k"], source="y")


def test_clear_empties_one_collection_and_counts(face: Face, new_face: Callable[..., Face]) -> None:
    other = new_face("other")
    other.sync({"k": 1}, source="f.txt", fingerprint="f1")
    face.sync({"k": 1, "l": 1}, source="f.txt", fingerprint="f1")
    assert face.clear() == 2
    assert face.clear() == 0
    assert face.count() == 0
    assert face.sources() == []
    assert face.source_changed("f.txt", "f1")
    assert other.get("k") == 1
    assert not other.source_changed("f.txt", "f1")


@pytest.mark.parametrize("seed", range(10))
def test_equal_keys_in_many_sources_are_separate_entries(face: Face, seed: int) -> None:
    generator = random.Random(seed)
    keys, sources = [f"k{number}" for number in range(5)], [f"s{number}" for number in range(generator.choice((2, 40)))]
    everything = [(key, source) for key in keys for source in sources]
    standing = {one: generator.randrange(2) for one in generator.sample(everything, len(everything) // 2)}
    batch = {one: generator.randrange(2) for one in generator.sample(everything, generator.randrange(1, 8))}
    face.mset([Item(key, value, source) for (key, source), value in standing.items()])
    report = face.conditional_mset([Item(key, value, source) for (key, source), value in batch.items()])
    assert list(report) == [
        Change(*(key, "INS" if there is None else "SKIP" if there == value else "UPD", source))
        for ((key, source), value) in batch.items()
        for there in [standing.get((key, source))]
    ]
    wanted = dict.fromkeys(everything) | standing | batch
    assert {(key, source): face.get(key, source=source) for key, source in everything} == wanted


def test_expected_none_lets_one_of_several_writers_create_an_entry(face: Face) -> None:
    face.mset([Item("unlabelled", 1, "f.txt"), Item("labelled", 2, version="1")])
    expected = dict.fromkeys(("new", "unlabelled", "labelled"))
    for name, ops in (("first", [("new", "INS", ""), ("unlabelled", "UPD", "f.txt")]), ("second", [])):
        report = face.set_versions(dict.fromkeys(expected, name), expected=expected)
        assert [tuple(change) for change in report] == ops
    entries = face.mget_entries(list(expected))
    assert [(entry.value, entry.version) for entry in entries] == [(None, "first"), (1, "first"), (2, "1")]
    assert [change.key for change in face.mdelete(["new", "labelled"], expected={"new": None, "labelled": None})] == []
    face.mset({"other": 3})
    assert [change.key for change in face.mdelete(["other"], expected={"other": None})] == ["other"]


def test_of_writers_that_create_an_entry_at_once_one_wins(location: Location) -> None:
    names = [f"writer {number}" for number in range(8)]
    with DocShelf(location.url) as shelf, ThreadPoolExecutor(len(names)) as threads:
        shelf.setup()
        reports = list(threads.map(lambda name: shelf.set_versions({"k": name}, expected={"k": None}), names))
        winners = [name for name, report in zip(names, reports, strict=True) if list(report) == [Change("k", "INS")]]
        assert len(winners) == 1
        [entry] = shelf.mget_entries(["k"])
        assert entry is not None
        assert entry.version == winners[0]
        assert sum(map(len, reports)) == 1


def test_expected_versions_skip_entries_that_another_writer_changed(face: Face) -> None:
    face.mset([Item("a", 1, version="1"), Item("b", 2, version="2"), Item("c", 3), Item("a", 4, "f.txt", "1")])
    expected = {"a": "1", "b": "1", "c": "1", "none": "1"}
    report = face.set_versions(dict.fromkeys(expected, "new"), expected=expected)
    assert [tuple(change) for change in report] == [("a", "UPD", ""), ("a", "UPD", "f.txt")]
    assert [entry and entry.version for entry in face.mget_entries(["b", "c", "none"])] == ["2", None, None]
    same = face.set_versions({"a": "new", "b": "new"}, expected={"a": "new", "b": "1"})
    assert [tuple(change) for change in same] == [("a", "SKIP", ""), ("a", "SKIP", "f.txt")]
    deleted = face.mdelete(["a", "b", "c"], source="", expected={"a": "new", "b": "1", "c": "1"})
    assert [tuple(change) for change in deleted] == [("a", "DEL", "")]
    assert face.mget(["a", "b", "c"]) == [4, 2, 3]
    calls: list[Callable[[], object]] = [
        lambda: face.mdelete(["a", "b"], expected={"a": "1"}),
        lambda: face.set_versions({"b": "1"}, expected={}),
    ]
    for call in calls:
        with pytest.raises(ArgumentValueError, match="expected has no version for the key 'b'"):
            call()


def test_a_version_without_an_entry_goes_to_the_source_that_is_given_for_it(face: Face) -> None:
    face.mset([("a", 1, "f"), ("b", 2, "f")])
    versions = {"a": "v", "new": "v", "other": "v"}
    report = face.set_versions(versions, new_sources={"a": "not used", "new": "g"})
    assert [tuple(change) for change in report] == [("a", "UPD", "f"), ("new", "INS", "g"), ("other", "INS", "")]
    assert face.get_entry("new", source="g").version == "v"
    assert face.get("a") == 1
    again = face.set_versions(versions, new_sources={"new": "h"})
    assert [tuple(change) for change in again] == [("a", "SKIP", "f"), ("new", "SKIP", "g"), ("other", "SKIP", "")]
    created = face.set_versions({"c": "v", "b": "v"}, expected={"c": None, "b": "x"}, new_sources={"c": "g"})
    assert [tuple(change) for change in created] == [("c", "INS", "g")]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"new_sources": {"k": 1}}, ArgumentTypeError, "source 1 of the key 'k'"),
        ({"new_sources": ["k"]}, ArgumentTypeError, "new_sources is a list; give a mapping"),
        ({"new_sources": {"k": "f"}, "source": "g"}, ArgumentValueError, "both source and new_sources"),
    ],
)
def test_sources_of_new_entries_that_cannot_be_are_refused(
    face: Face, arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        face.set_versions({"k": "v"}, **arguments)
    assert face.count() == 0
