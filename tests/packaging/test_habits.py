"""What guards a commit is what guards the project: the same tools, of the same environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT

HOOKS = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def test_the_hooks_run_the_tools_of_make_test_in_its_environment() -> None:
    [environment] = re.findall(r"^TEST := (.*)$", MAKEFILE, re.MULTILINE)
    [recipe] = re.findall(r"^test: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    of_make = re.findall(r"/bin/python -m (ruff \w+|mypy)", recipe)
    entries = re.findall(r"^ +entry: (.*)$", HOOKS, re.MULTILINE)
    assert all(entry.startswith(f"{environment}/bin/python -m ") for entry in entries)
    assert (
        [re.sub(r" --.*", "", entry.partition(" -m ")[2]) for entry in entries]
        == of_make
        == [
            "ruff format",
            "ruff check",
            "mypy",
        ]
    )
    # A repository of hooks would bring versions of its own.
    assert re.findall(r"repo: (.*)", HOOKS) == ["local"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_with_unformatted_code_is_stopped_and_formatted(tmp_path: Path) -> None:
    for name in (".pre-commit-config.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv-test").symlink_to(sys.prefix)
    (tmp_path / ".gitignore").write_text(".venv-test\n")
    (tmp_path / "module.py").write_text("number   =  1\n")
    # mypy checks the whole project, which is not here.
    own = {"SKIP": "mypy", "PRE_COMMIT_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    identity = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | own | identity

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for command in (["git", "init"], ["git", "add", "-A"], [sys.executable, "-m", "pre_commit", "install"]):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    stopped = run("git", "commit", "-m", "x")
    assert stopped.returncode != 0
    assert "ruff format" in stopped.stderr
    assert (tmp_path / "module.py").read_text() == "number = 1\n"
    run("git", "add", "-A")
    done = run("git", "commit", "-m", "x")
    assert done.returncode == 0, done.stderr
