"""The guard against mass deletion: when a call is refused because it would delete more than anybody means."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

# A sync that would remove fewer sources than this is an everyday one.
_FEW_SOURCES: Final = 10
_NAMED: Final = 3
_REMEDY: Final = "to do so on purpose, pass allow_mass_delete=True"


def entries_refusal(
    where: str, deleted: int, existing: int, kept: int, max_delete: float | None, *, call: str = "sync of"
) -> str | None:
    """Why a call may not delete so many entries, or None where it may.

    Args:
        where: what the entries are of: "source 'a.txt'".
        deleted: how many of the `existing` entries the call would delete.
        kept: how many entries the call names.
        max_delete: the share of the existing entries that may go; None for no limit but one: not all of them, with
            nothing in their place.
        call: what the call does, for the text.
    """
    if not deleted:
        return None
    if (deleted == existing and not kept) or (max_delete is not None and deleted > max_delete * existing):
        return f"this {call} {where} would delete {deleted:,} of {existing:,} entries and leave {kept:,}; {_REMEDY}"
    return None


def sources_refusal(
    collection: str, vanished: Collection[str], count_sources: Callable[[], int], *, call: str = "sync of"
) -> str | None:
    """Why a call may not remove so many sources whole, or None where it may.

    A folder that is mounted by half, or a loader that found a few of its files, looks like this.

    Args:
        vanished: the sources that would lose all their entries.
        count_sources: gives how many sources the collection has; called only where it matters.
        call: what the call does, for the text.
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
