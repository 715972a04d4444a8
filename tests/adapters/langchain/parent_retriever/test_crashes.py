"""A run may be killed between any two of its steps, and within one: the next run ends as a clean run does."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import DocShelf
from docshelf.adapters import Call
from langchain_docshelf import ParentDocumentRetriever
from tests.adapters.langchain.retrievers import given, retriever_of, rows_of, state, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import BlindVectors, FileVectors, StrictVectors, Vectors
from tests.conftest import Location
from tests.support.effort import examples, one_of


class KilledError(BaseException):
    """Ends a run as the end of its process does: nothing catches it."""


BEFORE = [
    given("same", "same"),
    given("changed", "old"),
    given("metadata", "metadata", n=1),
    page(text("stays"), "s"),
    page(text("edited"), "s"),
    page(text("removed"), "s"),
    given("other", "other", "t"),
    given("gone", "gone", "t"),
]
AFTER = [
    given("same", "same"),
    given("changed", "new"),
    given("metadata", "metadata", n=2),
    page(text("first"), "s"),
    page(text("stays"), "s"),
    page(text("edited again"), "s"),
    given("other", "other", "t"),
    given("added", "added", "u"),
]


class Killer:
    """Kills the run at one of its steps: before it, halfway, or after it."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, when: str, watch: Callable[[], None]) -> None:
        self.steps = 0
        self._at = at
        self._when = when
        self._watch = watch
        run, arun = Call.run, Call.arun

        def killed_run(call: Call) -> Any:
            if not self._dies(call):
                return self._watched(run(call))
            if self._when != "before":
                with suppress(NotImplementedError):
                    run(call)
            raise KilledError

        async def killed_arun(call: Call) -> Any:
            if not self._dies(call):
                return self._watched(await arun(call))
            if self._when != "before":
                with suppress(NotImplementedError):
                    await arun(call)
            raise KilledError

        patch.setattr(Call, "run", killed_run)
        patch.setattr(Call, "arun", killed_arun)

    def _dies(self, call: Call) -> bool:
        self.steps += 1
        if self.steps != self._at:
            return False
        if self._when == "halfway":
            # A shelf writes all or nothing; a vector store may have done a part.
            if call.method == "add_documents":
                half = len(call.args[0]) // 2
                call.args = (call.args[0][:half],)
                call.options = {"ids": call.options["ids"][:half]}
            elif call.method == "delete":
                call.options = {"ids": call.options["ids"][: len(call.options["ids"]) // 2]}
        return True

    def _watched(self, result: Any) -> Any:
        self._watch()
        return result


def findable(retriever: ParentDocumentRetriever) -> set[str]:
    """The first words of the parents that a search could return."""
    assert isinstance(retriever.vectorstore, Vectors)
    keys = {metadata["doc_id"] for _, metadata in retriever.vectorstore.children.values()}
    return {found.page_content.split()[0] for found in retriever.docstore.mget(sorted(keys)) if found is not None}


def check_nothing_is_lost(retriever: ParentDocumentRetriever) -> None:
    """Documents that exist before and after a sync can always be found, and the ledger knows every child."""
    assert isinstance(retriever.vectorstore, Vectors)
    known = {child for row in rows_of(retriever) for child in row.value["children"]}
    assert retriever.vectorstore.children.keys() <= known
    found = findable(retriever)
    assert found >= {"same", "metadata", "stays", "other"}
    assert found & {"old", "new"}
    assert "edited" in found


# What a killed run leaves depends on the vector store and the moment, not on the database.
@pytest.mark.parametrize(
    ("backend", "mode", "when", "manner"),
    [
        ("sqlite", "async", "before", Vectors),
        ("sqlite", "sync", "halfway", Vectors),
        ("sqlite", "async", "halfway", StrictVectors),
        ("sqlite", "sync", "halfway", BlindVectors),
        ("sqlite", "sync", "after", StrictVectors),
        ("sqlite", "async", "after", BlindVectors),
        ("pg18", "async", "halfway", Vectors),
    ],
)
def test_a_sync_after_a_kill_at_any_step_ends_as_a_clean_one(
    new_location: Callable[[str], Location],
    twin: Callable[[Any], Twin],
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    when: str,
    manner: type[Vectors],
) -> None:
    with DocShelf(new_location(backend).url) as shelf:
        clean = retriever_of(shelf, "clean", manner())
        clean.sync(BEFORE)
        report = clean.sync(AFTER)
        # Of the source "t" that AFTER names too, "gone" went.
        assert report.counts == {"INS": 3, "UPD": 2, "SKIP": 3, "DEL": 3}
        expected = state(clean)
        at = 0
        while True:
            at += 1
            retriever = retriever_of(shelf, f"killed at {at}", manner())
            retriever.sync(BEFORE)
            vectors: Any = retriever.vectorstore
            vectors.counting.take()
            with monkeypatch.context() as patch:
                Killer(patch, at, when, lambda of=retriever: check_nothing_is_lost(of))  # type: ignore[misc]
                try:
                    twin(retriever).sync(AFTER)
                except KilledError:
                    pass
                else:
                    break
            check_nothing_is_lost(retriever)
            again = twin(retriever_of(shelf, f"killed at {at}", vectors)).sync(AFTER)
            assert state(retriever) == expected
            assert again.counts["DEL"] <= 3
            # Finished batches are not embedded again: at most the two parents of one batch are.
            assert vectors.counting.take() <= report.embedded + 2 * 3
        assert at > 20, "the sync of this test has many steps"


@pytest.mark.parametrize("when", ["halfway", "after"])
def test_delete_source_after_a_kill_at_any_step_ends_as_a_clean_one(
    tmp_path: Path, twin: Callable[[Any], Twin], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    with DocShelf(tmp_path / "x.db") as shelf:
        at = 0
        killed = True
        while killed:
            at += 1
            retriever = retriever_of(shelf, f"killed at {at}", StrictVectors())
            retriever.sync(BEFORE)
            with monkeypatch.context() as patch:
                Killer(patch, at, when, lambda: None)
                try:
                    twin(retriever).delete_source("s")
                except KilledError:
                    pass
                else:
                    killed = False
            twin(retriever).delete_source("s")
            vectors: Any = retriever.vectorstore
            assert {metadata["source"] for _, metadata in vectors.children.values()} == {"t"}
            assert [source.source for source in retriever.docstore.sources()] == ["t"]
            assert {row.source for row in rows_of(retriever)} == {"t"}
        assert at > 5


@pytest.mark.parametrize("manner", [Vectors, StrictVectors, BlindVectors])
@pytest.mark.parametrize("seed", range(examples(6)))
def test_a_sync_after_any_kills_ends_as_a_first_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: type[Vectors], seed: int
) -> None:
    chance = random.Random(seed)
    with DocShelf(tmp_path / "x.db") as shelf:
        vectors = manner()

        def documents() -> list[Document]:
            names = chance.sample("abcdef", chance.randint(1, 6))
            with_ids = [
                given(name, chance.choice("xyz"), chance.choice("st"), n=chance.randint(1, 2)) for name in names
            ]
            return with_ids + [
                page(text(chance.choice("uvw")), chance.choice("st")) for _ in range(chance.randint(0, 3))
            ]

        def retriever(settings: tuple[int, str], collection: str = "c", of: Vectors | None = None) -> Any:
            return retriever_of(shelf, collection, of or vectors, settings[0], embedding_version=settings[1])

        for turn in range(12):
            settings = chance.choice([12, 30]), chance.choice(["", "other model"])
            for _ in range(chance.randint(0, 3)):
                with monkeypatch.context() as patch:
                    Killer(patch, chance.randint(1, 25), chance.choice(["before", "halfway", "after"]), lambda: None)
                    earlier = retriever((chance.choice([12, 30]), chance.choice(["", "other model"])))
                    try:
                        doing = chance.choice([earlier.sync, earlier.add_documents])
                        doing(documents())
                    except KilledError:
                        pass
            target = documents()
            retriever(settings).sync(target, scope="collection")
            fresh = retriever(settings, f"fresh{turn}", manner())
            fresh.sync(target)
            assert state(retriever(settings)) == state(fresh)


@pytest.mark.parametrize("when", ["halfway", "after"])
def test_an_addition_after_a_kill_at_any_step_ends_as_a_clean_one(
    tmp_path: Path, twin: Callable[[Any], Twin], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    with DocShelf(tmp_path / "x.db") as shelf:
        clean = retriever_of(shelf, "clean", StrictVectors())
        clean.add_documents(BEFORE)
        clean.add_documents(AFTER)
        at = 0
        killed = True
        while killed:
            at += 1
            retriever = retriever_of(shelf, f"killed at {at}", StrictVectors())
            retriever.add_documents(BEFORE)
            with monkeypatch.context() as patch:
                Killer(patch, at, when, lambda: None)
                try:
                    twin(retriever).add_documents(AFTER)
                except KilledError:
                    pass
                else:
                    killed = False
            twin(retriever).add_documents(AFTER)
            assert state(retriever) == state(clean)
        assert at > 15


@pytest.mark.parametrize("reindex", [False, True])
def test_a_lost_vector_store_that_a_killed_sync_filled_partly_is_filled_by_the_next_sync(
    tmp_path: Path, twin: Callable[[Any], Twin], monkeypatch: pytest.MonkeyPatch, reindex: bool
) -> None:
    # More parents than a run samples: those that the killed run added must not prove that the rest is there.
    documents = [given(f"{number:02}", f"word{number}") for number in range(40)]
    with DocShelf(tmp_path / "x.db") as shelf:

        def steps_until(at: int) -> int:
            vectors = Vectors()
            retriever = retriever_of(shelf, f"killed at {at}", vectors)
            retriever.sync(documents)
            vectors.store.clear()
            with monkeypatch.context() as patch, contextlib.suppress(KilledError):
                killer = Killer(patch, at, "halfway", lambda: None)
                twin(retriever).sync(documents, reindex=reindex)
            twin(retriever).sync(documents)
            assert len(vectors.children) == 3 * len(documents)
            return killer.steps

        last = steps_until(-1)
        assert last > 80
        assert [steps_until(at) for at in range(last - 12, last, 2)] == list(range(last - 12, last, 2))


_SYNC = """
import json, os, sys
from pathlib import Path
from langchain_core.documents import Document
from langchain_docshelf import DocShelfStore
from docshelf.adapters import Call
from tests.adapters.langchain.parent_retriever.test_crashes import AFTER, BEFORE
from tests.adapters.langchain.retrievers import retriever_of, state
from tests.adapters.langchain.vectors import FileVectors
from docshelf import DocShelf

folder, at = Path(sys.argv[1]), int(sys.argv[2])
with DocShelf(folder / "shelf.db") as shelf:
    retriever = retriever_of(shelf, "c", FileVectors(folder / "vectors.json"))
    if not at:
        retriever.sync(BEFORE)
        sys.exit()
    steps, run = 0, Call.run
    def dying(call):
        global steps
        steps += 1
        result = run(call)
        if steps == at:
            os._exit(9)
        return result
    Call.run = dying
    retriever.sync(AFTER)
"""


@pytest.mark.parametrize("at", one_of([13, 6, 19]))
def test_the_next_process_completes_the_sync_of_a_killed_one(tmp_path: Path, at: int) -> None:
    def process(step: int) -> int:
        command = [sys.executable, "-c", _SYNC, str(tmp_path), str(step)]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        return subprocess.run(command, check=False, env=environment, capture_output=True).returncode

    assert process(0) == 0
    assert process(at) == 9
    assert process(1000) == 0
    with DocShelf(tmp_path / "shelf.db") as shelf:
        clean = retriever_of(shelf, "clean", Vectors())
        clean.sync(BEFORE)
        clean.sync(AFTER)
        left = retriever_of(shelf, "c", FileVectors(tmp_path / "vectors.json"))
        assert json.loads(json.dumps(state(left))) == json.loads(json.dumps(state(clean)))
