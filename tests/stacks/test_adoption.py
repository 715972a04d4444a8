"""Adoption: what langchain-classic's retriever embedded stays, on each vector store, and edits cost their chunks."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_classic.storage import create_kv_docstore
from langchain_core.documents import Document
from langchain_core.stores import InMemoryByteStore, InMemoryStore
from langchain_text_splitters import TextSplitter

from docshelf import ConfigurationError
from docshelf.moving import migrate
from langchain_docshelf import (
    AdoptionReport,
    DocShelfStore,
    ParentDocumentRetriever,
    aadopt,
    adopt,
    aparent_ids,
    async_parent_documents,
    parent_ids,
    sync_parent_documents,
)
from langchain_docshelf.vector_access import VectorAccess
from tests.adapters.langchain.twins import Twin
from tests.stacks.stores import Run, Stack, texts

PARENTS = 40


class Lines(TextSplitter):
    """Makes a chunk of each line."""

    def split_text(self, text: str) -> list[str]:
        return text.splitlines()


SPLITTER = Lines()


def page(number: int, *lines: str) -> Document:
    text = "\n".join(lines or (f"page {number} line {line} w{number}x{line}" for line in range(3)))
    # Chroma gives some such ratios back with another last digit.
    ratio = (632 + number) / 7
    metadata = {"source": f"{number % 4}.md", "title": f"T{number}", "number": number, "ratio": ratio}
    return Document(page_content=text, metadata=metadata)


def classic_of(store: Any, docstore: Any) -> ClassicRetriever:
    return ClassicRetriever(vectorstore=store, docstore=docstore, child_splitter=SPLITTER, search_kwargs={"k": 1})


class Old:
    """A retriever of langchain-classic that has run for a while: random ids, an old document store."""

    def __init__(self, stack: Stack, count: int = PARENTS) -> None:
        self.stack = stack
        self.docstore = InMemoryStore()
        self.pages = [page(number) for number in range(count)]
        self.store = stack.open()
        retriever = classic_of(self.store, self.docstore)
        stack.do(retriever, "add_documents", self.pages)
        stack.embeddings.take()


@pytest.fixture
def old(stack: Stack) -> Old:
    return Old(stack)


def searched(stack: Stack, retriever: Any, queries: list[str]) -> list[list[str]]:
    return [[one.page_content for one in stack.do(retriever, "invoke", query)] for query in queries]


def test_nothing_is_embedded_and_an_edit_costs_its_chunk(
    stack: Stack, old: Old, run: Run, new_docstore: Callable[..., DocShelfStore]
) -> None:
    docstore = new_docstore()
    retriever = classic_of(stack.open(), docstore)
    queries = [f"w{number}x1" for number in range(PARENTS)]
    before = searched(stack, classic_of(old.store, old.docstore), queries)
    stack.embeddings.take()

    planned: AdoptionReport = stack.call(adopt, aadopt, retriever, old.docstore)
    assert (planned.adopted, planned.missing, planned.orphaned, planned.dry_run) == (3 * PARENTS, 0, 0, True)
    assert docstore.shelf.count() == 0
    report = stack.call(adopt, aadopt, retriever, old.docstore, dry_run=False)
    assert (report.parents, report.adopted, report.missing, report.orphaned) == (PARENTS, 3 * PARENTS, 0, 0)
    assert (report.ambiguous, report.removed) == (0, 0)
    again = stack.call(adopt, aadopt, retriever, dry_run=False)
    assert (again.adopted, again.known, again.missing, again.orphaned) == (0, 3 * PARENTS, 0, 0)

    pages = [page(number) for number in range(PARENTS)]
    ids = stack.call(parent_ids, aparent_ids, retriever, pages)
    assert set(ids) == set(docstore.shelf.yield_keys())
    synced = stack.call(sync_parent_documents, async_parent_documents, retriever, pages, ids=ids)
    assert (synced.counts["SKIP"], synced.embedded, synced.reused, synced.removed) == (PARENTS, 0, 3 * PARENTS, 0)
    assert stack.embeddings.take() == 0
    assert searched(stack, retriever, queries) == before
    stack.embeddings.take()

    pages[7] = page(7, "page 7 line 0 w7x0", "an edited line", "page 7 line 2 w7x2")
    gone = pages.pop(11)
    ids = stack.call(parent_ids, aparent_ids, retriever, pages)
    synced = stack.call(sync_parent_documents, async_parent_documents, retriever, pages, ids=ids, scope="collection")
    assert (synced.counts["UPD"], synced.counts["DEL"]) == (1, 1)
    assert (synced.embedded, synced.removed) == (1, 4)
    assert stack.embeddings.take() == 1
    expected = Counter(line for one in pages for line in one.page_content.splitlines())
    assert texts(run, stack.open()) == expected
    assert gone.page_content not in {text for found in searched(stack, retriever, ["w11x1"]) for text in found}


def test_what_is_missing_is_embedded_and_what_is_orphaned_goes_on_request(
    stack: Stack, old: Old, run: Run, new_docstore: Callable[..., DocShelfStore]
) -> None:
    docstore = new_docstore()
    migrate(old.docstore, docstore)
    retriever = classic_of(stack.open(), docstore)
    keys = list(docstore.shelf.yield_keys())
    # One parent is gone, one is edited, one child was lost, and one child is there twice.
    docstore.mdelete(keys[:1])
    [edited] = docstore.mget(keys[1:2])
    assert edited is not None
    edited.page_content = edited.page_content.replace("line 1", "another line")
    docstore.mset([(keys[1], edited)])
    every = run(VectorAccess(stack.open()).list_children("doc_id").next())
    lost = next(child for child in every if child.metadata["doc_id"] == keys[2])
    run(VectorAccess(stack.open()).delete([lost.id]))
    twice = next(child for child in every if child.metadata["doc_id"] == keys[3])
    copy = Document(id=str(uuid.uuid4()), page_content=twice.text, metadata=twice.metadata)
    run(VectorAccess(stack.open()).add([copy]))
    stack.embeddings.take()

    planned = stack.call(adopt, aadopt, retriever)
    assert (planned.parents, planned.adopted, planned.missing) == (PARENTS - 1, 3 * PARENTS - 5, 2)
    assert (planned.orphaned, planned.without_parent, planned.removed) == (5, 3, 0)
    assert "orphaned" in str(planned)
    kept = stack.call(adopt, aadopt, retriever, dry_run=False)
    assert (kept.adopted, kept.removed) == (3 * PARENTS - 5, 0)
    assert sum(texts(run, stack.open()).values()) == 3 * PARENTS
    removed = stack.call(adopt, aadopt, retriever, dry_run=False, delete_orphaned=True)
    assert (removed.removed, removed.known, removed.orphaned) == (5, 3 * PARENTS - 5, 5)

    pages = [one for one in docstore.mget(list(docstore.shelf.yield_keys())) if one is not None]
    ids = stack.call(parent_ids, aparent_ids, retriever, pages)
    synced = stack.call(sync_parent_documents, async_parent_documents, retriever, pages, ids=ids)
    assert (synced.embedded, synced.removed) == (2, 0)
    assert stack.embeddings.take() == 2
    assert texts(run, stack.open()) == Counter(line for one in pages for line in one.page_content.splitlines())


def test_our_own_retriever_takes_them_over_too(
    stack: Stack, old: Old, loop: Any, twin: Callable[[Any], Twin], new_docstore: Callable[..., DocShelfStore]
) -> None:
    docstore = new_docstore()
    own = ParentDocumentRetriever(vectorstore=stack.open(), docstore=docstore, child_splitter=SPLITTER)
    if stack.mode == "sync":
        report = adopt(own, create_kv_docstore_of(old), dry_run=False)
    else:
        report = loop.run(aadopt(own, create_kv_docstore_of(old), dry_run=False))
    assert report.adopted == 3 * PARENTS
    pages = [one for one in docstore.mget(list(docstore.shelf.yield_keys())) if one is not None]
    ids = parent_ids(own, pages)
    assert twin(own).sync(pages, ids=ids).embedded == 0
    pages[0].page_content += "\none more line"
    report = twin(own).sync(pages, ids=ids)
    assert (report.embedded, report.reused, report.removed) == (1, 3 * PARENTS, 0)
    assert stack.embeddings.take() == 1
    own.search_kwargs = {"k": 1}
    assert pages[0].page_content in {one.page_content for one in twin(own).invoke("one more line")}


def create_kv_docstore_of(old: Old) -> Any:
    store = create_kv_docstore(InMemoryByteStore())
    store.mset(list(old.docstore.store.items()))
    return store


@pytest.mark.parametrize("seed", range(3))
def test_a_later_life_is_that_of_a_retriever_from_the_beginning(
    new_stack: Callable[[str], Stack],
    run: Run,
    new_docstore: Callable[..., DocShelfStore],
    seed: int,
) -> None:
    stack = new_stack("memory")
    old, chosen, docstore = Old(stack, 12), random.Random(seed), new_docstore()
    retriever = classic_of(stack.open(), docstore)
    adopt(retriever, old.docstore, dry_run=False)
    pages = list(old.pages)
    for _ in range(8):
        pages = list(pages)
        for _ in range(chosen.randint(1, 3)):
            place = chosen.randrange(len(pages))
            what = chosen.choice(["edit", "add", "drop", "back"])
            lines = pages[place].page_content.splitlines()
            if what == "edit":
                lines[chosen.randrange(len(lines))] = f"edited {chosen.random()}"
                pages[place] = Document(page_content="\n".join(lines), metadata=pages[place].metadata)
            elif what == "add":
                pages[place] = Document(
                    page_content="\n".join([*lines, f"added {chosen.random()}"]), metadata=pages[place].metadata
                )
            elif what == "back":
                number = pages[place].metadata["number"]
                pages[place] = page(number)
            elif len(pages) > 4:
                pages.pop(place)
        ids = parent_ids(retriever, pages)
        known = texts(run, stack.open())
        stack.embeddings.take()
        sync_parent_documents(retriever, pages, ids=ids, scope="collection")
        expected = Counter(line for one in pages for line in one.page_content.splitlines())
        assert texts(run, stack.open()) == expected
        assert stack.embeddings.take() <= sum((expected - known).values()) + 3
    assert sync_parent_documents(retriever, pages, ids=parent_ids(retriever, pages), scope="collection").embedded == 0


def test_a_store_that_cannot_be_listed_needs_a_listing(
    new_stack: Callable[[str], Stack], new_docstore: Callable[..., DocShelfStore]
) -> None:
    stack = new_stack("memory")
    old, docstore = Old(stack, 3), new_docstore()

    migrate(old.docstore, docstore)
    listed = [(child, one["text"], one["metadata"]) for child, one in old.store.store.items()]
    retriever = classic_of(old.store, docstore)
    report = adopt(retriever, lister=lambda: listed[:-1], dry_run=True)
    assert (report.adopted, report.missing) == (8, 1)
    with pytest.raises(ConfigurationError, match=r"the docstore of this .* is a InMemoryStore"):
        adopt(classic_of(old.store, old.docstore))


def test_metadata_that_changed_since_can_be_left_out(
    stack: Stack, old: Old, new_docstore: Callable[..., DocShelfStore]
) -> None:
    docstore = new_docstore()
    changed = {
        key: Document(page_content=one.page_content, metadata={**one.metadata, "title": "renamed"})
        for key, one in old.docstore.store.items()
    }
    retriever = classic_of(stack.open(), docstore)

    strict = stack.call(adopt, aadopt, retriever, changed)
    assert (strict.adopted, strict.missing, strict.orphaned) == (0, 3 * PARENTS, 3 * PARENTS)
    assert stack.call(adopt, aadopt, retriever, changed, ignore_metadata=["title"]).adopted == 3 * PARENTS
