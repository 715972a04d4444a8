"""The batch of a call: each item once, in input order, in memory up to a budget, read from a generator in windows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docshelf import (
    ArgumentTypeError,
    ContentType,
    DocShelf,
    DocShelfError,
    Item,
    TransientError,
    UnsupportedValueError,
)
from docshelf.operations import encoded_batch as batch_module
from docshelf.operations.encoded_batch import EncodedBatch
from docshelf.operations.spill import Spill
from docshelf.operations.upsert import ConditionalUpsert
from docshelf.values.content_types import Codec
from tests.conftest import Location
from tests.support.face import Face

MANY = 5_000


class Page(str):
    """A text that can be counted while it lives."""

    __slots__ = ("__weakref__",)


PAGE = ContentType("tests/page", (Page,), dump=lambda page: {"text": str(page)}, load=lambda content: content["text"])


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "_MEMORY_BYTES", 10_000)


def texts(word: str, count: int = 400) -> dict[str, str]:
    return {f"k{number:04}": f"{number} {word} " * 20 for number in range(count)}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "\ud7ff"]),
            st.integers(),
            st.sampled_from([None, "", "s", "t"]),
            st.sampled_from([None, "v", "w"]),
        )
    ),
    st.sampled_from(["", "s"]),
    st.integers(1, 5),
)
def test_of_items_with_the_same_key_and_source_the_last_wins(items: list[Any], source: str, width: int) -> None:
    model: dict[tuple[str, str], tuple[int, str | None]] = {}
    for key, value, of, version in items:
        model[key, source if of is None else of] = (value, version)
    codec = Codec()
    encoded = EncodedBatch(codec, source)
    for start in range(0, len(items), width):
        encoded.add(items[start : start + width])
    assert list(encoded.identities) == list(model)
    assert [encoded.value(position) for position in range(len(encoded))] == [value for value, _ in model.values()]
    hashes = [bytes(encoded.hash_of(position)) for position in range(len(encoded))]
    assert hashes == [codec.encode(value, "k")[2] for value, _ in model.values()]
    # Compare with entries that have the same hashes and another version: only items that state a version differ.
    for version in ("v", "w"):
        existing = [(*one, value_hash, version) for one, value_hash in zip(model, hashes, strict=True)]
        changed = {encoded.identities[position] for position in encoded.changed(encoded.compare(existing))}
        assert changed == {one for one, (_, stated) in model.items() if stated not in (None, version)}


@given(st.lists(st.binary(max_size=40)), st.integers(0, 200), st.randoms())
def test_a_spill_returns_what_was_put_in_any_order(values: list[bytes], budget: int, random: Any) -> None:
    with closing(Spill(budget)) as spill:
        held = [spill.put(value) for value in values]
        assert len(spill._memory) <= budget
        order = list(range(len(values))) * 2
        random.shuffle(order)
        for position in order:
            assert spill.get(held[position], len(values[position])) == values[position]


def test_a_spill_that_was_read_goes_on_at_its_end() -> None:
    with closing(Spill(10)) as spill:
        parts = [b"a" * 8, b"b" * 30, b"c" * 5, b"d" * 100]
        starts = []
        for part in parts:
            starts.append(spill.put(part))
            pairs = list(zip(starts, parts, strict=False))
            for start, one in reversed(pairs):  # the position ends within the file
                assert spill.get(start, len(one)) == one
        assert len(spill) == 143


def test_a_closed_spill_raises() -> None:
    never_opened, opened = Spill(0), Spill(0)
    held = opened.put(b"abc")
    never_opened.close()
    opened.close()
    late: list[Callable[[], object]] = [
        lambda: never_opened.put(b"abc"),
        lambda: opened.put(b"abc"),
        lambda: opened.get(held, 3),
    ]
    for call in late:
        with pytest.raises(DocShelfError, match=r"^the temporary file for the items of this call: .* TMPDIR"):
            call()


@pytest.mark.usefixtures("small_budget")
def test_a_call_that_exceeds_its_memory_budget_works_as_any(face: Face) -> None:
    old, new = texts("old"), texts("new")
    assert face.sync(old, source="f").counts == {"INS": 400, "UPD": 0, "SKIP": 0, "DEL": 0}
    assert face.sync(iter(old.items()), source="f").counts["SKIP"] == 400
    mixed = {**old, **{key: new[key] for key in list(new)[::10]}}
    report = face.sync(iter(mixed.items()), source="f", diff=True)
    assert report.counts == {"INS": 0, "UPD": 40, "SKIP": 360, "DEL": 0}
    assert {diff.key: (diff.old, diff.new) for diff in report.diffs} == {
        key: (old[key], new[key]) for key in list(new)[::10]
    }
    assert face.mget(list(mixed)) == list(mixed.values())
    assert face.verify() == []


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The outcomes of transactions. The first transaction fails after its work and runs again."""
    apply, runs = ConditionalUpsert.apply, []

    def failing_once(batch: ConditionalUpsert, connection: Any, known_states: bytearray) -> Any:
        runs.append(apply(batch, connection, known_states))
        if len(runs) == 1:
            raise TransientError("the first always fails")
        return runs[-1]

    monkeypatch.setattr(ConditionalUpsert, "apply", failing_once)
    return runs


