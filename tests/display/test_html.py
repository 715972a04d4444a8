"""What a notebook shows: right, small, safe for any row, and readable where styles are removed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from docshelf import Change, DocShelf, Document, Entry, EstimatedStats, Report, Source, Stats, UnknownDocument
from docshelf.display.html import compare, preview, size, visible
from docshelf.types import Diff, Diffs, Sources
from tests.conftest import Location
from tests.support.face import Face
from tests.support.markup import Seen

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "&amp;<",
    "\"><b style='x'>",
    "</td><p>",
    "\0\x1b[31m\u202e\ud800\r\n<",
    "<" * 1_000_000,
]


def entry_of(value: Any, **fields: Any) -> Entry:
    given: dict[str, Any] = {"version": None, "value_hash": b"\x01" * 32, "content_type": "json", **fields}
    return Entry(**{"key": "k", "source": "f", "created_at": NOON, "updated_at": NOON, "seq": 1, **given}, value=value)


class TestReport:
    def test_it_counts_and_names_the_first_keys(self) -> None:
        changes = [Change(f"new {n}", "INS", "f") for n in range(1234)] + [Change("gone", "DEL", "f")]
        seen = Seen(Report(tuple(changes))._repr_html_())
        assert seen.rows == [
            ["op", "done", "keys"],
            ["INS", "1,234", "new 0, new 1, new 2, and 1,231 more"],
            ["UPD", "0", ""],
            ["SKIP", "0", ""],
            ["DEL", "1", "gone"],
        ]
        assert seen.text.startswith("Report 1,235 entries in f")

    def test_it_marks_a_dry_run(self) -> None:
        seen = Seen(Report((Change("k", "UPD"),), dry_run=True)._repr_html_())
        assert seen.text.startswith("Report of a dry run 1 entry")
        assert seen.rows[0] == ["op", "would be", "keys"]

    def test_it_counts_sources(self) -> None:
        assert (
            "2 entries in 2 sources" in Seen(Report((Change("k", "INS"), Change("k", "INS", "f")))._repr_html_()).text
        )

    def test_it_names_sources_where_keys_are_made_up(self) -> None:
        keys = [str(UUID(int=n)) for n in range(9)]
        changes = [Change(key, "INS", f"{n % 4}.md") for n, key in enumerate(keys)]
        changes.append(Change(sha256(b"").hexdigest() + "_3", "DEL", "old.md"))
        seen = Seen(Report(tuple(changes))._repr_html_())
        assert seen.rows[:2] == [["op", "done", "sources"], ["INS", "9", "0.md, 1.md, 2.md, and 1 more"]]
        assert seen.rows[-1] == ["DEL", "1", "old.md"]
        without = Seen(Report((Change(keys[0], "INS"),))._repr_html_())
        assert without.rows[:2] == [["op", "done", "keys"], ["INS", "1", f"{keys[0][:32]}…"]]

    def test_nothing_shows_as_nothing(self) -> None:
        assert "0 entries" in Seen(Report()._repr_html_()).text

    def test_its_bar_has_a_part_for_each_op_that_happened(self) -> None:
        shown = Report((Change("a", "INS"), Change("b", "SKIP"), Change("c", "SKIP")))._repr_html_()
        assert [shown.count(f"flex:{count} 0") for count in (1, 2, 0)] == [1, 1, 0]


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
class TestHostileRows:
    def shown(self, evil: str) -> list[Any]:
        return [
            Report(tuple(Change(evil, op, evil) for op in ("INS", "UPD", "SKIP", "DEL"))),
            Sources([Source(evil, 1, evil, {evil: evil}, NOON)]),
            Source(evil, 1, evil, {"k": [evil] * 1000}),
            entry_of(evil, key=evil, source=evil, version=evil, content_type=evil),
            entry_of({evil: {evil: [evil]}}),
            entry_of(evil.encode("utf-8", "surrogatepass")),
            Diff(evil, evil, evil, evil + " new"),
            Diffs([Diff("k", "", "old", evil)] * 1000),
        ]

    def test_are_escaped_and_cut(self, evil: str) -> None:
        for value in self.shown(evil):
            html = value._repr_html_()
            seen = Seen(html)
            assert len(html) < 60_000, type(value)
            assert html.isascii() or html.encode("utf-8")
            assert not {"\0", "\x1b", "\u202e", "\r"} & set(seen.text)

    def test_are_what_a_reader_sees(self, evil: str) -> None:
        shown = "\n".join(map(visible, evil[:20].split("\n")))
        assert shown in Seen(entry_of(evil)._repr_html_()).text


def test_a_value_that_cannot_print_itself_is_shown_as_such() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert preview(Broken()) == "a Broken that cannot be shown (RuntimeError)"
    assert preview(2**80_000) == "an int of 80,001 bits"
    assert "cannot be shown" not in preview([2**80_000, Broken()])


class TestTables:
    def test_sources_show_what_is_stored_about_each(self) -> None:
        found = Sources([Source("", 3), Source("a.md", 1200, "abcdef0123456789", {"title": "A"}, NOON)])
        assert Seen(found._repr_html_()).rows == [
            ["source", "entries", "", "synced", "fingerprint", "metadata"],
            ["no source", "3", "", "", "", ""],
            ["a.md", "1,200", "", "2026-03-01 12:00 UTC", "abcdef01…", "{'title': 'A'}"],
        ]

    def test_columns_that_are_empty_for_all_sources_are_left_out(self) -> None:
        found = Sources([Source("a.md", 1), Source("b.md", 2, synced_at=NOON)])
        assert Seen(found._repr_html_()).rows == [
            ["source", "entries", "", "synced"],
            ["a.md", "1", "", ""],
            ["b.md", "2", "", "2026-03-01 12:00 UTC"],
        ]

    def test_many_sources_have_a_second_page_and_are_counted(self) -> None:
        found = Sources(Source(f"s{n}", 2) for n in range(1000))
        seen = Seen(found._repr_html_())
        first, second = seen.rows[:21], seen.rows[21:]
        assert [row[0] for row in first] == ["source", *(f"s{n}" for n in range(20))]
        assert [row[0] for row in second] == ["source", *(f"s{n}" for n in range(20, 120))]
        assert "1,000, with 2,000 entries" in seen.text
        assert "21 to 120" in seen.text
        assert seen.text.endswith("and 880 more")
        assert "<details" not in Sources(found[:20])._repr_html_()

    def test_stats_are_sizes_for_readers(self) -> None:
        rows = Seen(Stats(1000, 7, 1_500_000, 4_000_000_000)._repr_html_()).rows
        assert [row[:2] for row in rows] == [
            ["entries", "1,000"],
            ["sources", "7"],
            ["values, as packed", "1.5 MB"],
            ["on disk", "4.0 GB"],
        ]
        assert rows[2][2] == "1.5 KB each"
        assert Seen(Stats(0, 0, 0, 8192)._repr_html_()).rows[2][2] == ""
        rows = Seen(EstimatedStats(9_000, 8192)._repr_html_()).rows
        assert [row[:2] for row in rows] == [["entries", "9,000"], ["on disk", "8.2 KB"]]

    def test_an_entry_shows_its_fields(self) -> None:
        later = NOON + timedelta(hours=1)
        rows = dict(Seen(entry_of({"a": 1}, updated_at=later)._repr_html_()).rows)
        assert rows["value"] == "{'a': 1}"
        assert rows["updated"] == "2026-03-01 13:00 UTC"
        assert "version" not in rows
        only = Seen(entry_of(None, value_hash=None, content_type=None, version="v1")._repr_html_()).rows
        assert ["value", "none, only a version"] in only

    def test_an_entry_of_a_document_is_its_text_and_its_metadata(self) -> None:
        document = Document("First line.\nSecond <line>.", {"author": "Ann", "year": 2020})
        seen = Seen(entry_of(document, content_type="document")._repr_html_())
        assert seen.text.startswith("EntryFirst line.\nSecond <line>.author")
        rows = dict(seen.rows)
        assert (rows["author"], rows["year"], rows["key"], rows["content type"]) == ("Ann", "2020", "k", "document")
        assert "value" not in rows
        unknown = UnknownDocument("other/page", {"page_content": "Text of a page.", "metadata": {"n": 1}, "id": None})
        assert Seen(entry_of(unknown)._repr_html_()).text.startswith("EntryText of a page.n1")

    def test_tables_take_the_colour_of_the_page_even_without_a_doctype(self) -> None:
        shown = Stats(1, 1, 1, 1)._repr_html_()
        assert shown.count("<table") == shown.count("color:inherit;font-size:inherit") == 1

    @pytest.mark.parametrize(
        ("count", "told"),
        [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (999_960, "1.0 MB"), (2 * 10**15, "2,000.0 TB")],
    )
    def test_a_size_has_one_unit(self, count: int, told: str) -> None:
        assert size(count) == told


def test_a_store_shows_itself_without_its_password_and_without_its_database() -> None:
    with DocShelf("postgresql://me:s3cret@127.0.0.1:1/nowhere", "books", hash_exclude=("mtime",)) as shelf:
        seen = Seen(shelf._repr_html_())
    rows = dict(seen.rows)
    assert rows["collection"] == "books"
    assert rows["counts as change"] == "value, without mtime"
    assert "127.0.0.1" in rows["database"]
    assert "s3cret" not in seen.text


class TestDiffs:
    def test_a_diff_is_by_words_in_a_notebook_and_by_lines_in_print(self) -> None:
        diff = Diff("k", "f", "The red fox\njumps.", "The brown fox\njumps.")
        assert Seen(diff._repr_html_()).marked == [("del", " red"), ("ins", " brown")]
        assert str(diff).splitlines() == [
            "--- k before",
            "+++ k after",
            "@@ -1,2 +1,2 @@",
            "-The red fox",
            "+The brown fox",
            " jumps.",
        ]
        assert str(Diffs([diff, diff])).count("k before") == 2

    def test_unchanged_text_is_cut_to_the_context_of_a_change(self) -> None:
        words = "word " * 10_000
        seen = Seen(Diff("k", "", words + "old " + words, words + "new " + words)._repr_html_())
        assert seen.marked == [("del", " old"), ("ins", " new")]
        assert len(seen.text) < 500

    def test_no_word_is_cut(self) -> None:
        words = [f"word{n:05}" for n in range(500)]
        old, new = [*words, "old", *words], [*words, *(f"other{n:05}" for n in range(500)), *words]
        seen = Seen(Diff("k", "", " ".join(old), " ".join(new))._repr_html_())
        shown = seen.text.replace("Updated 1k", " ").replace("…", " ").split()
        assert set(shown) < {*old, *new}
        assert "…" in seen.marked[1][1]
        endless = Seen(Diff("k", "", "old", "x" * 1_000)._repr_html_())
        assert endless.marked[1] == ("ins", "x" * 400 + "…")

    @given(st.text("ab \n", max_size=40), st.text("ab \n", max_size=40))
    def test_both_texts_are_in_their_comparison(self, old: str, new: str) -> None:
        parts = compare(old, new)
        assert "".join(part[1] for part in parts) == old
        assert "".join(part[2] for part in parts) == new
        assert all((op == "equal") <= (a == b) for op, a, b in parts)

    def test_large_texts_with_nothing_in_common_are_not_compared_word_by_word(self) -> None:
        old, new = ("".join(f"{letter}{n} " for n in range(100_000)) for letter in "ab")
        assert [op for op, _, _ in compare(old, new)] == ["replace", "equal"]

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_sync_gives_them_on_request(self, face: Face, dry_run: bool) -> None:
        face.sync({"a": "one two", "b": "same", "c": {"n": 1}, "gone": "x"}, source="f")
        items = {"c": {"n": 2}, "new": "y", "a": "one three", "b": "same"}
        report = face.sync(items, source="f", diff=True, dry_run=dry_run)
        assert report.diffs == (Diff("c", "f", "{'n': 1}", "{'n': 2}"), Diff("a", "f", "one two", "one three"))
        assert face.get("a") == ("one two" if dry_run else "one three")
        assert face.sync(items, source="f", dry_run=dry_run).diffs == ()

    def test_other_writes_give_them_too_each_in_its_source(self, face: Face) -> None:
        face.mset({"k": "in f"}, source="f")
        face.mset({"k": "in g"}, source="g")
        report = face.conditional_mset({"k": "new in g", "other": b"\xff"}, source="g", diff=True)
        assert report.diffs == (Diff("k", "g", "in g", "new in g"),)
        assert face.conditional_mset([("other", b"\xfe", "g")], diff=True).diffs == (
            Diff("other", "g", "b'\\xff'", "b'\\xfe'"),
        )
        assert face.conditional_mset([("other", b"\xfe", "g", "v2")], diff=True).diffs == ()

    def test_a_diff_reports_an_unreadable_old_value_and_the_write_replaces_it(
        self, location: Location, face: Face
    ) -> None:
        face.set("k", "before")
        engine = create_engine(location.sync_url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE docshelf_entries SET value_hash = :hash"), {"hash": b"\0" * 32})
        engine.dispose()
        report = face.conditional_mset({"k": "after"}, diff=True)
        assert report.diffs == (Diff("k", "", "(its bytes do not match its hash)", "after"),)
        assert face.get("k") == "after"
