"""Calls in parts: they end where a call in one transaction ends, and do the rest when they are run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from docshelf import (
    ConfigurationError,
    DocShelfError,
    Item,
    MassDeleteError,
    Report,
    SourceNote,
    UnsupportedValueError,
)
from docshelf.operations import chunked
from docshelf.operations.upsert import ConditionalUpsert, delete_entries
from docshelf.sql import existing_pages
from docshelf.sql.dialects.postgresql import PostgreSQL
from docshelf.sql.dialects.sqlite import SQLite
from tests.conftest import Location
from tests.support.face import Face

pytestmark = pytest.mark.usefixtures("small_chunks")
CHUNK = 3
BEGIN: dict[type, Any] = {kind: kind.begin_write for kind in (PostgreSQL, SQLite)}
NOTES = {"f": SourceNote("f2", {"title": "F"}), "h": SourceNote("h1"), "kept": SourceNote()}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(existing_pages, "_PAGE_ROWS", 2 * CHUNK)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items or deletions each transaction had."""
    found: list[int] = []
    apply = ConditionalUpsert.apply

    def counted_apply(self: ConditionalUpsert, connection: Any, states: bytearray) -> Any:
        found.append(len(self.encoded))
        return apply(self, connection, states)

    def counted_delete(connection: Any, context: Any, identities: Any) -> Any:
        found.append(len(identities))
        return delete_entries(connection, context, identities)

    monkeypatch.setattr(ConditionalUpsert, "apply", counted_apply)
    monkeypatch.setattr(chunked, "delete_entries", counted_delete)
    return found


class EndedEarlyError(DocShelfError):
    """A call ends half way."""


