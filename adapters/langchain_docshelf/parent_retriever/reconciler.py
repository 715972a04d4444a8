"""Brings a vector store to what the ledger is to say of it, whatever other runs do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from langchain_core.documents import Document

from docshelf import DocShelf, Entry, progress_bar
from docshelf.adapters import Compute, Flow
from langchain_docshelf.parent_retriever.children import ChildMaker
from langchain_docshelf.parent_retriever.ledger import Children, Ledger, Turn, count_in, is_pending, parent_part
from langchain_docshelf.parent_retriever.parents import Identity, existing_entries
from langchain_docshelf.parent_retriever.vectors import VectorCalls

# How often a run repeats its work because it met another one.
_TURNS: Final = 5
# How many rows are sampled to see that the vector store is still the one that the ledger describes.
_SAMPLE: Final = 8


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
    """What the turns of a run did in the vector store, in numbers of children."""

    embedded: int = 0
    reused: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Reconciler:
    """Brings the children of parents into a vector store, and removes obsolete ones.

    Attributes:
        docs: the collection of the parents.
        ledger: the rows of the vector store.
        vectors: the calls of the vector store.
        maker: makes the children.
        batch_size: number of parents whose children are embedded together.
        show_progress: show a progress bar over the parents whose children are embedded.
    """

    docs: DocShelf
    ledger: Ledger
    vectors: VectorCalls
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
            lost = (reindex and first) or (yield from self.is_lost(rows))
            turn = yield from self.ledger.begin(target.wanted, rows, lost=lost)
            embedded, reused = yield from self._embed(turn)
            # The children that an earlier turn embedded exist now.
            totals.reused = max(0, reused - totals.embedded)
            totals.embedded += embedded
            totals.removed += yield from self._remove(turn)
            if delete_parents is not None and first:
                yield from delete_parents(turn)
            yield from self.ledger.forget_obsolete(turn)
            if not turn.conflict:
                break
            # The other run may have removed children that this turn took for present.
            yield from self.ledger.relabel(turn, dict.fromkeys(turn.done, turn.pending))
        return totals

    def is_lost(self, rows: Sequence[Entry]) -> Flow[bool]:
        """True when a sample of what live rows list is missing: the vector store is new, or others deleted from it."""
        live = [row.key for row in rows if not is_pending(row) and count_in(row)]
        if not live:
            return False
        entries = yield from self.ledger.read_rows(live[:: -(-len(live) // _SAMPLE)], values=True)
        ids = {entry.value["children"][0] for entry in entries if entry is not None and entry.value is not None}
        held = yield from self.vectors.held(sorted(ids))
        return held is not None and not ids <= held

    def _embed(self, turn: Turn) -> Flow[tuple[int, int]]:
        """Bring the children of wanted rows into the vector store; how many were embedded, and how many reused."""
        embedded, reused = 0, sum(turn.live.values())
        replaced_parents = {parent_part(row.key) for row in turn.obsolete}
        present = turn.children_by_parent(row for row in turn.ids if row not in turn.unverified)
        unverified = turn.children_by_parent(turn.unverified)
        missing = [identity for row, identity in turn.wanted.items() if row not in turn.live]
        with progress_bar(len(missing), "embedding", show=self.show_progress, unit="document") as on_progress:
            for start in range(0, len(missing), self.batch_size):
                part = missing[start : start + self.batch_size]
                entries = yield from existing_entries(self.docs, part, values=True)
                split: list[Children] = yield Compute(self._split, entries)
                # Another run may have written a parent anew since the target was read.
                batch = [children for children in split if children.row in turn.wanted]
                turn.conflict |= len(batch) < len(split)
                added = yield from self._add(turn, batch, present, unverified, replaced_parents)
                embedded += added
                reused += sum(len(children.ids) for children in batch) - added
                on_progress(len(part))
        return embedded, reused

    def _add(
        self,
        turn: Turn,
        batch: Sequence[Children],
        present: Mapping[str, set[str]],
        unverified: Mapping[str, set[str]],
        replaced_parents: set[str],
    ) -> Flow[int]:
        """Bring the children of a batch into the vector store; how many were embedded."""
        gone = {children.row: _without(turn.ids.get(children.row, []), children.ids) for children in batch}
        pending = [children.item([*children.ids, *gone[children.row]], turn.pending) for children in batch]
        yield from self.ledger.write(pending)
        held = yield from self._held_of(batch, present, unverified)
        adding = [child for children in batch for child in children.documents if child.id not in held]
        yield from self.vectors.add(adding)
        yield from self.vectors.delete([child for ids in gone.values() for child in ids], sure=False)
        labels = {}
        for children in batch:
            replacing = parent_part(children.row) in replaced_parents
            labels[children.row] = turn.live_label(len(children.ids), replacing=replacing)
            turn.labels[children.row] = turn.pending
        made = yield from self.ledger.relabel(turn, labels)
        # The ledger must know the children of rows that another run changed or deleted meanwhile: they are in now.
        lost = [item for children, item in zip(batch, pending, strict=True) if children.row not in made]
        trimmed = [
            children.item(children.ids, labels[children.row])
            for children in batch
            if children.row in made and gone[children.row]
        ]
        yield from self.ledger.write(lost + trimmed)
        for children in batch:
            turn.ids[children.row] = children.ids
            turn.live[children.row] = len(children.ids)
        turn.done |= made
        return len(adding)

    def _split(self, entries: dict[Identity, Entry]) -> list[Children]:
        """The children of stored parents."""
        return [
            Children(self.ledger.row_of(identity, entry.value_hash), identity, self.maker.children_of(identity, entry))
            for identity, entry in entries.items()
            if isinstance(entry.value, Document)
        ]

    def _held_of(
        self, batch: Sequence[Children], present: Mapping[str, set[str]], unverified: Mapping[str, set[str]]
    ) -> Flow[set[str]]:
        """Those of the children that the vector store holds.

        Args:
            present: children that it holds, by the parent's part of the rows' keys.
            unverified: children that it may hold.
        """
        held: set[str] = set()
        asking: list[str] = []
        for children in batch:
            parent = parent_part(children.row)
            known, unknown = present.get(parent, set()), unverified.get(parent, set())
            held |= known.intersection(children.ids)
            asking += [child for child in children.ids if child in unknown and child not in known]
        # A vector store that cannot be asked gets them again, which replaces them.
        return held | ((yield from self.vectors.held(asking)) or set())

    def _remove(self, turn: Turn) -> Flow[int]:
        """Remove the children of obsolete rows, except those that another row lists too; returns how many."""
        lost = yield from self.ledger.claim_obsolete(turn)
        needed = turn.children_by_parent([*turn.live, *lost])

        def removable(rows: list[str]) -> list[str]:
            return [
                child
                for parent, children in sorted(turn.children_by_parent(rows).items())
                for child in sorted(children - needed.get(parent, set()))
            ]

        present = removable([row.key for row in turn.obsolete if row.key not in turn.unverified])
        unverified = removable([row.key for row in turn.obsolete if row.key in turn.unverified])
        removed = yield from self.vectors.delete(present, sure=True)
        return removed + (yield from self.vectors.delete(_without(unverified, present), sure=False))


def _without(ids: Sequence[str], others: Iterable[str]) -> list[str]:
    excluded = set(others)
    return [child for child in ids if child not in excluded]
