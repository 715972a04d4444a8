"""Every error that docshelf raises. All derive from `DocShelfError`.

Errors about an argument are also a `ValueError` or a `TypeError`. Errors of a driver are wrapped: the driver's own
exception is the `__cause__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docshelf.types import Problem


_WRITE_AGAIN = "Delete it and write it again, or read with on_corrupt='skip'."


class DocShelfError(Exception):
    """Base of all errors of docshelf."""


class ConfigurationError(DocShelfError, ValueError):
    """A URL, an option or a combination of options is invalid."""


class MissingEngineError(DocShelfError, TypeError):
    """A sync call on a store that has only an AsyncEngine or AsyncConnection, or an async call without one."""


class ClosedError(DocShelfError, ValueError):
    """The store was closed."""


# These are told by `health` and `diagnose` as by every call: they are about the store, and no state of its database.
ABOUT_THE_STORE: Final = (ClosedError, MissingEngineError)


class ArgumentTypeError(DocShelfError, TypeError):
    """An argument has the wrong type: a key that is not text, a string instead of a list of keys, ..."""


class ArgumentValueError(DocShelfError, ValueError):
    """An argument has the right type but an invalid value: an empty key, a NUL, a key that is too long, ..."""


class UnsupportedValueError(DocShelfError, TypeError):
    """A value contains an object of a type that cannot be stored without loss."""


class ValueTooLargeError(DocShelfError, ValueError):
    """A value is larger than `max_value_bytes`."""


class MassDeleteError(DocShelfError, ValueError):
    """A sync was refused: it would delete more of the existing entries than the caller allows."""


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


class MoveError(DocShelfError):
    """A move stopped at an entry that cannot be stored, or source and target differ at its end.

    Args:
        problems: one `Problem` for each refused entry of the page that could not be written.

    Attributes:
        problems: as given.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message)


class BadFileError(DocShelfError, ValueError):
    """A file is not an export of docshelf, is cut short, or was altered. Nothing of it was written."""


class SchemaError(DocShelfError):
    """The tables are missing, were not made by docshelf, or have a version that this docshelf does not support."""


class DatabaseError(DocShelfError):
    """The database refused a statement. The driver's exception is the `__cause__`.

    Attributes:
        sqlstate: PostgreSQL's five-character code, or None.
    """

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class TransientError(DatabaseError):
    """A failure that may pass (deadlock, serialization failure, lock time-out), and that remained after all retries."""


class UnreachableError(TransientError):
    """The connection failed or was lost, or the server starts or stops, and retries did not help."""


class TooManyConnectionsError(UnreachableError):
    """The server, the role, the database or the pooler has no connection left, and retries did not help."""


class PoolTimeoutError(DatabaseError):
    """All connections of this store's own pool stayed in use for `pool_timeout` seconds. This is not retried."""


class AuthenticationError(DatabaseError):
    """The server refused the user or the password."""


class CorruptEntryWarning(UserWarning):
    """With `on_corrupt="skip"`: a row was left out because it cannot be read."""
