"""Folders into LangChain: a document store gets LangChain's documents, and a retriever embeds only what changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import MarkdownHeaderTextSplitter, RecursiveCharacterTextSplitter

from docshelf import ConfigurationError, DocShelf, MassDeleteError
from docshelf.adapters import Call
from docshelf.folder import FolderReport
from langchain_docshelf import DocShelfByteStore, DocShelfStore, ParentDocumentRetriever
from langchain_docshelf.parent_retriever.reconciler import Reconciler
from tests.adapters.langchain.retrievers import retriever_of, state, text
from tests.adapters.langchain.vectors import CountingEmbeddings, Vectors
from tests.folder.conftest import Syncing, Tree
from tests.support.statements import recorded_statements

PIECES = RecursiveCharacterTextSplitter(chunk_size=10, chunk_overlap=0)


@pytest.fixture
def store(shelf: DocShelf) -> DocShelfStore:
    return DocShelfStore(shelf=shelf, collection="documents")


@pytest.fixture
def retriever(shelf: DocShelf) -> Iterator[ParentDocumentRetriever]:
    yield retriever_of(shelf, "parents", Vectors())


def embedded(report: FolderReport) -> tuple[int, ...]:
    return tuple(report.further.values())


def children_of(retriever: ParentDocumentRetriever) -> list[str]:
    assert isinstance(retriever.vectorstore, Vectors)
    return sorted(content for content, _ in retriever.vectorstore.children.values())


def test_a_store_gets_documents_of_langchain(store: DocShelfStore, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", "one")
    sync(store)
    assert store.mget(["docs:a.md"]) == [Document(id="docs:a.md", page_content="one", metadata={"source": "docs:a.md"})]
    assert store.shelf.get_entry("docs:a.md").content_type == "langchain/document"  # type: ignore[union-attr]
    # Written again by the store itself, it is the same entry.
    [document] = store.mget(["docs:a.md"])
    assert document is not None
    assert store.conditional_mset([("docs:a.md", document)]).counts["SKIP"] == 1


def test_the_source_stands_under_the_key_of_the_store(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "one")
    store = DocShelfStore(shelf=shelf, collection="c", source_key="file")
    sync_once(store)
    [document] = store.mget(["docs:a.md"])
    assert document is not None
    assert store.source_of(document) == "docs:a.md"


def test_the_splitters_of_langchain_split(store: DocShelfStore, tree: Tree, sync: Syncing) -> None:
    tree.write("a.md", "# One\nfirst words\n# Two\nsecond words")
    sync(store, splitter=PIECES)
    texts = sorted(document.page_content for document in store.mget(list(store.yield_keys())) if document is not None)
    assert texts == ["# One", "# Two", "first", "second", "words", "words"]
    headers = MarkdownHeaderTextSplitter([("#", "head")])
    report = sync(store, splitter=headers, diff=True)
    found = [document for document in store.mget(list(store.yield_keys())) if document is not None]
    assert sorted((one.page_content, one.metadata["head"]) for one in found) == [
        ("first words", "One"),
        ("second words", "Two"),
    ]
    assert [diff.new for diff in report.changes.diffs] == ["first words\n\nsecond words"]


def test_a_retriever_embeds_only_what_changed(
    retriever: ParentDocumentRetriever, tree: Tree, sync: Syncing, reads: list[str]
) -> None:
    tree.write("a.md", text("one"))
    tree.write("b.md", text("two"))
    tree.write("c.md", text("three"))
    planned = sync(retriever, dry_run=True)
    assert retriever.docstore.shelf.count() == 0
    first = sync(retriever)
    assert embedded(planned) == embedded(first) == (9, 0, 0)
    reads.clear()
    assert embedded(sync(retriever)) == ()
    assert reads == []
    tree.write("b.md", f"{text('two')}.two part 003")
    tree.remove("c.md")
    planned = sync(retriever, max_delete=0.5, dry_run=True, diff=True)
    assert [(diff.key, diff.new) for diff in planned.changes.diffs] == [("docs:b.md", f"{text('two')}.two part 003")]
    report = sync(retriever, max_delete=0.5)
    assert dict(report.further) == {"embedded": 1, "reused": 3, "removed": 3}
    assert "embedded: 1" in str(report)
    assert children_of(retriever) == [f"one part 00{n}" for n in range(3)] + [f"two part 00{n}" for n in range(4)]
    assert retriever.invoke("two part 003")[0].page_content == f"{text('two')}.two part 003"
    with pytest.raises(MassDeleteError):
        sync(retriever, exclude="*.md")


def test_children_that_the_vector_store_lost_are_embedded_although_no_file_changed(
    retriever: ParentDocumentRetriever, tree: Tree, sync: Syncing
) -> None:
    tree.write("a.md", text("one"))
    sync(retriever)
    assert isinstance(retriever.vectorstore, Vectors)
    retriever.vectorstore.store.clear()
    assert embedded(sync(retriever))[0] == 3
    tree.touch("a.md")
    retriever.vectorstore.store.clear()
    assert embedded(sync(retriever))[0] == 3


def test_a_run_without_changes_asks_five_times_however_many_files_there_are(
    retriever: ParentDocumentRetriever, tree: Tree, sync: Syncing
) -> None:
    for number in range(30):
        tree.write(f"{number}.md", text(f"file {number}"))
    sync(retriever)
    with recorded_statements() as statements:
        assert not sync(retriever).changed
    # Two pages of notes, the second one empty; the parents; the ledger; a sample of its rows.
    assert len(statements) == 5, statements


def test_other_settings_of_the_retriever_make_its_children_anew(
    shelf: DocShelf, tree: Tree, sync_once: Syncing
) -> None:
    tree.write("a.md", text("one", 4))
    vectors = Vectors()
    sync_once(retriever_of(shelf, "parents", vectors))
    assert len(vectors.children) == 4
    sync_once(retriever_of(shelf, "parents", vectors, chunk=30))
    assert len(vectors.children) == 2
    with_parents = retriever_of(shelf, "parents", vectors, chunk=30, parent_splitter=PIECES)
    report = sync_once(with_parents)
    assert report.changes.counts["DEL"] == 1
    assert report.changes.counts["INS"] > 1
    assert not sync_once(with_parents).changed


def test_a_move_embeds_nothing_with_a_cache_of_embeddings(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    counting = CountingEmbeddings()
    cache = CacheBackedEmbeddings.from_bytes_store(
        counting, DocShelfByteStore(shelf=shelf, collection="vectors"), key_encoder="sha256"
    )
    retriever = ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(cache), docstore=DocShelfStore(shelf=shelf), child_splitter=PIECES
    )
    tree.write("a.md", "one two three four")
    tree.write("b.md", "five")
    sync(retriever)
    assert counting.take() == 4
    tree.move("a.md", "sub/c.md")
    report = sync(retriever)
    assert [(one.name, one.op, one.moved_from) for one in report.moved] == [("sub/c.md", "MOVE", "a.md")]
    assert counting.take() == 0
    assert isinstance(retriever.vectorstore, InMemoryVectorStore)
    sources = {stored["metadata"]["doc_source"] for stored in retriever.vectorstore.store.values()}
    assert sources == {"docs:b.md", "docs:sub/c.md"}


def test_a_retriever_whose_sources_come_from_a_function_is_refused(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    store = DocShelfStore(shelf=shelf, source_key=lambda document: "x")
    retriever = ParentDocumentRetriever(vectorstore=Vectors(), docstore=store, child_splitter=None)
    with pytest.raises(ConfigurationError, match="source_key of text"):
        sync(retriever)


class KilledError(BaseException):
    """Ends a run as the end of its process does: nothing catches it."""


def write_before(tree: Tree) -> None:
    for name in ("same", "edited", "moved", "gone"):
        tree.write(f"{name}.md", text(name))


def write_after(tree: Tree) -> None:
    tree.write("edited.md", text("edited again"))
    tree.move("moved.md", "sub/moved.md")
    tree.remove("gone.md")
    tree.write("new.md", text("new"))


class Killer:
    """Kills a run before or after one of its calls."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, when: str) -> None:
        steps = 0
        run = Call.run

        def dying(call: Call) -> Any:
            nonlocal steps
            steps += 1
            mine = steps  # a call of a retriever makes calls of its own
            if mine == at and when == "before":
                raise KilledError
            result = run(call)
            if mine == at:
                raise KilledError
            return result

        patch.setattr(Call, "run", dying)


