"""`migrate` between shelves: everything arrives, nothing is written twice, and what cannot work is told first."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from docshelf import ConfigurationError, DocShelf, Document, Item, MoveError, Problem, SourceNote
from docshelf.moving import MoveReport, Note, Refused, ShelfSource, Source, Take, Target, export_jsonl, migrate
from docshelf.moving.sorting import SortedRecords
from docshelf.steps import Flow
from tests.conftest import Location
from tests.moving.conftest import Moving
from tests.moving.contents import by_key, contents, fill
from tests.support.markup import Seen
from tests.support.tables import TABLES, connected


def test_everything_of_a_collection_arrives(shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf]) -> None:
    fill(shelf)
    there = new_shelf(collection="copy")
    planned = move.migrate(shelf, there, dry_run=True)
    assert (planned.counts["INS"], planned.dry_run, planned.compared, there.count()) == (14, True, False, 0)
    report = move.migrate(shelf, there)
    assert (report.counts, report.compared) == ({"INS": 14, "UPD": 0, "SKIP": 0, "DEL": 0}, True)
    assert contents(there) == contents(shelf)
    assert by_key(there) == by_key(shelf)
    assert there.verify() == []
    assert move.migrate(shelf, there).counts == {"INS": 0, "UPD": 0, "SKIP": 14, "DEL": 0}
    assert move.migrate(there, shelf).counts["SKIP"] == 14


def test_a_whole_shelf_arrives_with_sources_and_owners(
    shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf]
) -> None:
    fill(shelf)
    shelf.companion("/children").set("row", 1)
    there = new_shelf()
    report = move.migrate(shelf, there, everything=True)
    assert (report.entries, report.sources, report.collections) == (15, 2, 2)
    assert there.sources() == shelf.sources()
    there.rename_collection("moved")
    assert there.view("moved/children").get("row") == 1
    again = move.migrate(shelf, new_shelf(), everything=True, dry_run=True)
    assert (again.entries, again.sources) == (15, 2)


def test_entries_that_are_there_stay_and_changed_ones_are_updated(
    shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf]
) -> None:
    there = new_shelf()
    there.mset({"a": "other", "b": 2, "mine": 3})
    created = there.get_entry("a").created_at  # type: ignore[union-attr]
    shelf.mset([Item("a", 1), Item("b", 2), Item("c", 3, "f", "v")])
    assert move.migrate(shelf, there).counts == {"INS": 1, "UPD": 1, "SKIP": 1, "DEL": 0}
    assert dict(there.yield_items()) == {"a": 1, "b": 2, "c": 3, "mine": 3}
    updated, origin = there.get_entry("a"), shelf.get_entry("a")
    assert updated is not None
    assert origin is not None
    assert (updated.created_at, updated.updated_at) == (created, origin.updated_at)


@pytest.mark.parametrize("count", [3, 120])
def test_moved_entries_have_the_search_fields_of_written_ones(
    location: Location, new_shelf: Callable[..., DocShelf], count: int
) -> None:
    """Few rows go by an INSERT, many by a COPY; each with the search fields, versions and times of the moved entry."""
    origin = new_shelf()
    # What no index takes is searched all the same.
    values = {f"k{n:03}": Document(f"text {n}", {"author": f"a{n % 3}", "tags": ["x"]}) for n in range(count)}
    origin.mset({**values, "long": {"author": list(range(2_000))}, "bytes": b"none"})
    origin.set_versions(dict.fromkeys(values, "v1"))
    with DocShelf(location.url) as there, DocShelf(location.url, "written") as written:
        for one in (there, written):
            one.setup(searchable=["author", "tags"])
            one.mset({"k001": {"author": "old"}, "k002": b"old", "long": {"author": "old"}})
        assert migrate(origin, there).counts == {"INS": count - 1, "UPD": 3, "SKIP": 0, "DEL": 0}
        written.mset([Item(entry.key, entry.value, version=entry.version) for entry in origin.yield_entries()])
        with connected(location) as connection:
            e = TABLES.entries.c
            columns = (e.key, e.version, e.search_fields, e.value_hash)
            [moved, expected] = [
                connection.execute(select(*columns).where(e.collection == name).order_by(e.key)).all()
                for name in ("default", "written")
            ]
        assert moved == expected
        assert [row.key for row in moved if row.search_fields is None] == ["long"]
        assert [entry.key for entry in there.find({"author": "a1"})] == [f"k{n:03}" for n in range(1, count, 3)]
        assert list(there.find({"author": "old"})) == []
        assert there.count(where={"tags": {"$contains": "x"}}) == count
        assert [entry.updated_at for entry in there.find()] == [entry.updated_at for entry in origin.find()]


class TestWhatASourceMayBe:
    def test_the_file_of_a_shelf(
        self, move: Moving, new_location: Callable[[str], Location], new_shelf: Callable[..., DocShelf]
    ) -> None:
        place = new_location("sqlite")
        with DocShelf(place.url, "docs") as shelf:
            fill(shelf)
            expected = contents(shelf)
        there = new_shelf(collection="docs")
        move.migrate(place.url, there)
        assert contents(there) == expected
        other = new_shelf(collection="other")
        assert move.migrate(Path(place.url), other).entries == 0
        assert move.migrate(f"sqlite:///{place.url}", other, collection="docs").entries == 14

    def test_the_url_of_a_shelf(
        self, location: Location, shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf]
    ) -> None:
        fill(shelf)
        there = new_shelf()
        assert move.migrate(location.url, there).counts["INS"] == 14
        assert contents(there) == contents(shelf)

    def test_an_export(self, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path) -> None:
        shelf, there = new_shelf(), new_shelf()
        fill(shelf)
        export_jsonl(shelf, tmp_path / "a.jsonl.zst")
        assert move.migrate(tmp_path / "a.jsonl.zst", there, dry_run=True).counts["INS"] == 14
        assert move.migrate(tmp_path / "a.jsonl.zst", there).counts["INS"] == 14
        assert contents(there) == contents(shelf)

    def test_a_part_of_a_shelf(self, shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf]) -> None:
        fill(shelf)
        there = new_shelf()
        assert move.migrate(ShelfSource(shelf, prefix="k", source="f.md"), there).entries == 5

    def test_nothing_else_and_nothing_is_made_of_it(
        self, move: Moving, new_shelf: Callable[..., DocShelf], tmp_path: Path, new_location: Callable[[str], Location]
    ) -> None:
        there = new_shelf()
        with pytest.raises(ConfigurationError, match=r"there is no file '.*no\.db' to move from"):
            move.migrate(tmp_path / "no.db", there)
        with pytest.raises(ConfigurationError, match="a dict is no source that this target knows"):
            move.migrate({"a": 1}, there)
        with pytest.raises(ConfigurationError, match="a dict cannot be moved into"):
            move.migrate(there, {})
        with pytest.raises(ConfigurationError, match="on_refused='no'"):
            move.migrate(there, there, on_refused="no")
        (tmp_path / "empty.db").touch()
        with pytest.raises(ConfigurationError, match="there are no tables of docshelf in"):
            move.migrate(tmp_path / "empty.db", there)
        assert (tmp_path / "empty.db").stat().st_size == 0
        place = new_location("pg18")
        with pytest.raises(ConfigurationError, match="there are no tables of docshelf in"):
            move.migrate(place.url, there)
        with pytest.raises(ConfigurationError, match="this source is no shelf"):
            move.migrate(Items([]), there, everything=True)


class Items(Source):
    """A source of items, in pages of two."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = list(items)
        self.passes = 0

    def read(self, take: Take) -> Flow[None]:
        self.passes += 1
        for start in range(0, len(self.items), 2):
            yield from take(self.items[start : start + 2])


