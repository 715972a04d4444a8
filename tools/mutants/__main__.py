"""Puts each fault into a copy of the project, and runs the tests of its room."""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple

from tools.mutants.faults import ROOT, Fault, Room, WrongError, read_rooms

_NOT_COPIED: Final = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.ipynb", "*.png", "*.svg", "dist")
# Exit codes of pytest.
_PASSED: Final = 0
_FAILED: Final = 1
# A fault under which a test never ends is noticed, too. In seconds.
_LONGEST: Final = 1800


class Outcome(NamedTuple):
    """What tests said of a fault.

    Attributes:
        noticed: a test failed.
        by: the test that failed.
        seconds: how long they ran.
    """

    noticed: bool
    by: str
    seconds: float


class Copies:
    """Copies of the project, one for each fault that is tried at the same time."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copy = folder / f"copy{number}"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
            self._free.put(copy)

    def run_tests(self, room: Room, fault: Fault | None = None) -> Outcome:
        """Run the tests of a room, with a fault or without."""
        copy = self._free.get()
        try:
            if fault is None:
                return _run_tests(copy, room.tests)
            file = copy / fault.file
            original = file.read_text(encoding="utf-8")
            file.write_text(fault.put_into(copy), encoding="utf-8")
            try:
                return _run_tests(copy, room.tests_of(fault))
            finally:
                file.write_text(original, encoding="utf-8")
        finally:
            self._free.put(copy)


def _run_tests(copy: Path, arguments: Sequence[str]) -> Outcome:
    paths = [copy / "src", copy / "adapters", copy]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(True, "a test that never ended", time.monotonic() - began)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode not in (_PASSED, _FAILED):
        raise WrongError("\n".join(["pytest could not run:", *lines[-15:]]))
    failed = next((line for line in lines if line.startswith(("FAILED", "ERROR"))), "")
    by = failed.partition(" ")[2].partition(" - ")[0].rpartition("/")[2]
    return Outcome(done.returncode == _FAILED, by, time.monotonic() - began)


def try_faults(rooms: Sequence[tuple[Room, Sequence[int]]], jobs: int) -> int:
    """Try faults, given by room and number; returns how many survived.

    Raises:
        WrongError: a fault cannot be put into the code, or the tests of a room fail without any.
    """
    survived = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as threads:
        copies = Copies(Path(folder), jobs)
        for room, numbers in rooms:
            for number in numbers:
                room.faults[number].put_into(ROOT)
            without = copies.run_tests(room)
            if without.noticed:
                raise WrongError(f"a test of {room.name} fails without any fault: {without.by}")
            print(f"{room.name}: {len(numbers)} faults; its tests take {without.seconds:.0f} s", flush=True)
            tried = {threads.submit(copies.run_tests, room, room.faults[number]): number for number in numbers}
            for future in as_completed(tried):
                number, outcome = tried[future], future.result()
                survived += not outcome.noticed
                verdict = f"noticed by {outcome.by}" if outcome.noticed else "SURVIVED"
                print(f"{number:>3} {room.faults[number].name}\n    {verdict} ({outcome.seconds:.0f} s)", flush=True)
    return survived


def main() -> None:
    rooms = {room.name: room for room in read_rooms()}
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description="Faults that tests have to notice.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"one of {', '.join(rooms)}; by default all")
    parser.add_argument("-n", "--numbers", nargs="+", type=int, metavar="N", help="some faults of one room")
    parser.add_argument("-j", "--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), metavar="N")
    parser.add_argument("--list", action="store_true", help="list the faults, and try none")
    options = parser.parse_args()
    unknown = [name for name in options.rooms if name not in rooms]
    if unknown:
        parser.error(f"there is no room {unknown[0]!r}; there is {', '.join(rooms)}")
    chosen = [(rooms[name], list(options.numbers or range(len(rooms[name].faults)))) for name in options.rooms or rooms]
    if options.list:
        for room, numbers in chosen:
            print(*(f"{room.name} {number:>3} {room.faults[number].name}" for number in numbers), sep="\n")
        return
    try:
        survived = try_faults(chosen, options.jobs)
    except WrongError as exc:
        sys.exit(f"make mutants: {exc}")
    total = sum(len(numbers) for _, numbers in chosen)
    print(f"{total - survived} of {total} faults noticed")
    sys.exit(survived > 0)


if __name__ == "__main__":
    main()
