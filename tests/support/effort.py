"""How much the tests try: `make test ALL=1` tries everything, and `make test` what shows most in little time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

ALL: Final = "DOCSHELF_TEST_ALL" in os.environ


def examples(most: int) -> int:
    """How many random examples a test tries: a third of the most, unless all are asked for."""
    return most if ALL else most // 3


def one_of(cases: Sequence[T]) -> Sequence[T]:
    """The cases that differ only in chance: the first one, unless all are asked for."""
    return cases if ALL else cases[:1]
