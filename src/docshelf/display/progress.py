"""A progress bar for long work, where the caller wants one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _ignore(_done: int) -> None:
    """No bar to move."""


@contextmanager
def progress_bar(total: int, description: str, *, show: bool, unit: str = "entry") -> Iterator[Callable[[int], None]]:
    """A progress bar (tqdm's) while the `with` lasts, where it is to be shown.

    Args:
        total: how much there is to do.
        description: what is done, before the bar.
        show: False shows nothing, and imports nothing.
        unit: what is counted.

    Returns:
        A function to call with the number of those that were just done.
    """
    if not show:
        yield _ignore
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, unit=unit) as bar:
        yield lambda done: _advance(bar, done)


def _advance(bar: object, done: int) -> None:
    bar.update(done)  # type: ignore[attr-defined]
