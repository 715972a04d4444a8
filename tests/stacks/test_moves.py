"""The tool that measures moves runs from end to end on few documents. This checks what it shows, not the figures."""

from __future__ import annotations

import subprocess
import sys

from tests.support.pages import ROOT


def test_a_move_and_an_adoption_are_measured() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.moves", "--documents", "600", "--parents", "30"]
    command += ["--only", "LocalFiles", "--only", "faiss"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    assert run.returncode == 0, run.stderr
    move, hostile, cut, adoption = ([cell.strip() for cell in row.split("|")[1:-1]] for row in run.stdout.splitlines())
    assert move[4:7] == ["500", "100 INS, 500 SKIP", "600"]
    assert move[7].startswith("600 SKIP")
    assert "posix.system is not among what is read" in hostile[2]
    assert cut[3:] == hostile[3:] == ["0", "no"]
    # Embedded by the adoption, by the sync of all, by the edit.
    assert (adoption[0], adoption[4:7]) == ("FAISS", ["0", "0", "1 of 5"])
