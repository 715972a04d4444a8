"""`python -m benchmarks folder`: a folder of files, end to end: found, read, split, embedded, stored, and again.

Each peer keeps the same folder in the same database, with the same splitter and the same local embedding. Their turns
alternate, so that what disturbs one disturbs the others.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from sqlalchemy.engine import URL

from benchmarks.corpus import build_corpus
from benchmarks.peers.place import postgresql_schema
from tests.support.servers import wheel_server

_WORKLOADS: Final = ("first run", "nothing changed", "1% changed")
_GOALS: Final = {"nothing changed": 20, "1% changed": 10}
_SIZE: Final = 2_000
_CHUNK: Final = 1_000
_DIMENSIONS: Final = 64
_PACKAGES: Final = (
    "docshelf",
    "langchain-core",
    "langchain-classic",
    "langchain-text-splitters",
    "llama-index-core",
    "llama-index-storage-docstore-postgres",
)


class WrongResultError(Exception):
    """A peer's vector store does not hold what the folder says; its speed means nothing."""


def embed(text: str) -> list[float]:
    """The local embedding: words hashed into a few dimensions."""
    vector = [0.0] * _DIMENSIONS
    for word in text.split():
        vector[crc32(word.encode()) % _DIMENSIONS] += 1.0
    return vector


class FolderPeer(ABC):
    """Somebody who keeps a folder in a vector store and a database."""

    name: str
    remark: str

    def __init__(self, folder: Path, url: URL, schema: str) -> None:
        self.folder = folder
        self.url = url
        self.schema = schema

    @abstractmethod
    def run(self) -> None:
        """Bring everything to what the folder says."""

    @abstractmethod
    def vectors(self) -> int:
        """How many vectors there are."""

    def close(self) -> None:
        """Close connections."""


def _splitter() -> Any:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    return RecursiveCharacterTextSplitter(chunk_size=_CHUNK, chunk_overlap=0)


