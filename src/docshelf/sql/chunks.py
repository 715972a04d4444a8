"""Splits long inputs into statements of a bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

# How many keys one array parameter holds at most, in a statement that carries no values.
KEYS_PER_STATEMENT: Final = 20_000


class Limits(Protocol):
    """The limits of one statement that carries values: rows, and bytes of values. A `Dialect` has them."""

    @property
    def chunk_rows(self) -> int:
        """How many rows."""

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of values."""


def chunked(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def bounded(values: Sequence[T], size_of: Callable[[T], int], limits: Limits) -> Iterator[Sequence[T]]:
    """Slices within the limits of one statement. A value that is larger than the limit is a slice of its own."""
    start = size = 0
    for place, value in enumerate(values):
        own = size_of(value)
        if place > start and (place - start >= limits.chunk_rows or size + own > limits.chunk_bytes):
            yield values[start:place]
            start, size = place, 0
        size += own
    if values:
        yield values[start:]
