"""A sync that would remove most sources of a collection, as a half-mounted folder has it, is refused."""

from __future__ import annotations

from typing import Any

import pytest

from docshelf import DocShelf, Item, MassDeleteError, SourceNote
from docshelf.operations.upsert import ConditionalUpsert
from tests.conftest import Location
from tests.support.face import Face
from tests.support.tables import contents


def folder(count: int, text: str = "text") -> list[Item]:
    """Two entries for each of so many files."""
    return [Item(f"{part}", f"{text} {part} of {n}", f"f{n:03}") for n in range(count) for part in "ab"]


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [(30, 1, True), (30, 14, True), (30, 15, False), (18, 9, False), (19, 9, True), (10, 1, False), (11, 1, True)],
)
def test_more_than_half_of_the_sources_and_at_least_ten(
    face: Face, location: Location, before: int, after: int, refused: bool
) -> None:
    face.mset(folder(before))
    known = contents(location)
    if refused:
        gone = before - after
        message = f"would remove {gone} of {before} sources .'f{after:03}', 'f{after + 1:03}', .*allow_mass_delete=True"
        with pytest.raises(MassDeleteError, match=message):
            face.sync(folder(after), scope="collection")
        assert contents(location) == known
        report = face.sync(folder(after), scope="collection", allow_mass_delete=True)
    else:
        report = face.sync(folder(after), scope="collection")
    assert report.counts == {"INS": 0, "UPD": 0, "SKIP": 2 * after, "DEL": 2 * (before - after)}


def test_the_dry_run_says_what_the_sync_would_be_told(face: Face, location: Location) -> None:
    face.mset(folder(30))
    known = contents(location)
    report = face.sync(folder(1), scope="collection", dry_run=True)
    assert report.counts["DEL"] == 58
    with pytest.raises(MassDeleteError) as error:
        face.sync(folder(1), scope="collection")
    assert report.refused == str(error.value)
    assert "refused: this sync of collection" in str(report)
    assert "refused: this sync of collection" in report._repr_html_()
    assert contents(location) == known
    allowed = face.sync(folder(1), scope="collection", dry_run=True, allow_mass_delete=True)
    assert allowed.refused is None
    assert "refused" not in str(allowed)
    assert face.sync({}, source="f001", dry_run=True).refused is not None


def test_sources_that_are_named_and_hold_nothing_are_counted_against_the_collection(face: Face) -> None:
    face.mset(folder(30))
    notes = {f"f{n:03}": SourceNote("gone") for n in range(1, 20)}
    with pytest.raises(MassDeleteError, match="would remove 19 of 30 sources"):
        face.sync(folder(1), scope="sources", notes=notes)
    few = dict(list(notes.items())[:15])
    assert face.sync(folder(1), scope="sources", notes=few).counts["DEL"] == 30


def test_new_sources_do_not_hide_that_the_old_ones_vanish(face: Face, location: Location) -> None:
    face.mset(folder(30))
    known = contents(location)
    other = [Item("a", "text", f"other{n:03}") for n in range(40)]
    with pytest.raises(MassDeleteError, match="would remove 29 of 30 sources"):
        face.sync([*folder(1), *other], scope="collection")
    assert contents(location) == known


def test_a_source_whose_entries_all_changed_is_an_edit(face: Face) -> None:
    face.mset(folder(30))
    renamed = [Item(f"new-{item.key}", item.value, item.source) for item in folder(30)]
    assert face.sync(renamed, scope="collection").counts == {"INS": 60, "UPD": 0, "SKIP": 0, "DEL": 60}


@pytest.mark.parametrize("share", [1.0, 0.97])
def test_a_number_is_the_share_of_entries_and_nothing_else(face: Face, share: float) -> None:
    face.mset(folder(30))
    assert face.sync(folder(1), scope="collection", max_delete=share).counts["DEL"] == 58
    with pytest.raises(MassDeleteError, match="would delete 1 of 2 entries and leave 1"):
        face.sync([folder(1)[0]], scope="collection", max_delete=0.4)


def test_what_an_earlier_look_allowed_is_judged_again_under_the_locks(
    face: Face, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two looks another process adds sources: the sync would now remove more than it may."""
    face.mset(folder(1))
    apply = ConditionalUpsert.apply

    def late(batch: ConditionalUpsert, *arguments: Any) -> Any:
        monkeypatch.setattr(ConditionalUpsert, "apply", apply)
        with DocShelf(location.url) as other:
            other.mset(folder(30))
        return apply(batch, *arguments)

    monkeypatch.setattr(ConditionalUpsert, "apply", late)
    with pytest.raises(MassDeleteError, match="would remove 29 of 30 sources"):
        face.sync([Item("a", "changed", "f000")], scope="collection")


def test_what_deletes_by_name_is_not_guarded(face: Face) -> None:
    face.mset(folder(30))
    assert len(face.mdelete(["a"])) == 30
    assert len(face.delete_sources([f"f{n:03}" for n in range(29)])) == 29
    assert face.clear() == 1