@pytest.fixture
def stop_after() -> Iterator[Callable[[int], None]]:
    """Lets so many transactions commit, and the next one fail."""
    patch = pytest.MonkeyPatch()

    def stop(count: int) -> None:
        left = count
        patch.undo()

        def begin_write(self: Any, *args: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                patch.undo()
                raise EndedEarlyError
            left -= 1
            return BEGIN[type(self)](self, *args, **options)

        for kind in BEGIN:
            patch.setattr(kind, "begin_write", begin_write)

    yield stop
    patch.undo()


def filled(face: Face, name: str) -> Face:
    """A collection of its own: two sources that were synced, one with a version, and a key in both."""
    of = face.of(face.shelf.view(name))
    of.sync([Item(f"k{n:02}", n, "f", "v1" if n == 5 else None) for n in range(12)], source="f", fingerprint="f1")
    of.sync([Item(f"k{n:02}", n, "g") for n in range(4)], source="g", fingerprint="g1", metadata={"title": "G"})
    of.sync([Item("only", 1, "kept")], source="kept", fingerprint="k1")
    return of


def state(face: Face) -> list[Any]:
    """Everything that a collection holds, without times."""
    entries = [(one.key, one.source, one.value, one.version) for one in face.find()]
    order = [[one.key for one in entries] for entries in face.source_entries(["f", "g", "h", "kept"])]
    sources = [(one.source, one.entries, one.fingerprint, one.metadata) for one in face.sources()]
    return [entries, order, sources]


def news(scope: str) -> list[Item]:
    """Unchanged, changed and new items, in no order, some twice; others of the entries are missing."""
    new = [Item(f"n{n:02}", n, "h" if scope != "source" and n % 3 else "f") for n in range(8, 0, -1)]
    old = [Item(f"k{n:02}", n if n % 2 else "new", "f", "v2" if n == 7 else None) for n in (9, 1, 7, 5, 2, 0)]
    twice = [Item("k01", "first", "f"), Item("n03", "last", new[5].source)]
    more = [Item("k00", "of g", "g")] if scope != "source" else []
    return [*new[:4], twice[0], *old, *new[4:], twice[1], *more]


def called(face: Face, scope: str, **options: Any) -> Report:
    if scope == "source":
        noted: dict[str, Any] = {"source": "f", "fingerprint": "f2", "metadata": {"title": "F"}}
    else:
        noted = {"notes": NOTES}
    report: Report = face.sync(iter(news(scope)), scope=scope, allow_mass_delete=True, **noted, **options)
    return report


@pytest.mark.parametrize("scope", ["source", "sources", "collection"])
def test_a_sync_in_chunks_ends_as_one_in_a_transaction(face: Face, scope: str, sizes: list[int]) -> None:
    whole, parts = filled(face, "whole"), filled(face, "parts")
    expected = called(whole, scope, diff=True)
    sizes.clear()
    report = called(parts, scope, chunked=True, diff=True)
    assert (list(report), report.counts) == (list(expected), expected.counts)
    assert sorted(map(str, report.diffs)) == sorted(map(str, expected.diffs))
    assert state(parts) == state(whole)
    assert max(sizes) == CHUNK
    assert len([size for size in sizes if size]) > 4
    assert called(parts, scope, chunked=True, report="counts").counts["SKIP"] == len(expected) - len(expected.deleted)


def test_a_sync_in_chunks_reports_counts_alone(face: Face) -> None:
    whole, parts = filled(face, "whole"), filled(face, "parts")
    expected = called(whole, "collection")
    report = called(parts, "collection", chunked=True, report="counts")
    assert (report.counts, len(report)) == (expected.counts, len(expected))
    assert state(parts) == state(whole)
    assert not called(parts, "collection", chunked=True, report="counts").changed


@pytest.mark.parametrize("scope", ["source", "collection"])
def test_a_sync_that_ended_early_does_the_rest_when_it_is_run_again(
    face: Face, scope: str, stop_after: Callable[[int], None]
) -> None:
    whole = filled(face, "whole")
    expected = called(whole, scope)
    for count in (1, 4, 6, 50):
        parts = filled(face, f"parts {count}")
        stop_after(count)
        try:
            called(parts, scope, chunked=True)
        except EndedEarlyError:
            pass
        else:
            break
        before = {(one.key, one.source): (one.updated_at, one.version) for one in parts.find()}
        # It may not look as if the file of a source were read to its end.
        assert parts.source_changed("f", "f2")
        assert parts.source_changed("f", "f1")
        report = called(parts, scope, chunked=True)
        assert state(parts) == state(whole)
        written = {(change.key, change.source) for change in report if change.op in ("INS", "UPD")}
        after = {(one.key, one.source): (one.updated_at, one.version) for one in parts.find()}
        assert {identity for identity, label in after.items() if before.get(identity) != label} == written
        assert len(written) == max(0, len(expected.inserted) + len(expected.updated) - count * CHUNK)
    assert count == 50


def test_the_guard_decides_before_anything_is_written(face: Face) -> None:
    parts = filled(face, "parts")
    before = state(parts)
    for _ in range(2):  # what the first call did must not let the second pass
        with pytest.raises(MassDeleteError):
            parts.sync({f"new {n}": n for n in range(30)}, source="f", max_delete=0.5, chunked=True)
        with pytest.raises(MassDeleteError):
            parts.sync([], scope="collection", chunked=True)
        assert state(parts) == before
    refused = parts.sync([], scope="collection", chunked=True, dry_run=True)
    assert refused.refused is not None
    assert state(parts) == before


def test_what_others_write_during_a_sync_in_chunks_stays(
    face: Face, new_face: Callable[..., Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(face, "default")
    other = new_face()
    delete = chunked._delete
    added: list[str] = []

    def add_and_delete(*args: Any) -> Any:
        if not added:
            added.append("added")
            other.shelf.set("added", 1, source="f")
        return delete(*args)

    monkeypatch.setattr(chunked, "_delete", add_and_delete)
    report = face.sync([Item("k00", 0, "f")], scope="collection", allow_mass_delete=True, chunked=True)
    assert report.counts == {"INS": 0, "UPD": 0, "SKIP": 1, "DEL": 16}
    assert list(face.yield_keys()) == ["added", "k00"]


def test_items_are_written_while_a_generator_still_gives_more(face: Face, sizes: list[int]) -> None:
    seen: list[int] = []

    def items() -> Iterator[Item]:
        for number in range(10):
            seen.append(face.shelf.count())
            yield Item(f"k{number}", number, "f" if number % 2 else "g")

    report = face.conditional_mset(items(), chunked=True, notes={"f": SourceNote("f1"), "new": SourceNote("n")})
    assert [change.key for change in report] == [f"k{number}" for number in range(10)]
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    assert [one.fingerprint for one in face.sources()] == ["f1", None, "n"]
    assert max(sizes) == CHUNK
    face.mset({f"k{number}": number + 1 for number in range(10)}, chunked=True)
    assert face.mget(["k0", "k9"]) == [1, 10]
    assert face.conditional_mset([("twice", 1), ("b", 1), ("c", 1), ("twice", 2)], chunked=True).counts["UPD"] == 1
    assert face.get("twice") == 2
    assert not face.conditional_mset([], chunked=True)


def test_an_item_that_cannot_be_stored_leaves_whole_parts(face: Face) -> None:
    items = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("bad", object())]
    with pytest.raises(UnsupportedValueError, match="bad"):
        face.mset(items, chunked=True)
    assert list(face.yield_keys()) == ["a", "b", "c"]
    with pytest.raises(UnsupportedValueError, match="bad"):
        face.sync(items, scope="collection", chunked=True)
    assert list(face.yield_keys()) == ["a", "b", "c"]


def test_keys_move_between_sources_in_chunks(face: Face) -> None:
    whole, parts = filled(face, "whole"), filled(face, "parts")
    items = {f"k{n:02}": n for n in range(12)}
    expected = whole.conditional_mset(items, source="h", move=True)
    report = parts.conditional_mset(items, source="h", move=True, chunked=True)
    assert sorted(report) == sorted(expected)
    assert [change.op for change in report][-16:] == ["DEL"] * 16
    assert state(parts) == state(whole)


DELETIONS: dict[str, Callable[..., Any]] = {
    "clear": lambda face, **options: face.clear(**options),
    "delete_source": lambda face, **options: face.delete_source("f", **options),
    "delete_sources": lambda face, **options: face.delete_sources(["g", "f", "none", "kept"], keys=["k00"], **options),
    "delete_sources of keys": lambda face, **options: face.delete_sources(
        [], keys=[f"k{n:02}" for n in range(9)], **options
    ),
    "mdelete": lambda face, **options: face.mdelete([f"k{n:02}" for n in range(11)], **options),
    "mdelete in a source": lambda face, **options: face.mdelete(
        [f"k{n:02}" for n in range(11)], source="f", expected={f"k{n:02}": None for n in range(11)}, **options
    ),
    "mdelete where": lambda face, **options: face.mdelete(where={}, prefix="k", allow_mass_delete=True, **options),
}


@pytest.mark.parametrize("name", DELETIONS)
def test_a_deletion_in_chunks_ends_as_one_in_a_transaction(
    face: Face, name: str, stop_after: Callable[[int], None]
) -> None:
    whole, parts, ended = filled(face, "whole"), filled(face, "parts"), filled(face, "ended")
    expected = DELETIONS[name](whole)
    result = DELETIONS[name](parts, chunked=True)
    assert result == expected if name == "clear" else sorted(result) == sorted(expected)
    assert state(parts) == state(whole)
    stop_after(2)
    with pytest.raises(EndedEarlyError):
        DELETIONS[name](ended, chunked=True)
    left = ended.count()
    assert whole.count() < left < 17
    for source in ended.sources():  # one that lost entries does not look as if its file were read
        assert source.fingerprint is None or source.entries == {"f": 12, "g": 4, "kept": 1}[source.source]
    result = DELETIONS[name](ended, chunked=True)
    assert (result if name == "clear" else result.counts["DEL"]) == left - whole.count()
    assert state(ended) == state(whole)
    if name != "clear":
        again = filled(face, "again")
        assert DELETIONS[name](again, chunked=True, report="counts").counts == expected.counts


def test_the_guard_of_a_deletion_decides_before_the_first_part(face: Face) -> None:
    parts = filled(face, "parts")
    before = state(parts)
    with pytest.raises(MassDeleteError):
        parts.mdelete(where={}, chunked=True)
    assert state(parts) == before


def test_a_bound_store_cannot_commit_in_between(face: Face, location: Location, new_engine: Callable[..., Any]) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda shelf: shelf.mset({"a": 1}, chunked=True),
        lambda shelf: shelf.sync({"a": 1}, chunked=True),
        lambda shelf: shelf.mdelete(["a"], chunked=True),
        lambda shelf: shelf.clear(chunked=True),
        lambda shelf: shelf.delete_source("f", chunked=True),
    ]
    with new_engine(location).connect() as connection:
        bound = face.shelf.bind(connection)
        for call in calls:
            with pytest.raises(ConfigurationError, match="chunked"):
                call(bound)
