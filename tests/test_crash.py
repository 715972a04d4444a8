"""A process that is killed in the middle of a sync leaves the old state or the new one."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable

import pytest

from docshelf import DocShelf
from tests.conftest import Location
from tests.support.writers import large_sync

ITEMS = 3_000


@pytest.mark.parametrize("backend", ["sqlite", "pg18"])
def test_a_sync_that_is_killed_leaves_the_old_state_or_the_new_one(
    backend: str, new_location: Callable[[str], Location]
) -> None:
    location = new_location(backend)
    context = multiprocessing.get_context("spawn")
    with DocShelf(location.url) as shelf:
        large_sync(location.url, 0, ITEMS)
        standing = 0
        for attempt, patience in enumerate(random.Random(5).sample(range(300, 1_200), 6), start=1):
            victim = context.Process(target=large_sync, args=(location.url, attempt, ITEMS))
            victim.start()
            victim.join(patience / 1_000)
            victim.kill()
            victim.join()
            [entries] = shelf.source_entries(["large"])
            assert len(entries) == ITEMS
            [value] = {entry.value[0] for entry in entries}
            assert value in (standing, attempt)
            standing = value
        large_sync(location.url, 99, ITEMS)
        [entries] = shelf.source_entries(["large"])
        assert {entry.value[0] for entry in entries} == {99}
        assert shelf.verify() == []
