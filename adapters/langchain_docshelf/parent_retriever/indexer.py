"""What a retriever's callers ask for: add documents, sync sources, delete a source."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import TextSplitter

from docshelf import Change, Entry, Item, MassDeleteError, Report
from docshelf.adapters import Call, Compute, Flow
from langchain_docshelf.base import notes_of
from langchain_docshelf.parent_retriever.children import ChildMaker
from langchain_docshelf.parent_retriever.ledger import (
    Ledger,
    Turn,
    count_in,
    is_pending,
    is_settled,
    parent_part,
    parent_part_of,
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
from langchain_docshelf.parent_retriever.vectors import VectorCalls
from langchain_docshelf.stores import DocShelfStore


class Indexer:
    """One vector store that follows one document store.

    Args:
        vectorstore: where the children are.
        store: where the parents are.
        maker: makes the children of a parent.
        parent_splitter: makes parents of documents; None takes the documents themselves.
        index: the last part of the ledger's name.
        batch_size: number of parents whose children are embedded together.
        keys_only: the reader of the parents knows only their keys, not their sources.
        show_progress: show a progress bar over the parents whose children are embedded.
    """

    def __init__(
        self,
        vectorstore: VectorStore,
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
        self._vectors = VectorCalls(vectorstore)
        self._ledger = Ledger(self._docs, index, maker.settings)
        self._reconciler = Reconciler(self._docs, self._ledger, self._vectors, maker, batch_size, show_progress)

    def add(self, documents: Iterable[Document], ids: Sequence[str] | None) -> Flow[RetrieverReport]:
        """Write documents and embed those that are new or changed; delete no other document."""
        self._vectors.check()
        parents = yield Compute(self._parents_from, documents, None, ids)
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
        allow_mass_delete: bool = False,
    ) -> Flow[RetrieverReport]:
        """Make sources hold exactly these documents, and the vector store exactly their children."""
        self._vectors.check()
        parents = yield Compute(self._parents_from, documents, source, ids)
        items = items_of(parents)
        options: dict[str, Any] = {"scope": scope, "notes": notes_of(source)}
        plan: Report = yield Call(self._docs, "sync", items, dry_run=True, **options)
        if plan.deleted and not parents and not allow_mass_delete:
            where = "the collection" if source is None else f"source {source!r}"
            raise MassDeleteError(
                f"this sync of {where} would delete all of its {len(plan.deleted):,} documents and hold none; "
                "if that is meant, pass allow_mass_delete=True"
            )
        sources = {of for _, of in parents} | ({source} if source is not None else set())
        if dry_run:
            return (yield from self._foresee(parents, plan, sources, scope, reindex=reindex))
        changes = yield from self._write_parents(parents, plan)
        yield from self._warn_of_shared_keys(parents)

        def read_target(again: bool) -> Flow[Target]:
            if again:  # the document store is the truth, whoever wrote to it
                entries = yield from entries_in(self._docs, sources, scope)
                wanted = self._rows_by_entry({(entry.key, entry.source): entry for entry in entries})
            else:
                wanted = yield from self._rows_of(list(parents))
            return Target(wanted, (yield from self._ledger.read(sources, scope)))

        def delete_parents(turn: Turn) -> Flow[None]:
            done: Report = yield Call(self._docs, "sync", items, allow_mass_delete=True, **options)
            changes.extend(done.deleted)
            turn.conflict |= bool(done.inserted or done.updated)

        totals = yield from self._reconciler.run(read_target, delete_parents if plan.deleted else None, reindex=reindex)
        return _report(changes, totals)

    def delete_source(self, source: str) -> Flow[RetrieverReport]:
        """Delete a source with its documents and their children."""
        report = yield from self.sync([], source, allow_mass_delete=True)
        yield Call(self._docs, "delete_source", source)
        return report

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

    def _rows_by_entry(self, entries: dict[Identity, Entry]) -> dict[str, Identity]:
        return {self._ledger.row_of(identity, entry.value_hash): identity for identity, entry in entries.items()}

    def _foresee(
        self, parents: Parents, plan: Report, sources: set[str], scope: Scope, *, reindex: bool
    ) -> Flow[RetrieverReport]:
        """What a sync would do. All children of a parent that changed, or is not live, count as embedded."""
        unchanged = [(change.key, change.source) for change in plan if change.op == "SKIP"]
        wanted = yield from self._rows_of(unchanged)
        rows = yield from self._ledger.read(sources, scope)
        lost = reindex or (yield from self._reconciler.is_lost(rows))
        live = {row.key: count_in(row) for row in rows if row.key in wanted and not is_pending(row) and not lost}
        splitting = [parents[change.key, change.source] for change in plan if _writes(change)]
        splitting += [parents[identity] for row, identity in wanted.items() if row not in live]
        embedded: int = yield Compute(lambda: sum(len(self._maker.pieces(parent)) for parent in splitting))
        removed = sum(count_in(row) for row in rows if row.key not in wanted)
        totals = Totals(embedded, sum(live.values()), removed)
        return _report(plan.changes, totals, dry_run=True)


def _report(changes: Iterable[Change], totals: Totals, *, dry_run: bool = False) -> RetrieverReport:
    return RetrieverReport(
        tuple(changes),
        dry_run=dry_run,
        embedded=totals.embedded,
        reused=totals.reused,
        removed=totals.removed,
    )


def _writes(change: Change) -> bool:
    return change.op in ("INS", "UPD")