class TestOtherSources:
    def test_items_are_written_as_the_target_writes_them(self, shelf: DocShelf, move: Moving) -> None:
        class Shouting(Target):
            def item(self, item: Item) -> Item:
                return item._replace(value=item.value.upper())

        source = Items([Item("a", "x", "f"), Item("b", "y"), Item("c", "z")])
        assert move.migrate(source, Shouting(shelf)).counts["INS"] == 3
        assert dict(shelf.yield_items()) == {"a": "X", "b": "Y", "c": "Z"}
        assert [entry.key for [entry] in [shelf.source_entries(["f"])[0]]] == ["a"]
        assert source.passes == 2
        assert move.migrate(source, Shouting(shelf), compare=False).counts["SKIP"] == 3
        assert source.passes == 3

    def test_a_refused_entry_stops_the_move_and_says_how_to_go_on(self, shelf: DocShelf, move: Moving) -> None:
        source = Items([Item("a", 1), Item("b", 2), Item("c", 3), Refused("bad", "f", "no such thing"), Item("d", 4)])
        with pytest.raises(MoveError, match=r"'bad' .* cannot be stored: no such thing; run with dry_run") as caught:
            move.migrate(source, shelf)
        assert caught.value.problems == (Problem("bad", "f", "no such thing"),)
        assert shelf.count() == 2
        planned = move.migrate(source, shelf, dry_run=True)
        assert (planned.refused, planned.problems) == (1, (Problem("bad", "f", "no such thing"),))
        report = move.migrate(source, shelf, on_refused="skip")
        assert (report.refused, report.counts) == (1, {"INS": 2, "UPD": 0, "SKIP": 2, "DEL": 0})
        assert report.compared
        assert "refused 'bad': no such thing" in str(report)
        assert "refused bad: no such thing" in Seen(report._repr_html_()).text

    def test_a_value_that_cannot_be_stored_is_refused_by_name(self, shelf: DocShelf, move: Moving) -> None:
        source = Items([Item("a", 1), Item("b", 2), Item("c", object()), Item("x" * 2_000, 1), Item("d", 3)])
        with pytest.raises(MoveError, match=r"'c' .* cannot be stored: key 'c': cannot store a object") as caught:
            move.migrate(source, shelf)
        assert [problem.key for problem in caught.value.problems] == ["c", "x" * 2_000]
        assert shelf.count() == 2
        assert move.migrate(source, shelf, dry_run=True).refused == 2
        report = move.migrate(source, shelf, on_refused="skip")
        assert (report.refused, report.counts["INS"], report.compared) == (2, 1, True)

    def test_notes_of_sources_come_along(self, shelf: DocShelf, move: Moving) -> None:
        source = Items(
            [Item("a", 1, "f"), Note("f", SourceNote("fingerprint", {"page": 1})), Note("g", SourceNote("x"))]
        )
        move.migrate(source, shelf)
        assert [(one.source, one.fingerprint, one.metadata) for one in shelf.sources()] == [
            ("f", "fingerprint", {"page": 1}),
            ("g", "x", None),
        ]

    def test_a_source_that_changed_meanwhile_is_noticed(self, shelf: DocShelf, move: Moving) -> None:
        class Changing(Items):
            def read(self, take: Take) -> Flow[None]:
                yield from super().read(take)
                self.items[2] = Item("c", "changed")

        with pytest.raises(MoveError, match=r"1 entries of the source differ .* begins with the key 'c'"):
            move.migrate(Changing([Item("a", 1), Item("b", 2), Item("c", 3)]), shelf)
        assert shelf.count() == 3

    def test_many_refused_entries_are_counted_and_the_first_are_kept(self, shelf: DocShelf, move: Moving) -> None:
        report = move.migrate(Items([Refused(f"k{n}", "", "no") for n in range(250)]), shelf, on_refused="skip")
        assert (report.refused, len(report.problems), report.entries) == (250, 100, 0)


