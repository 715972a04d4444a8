"""How often a failed step is retried, and how long to wait before it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from docshelf.errors import TransientError
from docshelf.logs import log_retry
from docshelf.steps import Read, Write

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTEMPTS: Final = 5


def retry_options() -> dict[str, Any]:
    """Options for tenacity, from the second attempt on. The first attempt runs without tenacity, to save its import."""
    from tenacity import retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return {
        "retry": retry_if_exception_type(TransientError),
        "stop": stop_after_attempt(_ATTEMPTS - 1),
        "wait": wait_random_exponential(multiplier=0.05, max=1.0),
        "reraise": True,
        "before_sleep": lambda state: log_retry(state.outcome.exception()),
    }


def note_retry(error: TransientError, step: Read | Write) -> None:
    """The first attempt at a step failed.

    Raises:
        TransientError: the same, for a step that is tried once only.
    """
    if isinstance(step, Read) and not step.retry:
        raise error
    log_retry(error)


@contextmanager
def count_attempts() -> Iterator[None]:
    """Add the number of attempts to the text of the last error."""
    try:
        yield
    except TransientError as exc:
        if type(exc) is TransientError:
            exc.args = (f"still failing after {_ATTEMPTS} attempts: {exc}",)
        raise
