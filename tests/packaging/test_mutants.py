"""`make mutants`: its faults fit the code, and it tells those that tests notice from those that survive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.public import ROOT
from tools.mutants.__main__ import try_faults
from tools.mutants.faults import Fault, Room, WrongError, read_room, read_rooms

ROOMS = {room.name: room for room in read_rooms()}
HASHING = "src/docshelf/values/hashing.py"


@pytest.mark.parametrize("name", ROOMS)
def test_every_fault_fits_the_code(name: str) -> None:
    room = ROOMS[name]
    for fault in room.faults:
        assert fault.put_into(ROOT) != (ROOT / fault.file).read_text("utf-8")
    assert len(set(room.faults)) == len(room.faults)
    missing = [test for test in room.tests if test.startswith("tests/") and not (ROOT / test).exists()]
    assert not missing


def test_every_fault_is_listed() -> None:
    command = [sys.executable, "-m", "tools.mutants", "--list"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) == sum(len(room.faults) for room in ROOMS.values())


def test_a_fault_that_no_test_notices_survives(capsys: pytest.CaptureFixture[str]) -> None:
    before = (ROOT / HASHING).read_text("utf-8")
    line = "    digest = sha256()"
    room = Room(
        "hashing",
        ("tests/sources/test_fingerprints.py", "-k", "sha_256"),
        (Fault(HASHING, (line,), ('    digest = sha256(b"more")',)), Fault(HASHING, (line,), (f"{line}  # the same",))),
    )
    assert try_faults([(room, [0, 1])], jobs=1) == 1
    said = capsys.readouterr().out
    assert "hashing: 2 faults" in said
    assert said.count("noticed by test_fingerprints.py::") == 1
    assert said.count("SURVIVED") == 1
    assert (ROOT / HASHING).read_text("utf-8") == before, "faults go into copies"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(HASHING, ("no such line",), ()), "its lines occur 0 times"),
        (Fault(HASHING, ("",), ("x",)), r"its lines occur \d+ times"),
        (Fault(HASHING, ("from __future__ import annotations",), ("def",)), "invalid syntax"),
    ],
)
def test_a_fault_that_does_not_fit_is_an_error(fault: Fault, reason: str) -> None:
    with pytest.raises(WrongError, match=reason):
        fault.put_into(ROOT)


def test_a_file_of_faults_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "locks.diff"
    file.write_text(
        '# why\ntests -k "a or b" tests/x.py\ntests tests/y.py\n\nfile src/a.py\n\n-    one\n-    two\n+    three\n\n'
        "first tests/y.py\n\n-gone\n\nfile src/b.py\n\n-other\n"
    )
    room = read_room(file)
    faults = (
        Fault("src/a.py", ("    one", "    two"), ("    three",)),
        Fault("src/a.py", ("gone",), (), ("tests/y.py",)),
        Fault("src/b.py", ("other",), ()),
    )
    assert room == Room("locks", ("-k", "a or b", "tests/x.py", "tests/y.py"), faults)
    assert room.tests_of(faults[0]) == list(room.tests)
    assert room.tests_of(faults[1]) == ["tests/y.py", "-k", "a or b", "tests/x.py"]
    file.write_text("fault src/a.py\n")
    with pytest.raises(WrongError, match=r"'fault src/a\.py' is neither"):
        read_room(file)