def _in_memory() -> Any:
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    class Hashing(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [embed(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return embed(text)

    return InMemoryVectorStore(Hashing())


class DocShelfPeer(FolderPeer):
    name = "docshelf"
    remark = "`sync_folder` into a `ParentDocumentRetriever`: documents, ledger and files in PostgreSQL"

    def __init__(self, folder: Path, url: URL, schema: str) -> None:
        super().__init__(folder, url, schema)
        from langchain_docshelf import DocShelfStore, ParentDocumentRetriever

        self._vectors = _in_memory()
        self._store = DocShelfStore(url, schema=schema)
        self._retriever = ParentDocumentRetriever(
            vectorstore=self._vectors, docstore=self._store, child_splitter=_splitter()
        )

    def run(self) -> None:
        from docshelf.folder import sync_folder

        report = sync_folder(self.folder, self._retriever)
        if report.failed:
            raise WrongResultError(str(report))

    def vectors(self) -> int:
        return len(self._vectors.store)

    def close(self) -> None:
        self._store.close()


class LangChainPeer(FolderPeer):
    name = "LangChain"
    remark = (
        "`index(cleanup='full', batch_size=1000)` with `SQLRecordManager` in PostgreSQL: each run reads and splits all "
        "files; documents are kept nowhere but in the vector store"
    )

    def __init__(self, folder: Path, url: URL, schema: str) -> None:
        super().__init__(folder, url, schema)
        from langchain_classic.indexes import SQLRecordManager
        from sqlalchemy import create_engine

        self._vectors = _in_memory()
        self._engine = create_engine(
            url.set(drivername="postgresql+psycopg2").update_query_dict({"options": f"-csearch_path={schema}"})
        )
        self._manager = SQLRecordManager("folder", engine=self._engine)
        self._manager.create_schema()

    def run(self) -> None:
        from langchain_core.documents import Document
        from langchain_core.indexing import index

        splitter = _splitter()
        documents = [
            piece
            for path in sorted(self.folder.rglob("*.txt"))
            for piece in splitter.split_documents(
                [Document(page_content=path.read_text("utf-8"), metadata={"source": str(path)})]
            )
        ]
        index(
            documents,
            self._manager,
            self._vectors,
            batch_size=1_000,
            cleanup="full",
            source_id_key="source",
            key_encoder="sha256",
        )

    def vectors(self) -> int:
        return len(self._vectors.store)

    def close(self) -> None:
        self._engine.dispose()


class LlamaIndexPeer(FolderPeer):
    name = "LlamaIndex"
    remark = (
        "`SimpleDirectoryReader` and `IngestionPipeline(UPSERTS_AND_DELETE)` with its `PostgresDocumentStore` "
        "(`batch_size=1000`) and `SimpleVectorStore`: all files are read in each run"
    )

    def __init__(self, folder: Path, url: URL, schema: str) -> None:
        super().__init__(folder, url, schema)
        from llama_index.core.embeddings import BaseEmbedding
        from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
        from llama_index.core.node_parser import LangchainNodeParser
        from llama_index.core.vector_stores import SimpleVectorStore
        from llama_index.storage.docstore.postgres import PostgresDocumentStore
        from llama_index.storage.kvstore.postgres import PostgresKVStore
        from sqlalchemy import create_engine

        class Hashing(BaseEmbedding):
            def _get_text_embedding(self, text: str) -> list[float]:
                return embed(text)

            def _get_query_embedding(self, query: str) -> list[float]:
                return embed(query)

            async def _aget_query_embedding(self, query: str) -> list[float]:
                return embed(query)

        self._vectors = SimpleVectorStore()
        full = url.set(drivername="postgresql+psycopg2")
        self._engine = create_engine(full)
        kvstore = PostgresKVStore(
            "folder",
            schema_name=schema,
            engine=self._engine,
            async_connection_string=url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False),
        )
        self._pipeline = IngestionPipeline(
            transformations=[LangchainNodeParser(_splitter()), Hashing(embed_batch_size=1_000)],
            docstore=PostgresDocumentStore(kvstore, batch_size=1_000),
            vector_store=self._vectors,
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
            disable_cache=True,
        )

    def run(self) -> None:
        from llama_index.core import SimpleDirectoryReader

        reader = SimpleDirectoryReader(str(self.folder), recursive=True, filename_as_id=True)
        self._pipeline.run(documents=reader.load_data())

    def vectors(self) -> int:
        return len(self._vectors.data.embedding_dict)

    def close(self) -> None:
        self._engine.dispose()


PEERS: Final[Sequence[type[FolderPeer]]] = (DocShelfPeer, LangChainPeer, LlamaIndexPeer)


@dataclass
class Times:
    """Seconds of one peer's runs, by workload: on the wall, and of this process's processor."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _WORKLOADS})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _WORKLOADS})

    def measure(self, workload: str, run: Callable[[], None]) -> None:
        gc.collect()
        start, cpu = time.perf_counter(), time.process_time()
        run()
        self.seconds[workload].append(time.perf_counter() - start)
        self.cpu[workload].append(time.process_time() - cpu)


class Folder:
    """The folder: files of real text, a hundred in each folder below it, as they stand long after an edit."""

    def __init__(self, root: Path, files: int) -> None:
        corpus = build_corpus(files, _SIZE)
        self._paths = []
        # In the past also after many edits: what is younger than the run could change again within its timestamp.
        self._clock = time.time() - 365 * 86_400
        for number, document in enumerate(corpus.documents.values()):
            path = root / f"{number // 100:03}" / f"{number:05}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(document["text"], encoding="utf-8")
            self._settle(path)
            self._paths.append(path)
        self._chance = random.Random(1)
        self._edits = 0

    def __len__(self) -> int:
        return len(self._paths)

    def edit(self) -> int:
        """Change a line in one of a hundred files; returns how many."""
        self._edits += 1
        chosen = self._chance.sample(self._paths, max(1, len(self._paths) // 100))
        for path in chosen:
            text = path.read_text("utf-8")
            half = len(text) // 2
            path.write_text(f"{text[:half]} edit {self._edits} {text[half:]}", encoding="utf-8")
            self._settle(path)
        return len(chosen)

    def _settle(self, path: Path) -> None:
        self._clock += 1
        os.utime(path, (self._clock, self._clock))


@contextmanager
def opened(kinds: Sequence[type[FolderPeer]], folder: Path, server: str) -> Iterator[list[FolderPeer]]:
    """The peers, each with a schema of its own."""
    with ExitStack() as stack:
        url, schema = stack.enter_context(postgresql_schema(server))
        peers = []
        for kind in kinds:
            peers.append(kind(folder, url, schema))
            stack.callback(peers[-1].close)
        yield peers


def measure(peers: Sequence[FolderPeer], folder: Folder, repeat: int) -> dict[str, Times]:
    """All workloads of all peers, in turns."""
    times = {peer.name: Times() for peer in peers}

    def round_of(workload: str, number: int) -> None:
        for peer in [*peers[number % len(peers) :], *peers[: number % len(peers)]]:
            times[peer.name].measure(workload, peer.run)
            print(
                f"{workload}: {peer.name} {times[peer.name].seconds[workload][-1]:.2f} s", file=sys.stderr, flush=True
            )
        counts = {peer.name: peer.vectors() for peer in peers}
        if len(set(counts.values())) > 1:
            raise WrongResultError(f"the vector stores differ after {workload!r}: {counts}")

    round_of("first run", 0)
    for number in range(repeat):
        round_of("nothing changed", number)
        folder.edit()
        round_of("1% changed", number)
    return times


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as long others took: the median of the rounds' ratios."""
    return statistics.median(other / own for other, own in zip(theirs, ours, strict=True))


def table(times: dict[str, Times]) -> Iterator[str]:
    """A Markdown table: for each peer the medians of both kinds of seconds, with their ratios to docshelf's."""
    ours = times[DocShelfPeer.name]
    yield f"| seconds: wall / CPU of the client | {' | '.join(times)} |"
    yield f"| --- |{' ---: |' * len(times)}"
    for workload in _WORKLOADS:
        cells = []
        for name, of in times.items():
            wall, cpu = of.seconds[workload], of.cpu[workload]
            cell = f"{statistics.median(wall):.2f} / {statistics.median(cpu):.2f}"
            if name != DocShelfPeer.name:
                ratios = ratio(wall, ours.seconds[workload]), ratio(cpu, ours.cpu[workload])
                cell += " ({:.1f} x / {:.1f} x)".format(*ratios)
            cells.append(cell)
        yield f"| {workload} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks folder", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="of 2,000 characters each (10000)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--only", choices=[kind.name for kind in PEERS], action="append", default=[])
    parser.add_argument("--url", default=os.environ.get("BENCH_URL"), help="a PostgreSQL server")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in PEERS if not options.only or kind.name in options.only or kind is DocShelfPeer]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="docshelf-bench-"))) / "docs"
        root.mkdir()
        folder = Folder(root, options.files)
        server = options.url or stack.enter_context(wheel_server(durable=True)).render_as_string(hide_password=False)
        load = os.getloadavg()[0]
        peers = stack.enter_context(opened(kinds, root, str(server)))
        times = measure(peers, folder, options.repeat)
        remarks = [f"- **{peer.name}**: {peer.remark}." for peer in peers]
    shown = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)) is not None)
    print(f"{date.today()}: {len(folder):,} files of {_SIZE:,} characters, {options.repeat} rounds")
    print(f"Python {platform.python_version()}, {shown}; load {load:.1f} to {os.getloadavg()[0]:.1f}\n")
    print("\n".join([*remarks, "", *table(times)]))
    ours = times[DocShelfPeer.name]
    others = [times[peer.name] for peer in peers if peer.name != DocShelfPeer.name]
    for workload, goal in _GOALS.items() if others else ():
        wall = min(ratio(other.seconds[workload], ours.seconds[workload]) for other in others)
        cpu = min(ratio(other.cpu[workload], ours.cpu[workload]) for other in others)
        print(f"\n{workload}: {wall:.1f} times as fast as the faster of them ({cpu:.1f} by CPU); the goal is {goal}")
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
