"""Runs the command `docshelf`: in this process, as a process of its own, and on a terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docshelf.cli import main

COMMAND = [sys.executable, "-m", "docshelf"]


@dataclass(frozen=True)
class Ran:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[list[str]]:
        """The cells of lines for programs."""
        return [line.split("\t") for line in self.lines]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The objects of lines of JSON."""
        return [json.loads(line) for line in self.lines]


class Command:
    """The command on one database, run in this process."""

    def __init__(self, url: str, capsys: Any) -> None:
        self._url = url
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        code = main(["--url", self._url, *arguments])
        written = self._capsys.readouterr()
        return Ran(code, written.out, written.err)


def run(*arguments: str, cwd: Any = None, stdin: bytes = b"", **environment: str) -> Ran:
    """Run the command as a process of its own, without a terminal."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


class Terminal:
    """The command on a terminal of its own (a pty): what a person sees, types and interrupts.

    Args:
        columns: the width.
    """

    def __init__(self, arguments: Sequence[str], *, cwd: Any = None, columns: int = 80, **environment: str) -> None:
        import fcntl
        import pty
        import termios

        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**known, "TERM": "xterm", "COLUMNS": str(columns), **environment},
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Read until a text is seen."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} did not come: {self.seen}"
            if not self._read(1.0) and self._process.poll() is not None:
                raise AssertionError(f"ended without {text!r}: {self.seen}")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self, seconds: float = 60) -> int:
        """Wait until it ends; its exit code."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.seen}"
            self._read(0.2)
        while self._read(0.1):
            pass
        os.close(self._master)
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # the other side has gone
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)