class TestInterrupted:
    def test_a_move_that_died_is_run_again(
        self, shelf: DocShelf, move: Moving, new_shelf: Callable[..., DocShelf]
    ) -> None:
        shelf.mset({f"k{n}": n for n in range(1_300)})
        there = new_shelf()

        class Dying(Target):
            pages = 0

            def write(self, records: Sequence[Any], *, dry_run: bool) -> Flow[Any]:
                self.pages += 1
                if self.pages == 3:
                    raise KeyboardInterrupt
                return (yield from super().write(records, dry_run=dry_run))

        with pytest.raises(KeyboardInterrupt):
            move.migrate(shelf, Dying(there))
        assert there.count() == 1_000
        assert move.migrate(shelf, there).counts == {"INS": 300, "UPD": 0, "SKIP": 1_000, "DEL": 0}
        assert contents(there) == contents(shelf)


def test_memory_does_not_grow_with_the_collection(new_shelf: Callable[..., DocShelf]) -> None:
    shelf, there = new_shelf(), new_shelf()
    for number in range(12):
        shelf.mset({f"{number} {n}": f"{number} {n} " + "x" * 20_000 for n in range(500)})
    tracemalloc.start()
    try:
        migrate(shelf, there)
        assert tracemalloc.get_traced_memory()[1] < 60 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert there.count() == 6_000


def test_the_order_of_many_entries_goes_through_files() -> None:
    numbers = [(n * 7919) % 10_007 for n in range(10_000)]
    with SortedRecords(run_records=900) as records:
        for start in range(0, 10_000, 400):
            records.add((number, f"k{number}", "") for number in numbers[start : start + 400])
        assert len(records._files) > 5
        assert list(records) == [(number, f"k{number}", "") for number in sorted(numbers)]


def test_a_report_prints_and_shows_its_counts() -> None:
    report = MoveReport({"INS": 1_234, "UPD": 0, "SKIP": 5, "DEL": 0}, sources=2, dry_run=True)
    assert str(report).splitlines() == [
        "op           would be",
        "INS             1,234",
        "UPD                 0",
        "SKIP                5",
        "DEL                 0",
        "sources             2",
    ]
    seen = Seen(report._repr_html_())
    assert "MoveReport of a dry run 1,239 entries" in seen.text
    assert ["INS", "1,234"] in seen.rows
    assert ["sources", "2"] in seen.rows
    assert report.changed
    assert not MoveReport(dict.fromkeys(("INS", "UPD", "SKIP", "DEL"), 0)).changed


def test_progress_counts_both_passes(new_shelf: Callable[..., DocShelf], capsys: pytest.CaptureFixture[str]) -> None:
    shelf = new_shelf()
    shelf.mset({f"k{n}": Document("t") for n in range(30)})
    migrate(shelf, new_shelf(), show_progress=True)
    assert "60/60" in capsys.readouterr().err
