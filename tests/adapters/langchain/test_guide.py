"""Every Python block of the guide runs, in order, as one script, and prints what the comments beside it say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import langchain_docshelf
from tests.support.pages import ROOT, run_blocks, script

_GUIDE = ROOT / "docs" / "langchain.md"


def test_the_guide_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    run = run_blocks(_GUIDE, tmp_path)
    said = re.findall(r"^ *print\(.*\)  # (.*)$", script(_GUIDE), re.MULTILINE)
    assert run.stdout.splitlines() == said


@pytest.mark.parametrize("missing", ["langchain_core", "langchain_text_splitters"])
def test_without_the_framework_the_import_names_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import langchain_docshelf"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"langchain_docshelf needs {missing}: pip install 'docshelf[langchain]'" in run.stderr


@pytest.mark.parametrize("name", langchain_docshelf.__all__)
def test_the_guide_names_what_the_package_offers(name: str) -> None:
    assert name in _GUIDE.read_text("utf-8")
