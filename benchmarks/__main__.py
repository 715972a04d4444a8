"""`python -m benchmarks`: measures docshelf beside its peers and the raw drivers, and prints tables."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from benchmarks import folder
from benchmarks.chart import in_terminal, save
from benchmarks.corpus import Corpus, build_corpus
from benchmarks.groups import GROUPS, Group, opened
from benchmarks.measuring import WrongResultError, measure
from benchmarks.peers.place import admin_engine
from benchmarks.results import Results, machine
from benchmarks.workloads import WORKLOADS, Workload
from docshelf import DocShelfError
from tests.support.servers import wheel_server

_PACKAGES = ("docshelf", "SQLAlchemy", "psycopg2-binary", "asyncpg", "psycopg", "orjson", "zstandard")
_PEER_PACKAGES = (
    "langchain-core",
    "langchain-community",
    "llama-index-core",
    "llama-index-storage-docstore-postgres",
    "langgraph-checkpoint-postgres",
    "py-key-value-aio",
)
_SIZE = 2_000
_TEXT, _FEWEST, _MOST = 20_000_000, 200, 10_000
_SERVER_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["folder"]:
        return folder.main(given[1:])
    options = _parser().parse_args(given)
    try:
        groups, workloads = _chosen(options.only)
    except ValueError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 2
    for group in list(groups):
        if group.missing:
            print(f"bench: {group.name} is left out, as {', '.join(group.missing)} is not installed", file=sys.stderr)
            groups.remove(group)
    if not groups:
        return 2
    for number, size in enumerate(options.size or [_SIZE]):
        if number:  # documents of their own have one size
            groups = [group for group in groups if group.corpus is None]
        failure = _measure_size(size, groups, workloads, options)
        if failure:
            return failure
    return 0


def _measure_size(
    size: int, groups: Sequence[Group], workloads: Sequence[Workload], options: argparse.Namespace
) -> int:
    """Measure documents of one size, print and save what was found; the exit code."""
    wanted = options.documents or max(_FEWEST, min(_MOST, _TEXT // size))
    corpus = build_corpus(wanted, size)
    if len(corpus.documents) < wanted:
        told = f"there is text for {len(corpus.documents):,} documents of {size:,} characters here, and no more"
        print(f"bench: {told}", file=sys.stderr)
    if not corpus.documents:
        return 2
    try:
        results = _run(corpus, size, groups, workloads, options)
    except WrongResultError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    except (DocShelfError, OperationalError) as exc:
        print(f"bench: {exc.orig if isinstance(exc, OperationalError) else exc}".strip(), file=sys.stderr)
        return 2
    print(results.markdown())
    print(in_terminal(results.series))
    name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{size}"
    saved = [*results.save(options.output, name), *save(results.markdown(), options.output, name)]
    print(f"bench: written to {', '.join(map(str, saved))}", file=sys.stderr)
    return 0


def _run(
    corpus: Corpus, size: int, groups: Sequence[Group], workloads: Sequence[Workload], options: argparse.Namespace
) -> Results:
    with ExitStack() as stack:
        server: str | None = None
        if any(group.database == "postgresql" for group in groups):
            url = options.url or stack.enter_context(wheel_server(durable=True)).render_as_string(hide_password=False)
            server = str(url)
        setting = _setting(corpus, server, options.repeat)
        series, remarks = measure(
            groups,
            lambda group: opened(group, server),
            workloads,
            corpus,
            repeat=options.repeat,
            tell=_tell,
            documents=options.documents,
        )
    setting["load at the end"] = _load()
    return Results(setting, series, remarks, size)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="docshelf beside its peers and the raw drivers"
    )
    parser.add_argument(
        "--size",
        type=_positive,
        action="append",
        default=[],
        help=f"characters of a document's text ({_SIZE}); may be repeated",
    )
    parser.add_argument(
        "--documents",
        type=_positive,
        help=f"how many (by default {_TEXT // 1_000_000} MB of text, but {_FEWEST} to {_MOST})",
    )
    parser.add_argument("--repeat", type=_positive, default=7, help="repetitions of everything (7)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="groups with this word in their name, or a workload "
        f"({', '.join(workload.name for workload in WORKLOADS)}); may be repeated",
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("BENCH_URL"),
        help="a PostgreSQL server; by default $BENCH_URL, or one of its own from the wheel",
    )
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results", help="folder (benchmarks/results)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _chosen(words: Sequence[str]) -> tuple[list[Group], list[Workload]]:
    """The groups and the workloads that the words of `--only` leave.

    Raises:
        ValueError: a word is in no name.
    """
    names = {workload.name: workload for workload in WORKLOADS}
    workloads = [names[word] for word in words if word in names]
    of_groups = [word for word in words if word not in names]
    groups = [group for group in GROUPS if any(word.lower() in group.name.lower() for word in of_groups)]
    for word in of_groups:
        if not any(word.lower() in group.name.lower() for group in GROUPS):
            known = ", ".join([*names, *(repr(group.name) for group in GROUPS)])
            raise ValueError(f"--only {word}: there are {known}")
    return groups or list(GROUPS), [w for w in WORKLOADS if w in workloads] or list(WORKLOADS)


def _setting(corpus: Corpus, server: str | None, repeat: int) -> dict[str, str]:
    count = len(corpus.documents)
    setting = {
        "data": f"{count:,} documents, {corpus.text_bytes / count:,.0f} bytes of text each; {repeat} repetitions",
        "machine": machine(),
        "versions": f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in (*_PACKAGES, *filter(_has, _PEER_PACKAGES))),
        "SQLite": f"{sqlite3.sqlite_version}, journal_mode=wal, synchronous=full",
    }
    if server is not None:
        engine = admin_engine(make_url(server))
        with engine.connect() as connection:
            values = {name: connection.scalar(text(f"SHOW {name}")) for name in _SERVER_SETTINGS}
        engine.dispose()
        setting["PostgreSQL"] = ", ".join(f"{name}={value}" for name, value in values.items())
    setting["load at the start"] = _load()
    return setting


def _has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _load() -> str:
    return ", ".join(f"{load:.2f}" for load in os.getloadavg()) + " (1, 5, 15 minutes)"


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
