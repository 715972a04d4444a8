"""Every Python block of the README runs, in order, as one script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.public import ROOT


def _blocks(page: Path) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def _said(script: str) -> list[str]:
    """What the comments beside `print` calls promise, where they are the whole output."""
    return [said for said in re.findall(r"^print\(.*\)  # (.*)$", script, re.MULTILINE) if not said.startswith("says")]


def test_the_blocks_of_the_readme_run_and_print_what_they_say(tmp_path: Path) -> None:
    # The engine is the application's own, which would close it some day.
    script = _blocks(ROOT / "README.md") + "engine.dispose()\n"
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-"],
        input=script,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    printed = iter(run.stdout.splitlines())
    assert all(said in printed for said in _said(script)), run.stdout
