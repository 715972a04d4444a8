"""Brings a vector store to what the ledger is to say of it, whatever other runs do meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from docshelf import DocShelf, Entry, progress_bar
from docshelf.adapters import Call, Flow
from langchain_docshelf.parent_retriever.batch import Batch, without
from langchain_docshelf.parent_retriever.children import ChildMaker, Drafts
from langchain_docshelf.parent_retriever.ledger import Ledger, Turn, rows_with_children
from langchain_docshelf.parent_retriever.parents import Identity, existing_entries
from langchain_docshelf.parent_retriever.recovery import recover_unreadable
from langchain_docshelf.vector_access import VectorAccess

# How often a run repeats its work because it met another one.
_TURNS: Final = 5
# How many rows are sampled to see that the vector store is still the one that the ledger describes.
_SAMPLE: Final = 8

_log = logging.getLogger("docshelf")


class Target(NamedTuple):
    """What a run is to reach.

    Attributes:
        wanted: the rows that shall exist, with their parents.
        rows: the rows that exist.
    """

    wanted: dict[str, Identity]
    rows: list[Entry]


@dataclass
class Totals:
    """What the turns of a run did in the vector store, in numbers of children.

    Attributes:
        wanted: the rows of the last turn, with their parents.
        unfinished: work is left for the next run.
    """

    embedded: int = 0
    reused: int = 0
    removed: int = 0
    wanted: dict[str, Identity] = field(default_factory=dict)
    unfinished: bool = False


@dataclass(frozen=True)
class Reconciler:
    """Brings the children of parents into a vector store, and removes obsolete ones.

    Attributes:
        docs: the collection of the parents.
        ledger: the rows of the vector store.
        vectors: the way to the vector store.
        maker: makes the children.
        batch_size: number of parents whose children are made and added together.
        show_progress: show a progress bar over the parents whose children are embedded.
    """

    docs: DocShelf
    ledger: Ledger
    vectors: VectorAccess
    maker: ChildMaker
    batch_size: int
    show_progress: bool = False

    def run(
        self,
        read_target: Callable[[bool], Flow[Target]],
        delete_parents: Callable[[Turn], Flow[None]] | None = None,
        *,
        reindex: bool = False,
    ) -> Flow[Totals]:
        """Bring the vector store to the target; again, as long as other runs come between.

        Args:
            read_target: reads what the run is to reach. Its argument is True after another run came between.
            delete_parents: deletes obsolete parents. It is called once, after their children are removed and before
                their rows are deleted.
            reindex: take no row as live.
        """
        totals = Totals()
        for turn_number in range(_TURNS):
            first = turn_number == 0
            target = yield from read_target(not first)
            rows = yield from self.ledger.drop_unlabelled(target.rows)
            unproven = yield from self._is_unproven()
            lost = (reindex and first) or (yield from self.is_lost(rows_with_children(rows)))
            if unproven and rows and not lost:
                yield from self.ledger.namespace()
            turn = yield from self.ledger.begin(target.wanted, rows, lost=lost)
            kept = yield from recover_unreadable(turn, self.docs, self.ledger, self.vectors, self.maker)
            embedded, reused = yield from self._embed(turn)
            # The children that an earlier turn embedded exist now.
            totals.reused = max(0, reused - totals.embedded)
            totals.embedded += embedded
            totals.removed += yield from self._remove(turn)
            if delete_parents is not None and first:
                yield from delete_parents(turn)
            yield from self.ledger.forget_obsolete(turn)
            turn.conflict |= yield from self._parents_changed(turn)
            totals.wanted, totals.unfinished = target.wanted, turn.conflict or kept
            if not turn.conflict:
                break
            # The other run may have removed children that this turn took for present.
            yield from self.ledger.relabel(turn, dict.fromkeys(turn.done, turn.pending))
        else:
            _log.warning(
                "after %d turns other runs still change the same documents of %r; the vector store may lack children "
                "or have obsolete ones until the next sync",
                _TURNS,
                self.docs.collection,
            )
        return totals

    def is_lost(self, live: Sequence[str]) -> Flow[bool]:
        """True when a sample of what live rows list is missing: the vector store is new, or others deleted from it.

        All that is listed is looked for, once, in a ledger of before namespaces: another collection of the database may
        own some of these ids.

        Args:
            live: the rows whose children are all in the vector store, without those that have none.
        """
        unproven = yield from self._is_unproven()
        if unproven:
            live = rows_with_children((yield from self.ledger.read(set(), "collection")))
        if not live:
            return False
        sample = live if unproven else live[:: -(-len(live) // _SAMPLE)]
        entries = yield from self.ledger.read_rows(sample, values=True)
        row_of = {
            child: entry
            for entry in entries
            if entry is not None and entry.value is not None
            for child in entry.value["children"][: None if unproven else 1]
        }
        missing = (yield from self.vectors.missing(sorted(row_of, key=str))) or []
        if not missing:
            return False
        # Another run may have removed children since their rows were read.
        labels = {row.key: row.version for row in (yield from self.ledger.read_rows(sample)) if row is not None}
        return any(labels.get(row.key) == row.version for row in (row_of[child] for child in missing))

    def _is_unproven(self) -> Flow[bool]:
        """True for a ledger of before namespaces whose vector store shares ids with other collections."""
        return self.vectors.shares_ids and (yield from self.ledger.read_namespace()) is None

    def _parents_changed(self, turn: Turn) -> Flow[bool]:
        """True when another run wrote or deleted parents of rows that this turn made live."""
        parents = [turn.wanted[row] for row in turn.done]
        if not parents:
            return False
        entries = yield from existing_entries(self.docs, parents, values=False)
        rows = {self.ledger.row_of(identity, entry.value_hash) for identity, entry in entries.items()}
        return not turn.done <= rows

    def _embed(self, turn: Turn) -> Flow[tuple[int, int]]:
        """Bring the children of wanted rows into the vector store; how many were embedded, and how many reused."""
        embedded, reused = 0, sum(turn.live.values())
        missing = [identity for row, identity in turn.wanted.items() if row not in turn.live]
        if not missing:
            return embedded, reused
        batch = Batch(turn, self.ledger, self.vectors)
        with progress_bar(len(missing), "embedding", show=self.show_progress, unit="document") as on_progress:
            for start in range(0, len(missing), self.batch_size):
                part = missing[start : start + self.batch_size]
                entries = yield from existing_entries(self.docs, part, values=True)
                drafts: Drafts = yield Call(self.maker, "make", entries)
                rows = {
                    self.ledger.row_of(identity, entries[identity].value_hash): (identity, children)
                    for identity, children in drafts.by_parent.items()
                }
                # Another run may have written a parent anew since the target was read.
                turn.conflict |= not rows.keys() <= turn.wanted.keys()
                added, present = yield from batch.add({row: rows[row] for row in rows if row in turn.wanted})
                embedded += added
                reused += present
                if drafts.failure is not None:
                    raise drafts.failure
                on_progress(len(part))
        return embedded, reused

    def _remove(self, turn: Turn) -> Flow[int]:
        """Remove the children of obsolete rows, except those that another row lists too; returns how many."""
        lost = yield from self.ledger.claim_obsolete(turn)
        needed = turn.children_by_parent([*turn.live, *lost])

        def removable(rows: Iterable[str]) -> list[str]:
            return [
                child
                for parent, children in sorted(turn.children_by_parent(rows).items())
                for child in sorted(children - needed.get(parent, set()), key=str)
            ]

        present = removable(row.key for row in turn.obsolete if row.key not in turn.unverified)
        unverified = removable(row.key for row in turn.obsolete if row.key in turn.unverified)
        removed = yield from self.vectors.delete(present, sure=True)
        return removed + (yield from self.vectors.delete(without(unverified, present)))
