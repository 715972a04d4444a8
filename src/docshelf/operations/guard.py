"""The guard against mass deletion: refuses a sync that would delete far more than a user normally means to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

# Removing fewer sources than this is normal.
_FEW_SOURCES: Final = 10
_NAMED: Final = 3
_REMEDY: Final = "to do so on purpose, pass allow_mass_delete=True"


def entries_refusal(
    where: str, deleted: int, existing: int, kept: int, max_delete: float | None, *, call: str = "sync of"
) -> str | None:
    """Why a call may not delete so many entries; None if it may.

    Args:
        where: the source or collection, for the text: "source 'a.txt'".
        deleted: how many of the `existing` entries the call would delete.
        kept: how many entries would be left.
        max_delete: the share of the existing entries that may be deleted. None only refuses to delete all of them and
            leave none.
        call: what the call does, for the text.

    Example:
        >>> entries_refusal("source 'a.txt'", deleted=1, existing=10, kept=9, max_delete=0.2) is None
        True
    """
    if not deleted:
        return None
    if (deleted == existing and not kept) or (max_delete is not None and deleted > max_delete * existing):
        return f"this {call} {where} would delete {deleted:,} of {existing:,} entries and leave {kept:,}; {_REMEDY}"
    return None


def sources_refusal(
    collection: str, vanished: Collection[str], count_sources: Callable[[], int], *, call: str = "sync of"
) -> str | None:
    """Why a call may not remove so many whole sources; None if it may.

    This happens when only a part of a folder is mounted, or a loader finds only some of the files.

    Args:
        vanished: the sources that would lose all their entries.
        count_sources: returns how many sources the collection has. Called only when needed.
        call: what the call does, for the text.

    Example:
        >>> sources_refusal("guide", ["a.txt"], lambda: 100) is None
        True
    """
    if len(vanished) < _FEW_SOURCES:
        return None
    total = count_sources()
    if 2 * len(vanished) <= total:
        return None
    names = ", ".join(map(repr, sorted(vanished)[:_NAMED]))
    return (
        f"this {call} collection {collection!r} would remove {len(vanished):,} of {total:,} sources ({names}, ...) "
        f"with all their entries, more than half; check that all files were found; {_REMEDY}"
    )
