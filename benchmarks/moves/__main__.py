"""`python -m benchmarks.moves`: moves 10,000 documents from each origin, and adopts the vectors of 2,000 parents.

Each step is a process of its own, forked from this one, which has the imports. Every value is compared as both packages
read it, the move is killed half way with SIGKILL and run again, and what is damaged has to be refused. `--write` puts
the tables into docs/moving.md. Linux only, for fork and the peak of memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.moves.origins import ORIGINS, Origin, Place, executed
from docshelf import DocShelfError
from tests.support.servers import wheel_server

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "moving.md"
# By the table of the page that they are in.
VECTOR_STORES: Final = {
    **dict.fromkeys(("chroma", "pgvector", "pgvectorstore", "qdrant", "faiss"), "langchain"),
    **dict.fromkeys(("llama_chroma", "llama_qdrant", "llama_postgres"), "llama_index"),
}
_FORK: Final = multiprocessing.get_context("fork")
_PACKAGES: Final = (
    *("langchain-core", "langchain-classic", "langchain-community", "llama-index-core"),
    *("llama-index-storage-docstore-postgres", "langchain-chroma", "chromadb", "langchain-postgres"),
    *("langchain-qdrant", "qdrant-client", "faiss-cpu"),
)
_POLL_SECONDS: Final = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make moves", description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000, help="of each origin")
    parser.add_argument("--parents", type=int, default=2_000, help="of each adoption")
    parser.add_argument("--only", action="append", choices=[*ORIGINS, *VECTOR_STORES], help="an origin or vector store")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/moving.md")
    options = parser.parse_args(arguments)
    wanted = options.only or [*ORIGINS, *VECTOR_STORES]

    def add(table: str, row: str) -> None:
        print(row, flush=True)
        if options.write:
            _write(table, row, f"{options.documents:,} documents, {options.parents:,} parents")

    with wheel_server(durable=True) as server:
        for name in filter(ORIGINS.__contains__, wanted):
            _measure(server, name, options.documents, add)
        for name in filter(VECTOR_STORES.__contains__, wanted):
            with _database(server, "vectors", vectors=True) as url:
                add(VECTOR_STORES[name], _run("adopt", name=name, url=url, count=options.parents)["row"])
    return 0


# The steps, each in a process of its own


def _step(step: str, **given: Any) -> dict[str, Any]:
    if step == "adopt":
        from benchmarks.moves.adoption import measure

        return {"row": measure(given["name"], given["url"], given["count"])}
    origin = ORIGINS[given["name"]](Place(Path(given["folder"]), given["old"], given["new"], given["count"]))
    if step == "fill":
        origin.fill()
        return {}
    if step == "damage":
        origin.damages()[given["what"]]()
        return {}
    source, target = origin.source(), origin.target()
    found: dict[str, Any] = {}
    try:
        if step == "dry run":
            found |= _moved(origin, source, target, dry_run=True)
        elif step == "move":
            found |= _moved(origin, source, target)
        elif step == "resume":
            found |= _moved(origin, source, target) | {"values": origin.compare(source, target)}
            found["again"] = _moved(origin, source, target)
        elif step == "try":
            try:
                origin.move(source, target)
            except DocShelfError as exc:
                found |= {"error": f"{type(exc).__name__}: {exc}", "executed": executed(origin.place).exists()}
    finally:
        target.close()
    return found


def _moved(origin: Origin, source: Any, target: Any, *, dry_run: bool = False) -> dict[str, Any]:
    getattr(target, "shelf", target).setup()
    idle = _begin_peak()
    start, cpu = time.perf_counter(), time.process_time()
    report = origin.move(source, target, dry_run=dry_run)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": f"{seconds:.1f} s ({cpu:.1f})", "peak": _peak() - idle, "counts": dict(report.counts)}


def _begin_peak() -> int:
    """Measure the peak of memory from here on; returns the memory of now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


# The measurement


@dataclass
class _Stage:
    """An origin that is filled, and empty targets for it."""

    server: URL
    name: str
    origin: type[Origin]
    count: int
    folder: Path
    old: str
    targets: int = 0

    @contextmanager
    def target(self) -> Iterator[str]:
        """The URL of an empty target."""
        self.targets += 1
        if self.origin.into_sqlite:
            yield str(self.folder / f"new{self.targets}.db")
            return
        with _database(self.server, "new") as url:
            yield url

    def run(self, step: str, new: str = "", **given: Any) -> dict[str, Any]:
        return _run(step, **self._place(new), **given)

    def start(self, step: str, new: str) -> _Child:
        return _Child(step, self._place(new))

    def _place(self, new: str) -> dict[str, Any]:
        return {"name": self.name, "folder": str(self.folder), "old": self.old, "new": new, "count": self.count}


