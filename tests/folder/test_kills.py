"""Processes that are killed in the middle of a sync: the next ones end as a clean run, and embed nothing twice."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from docshelf.folder import run as folder_run
from tests.folder.conftest import Tree
from tests.support.killed_folder import Place, after_calls, sync_and_kill

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

FILES = 40
KILLS = 4


def paragraph(name: str) -> str:
    return f"{name} " + "word " * 240  # two children


def test_runs_that_are_killed_end_as_a_clean_run_and_embed_nothing_twice(
    tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_run, "_BATCH_FILES", 10)
    chance = random.Random(7)
    clean, killed = Place(tmp_path / "clean", batch_size=4), Place(tmp_path / "killed", batch_size=4)
    for place in (clean, killed):
        place.root.mkdir()
    for number in range(FILES):
        tree.write(f"{number % 4}/{number}.md", paragraph(f"file {number}"))
    for phase in ("first", "changed"):
        if phase == "changed":
            shutil.rmtree(tree.root / "3")
            tree.move("2", "moved")
            for number in (0, 4, 8):
                tree.write(f"0/{number}.md", paragraph(f"edited {number}"))
        before = killed.embedded() if phase == "changed" else 0
        kills = 0
        for _ in range(KILLS):
            kills += sync_and_kill(killed, tree.root, after_calls(chance.randint(1, 60)), max_delete=0.5)
        assert kills > 1
        killed.sync(tree.root, max_delete=0.5)
        embedded = clean.embedded() if phase == "changed" else 0
        clean.sync(tree.root, max_delete=0.5)
        assert killed.state() == clean.state()
        assert killed.additions() == (clean.embedded(), 0), "no child was added twice"
        # A kill loses at most what one call of the vector store was about to add: the children of four files.
        needed = clean.embedded() - embedded
        assert needed <= killed.embedded() - before <= needed + kills * 4 * 2
        assert not killed.sync(tree.root).changed
