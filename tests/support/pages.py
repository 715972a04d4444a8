"""Runs the Python blocks of a Markdown page as a reader would, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def script(page: Path) -> str:
    """The Python blocks of a page, in order, as one script; "" where it has none."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL))


def run_blocks(page: Path, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the blocks of a page in a folder, with flags of Python; a warning ends them. They have to end well."""
    run = subprocess.run(
        [sys.executable, *flags, "-W", "error", "-"],
        input=script(page),
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run


def check_blocks(page: Path, folder: Path) -> None:
    """Run the blocks in a folder. They give no warning, and print what the comments beside `print` say, in that order.

    A comment that begins with "says" describes the output and is not compared.
    """
    run = run_blocks(page, folder, "-X", "dev")
    assert run.stderr == ""
    printed = iter(run.stdout.splitlines())
    for promised in re.findall(r"^ *print\(.*\)  # (.*)$", script(page), re.MULTILINE):
        assert promised.startswith("says ") or promised in printed, f"{promised!r} was not printed: {run.stdout}"