def _measure(server: URL, name: str, count: int, add: Callable[[str, str], None]) -> None:
    origin = ORIGINS[name]
    with tempfile.TemporaryDirectory(prefix="docshelf-moves-") as folder, _database(server, "old") as old:
        stage = _Stage(server, name, origin, count, Path(folder), old)
        stage.run("fill")
        with stage.target() as new:
            planned = stage.run("dry run", new)
            _expect(name, "a dry run writes nothing", _held(new), 0)
            moved = stage.run("move", new)
        _expect(name, "every document arrives", moved["counts"], planned["counts"])
        with _killed_half_way(stage) as (new, held):
            resumed = stage.run("resume", new)
        written, skipped = resumed["counts"]["INS"], resumed["counts"]["SKIP"]
        again = resumed["again"]
        _expect(name, "a resumed run skips what is there", (skipped, written + skipped), (held, moved["counts"]["INS"]))
        _expect(name, "every value is compared", resumed["values"], count)
        _expect(name, "another run skips everything", again["counts"]["SKIP"], moved["counts"]["INS"])
        cells = [origin.name, planned["seconds"], moved["seconds"], f"{moved['peak'] / 1e6:,.0f} MB"]
        cells += [f"{held:,}", f"{written:,} INS, {skipped:,} SKIP", f"{resumed['values']:,}"]
        cells += [f"{again['counts']['SKIP']:,} SKIP, {again['seconds']}"]
        add("origins", f"| {' | '.join(cells)} |")
        place = Place(stage.folder, old, "", count)
        for what in origin(place).damages():
            stage.run("damage", what=what)
            with stage.target() as new:
                tried = stage.run("try", new)
                rows = _held(new)
            _expect(name, f"{what}: it is refused and not executed", tried.get("executed"), False)
            message = tried["error"].replace(str(stage.folder), "...")
            add("damages", f"| {origin.name} | {what} | {_cell(message)} | {rows:,} | no |")


@contextmanager
def _killed_half_way(stage: _Stage) -> Iterator[tuple[str, int]]:
    """A target whose move was killed with SIGKILL when half of it was in, and how many entries it has."""
    # A fast move may be over before it is seen half way: another one is killed earlier.
    for share in (2, 4, 10, 50):
        with stage.target() as new:
            child = stage.start("resume", new)
            while child.process.is_alive() and _held(new) < stage.count // share:
                time.sleep(_POLL_SECONDS)
            child.process.kill()
            child.process.join()
            _wait_for_sessions(new)
            held = _held(new)
            if 0 < held < stage.count:
                yield new, held
                return
    raise AssertionError(f"{stage.name}: no move was killed half way")


def _wait_for_sessions(url: str) -> None:
    """Wait until the server has noticed that its client is gone."""
    if "://" not in url:
        return
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    while True:
        with engine.connect() as connection:
            if not connection.scalar(others):
                break
        time.sleep(_POLL_SECONDS)
    engine.dispose()


def _expect(name: str, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{name}: {what}: {found!r} instead of {expected!r}")


class _Child:
    """A step that is under way in a process of its own."""

    def __init__(self, step: str, given: dict[str, Any]) -> None:
        self.name = f"{step} of {given['name']}"
        self._results, results = _FORK.Pipe(duplex=False)
        self.process = _FORK.Process(target=_perform, args=(results, step, given))
        self.process.start()
        results.close()

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = self._results.recv()
        self.process.join()
        if "failure" in found:
            raise AssertionError(f"{self.name} failed:\n{found['failure']}")
        return found


def _perform(results: Connection, step: str, given: dict[str, Any]) -> None:
    warnings.simplefilter("ignore")
    try:
        results.send(_step(step, **given))
    except Exception:
        results.send({"failure": traceback.format_exc()})


def _run(step: str, **given: Any) -> dict[str, Any]:
    return _Child(step, given).result()


def _held(url: str) -> int:
    """How many entries are in a target."""
    if "://" not in url:
        if not Path(url).exists():
            return 0
        url = f"sqlite:///{url}"
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    try:
        with engine.connect() as connection:
            # A whole shelf has a second collection, of two entries.
            return int(
                connection.scalar(text("SELECT count(*) FROM docshelf_entries WHERE collection <> 'settings'")) or 0
            )
    except SQLAlchemyError:
        return 0
    finally:
        engine.dispose()


@contextmanager
def _database(server: URL, name: str, *, vectors: bool = False) -> Iterator[str]:
    """A database that is gone afterwards."""
    engine = create_engine(server.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        fresh = server.set(database=name)
        if vectors:
            inside = create_engine(fresh.set(drivername="postgresql+psycopg2"))
            with inside.begin() as connection:
                connection.execute(text("CREATE EXTENSION vector"))
            inside.dispose()
        yield fresh.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


# The page


def _cell(message: str, length: int = 150) -> str:
    short = message if len(message) <= length else message[:length].rstrip() + " ..."
    return f"`{short}`".replace("|", "/")


def _write(table: str, row: str, sizes: str) -> None:
    """Put a row into a table of the page, in the place of the one that begins alike, and the versions below."""
    page = PAGE.read_text("utf-8")
    cells = 3 if table == "damages" else 2
    begin = "|".join(row.split("|")[:cells]) + "|"

    def put(found: re.Match[str]) -> str:
        rows = found[2].splitlines()
        if any(one.startswith(begin) for one in rows):
            rows = [row if one.startswith(begin) else one for one in rows]
        else:
            rows.append(row)
        return found[1] + "".join(f"{one}\n" for one in rows)

    page = re.sub(rf"(<!-- {table} -->\n\|.*\n\|.*\n)((?:\|.*\n)*)", put, page)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    said = f"{sizes}; Python {sys.version.split()[0]}, PostgreSQL 18, {versions}."
    page = re.sub(r"(<!-- versions -->\n).*\n", lambda found: f"{found[1]}{said}\n", page)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
