"""How often a failed step is retried, how long, and how long to wait before it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from docshelf.errors import TransientError, UnreachableError
from docshelf.logs import LOGGER, log_retry
from docshelf.steps import Read, Write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenacity import RetryCallState

_ATTEMPTS: Final = 5


class Retries:
    """The retries of one step: five attempts, and while the server cannot be reached as many as `seconds` allow.

    The first attempt runs without this class, to save the import of tenacity.

    Args:
        seconds: how long to wait for a lost server; 0 waits no longer than the five attempts take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._attempts = 1
        self._others = 1
        self._waited = False

    def options(self) -> dict[str, Any]:
        """Options for tenacity."""
        from tenacity import retry_if_exception_type, wait_random_exponential

        return {
            "retry": retry_if_exception_type(TransientError),
            "stop": self._is_over,
            "wait": wait_random_exponential(multiplier=0.05, max=1.0),
            "before_sleep": self._tell,
            "reraise": True,
        }

    def _is_over(self, state: RetryCallState) -> bool:
        self._attempts += 1
        if self._is_lost(state):
            return self._attempts >= _ATTEMPTS and (state.seconds_since_start or 0) >= self._seconds
        # Deadlocks and locks count by themselves: waiting for the server must not use up their attempts.
        self._others += 1
        return self._others >= _ATTEMPTS

    @staticmethod
    def _is_lost(state: RetryCallState) -> bool:
        return state.outcome is not None and isinstance(state.outcome.exception(), UnreachableError)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is not None:
            log_retry(error, warn=self._attempts < _ATTEMPTS)
        if self._attempts >= _ATTEMPTS and not self._waited and self._is_lost(state):
            self._waited = True
            LOGGER.warning("%s. Trying again for up to %g seconds (retry_seconds)", error, self._seconds)

    @contextmanager
    def count_attempts(self) -> Iterator[None]:
        """Add the number of attempts to the text of the last error."""
        try:
            yield
        except TransientError as exc:
            if type(exc) is TransientError:
                exc.args = (f"still failing after {self._attempts} attempts: {exc}",)
            elif self._waited:
                exc.args = (f"{exc} (tried {self._attempts} times in {self._seconds:g} seconds)",)
            raise


def note_retry(error: TransientError, step: Read | Write) -> None:
    """The first attempt at a step failed.

    Raises:
        TransientError: the same, for a step that is tried once only.
    """
    if isinstance(step, Read) and not step.retry:
        raise error
    log_retry(error)
