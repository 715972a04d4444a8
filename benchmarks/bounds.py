"""`python -m benchmarks.bounds`: the memory of one large call, how long others wait for it, and a kill half way.

Each call runs in a process of its own. Entries have a key of 11 characters and a small value, in one collection.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from benchmarks.peers.place import admin_engine
from docshelf import DocShelf, Item
from tests.support.servers import wheel_server

_SOURCE: Final = "large"
_MB: Final = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounds", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("memory", "waits", "kill"), action="append", default=[])
    parser.add_argument("--on", choices=("postgresql", "sqlite"), action="append", default=[])
    parser.add_argument("--call", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.call is not None:
        _measured(options.call, options.url, options.entries)
        return 0
    tables: dict[str, Callable[[str, int], Iterator[str]]] = {"memory": _memory, "waits": _waits, "kill": _kill}
    for database in options.on or ["postgresql", "sqlite"]:
        for name in options.only or list(tables):
            with ExitStack() as stack:
                if database == "sqlite":
                    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="docshelf-bench-"))
                    url = str(Path(folder) / "docs.db")
                else:
                    url = _text(stack.enter_context(wheel_server(durable=True)))
                print(f"\n{name}, {database}, {options.entries:,} entries", flush=True)
                for line in tables[name](url, options.entries):
                    print(line, flush=True)
    return 0


def items(count: int, word: str = "value") -> Iterator[tuple[str, str, str]]:
    """Small items, in an order that is not that of their keys."""
    for number in range(count):
        yield f"key{number * 7_919 % count:08}", f"{word} {number}", _SOURCE


CALLS: Final[dict[str, Callable[[DocShelf, int], Any]]] = {
    "sync": lambda shelf, count: shelf.sync(items(count), scope="collection"),
    "sync, counts": lambda shelf, count: shelf.sync(items(count), scope="collection", report="counts"),
    "sync, counts, chunked": lambda shelf, count: shelf.sync(
        items(count), scope="collection", report="counts", chunked=True
    ),
    "mset": lambda shelf, count: shelf.mset(items(count)),
    "mset, chunked": lambda shelf, count: shelf.mset(items(count), chunked=True),
    "sources": lambda shelf, count: sum(one.entries for one in shelf.sources()),
    "yield_sources": lambda shelf, count: sum(one.entries for one in shelf.yield_sources()),
    "clear": lambda shelf, count: shelf.clear(),
    "clear, chunked": lambda shelf, count: shelf.clear(chunked=True),
    "delete_source, counts": lambda shelf, count: shelf.delete_source(_SOURCE, report="counts"),
    "delete_source, counts, chunked": lambda shelf, count: shelf.delete_source(_SOURCE, report="counts", chunked=True),
}


def _measured(call: str, url: str, count: int) -> None:
    """Run one call in this process, and print its seconds, the growth of its memory in MB, and what it returned."""
    with DocShelf(url) as shelf:
        shelf.get("warm")
        before = _memory_of("VmRSS")
        start = time.perf_counter()
        result = CALLS[call](shelf, count)
        seconds = time.perf_counter() - start
        counts = getattr(result, "counts", result)
        print(f"{seconds:.1f} s\t{(_memory_of('VmHWM') - before) / _MB:.0f} MB\t{counts}")


def _memory_of(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _process(call: str, url: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.bounds", "--call", call, "--url", url, "--entries", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _run(call: str, url: str, count: int) -> str:
    with _process(call, url, count) as process:
        assert process.stdout is not None
        return process.stdout.read().strip()


def _memory(url: str, count: int) -> Iterator[str]:
    for call in ("sync", "sync, counts", "sync, counts, chunked", "mset, chunked"):
        yield f"{call}, new\t{_run(call, url, count)}"
        yield f"{call}, unchanged\t{_run(call, url, count)}"
        _emptied(url)
    with DocShelf(url) as shelf:
        shelf.mset((Item("k", 1, f"source {number:08}") for number in range(count // 2)), chunked=True)
    for call in ("sources", "yield_sources"):
        yield f"{call} of {count // 2:,}\t{_run(call, url, count)}"


def _waits(url: str, count: int) -> Iterator[str]:
    for call in ("sync, counts", "sync, counts, chunked"):
        _fill(url, count)
        yield f"{call}, all changed\t{_beside(call, url, count)}"
    for call in ("delete_source, counts", "delete_source, counts, chunked", "clear", "clear, chunked"):
        _fill(url, count)
        yield f"{call}\t{_beside(call, url, count)}"


def _beside(call: str, url: str, count: int) -> str:
    """Run a call while another writer writes to the same collection; how long that one waited at most."""
    done = threading.Event()
    waits: list[float] = []

    def write() -> None:
        with DocShelf(url, retry_seconds=600) as shelf:
            number = 0
            while not done.is_set():
                start = time.perf_counter()
                shelf.set("other", number, source="other")
                waits.append(time.perf_counter() - start)
                number += 1
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = _run(call, url, count)
    finally:
        done.set()
        writer.join()
    waits.sort()
    return (
        f"{result}\twaited at most {waits[-1]:.2f} s, 99% {waits[len(waits) * 99 // 100]:.2f} s, {len(waits):,} writes"
    )


def _kill(url: str, count: int) -> Iterator[str]:
    _fill(url, count)
    changes: list[tuple[str, Callable[[DocShelf], int]]] = [
        (
            "sync, counts, chunked",
            lambda shelf: sum(1 for _, value in shelf.yield_items() if value.startswith("value")),
        ),
        ("clear, chunked", lambda shelf: count - shelf.count()),
    ]
    for call, done in changes:
        with _process(call, url, count) as process, DocShelf(url) as shelf:
            while process.poll() is None and _progress(shelf, call, count) < count // 2:
                time.sleep(0.2)
            os.kill(process.pid, signal.SIGKILL)
        with DocShelf(url) as shelf:
            yield f"{call}: killed when {done(shelf):,} of {count:,} were done"
        yield f"{call}: run again\t{_run(call, url, count)}"
        with DocShelf(url) as shelf:
            yield f"{call}: then {done(shelf):,} of {count:,}, problems {len(shelf.verify())}"


def _progress(shelf: DocShelf, call: str, count: int) -> int:
    if call.startswith("clear"):
        return count - shelf.count()
    written = [f"key{number * 7_919 % count:08}" for number in range(0, count, max(1, count // 20))]
    return sum(1 for value in shelf.mget(written) if str(value).startswith("value")) * count // len(written)


def _fill(url: str, count: int) -> None:
    """Give the collection the entries of another one, which is written once."""
    with DocShelf(url) as shelf:
        template = shelf.view("template")
        if not template.count(at_most=1):
            template.mset(items(count, "before"), chunked=True)
        shelf.clear()
        template.copy_collection(shelf.collection)


def _emptied(url: str) -> None:
    if "://" not in url:
        for path in Path(url).parent.iterdir():
            path.unlink()
        return
    engine = admin_engine(make_url(url))
    with closing(engine.connect()) as connection:
        connection.execute(text("TRUNCATE docshelf_entries, docshelf_sources"))
        connection.commit()
    engine.dispose()


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


if __name__ == "__main__":
    raise SystemExit(main())
