"""What concurrent writers do, importable by processes that are spawned."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from docshelf import DocShelf

SOURCES = ("a.md", "b.md", "c.md")
KEYS = [f"k{number}" for number in range(12)]


def set_of(writer: int, turn: int) -> dict[str, Any]:
    """The items that a writer gives a source at a turn: its own values, for keys of its own choice and order."""
    choice = random.Random(1_000 * writer + turn)
    keys = choice.sample(KEYS, choice.randint(3, len(KEYS)))
    return {key: [writer, turn, "text " * 40] for key in keys}


def sync_in_turns(shelf: DocShelf, writer: int, turns: int) -> None:
    """Syncs overlapping sources; in between, upserts and deletes in another collection, in random order."""
    beside = shelf.view("beside")
    for turn in range(turns):
        order = random.Random(writer * 77 + turn).sample(SOURCES, len(SOURCES))
        for source in order:
            shelf.sync(set_of(writer, turn), source=source)
        items = list(set_of(writer, turn).items())
        beside.mset([(key, value, source) for source in order for key, value in items])
        beside.mdelete([key for key, _ in items[::2]])


async def async_in_turns(shelf: DocShelf, writer: int, turns: int) -> None:
    """As `sync_in_turns`, in a task."""
    beside = shelf.view("beside")
    for turn in range(turns):
        order = random.Random(writer * 77 + turn).sample(SOURCES, len(SOURCES))
        for source in order:
            await shelf.async_(set_of(writer, turn), source=source)
        items = list(set_of(writer, turn).items())
        await beside.amset([(key, value, source) for source in order for key, value in items])
        await beside.amdelete([key for key, _ in items[::2]])


def process(url: str, writer: int, turns: int) -> None:
    """One writer in a process of its own."""
    with DocShelf(url) as shelf:
        sync_in_turns(shelf, writer, turns)


def async_process(url: str, writers: int, turns: int) -> None:
    """Many tasks in a process of their own."""

    async def main() -> None:
        async with DocShelf(url) as shelf:
            await asyncio.gather(*(async_in_turns(shelf, writer, turns) for writer in range(writers)))

    asyncio.run(main())


def large_sync(url: str, value: int, items: int) -> None:
    """One large sync, to be killed in the middle."""
    with DocShelf(url) as shelf:
        shelf.sync(((f"key-{number}", [value, number]) for number in range(items)), source="large")
