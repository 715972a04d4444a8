"""The texts of files before and after a sync: of entries that were updated, and of the pieces that came and went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from docshelf.folder.targets import Content
from docshelf.store import DocShelf
from docshelf.types import DEL, INS, Diff, Entry, Report

_BETWEEN = "\n\n"


def old_texts(shelf: DocShelf, entries: Sequence[Sequence[Entry]]) -> dict[tuple[str, str], str]:
    """The texts of entries by key and source, in the order of insertion."""
    readable = shelf._context.codec.readable
    return {(entry.key, entry.source): readable(None, entry.value)[1] for of in entries for entry in of}


class Pieces(NamedTuple):
    """What came and went of one file."""

    old: list[str]
    new: list[str]


def file_diffs(report: Report, contents: Sequence[Content], texts: Mapping[tuple[str, str], str]) -> list[Diff]:
    """A diff for each file of which pieces came or went; its key is the source.

    Args:
        report: what the write did.
        contents: what was written.
        texts: the texts of entries before, as `old_texts` returns them. Files without any are new, and have no diff.
    """
    known = {source for _, source in texts}
    by_source: dict[str, Pieces] = {}
    for change in report:
        if change.source in known and change.op in (INS, DEL):
            by_source.setdefault(change.source, Pieces([], []))
    gone = {(change.key, change.source) for change in report if change.op == DEL}
    added = {(change.key, change.source) for change in report if change.op == INS}
    for (key, source), text in texts.items():
        if (key, source) in gone:
            by_source[source].old.append(text)
    for content in contents:
        if content.source in by_source:
            new = [piece.document.text for piece in content.pieces if (piece.key, content.source) in added]
            by_source[content.source].new.extend(new)
    return [
        Diff(source, source, _BETWEEN.join(pieces.old), _BETWEEN.join(pieces.new))
        for source, pieces in by_source.items()
    ]
