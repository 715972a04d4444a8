"""Looks into a store from a notebook: `summary`, `sample`, `to_pandas`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docshelf import DocShelf, Document, Item
from docshelf.display import sample, summary, to_pandas
from tests.conftest import Location
from tests.support.markup import Seen
from tests.support.statements import recorded_statements


@pytest.fixture
def shelf(location: Location) -> Iterator[DocShelf]:
    with DocShelf(location.url, "books") as shelf:
        shelf.sync(
            [
                Item("emma", Document("Emma Woodhouse.", {"author": "Austen", "year": 1815})),
                Item("moby", Document("Call me Ishmael.", {"author": "Melville", "key": "own"}), version="v1"),
            ],
            source="novels.md",
            fingerprint="f1",
        )
        shelf.mset({"dict": {"author": "Ann", "n": 1}, "text": "A text.", "bytes": b"\x00\xff"})
        yield shelf


@pytest.mark.parametrize("location", ["sqlite", "pg18"], indirect=True)
class TestOnEachDatabase:
    def test_a_summary_counts_and_says_when_the_last_sync_was(self, shelf: DocShelf) -> None:
        with recorded_statements() as statements:
            found = summary(shelf)
        assert not [one for one in statements if "value," in one]
        stats, [_, source] = shelf.stats(), shelf.sources()
        assert (found.entries, found.sources, found.stored_bytes) == (5, 2, stats.stored_bytes)
        assert found.synced_at == source.synced_at
        assert [one.source for one in found.largest] == ["", "novels.md"]
        lines = dict(line.split("  ", 1) for line in str(found).splitlines())
        assert (lines["collection"].strip(), lines["entries"].strip()) == ("books", "5")
        rows = dict(Seen(found._repr_html_()).rows)
        assert rows["last sync"] == f"{source.synced_at:%Y-%m-%d %H:%M} UTC"
        assert rows["largest sources"] == "novels.md (2)"
        assert summary(shelf.view("empty")).synced_at is None

    def test_a_table_of_pandas_has_a_column_for_each_field(self, shelf: DocShelf) -> None:
        pandas = pytest.importorskip("pandas")
        frame = to_pandas(shelf)
        assert list(frame.columns) == [
            *("key", "source", "text", "author", "n", "year", "metadata.key"),
            *("value", "version", "content_type", "created_at", "updated_at"),
        ]
        rows = frame.set_index("key")
        assert list(rows.index) == ["bytes", "dict", "emma", "moby", "text"]
        assert list(rows["text"].dropna()) == ["Emma Woodhouse.", "Call me Ishmael.", "A text."]
        assert dict(rows["author"].dropna()) == {"dict": "Ann", "emma": "Austen", "moby": "Melville"}
        assert rows.loc["moby", "metadata.key"] == "own"
        assert rows.loc["bytes", "value"] == b"\x00\xff"
        assert rows.loc["emma", "year"] == 1815
        assert list(rows["version"].dropna()) == ["v1"]
        assert rows["updated_at"].dt.tz is not None
        assert list(to_pandas(shelf, {"author": "Austen"})["key"]) == ["emma"]
        assert "value" not in to_pandas(shelf, source="novels.md", limit=1).columns
        assert isinstance(to_pandas(shelf.view("empty")), pandas.DataFrame)


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)
class TestSample:
    def test_it_is_part_of_what_is_there_and_of_the_wanted_size(self, shelf: DocShelf) -> None:
        keys = {"bytes", "dict", "emma", "moby", "text"}
        assert [entry.key for entry in sample(shelf, 9)] == sorted(keys)
        found = sample(shelf, 2, seed=1)
        assert found == sample(shelf, 2, seed=1)
        assert len(found) == 2
        assert {entry.key for entry in found} < keys
        assert [entry.key for entry in sample(shelf, source="novels.md")] == ["emma", "moby"]
        assert [entry.key for entry in sample(shelf, prefix="t")] == ["text"]
        assert sample(shelf, 0) == []
        with pytest.raises(ValueError, match="0 or more"):
            sample(shelf, -1)

    def test_each_key_is_as_likely_as_any_other(self, shelf: DocShelf) -> None:
        seen = [entry.key for seed in range(200) for entry in sample(shelf, 2, seed=seed)]
        assert all(50 < seen.count(key) < 110 for key in ("bytes", "dict", "emma", "moby", "text"))

    def test_it_shows_the_beginning_of_each_text(self, shelf: DocShelf) -> None:
        shelf.set("moby", Document("word " * 1_000, {"author": "Melville"}), source="novels.md")
        rows = Seen(sample(shelf)._repr_html_()).rows
        assert rows[0] == ["key", "text", "metadata"]
        by_key = {row[0]: row[1:] for row in rows[1:]}
        assert by_key["emmanovels.md"] == ["Emma Woodhouse.", "{'author': 'Austen', 'year': 1815}"]
        assert by_key["mobynovels.md"][0].endswith(" word…")
        assert by_key["text"] == ["A text.", ""]
        assert by_key["bytes"] == ["2 B: b'\\x00\\xff'", ""]
