"""The Python blocks of the guide run, in order, as one script, and print what the comments on their lines say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import llama_index_docshelf
from tests.support.pages import ROOT, run_blocks, script

_GUIDE = ROOT / "docs" / "llama-index.md"


def test_the_guide_runs_and_prints_what_its_comments_say(tmp_path: Path) -> None:
    run = run_blocks(_GUIDE, tmp_path)
    expected = re.findall(r"^print\(.*\)  # (.*)$", script(_GUIDE), re.MULTILINE)
    assert run.stdout.splitlines() == expected


def test_without_the_framework_the_import_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['llama_index'] = sys.modules['llama_index.core'] = None; import llama_index_docshelf"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'docshelf[llama-index]'" in run.stderr


@pytest.mark.parametrize("name", llama_index_docshelf.__all__)
def test_the_guide_names_everything_that_the_package_exports(name: str) -> None:
    assert name in _GUIDE.read_text("utf-8")
