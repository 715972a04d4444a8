"""`python -m benchmarks.scale`: what each operation costs in small and large tables: plain, partitioned, distributed.

One process and one connection do everything. Times are medians of calls that are spread over the table.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.engine import make_url

from benchmarks.peers.place import admin_engine, postgresql_schema
from docshelf import DocShelf
from tests.support.servers import wheel_server

_LENGTH: Final = 1_000
_OF_A_SOURCE: Final = 100
_BATCH: Final = 20_000
_BODY: Final = "".join(topics.values()).encode("ascii", "ignore").decode()  # one byte a character


@dataclass(frozen=True)
class Place:
    """A table to measure.

    Attributes:
        count: how many entries it gets.
        partitions: into how many hash partitions it is split; 0 for none.
        server: None for an SQLite file.
        shards: over how many shards Citus distributes it; 0 for not at all.
    """

    count: int
    partitions: int
    server: str | None
    shards: int = 0

    @property
    def title(self) -> str:
        """What stands above its column."""
        if self.server is None:
            kind = "SQLite"
        elif self.shards:
            kind = f"{self.shards} shards"
        else:
            kind = f"{self.partitions} partitions" if self.partitions else "plain"
        return f"{self.count:,} {kind}"


class Scale:
    """The measurements of one place.

    Args:
        shelf: an empty shelf there.
        table: the name of its entries table.
    """

    def __init__(self, place: Place, shelf: DocShelf, table: str) -> None:
        self._place = place
        self._table = table
        self._shelf = shelf
        self._count = place.count
        self._edition = 0

    def run(self) -> dict[str, str]:
        """What each operation took, by its name."""
        found: dict[str, str] = {}
        seconds = self._timed(self._ingest)
        found["ingest, seconds a million"] = f"{seconds / self._count * 1e6:.1f}"
        self._vacuum()
        found["the same again, nothing changed, seconds a million"] = (
            f"{self._timed(self._ingest) / self._count * 1e6:.1f}"
        )
        stats = self._shelf.stats()
        found["stored bytes an entry"] = f"{stats.stored_bytes / self._count:,.0f}"
        found["bytes on disk an entry"] = f"{(stats.disk_bytes or 0) / self._count:,.0f}"
        found["`get`, ms"] = self._median(self._get, 201)
        found["`mget` of 100, ms"] = self._median(lambda turn: self._mget(turn, 100), 31)
        found["`mget` of 1,000, ms"] = self._median(lambda turn: self._mget(turn, 1_000), 15)
        found["`sync` of a source of 100, one changed, ms"] = self._median(self._sync, 31)
        found["`sync` of a source of 100, all changed, ms"] = self._median(
            lambda turn: self._sync(turn, all_of_it=True), 31
        )
        found["`delete_source` of 100, ms"] = self._median(self._delete, 31)
        for first in {self._first(turn) for turn in range(32)}:
            self._fill(range(first, first + _OF_A_SOURCE), None)
        seconds = self._timed(lambda: sum(1 for _ in islice(self._shelf.yield_keys(), 1_000_000)))
        found["`yield_keys`, million keys a second"] = f"{min(self._count, 1_000_000) / seconds / 1e6:.2f}"
        shelf = self._shelf
        calls: dict[str, Callable[[], Any]] = {
            "`count()`, ms": shelf.count,
            "`count(exact=False)`, ms": lambda: shelf.count(exact=False),
            "`stats()`, ms": shelf.stats,
            "`stats(exact=False)`, ms": lambda: shelf.stats(exact=False),
            "`collections()`, ms": shelf.collections,
            "`collections(exact=False)`, ms": lambda: shelf.collections(exact=False),
        }
        for name, call in calls.items():
            found[name] = self._median(lambda _turn, call=call: call(), 3)  # type: ignore[misc]
        seconds = self._timed(shelf.verify)
        found["`verify`, thousand entries a second"] = f"{self._count / seconds / 1000:.0f}"
        found["disk after a tenth was rewritten three times"] = self._rewritten()
        tenth = self._count // 10
        self._fill(range(self._count, self._count + tenth), "large")
        self._vacuum()
        seconds = self._timed(lambda: shelf.delete_source("large"))
        found["`delete_source` of a tenth, seconds a million"] = f"{seconds / tenth * 1e6:.1f}"
        return found

    def _ingest(self) -> None:
        self._fill(range(self._count), None)

    def _fill(self, numbers: Sequence[int], source: str | None) -> None:
        left = iter(numbers)
        while part := list(islice(left, _BATCH)):
            self._shelf.mset([(_key(n), self._value(n), source or _source(n)) for n in part])

    def _value(self, number: int) -> str:
        start = number * 7 % (len(_BODY) - _LENGTH)
        return f"{number} {self._edition} {_BODY[start : start + _LENGTH]}"[:_LENGTH]

    def _get(self, turn: int) -> None:
        assert self._shelf.get(_key(turn * 7_919_993 % self._count)) is not None

    def _mget(self, turn: int, size: int) -> None:
        keys = [_key((turn * 104_729 + n * 15_485_863) % self._count) for n in range(size)]
        assert None not in self._shelf.mget(keys)

    def _first(self, turn: int) -> int:
        """The first entry of a source; the sources of the turns are spread over the table."""
        sources = self._count // _OF_A_SOURCE
        return turn * max(1, sources // 40) % sources * _OF_A_SOURCE

    def _sync(self, turn: int, *, all_of_it: bool = False) -> None:
        first = self._first(turn)
        items = {_key(n): self._value(n) for n in range(first, first + _OF_A_SOURCE)}
        for key in list(items) if all_of_it else [_key(first)]:
            items[key] = f"{turn} {all_of_it} {items[key]}"[:_LENGTH]  # as no call before left it
        assert self._shelf.sync(items, source=_source(first)).counts["UPD"] == (_OF_A_SOURCE if all_of_it else 1)

    def _delete(self, turn: int) -> None:
        self._shelf.delete_source(_source(self._first(turn)))

    def _rewritten(self) -> str:
        before = self._shelf.stats().disk_bytes or 1
        tenth = range(self._count // 2, self._count // 2 + self._count // 10)
        for edition in range(1, 4):
            self._edition = edition
            self._fill(tenth, None)
        self._edition = 0
        return f"{(self._shelf.stats().disk_bytes or 0) / before:.2f} x"

    def _vacuum(self) -> None:
        if self._place.server is None:
            return
        engine = admin_engine(make_url(self._place.server))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"VACUUM ANALYZE {self._table}"))
        engine.dispose()

    @staticmethod
    def _timed(call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def _median(self, call: Callable[[int], Any], turns: int) -> str:
        call(0)
        gc.collect()
        return f"{1000 * statistics.median(self._timed(lambda: call(turn)) for turn in range(1, turns + 1)):.2f}"  # noqa: B023


def _key(number: int) -> str:
    return f"key {number}"


def _source(number: int) -> str:
    return f"source {number // _OF_A_SOURCE}"


@contextmanager
def _opened(place: Place) -> Iterator[tuple[DocShelf, str]]:
    """A shelf on tables of its own, and the name of the entries table."""
    if place.server is None:
        with (
            tempfile.TemporaryDirectory(prefix="docshelf-bench-") as folder,
            DocShelf(Path(folder) / "docs.db") as shelf,
        ):
            yield shelf, "docshelf_entries"
        return
    with postgresql_schema(place.server) as (url, schema), DocShelf(url, schema=schema) as shelf:
        if place.shards:
            shelf.setup(distribute="citus", shards=place.shards)
        else:
            shelf.setup(partitions=place.partitions or None)
        yield shelf, f"{schema}.docshelf_entries"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--sizes", default="10000,1000000,5000000", help="entries of the tables on PostgreSQL, by comma"
    )
    parser.add_argument(
        "--sqlite", type=int, default=1_000_000, help="entries of the SQLite file; 0 for none (1000000)"
    )
    parser.add_argument("--partitions", default="0,8", help="of each, 0 for a plain table, by comma (0,8)")
    parser.add_argument("--shards", default="", help="of Citus, by comma; --url is its coordinator (none)")
    parser.add_argument("--url", default=os.environ.get("BENCH_URL"), help="a PostgreSQL server of your own")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        server = options.url or stack.enter_context(wheel_server(durable=True)).render_as_string(hide_password=False)
        layouts = [(int(number), 0) for number in options.partitions.split(",")]
        layouts += [(0, int(number)) for number in options.shards.split(",") if number]
        places = [
            Place(int(size), partitions, server, shards)
            for size in options.sizes.split(",")
            for partitions, shards in layouts
        ]
        if options.sqlite:
            places.append(Place(options.sqlite, 0, None))
        columns = []
        load = os.getloadavg()[0]
        for place in places:
            print(f"{place.title} ...", file=sys.stderr, flush=True)
            with _opened(place) as (shelf, table):
                columns.append(Scale(place, shelf, table).run())
    print(f"{date.today()}: texts of {_LENGTH:,} characters, {_OF_A_SOURCE} to a source")
    versions = f"Python {platform.python_version()}, docshelf {version('docshelf')}, {os.cpu_count()} processors"
    print(f"{versions}; load {load:.1f} to {os.getloadavg()[0]:.1f}\n")
    print(f"| | {' | '.join(place.title for place in places)} |")
    print(f"| --- |{' ---: |' * len(places)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
