"""Transactions that may run again after their commit was not answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from docshelf.steps import Write

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


def repeatable_write(run: Callable[[Connection], T], merge: Callable[[T, T], T]) -> Write:
    """A `Write` step whose result covers every attempt that reached its commit.

    A connection can break after the server committed and before the client heard of it. The engine then runs the
    transaction again, and that attempt finds nothing left to do. Its result alone would say that the call did nothing.

    Args:
        run: does the work in an open transaction. It must change nothing when the work is already done.
        merge: the results of all earlier attempts and of this one -> what the call did.
    """
    earlier: list[T] = []

    def attempt(connection: Connection) -> T:
        result = run(connection)
        if earlier:
            result = merge(earlier.pop(), result)
        # An attempt that fails before this line was rolled back: it did nothing.
        earlier.append(result)
        return result

    return Write(attempt)
