"""Syncs a folder into a retriever in processes that are killed, and compares the end with a clean run.

python -m tests.support.killed_folder FOLDER [--kills 10] [--seed 1]    on a folder of your own, which only is read
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from langchain_text_splitters import RecursiveCharacterTextSplitter

from docshelf import DocShelf
from docshelf.adapters import Call
from docshelf.folder import FolderReport, sync_folder
from langchain_docshelf import DocShelfStore, ParentDocumentRetriever
from tests.adapters.langchain.vectors import CountingEmbeddings
from tests.support.sqlite_vectors import SQLiteVectors

VECTOR_BATCH = 250


class LoggedEmbeddings(CountingEmbeddings):
    """Writes down in a file how many texts each call embedded, before it returns their vectors."""

    def __init__(self, path: Path) -> None:
        super().__init__(size=32)
        self._path = path

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors = super().embed_documents(texts)
        with self._path.open("a", encoding="utf-8") as log:
            log.write(f"{len(texts)}\n")
        return vectors


@dataclass(frozen=True)
class Place:
    """Where a run keeps its shelf, its vectors and its log."""

    root: Path
    batch_size: int = 100

    def sync(self, folder: Path, **options: Any) -> FolderReport:
        """One whole sync."""
        with DocShelf(self.root / "shelf.db") as shelf, closing(self.vectors()) as vectors:
            retriever = ParentDocumentRetriever(
                vectorstore=vectors,
                docstore=DocShelfStore(shelf=shelf),
                child_splitter=RecursiveCharacterTextSplitter(chunk_size=1_000, chunk_overlap=0),
                batch_size=self.batch_size,
                vector_batch_size=VECTOR_BATCH,
            )
            return sync_folder(folder, retriever, name="f", encoding="detect", **options)

    def vectors(self) -> SQLiteVectors:
        return SQLiteVectors(self.root / "vectors.db", LoggedEmbeddings(self.root / "embedded.log"))

    def embedded(self) -> int:
        """How many texts were embedded so far, in all processes."""
        log = self.root / "embedded.log"
        return sum(map(int, log.read_text().split())) if log.exists() else 0

    def state(self) -> Any:
        """Documents, sources and children, without times."""
        with DocShelf(self.root / "shelf.db") as shelf, closing(self.vectors()) as vectors:
            store = DocShelfStore(shelf=shelf)
            entries = sorted((entry.key, entry.source, str(entry.value)) for entry in store.shelf.yield_entries())
            sources = [(one.source, one.entries, one.fingerprint) for one in store.shelf.sources()]
            return entries, sources, vectors.contents()

    def additions(self) -> tuple[int, int]:
        """How many children were ever added to the vector store, and how many of them more than once."""
        with closing(self.vectors()) as vectors:
            return vectors.additions()


def _child(place: Place, folder: Path, options: dict[str, Any], told: Connection) -> None:
    run = Call.run

    def telling(call: Call) -> Any:
        told.send(None)
        return run(call)

    Call.run = telling  # type: ignore[method-assign, assignment]
    place.sync(folder, **options)


def sync_and_kill(place: Place, folder: Path, wait: Callable[[Connection, Any], None], **options: Any) -> bool:
    """Sync in another process, and kill it when `wait` returns; True if that came before its end.

    Args:
        wait: gets a connection that has something to read for each call of a store, and the process.
    """
    context = multiprocessing.get_context("fork")
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(place, folder, options, told))
    process.start()
    told.close()
    wait(heard, process)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    heard.close()
    return process.exitcode == -signal.SIGKILL


def after_calls(count: int) -> Callable[[Connection, Any], None]:
    """Waits for so many calls of stores, or for the end of the process."""

    def wait(heard: Connection, _process: Any) -> None:
        try:
            for _ in range(count):
                heard.recv()
        except EOFError:
            pass

    return wait


def after_seconds(seconds: float) -> Callable[[Connection, Any], None]:
    """Waits so long, or for the end of the process."""

    def wait(heard: Connection, process: Any) -> None:
        end = time.monotonic() + seconds
        while process.is_alive() and time.monotonic() < end:
            if heard.poll(max(0.0, min(0.05, end - time.monotonic()))):
                try:
                    heard.recv()
                except EOFError:
                    process.join(max(0.0, end - time.monotonic()))

    return wait


def main() -> None:
    """Kill a first sync of a folder at random moments, let it end, and compare it with a clean one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as root:
        clean, killed = (Place(Path(root, name)) for name in ("clean", "killed"))
        for place in (clean, killed):
            place.root.mkdir()
        start = time.monotonic()
        report = clean.sync(given.folder)
        seconds = time.monotonic() - start
        print(f"clean run: {seconds:.0f} s, {report.counts}, {clean.embedded():,} texts embedded", flush=True)
        kills = 0
        while kills < given.kills:
            moment = chance.uniform(0.2, 1.6 * seconds / given.kills)
            if not sync_and_kill(killed, given.folder, after_seconds(moment)):
                break
            kills += 1
            print(f"killed after {moment:.1f} s, {killed.embedded():,} texts embedded so far", flush=True)
        report = killed.sync(given.folder)
        print(f"{kills} kills, then the end: {report.counts}", flush=True)
        added, again = killed.additions()
        print(f"state equals that of a clean run: {killed.state() == clean.state()}")
        print(f"{added:,} children added, {again} of them twice; {killed.embedded():,} texts embedded")
        print(f"unchanged run: {killed.sync(given.folder).counts}, {killed.embedded():,} texts embedded")


if __name__ == "__main__":
    main()
