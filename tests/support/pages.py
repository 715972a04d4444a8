"""Runs the Python blocks of a Markdown page as a reader would, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN_URL = "postgresql://user:password@host/database"


def script(page: Path) -> str:
    """The Python blocks of a page, in order, as one script; "" where it has none."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL))


def run_blocks(page: Path, folder: Path, *flags: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the blocks of a page in a folder; a warning ends them. They have to end well.

    Args:
        flags: options of Python; a later `-W` wins.
        url: stands in for the URL of a PostgreSQL database that the page shows.
    """
    blocks = script(page)
    run = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-"],
        input=blocks if url is None else blocks.replace(SHOWN_URL, url),
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run


def check_blocks(page: Path, folder: Path, *flags: str, url: str | None = None) -> None:
    """Run the blocks in a folder. They give no warning, and print what the comments beside `print` say, in that order.

    A comment that begins with "says" describes the output and is not compared. `flags` and `url` as for `run_blocks`.
    """
    run = run_blocks(page, folder, "-X", "dev", *flags, url=url)
    # How long a step took on this machine says nothing of the page.
    assert re.sub(r"^Executing <.* took [\d.]+ seconds\n", "", run.stderr, flags=re.MULTILINE) == ""
    printed = iter(run.stdout.splitlines())
    for promised in re.findall(r"^ *print\(.*\)  # (.*)$", script(page), re.MULTILINE):
        assert promised.startswith("says ") or promised in printed, f"{promised!r} was not printed: {run.stdout}"
