"""The checked arguments of a call that writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.sql.rows import Identity
from docshelf.types import SourceNote
from docshelf.validation import check_label, check_share, check_source
from docshelf.values.json import EncodeError, dumps

Scope = Literal["source", "sources", "collection"]


@dataclass(frozen=True)
class WritePlan:
    """The checked arguments of one call that writes items.

    Attributes:
        scope: which unlisted entries are deleted: none (None), those of `sources` ("source" and "sources"), or those
            of the whole collection.
        sources: the sources that the call names.
        notes: fingerprints and metadata to store, by source.
        move: a key lives in one source only. Writing it deletes its entries in other sources.
        max_delete: the share of the existing entries that may be deleted; None guards whole sources instead.
        diff: add the texts of updated entries, before and after, to the report.
        counts: the report has counts alone.
        of_sync: this is a part of a sync that is done in parts. The sources that it changes have no fingerprint until
            the last part.
    """

    scope: Scope | None = None
    sources: frozenset[str] = frozenset()
    notes: Mapping[str, SourceNote] = field(default_factory=dict)
    move: bool = False
    dry_run: bool = False
    max_delete: float | None = None
    allow_mass_delete: bool = False
    diff: bool = False
    counts: bool = False
    of_sync: bool = False


PlanOf = Callable[[Collection[Identity]], WritePlan]
"""Makes the plan of a call from the identities of its items."""


def mset_plan(*, move: bool, notes: Mapping[str, SourceNote] | None, dry_run: bool, diff: bool, counts: bool) -> PlanOf:
    """The plan of `mset` and `conditional_mset`."""
    checked_notes = _check_notes(notes)

    def plan_of(identities: Collection[Identity]) -> WritePlan:
        if move and len({key for key, _ in identities}) < len(identities):
            raise ArgumentValueError(
                "with move=True a key lives in one source only, but the items name one key with two sources"
            )
        sources = frozenset(of for _, of in identities) | checked_notes.keys()
        return WritePlan(sources=sources, move=move, notes=checked_notes, dry_run=dry_run, diff=diff, counts=counts)

    return plan_of


def sync_plan(
    *,
    source: str,
    scope: Scope,
    dry_run: bool,
    diff: bool,
    max_delete: float | None,
    allow_mass_delete: bool,
    counts: bool,
    note: SourceNote,
    notes: Mapping[str, SourceNote] | None,
) -> PlanOf:
    """The plan of `sync`."""
    if scope not in ("source", "sources", "collection"):
        raise ArgumentValueError(f"scope={scope!r}: give 'source', 'sources' or 'collection'")
    check_share(max_delete)
    checked_notes = _check_notes(notes)
    if scope == "source":
        if checked_notes:
            raise ArgumentValueError(
                "notes= is for other scopes, as scope='sources'; here pass fingerprint= and metadata="
            )
        checked_notes = _check_notes({source: note})
    elif note != SourceNote():
        raise ArgumentValueError(f"fingerprint and metadata are for scope='source'; with {scope!r} pass notes=")

    def plan_of(identities: Collection[Identity]) -> WritePlan:
        sources = frozenset(of for _, of in identities) | checked_notes.keys()
        if scope == "source" and len(sources) > 1:
            key, other = next(identity for identity in identities if identity[1] != source)
            raise ArgumentValueError(
                f"the item {key!r} names the source {other!r} in a sync of the source {source!r}; sync each source on "
                "its own, or pass scope='sources'"
            )
        return WritePlan(
            scope,
            sources,
            notes=checked_notes,
            dry_run=dry_run,
            diff=diff,
            max_delete=max_delete,
            allow_mass_delete=allow_mass_delete,
            counts=counts,
        )

    return plan_of


def _check_notes(notes: Mapping[str, SourceNote] | None) -> dict[str, SourceNote]:
    if notes is None:
        return {}
    if not isinstance(notes, Mapping):
        raise ArgumentTypeError(f"notes is a {type(notes).__name__}; give a mapping of sources to SourceNote")
    checked = {}
    for source, note in notes.items():
        if not isinstance(note, SourceNote):
            raise ArgumentTypeError(f"the note of {source!r:.60} is a {type(note).__name__}; give a SourceNote")
        fingerprint = check_label(note.fingerprint, "fingerprint")
        checked[check_source(source)] = SourceNote(fingerprint, _check_metadata(note.metadata, source))
    return checked


def _check_metadata(metadata: Mapping[str, Any] | None, source: str) -> dict[str, Any] | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise ArgumentTypeError(
            f"the metadata of the source {source!r:.60} is a {type(metadata).__name__}; give a mapping"
        )
    try:
        dumps(dict(metadata))
    except EncodeError as exc:
        raise ArgumentTypeError(f"the metadata of the source {source!r:.60}: {exc}") from exc
    return dict(metadata)
