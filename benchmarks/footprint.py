"""`python -m benchmarks.footprint`: bytes on disk and of WAL, memory, growth, and what an import costs."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from benchmarks.corpus import build_corpus
from benchmarks.peers.place import admin_engine
from docshelf import DocShelf
from tests.support.servers import wheel_server

_SIZES: Final = (1_000, 2_000, 6_000, 20_000, 100_000)
_TEXT: Final = 8_000_000
_GROWN: Final = (10_000, 1_000_000)
_OF_A_SOURCE: Final = 100


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--only", choices=("disk", "memory", "growth", "import"), action="append", default=[])
    parser.add_argument("--entries", type=int, default=_GROWN[1], help="of the large table (1000000)")
    parser.add_argument("--ingest", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.ingest is not None:
        _ingest(options.url, options.ingest)
        return 0
    wanted = options.only or ["disk", "memory", "growth", "import"]
    with ExitStack() as stack:
        server: URL | None = None
        if {"disk", "memory", "growth"} & set(wanted):
            server = stack.enter_context(wheel_server(durable=True))
        tables: dict[str, Callable[[], Iterator[str]]] = {
            "disk": lambda: _disk(server),
            "memory": lambda: _memory(server),
            "growth": lambda: _growth(server, (_GROWN[0], options.entries)),
            "import": _import,
        }
        for name in wanted:
            print("\n".join(tables[name]()), end="\n\n", flush=True)
    return 0


@contextmanager
def _shelf(server: URL | None) -> Iterator[DocShelf]:
    """A shelf on tables of its own, on a server, or else in an SQLite file."""
    with ExitStack() as stack:
        if server is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="docshelf-bench-"))
            yield stack.enter_context(DocShelf(Path(folder) / "docs.db"))
            return
        shelf = stack.enter_context(DocShelf(server))
        shelf.setup()
        yield shelf
        engine = admin_engine(server)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE docshelf_entries, docshelf_sources, docshelf_schema"))
        engine.dispose()


def _disk(server: URL | None) -> Iterator[str]:
    yield "| text | documents | stored values / text | PostgreSQL disk / text | SQLite disk / text | WAL / text |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert server is not None
    kinds: list[tuple[str, dict[str, Any]]] = [("English prose of 6 KB and more", _prose(6_000))]
    for size in _SIZES:
        documents = build_corpus(_TEXT // size, size).documents
        kinds.append((f"{size // 1000} KB, Python sources", dict(documents)))
    for kind, documents in kinds:
        length = sum(len(value if isinstance(value, str) else value["text"]) for value in documents.values())
        with _shelf(server) as shelf:
            before = _wal(server)
            shelf.sync(documents, source="bench")
            wal = _wal(server) - before
            stats = shelf.stats()
        with _shelf(None) as beside:
            beside.sync(documents, source="bench")
            sqlite = beside.stats().disk_bytes
        shares = (stats.stored_bytes, stats.disk_bytes, sqlite, wal)
        cells = " | ".join(f"{share / length:.2f}" for share in shares)
        yield f"| {kind} | {len(documents):,} | {cells} |"


def _prose(least: int) -> dict[str, str]:
    """Python's reference and the descriptions of the packages that are installed here, each once."""
    texts = dict(topics)
    for distribution in importlib.metadata.distributions():
        # What stands below the headers of an email-like file.
        _, _, body = (distribution.read_text("METADATA") or "").partition("\n\n")
        texts[distribution.name] = body.replace("\0", "")
    return {name: body for name, body in texts.items() if len(body) >= least}


def _wal(server: URL) -> int:
    engine = admin_engine(server)
    with engine.connect() as connection:
        position = int(connection.scalar(text("SELECT pg_current_wal_insert_lsn() - '0/0'")) or 0)
    engine.dispose()
    return position


def _memory(server: URL | None) -> Iterator[str]:
    assert server is not None
    yield "| documents of 2 KB from a generator, in one sync | their text | peak memory above an idle process |"
    yield "| ---: | ---: | ---: |"
    counts = (1, 5_000, 20_000, 50_000, 200_000)
    peaks = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.footprint", "--ingest", str(count)]
        command += ["--url", server.render_as_string(hide_password=False)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    for count, peak in zip(counts[1:], peaks[1:], strict=True):
        yield f"| {count:,} | {count * 2_000 / 1e6:,.0f} MB | {(peak - peaks[0]) / 1e6:,.0f} MB |"


def _ingest(url: str, count: int) -> None:
    """Sync so many documents and print the peak of this process's memory, in bytes."""
    body = "".join(topics.values()).encode("ascii", "ignore").decode()  # one byte a character
    with DocShelf(make_url(url), "memory") as shelf:
        shelf.sync(
            ((f"k{number}", f"{number} {body[number * 7 % 400_000 :][:2_000]}") for number in range(count)),
            source="bench",
        )
        shelf.clear()
    print(_peak())


def _peak() -> int:
    """The most memory that this process had, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says here includes the process that this one was started from.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _growth(server: URL | None, counts: Sequence[int]) -> Iterator[str]:
    yield f"| entries in the table | ingest | mget of 100 | sync of {_OF_A_SOURCE}, one changed | deleting them |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for count in counts:
        with _shelf(server) as shelf:
            start = time.perf_counter()
            numbers = iter(range(count))
            while part := list(islice(numbers, 20_000)):
                shelf.mset([(f"key {n}", {"text": f"text {n}"}, f"source {n // _OF_A_SOURCE}") for n in part])
            ingest = count / (time.perf_counter() - start)
            engine = admin_engine(server) if server is not None else None
            if engine is not None:
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("VACUUM ANALYZE docshelf_entries"))
                engine.dispose()
            taken = _timed(shelf, count)
        yield f"| {count:,} | {ingest / 1000:,.0f} k/s | {' | '.join(f'{1000 * one:.1f} ms' for one in taken)} |"


def _timed(shelf: DocShelf, count: int) -> list[float]:
    """Medians of the seconds that reading, syncing and deleting take, spread over the table."""
    seconds: list[list[float]] = [[], [], []]
    step = count // _OF_A_SOURCE // 21
    gc.collect()
    for turn in range(21):
        number = turn * step
        keys = [f"key {(number * _OF_A_SOURCE + n * 997) % count}" for n in range(100)]
        source = f"source {number}"
        first = number * _OF_A_SOURCE
        items = {f"key {n}": {"text": f"text {n}"} for n in range(first, first + _OF_A_SOURCE)}
        items[f"key {first}"] = {"text": "changed"}
        calls: list[Callable[[], Any]] = [
            lambda keys=keys: shelf.mget(keys),  # type: ignore[misc]
            lambda items=items, source=source: shelf.sync(items, source=source),  # type: ignore[misc]
            lambda source=source: shelf.delete_source(source),  # type: ignore[misc]
        ]
        for measured, call in zip(seconds, calls, strict=True):
            start = time.perf_counter()
            call()
            if turn:
                measured.append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in seconds]


def _import() -> Iterator[str]:
    yield "| import | a process that does it | above `import sqlalchemy` |"
    yield "| --- | ---: | ---: |"
    seconds: dict[str, list[float]] = {name: [] for name in ("sqlalchemy", "docshelf")}
    for _ in range(11):
        for name, taken in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            taken.append(time.perf_counter() - start)
    medians = {name: 1000 * statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        yield f"| `{name}` | {median:.0f} ms | {median - medians['sqlalchemy']:.0f} ms |"


if __name__ == "__main__":
    sys.exit(main())
