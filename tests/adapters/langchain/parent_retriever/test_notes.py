"""Notes of sources let a retriever skip whole files: only while all that was made of a file is where it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever

import langchain_docshelf
from docshelf import ArgumentTypeError, DocShelf, SourceNote
from langchain_docshelf import DocShelfStore
from tests.adapters.langchain.parent_retriever.test_crashes import KilledError, Killer
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, retriever_of, rows_of, sentences, state, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import BlindVectors, Vectors

FILES = {"a.md": "a1", "b.md": "b1", "c.md": "c1"}
NOTES = {source: SourceNote(fingerprint, {"pages": 1}) for source, fingerprint in FILES.items()}
DOCUMENTS = [given(source, source[0], source) for source in FILES]


@pytest.fixture
def synced(retriever: Twin) -> Twin:
    """A retriever that synced three files with notes."""
    retriever.sync(DOCUMENTS, notes=NOTES)
    return retriever


def under(twin: Twin, of: Any) -> Twin:
    return Twin(of, twin.mode, twin.loop)


def test_files_are_unchanged_while_their_fingerprints_are_those_of_the_last_sync(synced: Twin) -> None:
    assert synced.changed_sources(FILES) == []
    assert synced.changed_sources({"none.md": "n", "b.md": "b2", "a.md": "a1"}) == ["none.md", "b.md"]
    assert not synced.source_changed("a.md", "a1")
    assert synced.source_changed("a.md", "a2")
    sources = under(synced, synced.of.docstore).sources()
    assert [(one.source, one.fingerprint, one.metadata) for one in sources] == [
        (source, fingerprint, {"pages": 1}) for source, fingerprint in FILES.items()
    ]
    changed = synced.sync([given("b.md", "edited", "b.md")], notes={"b.md": SourceNote("b2")})
    assert numbers(changed) == (0, 1, 0, 0, 3, 0, 3)
    assert synced.changed_sources({**FILES, "b.md": "b2"}) == []
    assert synced.changed_sources(FILES) == ["b.md"]


def test_a_source_that_only_notes_name_is_emptied(synced: Twin, vectors: Vectors) -> None:
    report = synced.sync(DOCUMENTS[:1], notes={"b.md": SourceNote("empty"), "a.md": NOTES["a.md"]})
    assert numbers(report) == (0, 0, 1, 1, 0, 3, 3)
    assert synced.changed_sources({**FILES, "b.md": "empty"}) == []
    assert len(vectors.children) == 6


def test_a_sync_without_notes_makes_its_sources_changed_unless_they_are_as_they_were(synced: Twin) -> None:
    synced.sync(DOCUMENTS)
    assert synced.changed_sources(FILES) == []
    synced.sync([given("b.md", "other", "b.md")])
    assert synced.changed_sources(FILES) == ["b.md"]


@pytest.mark.parametrize(
    "change",
    [
        lambda synced: synced.add_documents([given("c.md", "edited", "c.md")]),
        lambda synced: synced.add_documents([page("one more", "c.md")]),
        lambda synced: synced.delete_source("c.md"),
        lambda synced: synced.sync([], source="c.md", allow_mass_delete=True),
        lambda synced: under(synced, synced.of.docstore).mset({"c.md": given("c.md", "edited", "c.md")}),
        lambda synced: under(synced, synced.of.docstore).mset({"more": page("one more", "c.md")}),
        lambda synced: under(synced, synced.of.docstore).mdelete(["c.md"]),
        lambda synced: ledger_of(synced.of).mdelete([row.key for row in rows_of(synced.of) if row.source == "c.md"]),
    ],
)
def test_whatever_changes_a_source_makes_it_changed(synced: Twin, change: Callable[[Twin], object]) -> None:
    change(synced)
    assert synced.changed_sources(FILES) == ["c.md"]
    synced.sync(DOCUMENTS, notes=NOTES)
    assert synced.changed_sources(FILES) == []


def test_a_deleted_source_leaves_no_note(synced: Twin) -> None:
    synced.delete_source("a.md")
    synced.sync(DOCUMENTS[1:2], scope="collection")
    assert {entry.source for entry in ledger_of(synced.of).yield_entries()} == {"", "b.md"}


def test_other_settings_make_all_sources_changed(synced: Twin, new_retriever: Callable[..., Twin]) -> None:
    others: list[dict[str, Any]] = [
        {"embedding_version": "another model"},
        {"child_splitter": sentences(30)},
        {"index": "another"},
        {"child_metadata_fields": ["source"]},
    ]
    for options in others:
        assert new_retriever(**options).changed_sources(FILES) == list(FILES)
    assert new_retriever().changed_sources(FILES) == []


def test_pending_rows_make_their_sources_changed(synced: Twin) -> None:
    [row] = [row for row in rows_of(synced.of) if row.source == "b.md"]
    ledger_of(synced.of).set_versions({row.key: "pending:0 by a run that died"})
    assert synced.changed_sources(FILES) == ["b.md"]
    assert synced.sync(DOCUMENTS, notes=NOTES).reused == 9
    assert synced.changed_sources(FILES) == []


def test_a_lost_vector_store_makes_all_sources_changed(synced: Twin, new_retriever: Callable[..., Twin]) -> None:
    again = new_retriever(vectorstore=Vectors())
    assert again.changed_sources(FILES) == list(FILES)
    again.sync(DOCUMENTS[:1], notes={"a.md": NOTES["a.md"]})
    assert again.changed_sources(FILES) == ["b.md", "c.md"], "its rows are pending for all sources"
    # One that cannot be asked is taken as it is.
    assert new_retriever(vectorstore=BlindVectors()).changed_sources({"a.md": "a1"}) == []


@pytest.mark.parametrize("notes", ["a.md", [("a.md", SourceNote("x"))], {"a.md": "x"}, {5: SourceNote("x")}])
def test_wrong_notes_are_refused_before_anything_is_written(retriever: Twin, vectors: Vectors, notes: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"notes|note of|source"):
        retriever.sync(DOCUMENTS, notes=notes)
    assert (list(retriever.of.docstore.yield_keys()), vectors.children) == ([], {})


def test_a_retriever_of_langchain_classic_skips_files_too(
    docstore: DocShelfStore, vectors: Vectors, twin: Callable[[Any], Twin]
) -> None:
    classic = ClassicRetriever(vectorstore=vectors, docstore=docstore, child_splitter=sentences())
    package = twin(langchain_docshelf)
    assert package.changed_parent_sources(classic, FILES) == list(FILES)
    package.sync_parent_documents(classic, DOCUMENTS, notes=NOTES)
    assert package.changed_parent_sources(classic, {**FILES, "b.md": "b2"}) == ["b.md"]
    assert package.changed_parent_sources(classic, FILES, embedding_version="2") == list(FILES)
    assert package.changed_parent_sources(classic, FILES, index="other") == list(FILES)
    assert package.changed_parent_sources(classic, FILES, child_splitter=sentences(30)) == list(FILES)


# Each moment with each vector store; what is left does not depend on the mode.
@pytest.mark.parametrize(
    ("mode", "when", "kind"),
    [
        ("sync", "before", Vectors),
        ("async", "halfway", Vectors),
        ("sync", "after", Vectors),
        ("async", "before", BlindVectors),
        ("sync", "halfway", BlindVectors),
        ("async", "after", BlindVectors),
    ],
)
def test_after_a_kill_at_any_step_a_file_is_unchanged_only_if_all_is_as_its_sync_leaves_it(
    tmp_path: Path, twin: Callable[[Any], Twin], monkeypatch: pytest.MonkeyPatch, when: str, kind: Callable[[], Vectors]
) -> None:
    versions = {
        "one": [given("k", "one", "s"), page(text("gone"), "s"), page(text("stays"), "s")],
        "two": [given("k", "two", "s"), page(text("stays"), "s"), page(text("new"), "s")],
    }
    with DocShelf(tmp_path / "x.db") as shelf:
        clean = {}
        for name, documents in versions.items():
            clean[name] = retriever_of(shelf, f"clean {name}", kind())
            clean[name].sync(documents)
        at, killed, seen = 0, True, set()
        while killed:
            at += 1
            retriever = retriever_of(shelf, f"killed at {at}", kind())
            retriever.sync(versions["one"], notes={"s": SourceNote("one")})
            with monkeypatch.context() as patch:
                Killer(patch, at, when, lambda: None)
                try:
                    twin(retriever).sync(versions["two"], notes={"s": SourceNote("two")})
                except KilledError:
                    pass
                else:
                    killed = False
            unchanged = [name for name in versions if not twin(retriever).source_changed("s", name)]
            seen.add(tuple(unchanged))
            for name in unchanged:
                assert state(retriever) == state(clean[name]), at
            twin(retriever).sync(versions["two"], notes={"s": SourceNote("two")})
            assert not twin(retriever).source_changed("s", "two")
        assert seen == {("one",), (), ("two",)}
