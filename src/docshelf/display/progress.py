"""An optional progress bar for long calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _ignore(_count: int) -> None:
    """Without a bar there is nothing to do."""


@contextmanager
def progress_bar(
    total: int | None, description: str, *, show: bool, unit: str = "entry"
) -> Iterator[Callable[[int], None]]:
    """A tqdm progress bar for a `with` block.

    Args:
        total: how many there are to do; None if nobody knows.
        description: the text before the bar.
        show: False shows no bar and does not import tqdm.
        unit: what is counted.

    Returns:
        A function `on_progress(n)`: n more are done.

    Example:
        >>> with progress_bar(2, "splitting", show=False) as on_progress:
        ...     for page in ("one", "two"):
        ...         on_progress(1)
    """
    if not show:
        yield _ignore
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, unit=unit) as bar:
        yield lambda count: _advance(bar, count)


def _advance(bar: object, count: int) -> None:
    bar.update(count)  # type: ignore[attr-defined]
