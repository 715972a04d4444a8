"""Every error that docshelf raises, under one base: `DocShelfError`.

Errors about an argument are a `ValueError` or a `TypeError` as well. A driver's own exception is never what a
caller sees first; it stands behind ours as `__cause__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docshelf.types import Problem


_WRITE_AGAIN = "Delete it and write it again, or read with on_corrupt='skip'."


class DocShelfError(Exception):
    """Base of all errors of docshelf."""


class ConfigurationError(DocShelfError, ValueError):
    """A URL, an option or a combination of options cannot work."""


class MissingEngineError(DocShelfError, TypeError):
    """A sync call on a store that was given only an AsyncEngine or AsyncConnection, or the reverse."""


class ClosedError(DocShelfError, ValueError):
    """The store was closed."""


class ArgumentTypeError(DocShelfError, TypeError):
    """An argument has the wrong type: a key that is not text, one string where a list of keys belongs, ..."""


class ArgumentValueError(DocShelfError, ValueError):
    """An argument has the right type and a value that cannot be: an empty key, a NUL, a limit passed, ..."""


class UnsupportedValueError(DocShelfError, TypeError):
    """A value holds something outside the closed set of types that can be stored without loss."""


class ValueTooLargeError(DocShelfError, ValueError):
    """A value is larger than `max_value_bytes`."""


class MassDeleteError(DocShelfError, ValueError):
    """A sync was refused because it would delete more of what stands than its caller allows."""


class CorruptEntryError(DocShelfError):
    """Rows that cannot be decoded or do not match their hash.

    Args:
        problems: one `Problem` per row, with key, source and reason.
        mend: what to do about them; by default what helps where the rows are broken.

    Attributes:
        problems: as given.
    """

    def __init__(self, problems: Sequence[Problem], mend: str = _WRITE_AGAIN) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more, see .problems)" if len(self.problems) > 1 else ""
        super().__init__(
            f"the entry with key {first.key!r} and source {first.source!r} cannot be read: {first.reason}{more}. {mend}"
        )


class SchemaError(DocShelfError):
    """The tables are missing, foreign, or of a version that this docshelf does not know."""


class DatabaseError(DocShelfError):
    """The database refused a statement; the driver's exception is the cause.

    Attributes:
        sqlstate: PostgreSQL's five-character code, or None.
    """

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class TransientError(DatabaseError):
    """A failure that may pass (deadlock, serialization failure, lock time-out), still there after all retries."""


class UnreachableError(TransientError):
    """No connection could be had, or it was lost, and retries did not help."""


class AuthenticationError(DatabaseError):
    """The server refused the user or the password."""


class CorruptEntryWarning(UserWarning):
    """Given under `on_corrupt="skip"` for each row that was left out."""