@pytest.mark.usefixtures("small_budget")
def test_a_repeated_transaction_packs_its_rows_again(face: Face, runs: list[Any]) -> None:
    face.setup()
    items = texts("word", 5_000)
    assert face.sync(items, source="f").counts["INS"] == len(items)
    assert len(runs) == 2
    assert face.mget(list(items)) == list(items.values())


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("full", ["at once", "when it is written"])
def test_a_full_disk_is_an_error_and_nothing_is_written(face: Face, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("this system has no device that is always full")
    face.mset({"k0000": "stands"})
    buffering = 0 if full == "at once" else 10_000_000
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: device.open("r+b", buffering=buffering))
    with pytest.raises(DocShelfError, match=r"No space left on device.*; free space in the folder of temporary files"):
        face.sync(texts("word"))
    assert (face.get("k0000"), face.count()) == ("stands", 1)


@pytest.mark.usefixtures("small_budget")
def test_where_no_file_can_be_made_memory_holds_everything(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(prefix: str) -> Any:
        raise FileNotFoundError(f"no usable folder for {prefix}")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    items = texts("word")
    assert face.sync(items).counts["INS"] == len(items)
    assert face.mget(list(items)) == list(items.values())


def test_only_a_window_of_a_generators_items_is_alive_at_once(face: Face) -> None:
    alive: weakref.WeakSet[Page] = weakref.WeakSet()
    most = 0

    def pages() -> Iterator[tuple[str, Page]]:
        nonlocal most
        for number in range(MANY):
            page = Page(f"text of page {number}")
            alive.add(page)
            most = max(most, len(alive))
            yield f"k{number}", page

    view = face.of(face.view(content_types=(PAGE,)))
    assert view.mset(pages()) is None
    assert view.conditional_mset(pages()).counts["SKIP"] == MANY
    assert 100 < most <= 1_001
    assert view.get(f"k{MANY - 1}") == f"text of page {MANY - 1}"


def test_a_window_has_fewer_items_when_they_are_large() -> None:
    encoded = EncodedBatch(Codec(), "")
    assert encoded.next_window == 128
    encoded.add([("small", "")])
    assert encoded.next_window == 1_000
    encoded.add([("large", b"x" * 20_000_000)])
    assert encoded.next_window == 1


@pytest.mark.parametrize("taken", [0, 127, 128, 1_500])
def test_a_bad_item_of_a_generator_is_named_at_any_position(face: Face, taken: int) -> None:
    def items(last: Any) -> Iterator[Any]:
        for number in range(taken):
            yield f"k{number}", number
        if isinstance(last, Exception):
            raise last
        yield last

    with pytest.raises(ArgumentTypeError, match=rf"^item {taken} is a int"):
        face.mset(items(5))
    with pytest.raises(UnsupportedValueError, match="key 'bad'"):
        face.sync(items(Item("bad", object())))
    with pytest.raises(ZeroDivisionError, match=r"^of the caller's own$"):
        face.sync(items(ZeroDivisionError("of the caller's own")))
    assert face.count() == 0


def test_a_dict_that_changes_after_the_call_began_is_written_as_it_was(face: Face) -> None:
    items: dict[str, Any] = texts("text")
    expected = list(items)

    def adding(value: Any) -> Any:
        items["late"] = "late"
        return value

    view = face.of(face.view(hash_on=adding))
    assert [change.key for change in view.conditional_mset(items)] == expected
    assert len(items) == len(expected) + 1


def test_a_diff_reports_a_content_type_that_cannot_load_what_it_dumps(face: Face) -> None:
    def load(content: dict[str, Any]) -> Any:
        raise LookupError("no such page")

    broken = ContentType("tests/broken", (Page,), dump=lambda page: {"text": str(page)}, load=load)
    view = face.of(face.view(content_types=(broken,)))
    view.mset({"k": Page("old"), "same": Page("same")})
    with pytest.raises(UnsupportedValueError, match=r"^key 'k': what it dumps to is not a tests/broken \(LookupError"):
        view.sync({"k": Page("new"), "same": Page("same")}, diff=True)
    assert view.verify() != []


_LATE_WRITE = """
import sys, threading
from docshelf import DocShelf

def write():
    threading.main_thread().join()
    with DocShelf(sys.argv[1]) as shelf:
        print(shelf.conditional_mset({f"k{number}": number for number in range(5_000)}).counts["INS"])

threading.Thread(target=write).start()
"""


def test_a_thread_that_outlives_the_main_one_writes_as_any(location: Location) -> None:
    with DocShelf(location.url) as shelf:
        shelf.setup()
    done = subprocess.run(
        [sys.executable, "-c", _LATE_WRITE, location.url], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("5000", "")


def test_progress_counts_a_row_once_if_its_transaction_is_repeated(
    face: Face, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    face.setup()
    face.conditional_mset(texts("word", 3_000), show_progress=True)
    assert "3000/3000" in capsys.readouterr().err
    assert len(runs) == 2
