"""What docshelf writes to the log: one line for each call, and each retry. Never a key, a value or a password.

Lines go to the logger `docshelf`: calls at DEBUG, retries at WARNING.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Final

LOGGER: Final = logging.getLogger("docshelf")
# An application that configures no logging sees nothing, as Python advises for libraries.
LOGGER.addHandler(logging.NullHandler())
# The retries of the call that is under way. A list, so that threads and greenlets of the call count in the same one.
_retries: ContextVar[list[str] | None] = ContextVar("docshelf_retries", default=None)


def logs_calls() -> bool:
    """True when somebody reads the lines about calls."""
    return LOGGER.isEnabledFor(logging.DEBUG)


@contextmanager
def logged_call(operation: object, collection: str) -> Iterator[Callable[[Any], None]]:
    """Write the line of one call when the `with` ends.

    Args:
        operation: a generator that does it, whose function has the operation's name.
        collection: the collection that it is done to.

    Returns:
        A function to call with the result, of which the line says how much it is.
    """
    retries: list[str] = []
    token = _retries.set(retries)
    start = perf_counter()
    outcome = "failed"

    def note(result: Any) -> None:
        nonlocal outcome
        outcome = amount(result)

    try:
        yield note
    except BaseException as exc:
        # The text of an error may hold keys, and parts of values.
        outcome = f"failed with {type(exc).__name__}"
        raise
    finally:
        _retries.reset(token)
        milliseconds = 1000 * (perf_counter() - start)
        LOGGER.debug(
            "%s collection=%r %s ms=%.1f retries=%d",
            getattr(operation, "__name__", "call"),
            collection,
            outcome,
            milliseconds,
            len(retries),
        )


def log_retry(error: BaseException, *, warn: bool = True) -> None:
    """A step failed with an error that may pass, and will be tried again.

    Args:
        error: what it failed with. The line has its class and the server's code for it.
        warn: False only counts the retry.
    """
    retries = _retries.get()
    if retries is not None:
        retries.append(type(error).__name__)
    if not warn:
        return
    state = getattr(error, "sqlstate", None)
    LOGGER.warning("a step failed with %s%s and is tried again", type(error).__name__, f" ({state})" if state else "")


def amount(result: Any) -> str:
    """How much a result is: the counts of a report, the length of a list, a number."""
    counts = getattr(result, "counts", None)
    if isinstance(counts, dict):
        return " ".join(f"{op}={count}" for op, count in counts.items())
    if isinstance(result, bool) or result is None:
        return "done"
    if isinstance(result, int):
        return f"count={result}"
    return f"count={len(result)}" if isinstance(result, Sized) else "done"
