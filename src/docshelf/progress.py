"""A progress bar for long work, where the caller wants one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _ignore(_done: int) -> None:
    """No bar to move."""


@contextmanager
def progress(total: int, description: str, *, show: bool) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of entries that were just done."""
    if not show:
        yield _ignore
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, unit="entry") as bar:
        yield lambda done: _advance(bar, done)


def _advance(bar: object, done: int) -> None:
    bar.update(done)  # type: ignore[attr-defined]
