"""`python -m benchmarks` runs from end to end on tiny data. This checks that it measures, not the figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from benchmarks import folder, measuring, scale
from benchmarks.corpus import build_corpus
from benchmarks.groups import GROUPS, opened
from benchmarks.peers.raw import RawSQLite
from benchmarks.workloads import WORKLOADS
from tests.conftest import Location
from tests.support.public import ROOT

TINY = ("--documents", "120", "--size", "700")
PEERS = {"docshelf", "raw", "by hand"}
# Peers of other projects are not installed for the tests.
OURS = [group.name for group in GROUPS if not group.needs]


def benchmark(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if name != "BENCH_URL"}
    return subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, timeout=300, check=False
    )


def measured(folder: Path) -> dict[str, Any]:
    [file] = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_a_folder_is_measured(new_location: Callable[[str], Location], capsys: pytest.CaptureFixture[str]) -> None:
    url = new_location("pg18").url
    assert folder.main(["--files", "40", "--repeat", "1", "--only", "LangChain", "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == [
        "| seconds: wall / CPU of the client",
        "| ---",
        "| first run",
        "| nothing changed",
        "| 1% changed",
    ]
    assert sum("the goal is" in line for line in lines) == 2


def test_scale_is_measured(new_location: Callable[[str], Location], capsys: pytest.CaptureFixture[str]) -> None:
    url = new_location("pg18").url
    assert scale.main(["--sizes", "200", "--partitions", "2", "--sqlite", "200", "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| | 200 2 partitions | 200 SQLite |" in lines
    assert sum(line.count("|") == 4 for line in lines) == 22


def test_everything_is_measured_on_both_databases(
    new_location: Callable[[str], Location], new_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    location = new_location("pg18")
    done = benchmark(*TINY, "--repeat", "1", "--output", tmp_path, BENCH_URL=location.url)
    assert done.returncode == 0, done.stderr
    found = measured(tmp_path)
    of_all = {"cold", "unchanged", "changed", "mget10", "mget", "mget1000", "get", "count", "pruned", "drop"}
    peers = {group: {"docshelf, bytes", "raw"} if group.endswith("bytes") else PEERS for group in OURS}
    expected = {(group, peer, workload) for group in OURS for peer in peers[group] for workload in of_all}
    expected |= {("PostgreSQL, asyncpg, bytes", peer, "tasks") for peer in ("docshelf, bytes", "raw")}
    expected |= {("PostgreSQL, asyncpg", peer, "tasks") for peer in PEERS} | {("PostgreSQL, asyncpg", "COPY", "cold")}
    expected |= {("PostgreSQL, asyncpg", "Pool.fetch", workload) for workload in ("cold", "get", "tasks")}
    series = [one for one in found["series"] if one["group"] in OURS]
    assert {(one["group"], one["peer"], one["workload"]) for one in series} == expected
    assert all(len(one["seconds"]) == len(one["cpu_seconds"]) == 1 for one in found["series"])
    assert all(seconds > 0 for one in found["series"] for seconds in one["seconds"])
    assert "fsync=" in found["setting"]["PostgreSQL"]
    judged = {target["of"] for target in found["targets"] if target["group"] in OURS}
    assert judged == {"raw", "by hand", "Pool.fetch", "cold sync"}
    [table] = tmp_path.glob("*.md")
    assert done.stdout.startswith(table.read_text("utf-8"))
    assert "times as fast as\n  cold sync" in done.stdout
    assert all(f"### {name}\n" in done.stdout for name in OURS)
    for group in GROUPS:
        if group.missing:
            assert f"{group.name} is left out" in done.stderr
    with new_engine(location).connect() as connection:
        left = text("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'docshelf_bench%'")
        assert connection.scalar(left) == 0


def test_a_part_can_be_measured_without_a_server(tmp_path: Path) -> None:
    only = ("--only", "sqlite", "--only", "mget")
    done = benchmark(*TINY, *only, "--repeat", "3", "--output", tmp_path, BENCH_URL="postgresql://127.0.0.1:1/none")
    assert done.returncode == 0, done.stderr
    series = measured(tmp_path)["series"]
    assert {one["group"] for one in series} == {"SQLite, sync", "SQLite, async"}
    assert {one["workload"] for one in series} == {"mget"}
    assert {len(one["seconds"]) for one in series} == {3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "mongodb"), "there are cold, unchanged"),
        (("--documents", "0"), "not positive"),
        (("--only", "psycopg2", "--url", "postgresql://nobody:hunter2@127.0.0.1:1/none"), "refused"),
    ],
)
def test_a_benchmark_that_cannot_run_gives_a_message(arguments: tuple[str, ...], message: str) -> None:
    done = benchmark("--size", "700", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_no_text_is_repeated() -> None:
    corpus = build_corpus(4_000, 60)  # so short that the reference of Python repeats itself
    texts = [document["text"] for document in corpus.documents.values()]
    assert len(set(texts)) == len(texts) == 4_000
    assert {len(text) for text in texts} == {60}
    assert corpus.text_bytes == sum(len(text.encode()) for text in texts)


def test_one_document_in_a_hundred_is_changed_and_another_gone() -> None:
    corpus = build_corpus(500, 400)
    assert corpus.changed.keys() == corpus.documents.keys()
    assert sum(corpus.changed[key] != corpus.documents[key] for key in corpus.documents) == 5
    assert len(corpus.pruned) == 495
    assert corpus.pruned.items() <= corpus.changed.items()


def test_a_peer_that_loses_changes_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RawSQLite, "sync", lambda self, batch: None)
    [group] = [group for group in GROUPS if group.name == "SQLite, sync"]
    with pytest.raises(measuring.WrongResultError, match="raw of 'SQLite, sync'"):
        measuring.measure(
            [group],
            lambda group: opened(group, None),
            WORKLOADS,
            build_corpus(120, 400),
            repeat=1,
            tell=lambda what: None,
        )
