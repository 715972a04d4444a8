"""What a move keeps in temporary files: records in order, and records by key."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest

from docshelf import DocShelfError
from docshelf.moving import KeyedRecords, SortedRecords


class TestKeyedRecords:
    def test_records_come_by_key_and_the_rest_is_what_was_not_taken(self) -> None:
        with KeyedRecords() as records:
            records.add([("a", {"n": 1}), ("b", [1, 2]), ("é", None), ("d", "text")])
            records.add([("a", "the last one wins"), ("e", 5)])
            assert records.take(["b", "nothing", "a", "b"]) == [[1, 2], None, "the last one wins", [1, 2]]
            assert list(records.rest(2)) == [[("d", "text"), ("e", 5)], [("é", None)]]
            assert records.take([]) == []

    def test_many_records_leave_no_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with KeyedRecords() as records:
            records.add((f"k{number:05}", number) for number in range(5_000))
            assert records.take([f"k{number:05}" for number in range(0, 5_000, 2)]) == list(range(0, 5_000, 2))
            rest = [pair for page in records.rest(700) for pair in page]
            assert rest == [(f"k{number:05}", number) for number in range(1, 5_000, 2)]
            assert list(tmp_path.iterdir())
        assert list(tmp_path.iterdir()) == []


class TestSortedRecords:
    def test_any_number_of_runs_are_one_order(self) -> None:
        chosen = random.Random(5)
        made: list[tuple[Any, ...]] = [(chosen.randrange(50), f"k{chosen.randrange(9)}", n) for n in range(1_000)]
        for size in (1, 7, 999, 1_000, 1_001):
            with SortedRecords(run_records=size) as records:
                for start in range(0, 1_000, 13):
                    records.add(made[start : start + 13])
                assert list(records) == sorted(made)
                assert list(records) == sorted(made), "it can be read again"

    def test_a_full_disk_says_where_to_make_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **options: Any) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tempfile, "TemporaryFile", fail)
        with SortedRecords(run_records=1) as records, pytest.raises(DocShelfError, match=r"No space left .* TMPDIR"):
            records.add([(1,)])
