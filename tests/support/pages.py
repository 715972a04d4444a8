"""Runs the code of a Markdown page as a reader would, one block after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# The URL of a PostgreSQL database as pages show it, behind the name of the driver.
_SHOWN_PLACE = "://user:password@host/database"
# What commands print of the time.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d\S*")
_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]*) -->\n)?"
    r"(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        language: what stands behind the fence.
        body: its lines.
        reason: why the tests do not run it; "" if they do.
    """

    language: str
    body: str
    reason: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = _FENCE.finditer(page.read_text("utf-8"))
    return [Block(fence["language"], fence["body"], fence["reason"] or "") for fence in found]


def script(page: Path) -> str:
    """The blocks of a page that run, in order, as one script in Python; "" where it has none."""
    code = [_code_of(block) for block in blocks(page) if not block.reason]
    return "\n".join(part for part in code if part)


def _code_of(block: Block) -> str:
    if block.language == "python":
        return block.body
    if block.language != "console":
        return ""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.body, re.MULTILINE)
    # What installs is checked elsewhere.
    return "\n".join(
        f"__import__('tests.support.pages', fromlist=['call']).call({command!r}, {shown!r})"
        for command, shown in found
        if "pip install" not in command
    )


def call(command: str, shown: str) -> None:
    """Run a line of a shell in this folder. It ends well, and prints what the page shows below it, but for times.

    Args:
        command: the line, without the prompt.
        shown: the lines below it; "" where the page shows none.
    """
    run = subprocess.run(["bash", "-c", command], capture_output=True, encoding="utf-8", check=False)
    # 5: something would change.
    fine = (0, 5) if re.search(r" diff | --dry-run", command) else (0,)
    assert run.returncode in fine, f"{command}: {run.stderr}"
    printed, promised = (_TIME.sub("<time>", text).rstrip() for text in (run.stdout + run.stderr, shown))
    assert not shown or printed == promised, f"{command}\n{printed}"


def needs_server(page: Path) -> bool:
    """True where the script opens a PostgreSQL database, and does not only name one in a comment."""
    return _SHOWN_PLACE in re.sub(r"(^|  )#.*$", "", script(page), flags=re.MULTILINE)


def run_blocks(page: Path, folder: Path, *flags: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the blocks of a page in a folder; a warning ends them. They have to end well.

    Args:
        flags: options of Python; a later `-W` wins.
        url: of a PostgreSQL database that stands in for the one that the page shows, without a driver.
    """
    code = script(page)
    # A page that takes its database from the environment means its own.
    inherited = {name: value for name, value in os.environ.items() if name not in ("DOCSHELF_URL", "BROKER_URL")}
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "100",
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-"],
        input=code if url is None else code.replace(_SHOWN_PLACE, url.removeprefix("postgresql")),
        cwd=folder,
        env={**inherited, **environment},
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
