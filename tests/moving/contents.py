"""A shelf of everything that a shelf can hold, and what of it has to arrive elsewhere."""

from __future__ import annotations

from typing import Any

from docshelf import DocShelf, Document, Item, UnknownDocument
from tests.support.values import odd_document, shape


def fill(shelf: DocShelf) -> None:
    """Give a collection entries of every kind, in several sources, with versions, and one key in two sources."""
    shelf.sync({f"k{n}": Document(f"text {n}", {"n": n}) for n in range(5)}, source="f.md", fingerprint="f1")
    shelf.mset([Item("k1", "the key in another source", "g.md", "v1"), Item("bytes", b"\0\xff"), Item("none", None)])
    shelf.set("odd", odd_document())
    shelf.set("framework", UnknownDocument("test/page", {"body": "text", "metadata": {"$n": 1}}), source="g.md")
    shelf.set("long", "word " * 5_000)
    shelf.set("with id", Document("\0\ud800", {1: (1, {2})}, "own id"))  # type: ignore[dict-item]
    shelf.set_versions({"only a version": "v2"}, source="g.md")
    shelf.sync({"k2": "read by key, as it was written last"}, source="h.md", metadata={"page": (1, 2)})


def stable(value: Any) -> Any:
    """A form of a value that does not tell the order of sets, as `repr` does."""
    if isinstance(value, Document):
        return Document, value.text, shape(value.metadata), value.id
    return shape(value)


def contents(shelf: DocShelf) -> list[tuple[Any, ...]]:
    """All entries of a collection as they are stored, in the order of insertion, without their seq."""
    names = [source.source for source in shelf.sources() if source.entries]
    entries = [entry for entries in shelf.source_entries(names) for entry in entries]
    entries.sort(key=lambda entry: entry.seq)
    return [
        (
            *(entry.key, entry.source, stable(entry.value), entry.version, entry.value_hash, entry.content_type),
            *(entry.created_at, entry.updated_at),
        )
        for entry in entries
    ]


def by_key(shelf: DocShelf) -> dict[str, str]:
    """What reads by key alone answer."""
    return {key: repr(value) for key, value in shelf.yield_items()}