def test_a_run_that_is_killed_at_any_step_is_finished_by_the_next(
    shelf: DocShelf, tree: Tree, sync_once: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    killed = True
    for at in (0, *range(1, 400, 7)):
        if not killed and at > 1:
            break
        other = Tree(tree.root.parent / str(at) / "docs")
        write_before(other)
        vectors = Vectors()
        retriever = retriever_of(shelf, f"killed at {at}", vectors)
        sync_once(retriever, other.root)
        assert vectors.counting.take() == 12
        write_after(other)
        killed = False
        with monkeypatch.context() as patch:
            Killer(patch, at, "before" if at % 2 else "after")
            try:
                sync_once(retriever, other.root, max_delete=0.5)
            except KilledError:
                killed = True
        sync_once(retriever_of(shelf, f"killed at {at}", vectors), other.root, max_delete=0.5)
        notes = sorted((one.source, one.fingerprint, one.entries) for one in retriever.docstore.sources())
        states.append((state(retriever), notes))
        assert states[-1] == states[0]
        assert vectors.counting.take() == 9, "what changed was embedded once"
    assert len(states) > 8


def test_a_file_that_vanishes_after_a_kill_leaves_nothing_behind(
    retriever: ParentDocumentRetriever, tree: Tree, sync: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write("a.md", text("one"))
    tree.write("b.md", text("two"))

    def run(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Reconciler, "run", run)  # the parents are written by then
        with pytest.raises(KilledError):
            sync(retriever)
    assert retriever.docstore.shelf.count() == 2
    tree.remove("b.md")
    assert {one.name: one.op for one in sync(retriever).files} == {"a.md": "SKIP", "b.md": "DEL"}
    assert list(retriever.docstore.yield_keys()) == ["docs:a.md"]
    assert len(children_of(retriever)) == 3
