"""Waits for what another process or thread is about to do, never for an amount of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str, timeout: float = 20) -> None:
    """Return as soon as the condition holds. Fail if it does not in time."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never came to be: {what}"
        pause.wait(0.005)
