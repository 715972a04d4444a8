"""`set_versions` writes versions and nothing else: it neither reads nor rewrites the values."""

from __future__ import annotations

import pytest

from docshelf import Item
from tests.conftest import Location
from tests.support.face import Face
from tests.support.statements import recorded_statements
from tests.support.tables import entry_rows


def test_no_statement_of_set_versions_names_the_column_of_values(face: Face) -> None:
    face.mset([Item(f"k{number}", "value", f"s{number % 2}") for number in range(60)])
    with recorded_statements() as statements:
        report = face.set_versions({f"k{number}": f"v{number}" for number in range(60)})
    assert report.counts["UPD"] == 60
    assert [one for one in statements if "value," in one or "checksum" in one] == []
    assert len([one for one in statements if one.startswith("UPDATE")]) == 1


def test_versions_of_any_text_reach_their_own_entries_and_no_others(face: Face, location: Location) -> None:
    names = ['a"b', "a\\b", "{}", "$.a", "a.b", "é", "\U0001f600", "'", ":x", "%s", "a\tb\n", "null"]
    face.mset([Item(name, name, source) for name in names for source in ("s", "t", "u")])
    face.of(face.shelf.view("other")).mset([Item(name, name, "o") for name in names])
    before = entry_rows(location)
    assert face.set_versions({name: f"of {name}" for name in names}).counts["UPD"] == 3 * len(names)
    face.set_versions(dict.fromkeys(names, "only t"), source="t")
    for name in names:
        assert [entry_rows(location)[name, source].version for source in "st"] == [f"of {name}", "only t"]
        assert entry_rows(location)[name, "u"].value == before[name, "u"].value
    assert {entry.version for entry in face.of(face.shelf.view("other")).mget_entries(names)} == {None}
    assert face.verify() == []


def test_versions_are_written_in_statements_of_bounded_rows_and_bytes(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"k{number}" for number in range(20)]
    face.mset(dict.fromkeys(keys[:10], 1))
    dialect = type(face.shelf._context.dialect)
    for number, (limit, statements) in enumerate(((("chunk_rows", 5), 2), (("chunk_bytes", 2_500), 10))):
        monkeypatch.setattr(dialect, *limit)
        with recorded_statements() as sent:
            face.set_versions(dict.fromkeys(keys, f"{number}" * 1_000))
        # At first ten entries exist, and then twenty.
        assert len([one for one in sent if one.startswith("UPDATE")]) == statements
        monkeypatch.undo()
    assert {entry.version for entry in face.mget_entries(keys)} == {"1" * 1_000}
