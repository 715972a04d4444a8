"""The README: its blocks run, its first screen says what a stranger asks, it names every command and every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT, check_blocks

_README = ROOT / "README.md"
_TEXT = _README.read_text("utf-8")
_FIRST_SCREEN = "\n".join(_TEXT.splitlines()[:38])
_MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
_TARGETS = re.findall(r"^\.PHONY: (.*)$", _MAKEFILE, re.MULTILINE)[0].split()


def test_the_blocks_of_the_readme_run_and_print_what_they_say(tmp_path: Path) -> None:
    check_blocks(_README, tmp_path)


def test_the_readme_is_short() -> None:
    assert len(_TEXT.splitlines()) < 200


@pytest.mark.parametrize(
    "wanted",
    [
        "from docshelf import",
        "from langchain_docshelf import",
        "from llama_index_docshelf import",
        "docs/images/report.png",
        "make demo",
        "make test",
    ],
)
def test_the_first_screen_has_the_report_the_commands_and_the_imports(wanted: str) -> None:
    assert wanted in _FIRST_SCREEN


@pytest.mark.parametrize("target", [target for target in _TARGETS if target != "help"])
def test_the_readme_and_the_help_name_every_command(target: str) -> None:
    assert f"`make {target}`" in _TEXT
    assert re.search(rf"^\t@echo '.*make {target}\b", _MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in _TEXT
