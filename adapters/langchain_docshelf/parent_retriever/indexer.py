"""What a retriever's callers ask for: add documents, sync sources, delete a source, find changed sources."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from docshelf import Change, ConfigurationError, Entry, Item, MassDeleteError, Report, SourceNote
from docshelf.adapters import Call, Compute, Flow, Label, read_labels
from langchain_docshelf.base import notes_of
from langchain_docshelf.parent_retriever.children import ChildMaker
from langchain_docshelf.parent_retriever.ledger import (
    Ledger,
    Turn,
    count_in,
    is_pending,
    is_settled,
    note_label,
    parent_part,
    parent_part_of,
    rows_with_children,
)
from langchain_docshelf.parent_retriever.parents import (
    Identity,
    Parents,
    Scope,
    entries_in,
    existing_entries,
    items_of,
    parents_from,
)
from langchain_docshelf.parent_retriever.reconciler import Reconciler, Target, Totals
from langchain_docshelf.parent_retriever.report import RetrieverReport
from langchain_docshelf.parent_retriever.unknown import refuse_unknown
from langchain_docshelf.stores import DocShelfStore
from langchain_docshelf.vector_access import VectorAccess

Notes = Mapping[str, SourceNote]


class Indexer:
    """One vector store that follows one document store.

    Args:
        vectors: the way to the vector store, where the children are.
        store: where the parents are.
        maker: makes the children of a parent.
        parent_splitter: makes parents of documents; None takes the documents themselves.
        index: the last part of the ledger's name.
        batch_size: number of parents whose children are made and added together.
        keys_only: the reader of the parents knows only their keys, not their sources.
        show_progress: show a progress bar over the parents whose children are embedded.
    """

    def __init__(
        self,
        vectors: VectorAccess,
        store: DocShelfStore,
        maker: ChildMaker,
        *,
        parent_splitter: TextSplitter | None,
        index: str,
        batch_size: int,
        keys_only: bool = False,
        show_progress: bool = False,
    ) -> None:
        self._store = store
        self._docs = store.shelf
        self._maker = maker
        self._parent_splitter = parent_splitter
        self._keys_only = keys_only
        self._vectors = vectors
        self._ledger = Ledger(self._docs, index, maker.settings)
        self._reconciler = Reconciler(self._docs, self._ledger, vectors, maker, batch_size, show_progress)

    def add(
        self, documents: Iterable[Document], ids: Sequence[str] | None, *, allow_unknown: bool = False
    ) -> Flow[RetrieverReport]:
        """Write documents and embed those that are new or changed; delete no other document."""
        yield from self._check()
        parents = yield Compute(self._parents_from, documents, None, ids)
        if not allow_unknown:
            yield from refuse_unknown(parents, self._ledger, self._vectors, self._maker)
        report: Report = yield Call(self._docs, "conditional_mset", items_of(parents))
        yield from self._warn_of_shared_keys(parents)
        ops = {(change.key, change.source): change.op for change in report}

        def read_target(again: bool) -> Flow[Target]:
            wanted = yield from self._rows_of(list(parents))
            found = yield from self._ledger.read_rows(list(wanted))
            rows = {row.key: row for row in found if row is not None}
            settled = {identity for row, identity in wanted.items() if row in rows and is_settled(rows[row])}
            # Only a parent that existed before can have rows of other versions.
            changed = {
                identity
                for identity, op in ops.items()
                if again or op == "UPD" or (op == "SKIP" and identity not in settled)
            }
            if changed:
                parts = {parent_part_of(identity) for identity in changed}
                others = yield from self._ledger.read({source for _, source in changed}, "sources")
                rows |= {row.key: row for row in others if parent_part(row.key) in parts}
            return Target(wanted, list(rows.values()))

        totals = yield from self._reconciler.run(read_target)
        return _report(report.changes, totals)

    def sync(
        self,
        documents: Iterable[Document],
        source: str | None,
        *,
        ids: Sequence[str] | None = None,
        scope: Scope = "sources",
        dry_run: bool = False,
        reindex: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        allow_unknown: bool = False,
        notes: Notes | None = None,
    ) -> Flow[RetrieverReport]:
        """Make sources hold exactly these documents, and the vector store exactly their children."""
        yield from self._check()
        parents = yield Compute(self._parents_from, documents, source, ids)
        items = items_of(parents)
        if notes:  # refuses wrong ones
            yield Call(self._docs, "conditional_mset", [], notes=notes, dry_run=True)
        # Until the children are live, sources are only named.
        named = notes_of(source, dict.fromkeys(notes, SourceNote()) if notes else None)
        options: dict[str, Any] = {"scope": scope, "notes": named}
        guard = {"max_delete": max_delete, "allow_mass_delete": allow_mass_delete}
        plan: Report = yield Call(self._docs, "sync", items, dry_run=True, **guard, **options)
        if plan.refused is not None and not dry_run:
            raise MassDeleteError(plan.refused)
        if not allow_unknown:
            yield from refuse_unknown(parents, self._ledger, self._vectors, self._maker)
        sources = {of for _, of in parents} | set(named or ())
        if dry_run:
            return (yield from self._foresee(parents, plan, sources, scope, reindex=reindex))
        changes = yield from self._write_parents(parents, plan)
        yield from self._warn_of_shared_keys(parents)
        vanished: set[str] = set()

        def read_target(again: bool) -> Flow[Target]:
            if again:  # the document store is the truth, whoever wrote to it
                entries = yield from entries_in(self._docs, sources, scope)
                wanted = self._rows_by_entry({(entry.key, entry.source): entry for entry in entries})
            else:
                wanted = yield from self._rows_of(list(parents))
            rows, noted = yield from self._ledger.read_with_notes(sources, scope)
            vanished.clear()
            vanished.update(noted.keys() - {of for _, of in wanted.values()})
            return Target(wanted, rows)

        def delete_parents(turn: Turn) -> Flow[None]:
            done: Report = yield Call(self._docs, "sync", items, allow_mass_delete=True, **options)
            changes.extend(done.deleted)
            # Parents that another run wrote meanwhile may have children that this turn does not know.
            turn.conflict |= bool(done.inserted or done.updated or set(done.deleted) - set(plan.deleted))

        totals = yield from self._reconciler.run(read_target, delete_parents if plan.deleted else None, reindex=reindex)
        yield from self._ledger.drop_notes(vanished)
        if notes and not totals.unfinished:
            yield from self._write_notes(notes, totals.wanted)
        return _report(changes, totals)

    def delete_source(self, source: str) -> Flow[RetrieverReport]:
        """Delete a source with its documents and their children."""
        report = yield from self.sync([], source, allow_mass_delete=True, allow_unknown=True)
        yield Call(self._docs, "delete_source", source)
        return report

    def changed_sources(self, fingerprints: Mapping[str, str]) -> Flow[list[str]]:
        """The sources that are not synced from files of these fingerprints, in input order."""
        changed: set[str] = set((yield Call(self._docs, "changed_sources", fingerprints)))
        same = {source: fingerprint for source, fingerprint in fingerprints.items() if source not in changed}
        changed |= yield from self.unsettled_sources(same)
        return [source for source in fingerprints if source in changed]

    def unsettled_sources(self, fingerprints: Mapping[str, str]) -> Flow[set[str]]:
        """Of sources whose notes have these fingerprints, those whose parents or children are not as their sync left
        them."""
        if not fingerprints:
            return set()

        def rows_of(parents: Iterable[Label]) -> dict[str, str]:
            return {self._ledger.row_of((key, source), value_hash): source for key, source, value_hash, _ in parents}

        sources = list(fingerprints)
        wanted: dict[str, str] = yield read_labels(self._docs, sources, rows_of)
        state = yield from self._ledger.read_state(sources, wanted)
        if (yield from self._reconciler.is_lost(state.live)):
            return set(fingerprints)
        rows_by_source = {
            source: [row for row, _ in rows]
            for source, rows in groupby(sorted(wanted.items(), key=itemgetter(1)), itemgetter(1))
        }
        return state.unsettled | {
            source
            for source, fingerprint in fingerprints.items()
            if state.notes.get(source) != note_label(fingerprint, rows_by_source.get(source, ()))
        }

    def _check(self) -> Flow[None]:
        """Refuse what cannot work, before anything is written."""
        if self._docs.is_bound:
            raise ConfigurationError(
                "the document store is bound to a connection of yours; if that is rolled back, the vector store keeps "
                "children that no record knows. Give the retriever a store on a url, an engine, or a shelf that is not "
                "bound"
            )
        yield from self._vectors.check()
        yield from self._maker.check()

    def _parents_from(self, documents: Iterable[Document], source: str | None, ids: Sequence[str] | None) -> Parents:
        return parents_from(documents, source, ids, self._store, self._parent_splitter)

    def _write_parents(self, parents: Parents, plan: Report) -> Flow[list[Change]]:
        """Write the parents that are new or changed."""
        changed = {
            (change.key, change.source): parents[change.key, change.source] for change in plan if _writes(change)
        }
        ops = {}
        if changed:
            written: Report = yield Call(self._docs, "conditional_mset", items_of(changed))
            ops = {(change.key, change.source): change for change in written}
        return [ops.get((change.key, change.source), change) for change in plan if change.op != "DEL"]

    def _write_notes(self, notes: Notes, wanted: dict[str, Identity]) -> Flow[None]:
        """Write down which file each source was made of, now that its children are live."""
        yield Call(self._docs, "conditional_mset", [], notes=notes)
        rows: dict[str, list[str]] = {source: [] for source in notes}
        for row, (_, source) in wanted.items():
            rows.setdefault(source, []).append(row)
        yield from self._ledger.write_notes(
            {
                source: note_label(note.fingerprint, rows[source])
                for source, note in notes.items()
                if note.fingerprint is not None
            }
        )

    def _warn_of_shared_keys(self, parents: Parents) -> Flow[None]:
        """Warn of parents that their reader cannot tell from parents of other sources."""
        if not self._keys_only or not parents:
            return
        once = {key: Item(key, document, source) for (key, source), document in parents.items()}
        plan: Report = yield Call(self._docs, "conditional_mset", list(once.values()), move=True, dry_run=True)
        if plan.deleted:
            key, _, source = plan.deleted[0]
            warnings.warn(
                f"{len(plan.deleted):,} parents are in another source too, as {key!r:.60} is in {source!r:.60}: a "
                "retriever of langchain-classic reads by id alone, and returns the one that was written last; give ids "
                "that differ in all sources, or use langchain_docshelf.ParentDocumentRetriever",
                stacklevel=2,
            )

    def _rows_of(self, identities: Sequence[Identity]) -> Flow[dict[str, Identity]]:
        """The rows that parents are to have, as they are stored now."""
        return self._rows_by_entry((yield from existing_entries(self._docs, identities, values=False)))

    def _rows_by_entry(self, entries: Mapping[Identity, Entry]) -> dict[str, Identity]:
        return {self._ledger.row_of(identity, entry.value_hash): identity for identity, entry in entries.items()}

    def _foresee(
        self, parents: Parents, plan: Report, sources: set[str], scope: Scope, *, reindex: bool
    ) -> Flow[RetrieverReport]:
        """What a sync would do. All children of a parent that changed, or is not live, count as embedded."""
        unchanged = [(change.key, change.source) for change in plan if change.op == "SKIP"]
        wanted = yield from self._rows_of(unchanged)
        rows = yield from self._ledger.read(sources, scope)
        lost = reindex or (yield from self._reconciler.is_lost(rows_with_children(rows)))
        live = {row.key: count_in(row) for row in rows if row.key in wanted and not is_pending(row) and not lost}
        splitting = [parents[change.key, change.source] for change in plan if _writes(change)]
        splitting += [parents[identity] for row, identity in wanted.items() if row not in live]
        embedded: int = yield Call(self._maker, "count", splitting)
        removed = sum(count_in(row) for row in rows if row.key not in wanted)
        return _report(plan.changes, Totals(embedded, sum(live.values()), removed), plan=plan)


def _report(changes: Iterable[Change], totals: Totals, *, plan: Report | None = None) -> RetrieverReport:
    return RetrieverReport(
        tuple(changes),
        dry_run=plan is not None,
        refused=None if plan is None else plan.refused,
        embedded=totals.embedded,
        reused=totals.reused,
        removed=totals.removed,
        unfinished=totals.unfinished,
    )


def _writes(change: Change) -> bool:
    return change.op in ("INS", "UPD")
