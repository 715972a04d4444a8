"""Pages of things that can be in memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def pages(items: Iterable[T], size_of: Callable[[T], int], *, most: int, most_bytes: int) -> Iterator[list[T]]:
    """Items in pages of at most so many and of at most so many bytes. A larger item is a page of its own."""
    page: list[T] = []
    held = 0
    for item in items:
        size = size_of(item)
        if page and (held + size > most_bytes or len(page) >= most):
            yield page
            page, held = [], 0
        page.append(item)
        held += size
    if page:
        yield page
