"""Adds the children of some parents to the vector store, so that no crash loses what was paid for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from langchain_core.documents import Document

from docshelf import Item
from docshelf.adapters import Flow
from langchain_docshelf.parent_retriever.child_ids import child_id, former_child_id
from langchain_docshelf.parent_retriever.children import Draft
from langchain_docshelf.parent_retriever.ledger import Ledger, Turn, parent_part
from langchain_docshelf.parent_retriever.parents import Identity
from langchain_docshelf.vector_access import ChildId, VectorAccess


@dataclass
class _Row:
    """The children of one parent, on their way into the vector store.

    Attributes:
        key: the key of the row in the ledger.
        identity: the parent.
        drafts: its children.
        ids: their ids, in the order of the drafts.
        others: our ids of children that are in the vector store under another id, by that id. They are from before
            there were namespaces, or were adopted.
        adopted: the ids of adopted children, by our ids of them.
        former: what the row listed before.
        label: the label that it has in the ledger.
    """

    key: str
    identity: Identity
    drafts: list[Draft]
    ids: list[str]
    others: dict[str, str]
    adopted: dict[str, str]
    former: list[str]
    label: str = ""
    documents: dict[str, Document] = field(default_factory=dict)

    @property
    def listed(self) -> list[str]:
        """All ids that the vector store may hold for this row."""
        return list(dict.fromkeys([*self.ids, *self.others.values(), *self.former]))

    def item(self, ids: Sequence[str], label: str) -> Item:
        return row_item(self.key, self.identity, ids, label, self.adopted)


class Batch:
    """Adds children of the parents of one turn, batch by batch."""

    def __init__(self, turn: Turn, ledger: Ledger, vectors: VectorAccess) -> None:
        self._turn = turn
        self._ledger = ledger
        self._vectors = vectors
        self._replaced = {parent_part(row.key) for row in turn.obsolete}
        self._present = turn.children_by_parent(row for row in turn.ids if row not in turn.unverified)
        self._unverified = turn.children_by_parent(turn.unverified)
        self._unlisted = {parent_part(row) for row in turn.unreadable}

    def add(self, parents: Mapping[str, tuple[Identity, list[Draft]]]) -> Flow[tuple[int, int]]:
        """Bring the children of parents into the vector store; how many were embedded, and how many were there.

        Args:
            parents: by the keys of their rows, the parents and their children.
        """
        if not parents:
            return 0, 0
        turn = self._turn
        namespace = yield from self._ledger.namespace()
        rows = [self._row(key, identity, drafts, namespace) for key, (identity, drafts) in parents.items()]
        # A row that cannot be read is not repaired by writing the same value.
        yield from self._ledger.delete(row.key for row in rows if row.key in turn.unreadable)
        for row in rows:
            row.label = turn.pending_label(self._leading(row))
        pending = [row.item(row.listed, row.label) for row in rows]
        yield from self._ledger.write(pending)
        turn.labels.update({row.key: row.label for row in rows})
        held = yield from self._held_of(rows)
        missing = [document for row in rows for document in row.documents.values() if document.id not in held]
        embedded = yield from self._add_missing(rows, missing)
        gone = [child for row in rows for child in without(row.former, row.ids)]
        yield from self._vectors.delete(gone)
        yield from self._make_live(rows, pending)
        return embedded, sum(len(row.ids) for row in rows) - embedded

    def _row(self, key: str, identity: Identity, drafts: list[Draft], namespace: str) -> _Row:
        parent = parent_part(key)
        known = self._present.get(parent, set()) | self._unverified.get(parent, set())
        adopted = self._turn.adopted.get(parent, {})
        ids, others = [], {}
        for draft in drafts:
            new, former = (
                child_id(namespace, draft.content, draft.ordinal),
                former_child_id(draft.content, draft.ordinal),
            )
            # A child that the vector store has under another id keeps it: it is not embedded again.
            other = next((one for one in (adopted.get(new), former) if one in known), None)
            ids.append(new if other is None else other)
            if other is not None:
                others[other] = new
        kept = {new: other for other, new in others.items() if adopted.get(new) == other}
        row = _Row(key, identity, drafts, ids, others, kept, self._turn.ids.get(key, []))
        row.documents = _documents(row)
        return row

    def _leading(self, row: _Row) -> int:
        """The number of the row's first children that an earlier run added, as it wrote down."""
        parent = parent_part(row.key)
        present = self._present.get(parent, set())
        count = 0
        for child in row.ids:
            if child not in present and child not in self._turn.added:
                break
            count += 1
        return count

    def _held_of(self, rows: Sequence[_Row]) -> Flow[set[str]]:
        """Those of the children that the vector store holds. Others get ids of this ledger's namespace."""
        held: set[str] = set()
        asking: list[str] = []
        for row in rows:
            parent = parent_part(row.key)
            present, unverified = self._present.get(parent, set()), self._unverified.get(parent, set())
            held |= present.intersection(row.ids)
            every = parent in self._unlisted
            asking += [
                child
                for child in (*row.ids, *row.others.values())
                if child not in present and (every or child in unverified)
            ]
        found = yield from self._vectors.held(asking)
        if found is None:
            # It cannot be asked. Children that are not known to be there are added again, which replaces them.
            return held | self._turn.added.intersection(asking)
        held |= {str(child) for child in found}
        for row in rows:
            moved = {former: new for former, new in row.others.items() if former not in held}
            if moved:
                # The vector store does not have them under their former ids: another collection may own these.
                row.ids = [moved.get(child, child) for child in row.ids]
                row.former = without(row.former, moved)
                row.documents = _documents(row)
        return held

    def _add_missing(self, rows: Sequence[_Row], missing: Sequence[Document]) -> Flow[int]:
        """Add children in chunks, each of which stays when a later one fails; how many were embedded."""
        row_of = {child: row for row in rows for child in row.ids}
        chunks: list[list[Document]] = yield from self._vectors.chunks(missing)
        embedded = 0
        for number, chunk in enumerate(chunks, 1):
            embedded += yield from self._vectors.add(chunk)
            ids = [str(document.id) for document in chunk]
            touched = {row_of[child].key: row_of[child] for child in ids}

            def excuse(keys: Collection[str] = tuple(touched)) -> Flow[bool]:
                return bool((yield from self._ledger.changed_by_others(self._turn, list(keys))))

            verified = yield from self._vectors.verify(ids, excuse)
            self._turn.added.update(ids)
            if not verified and number < len(chunks):
                # The vector store cannot be asked what it has, so the ledger notes it for the next run.
                yield from self._write_progress(touched.values())
        return embedded

    def _write_progress(self, rows: Iterable[_Row]) -> Flow[None]:
        labels = {row.key: self._turn.pending_label(self._leading(row)) for row in rows}
        done = yield from self._ledger.relabel(
            self._turn, {key: label for key, label in labels.items() if label != self._turn.labels[key]}
        )
        for row in rows:
            if row.key in done:
                row.label = labels[row.key]

    def _make_live(self, rows: Sequence[_Row], pending: Sequence[Item]) -> Flow[None]:
        turn = self._turn
        yield from self._trim(row for row, item in zip(rows, pending, strict=True) if item.value["children"] != row.ids)
        labels = {
            row.key: turn.live_label(len(row.ids), replacing=parent_part(row.key) in self._replaced) for row in rows
        }
        done = yield from self._ledger.relabel(turn, labels)
        # The ledger must know the children of rows that another run changed or deleted meanwhile: they are in now.
        lost = [item for row, item in zip(rows, pending, strict=True) if row.key not in done]
        yield from self._ledger.write(lost)
        for row in rows:
            turn.ids[row.key] = row.ids
            turn.live[row.key] = len(row.ids)
        turn.done |= done

    def _trim(self, rows: Iterable[_Row]) -> Flow[None]:
        """Take ids off rows that the vector store no longer holds. A row is still pending: a live one lists no others.

        Rows that another run changed meanwhile stay as they are.
        """
        longer = {row.key: row for row in rows}
        if longer:
            changed = yield from self._ledger.changed_by_others(self._turn, list(longer))
            yield from self._ledger.write(
                [row.item(row.ids, row.label) for key, row in longer.items() if key not in changed]
            )


def row_item(
    row: str, identity: Identity, children: Sequence[ChildId], label: str, adopted: Mapping[str, ChildId]
) -> Item:
    """A row of the ledger.

    Args:
        row: its key.
        identity: the parent.
        children: the ids of its children.
        label: the row's label.
        adopted: the ids of adopted children, by our ids of them.
    """
    key, source = identity
    kept = {new: other for new, other in adopted.items() if other in children}
    return Item(row, {"parent": key, "children": list(children), **({"adopted": kept} if kept else {})}, source, label)


def _documents(row: _Row) -> dict[str, Document]:
    return {
        child: Document(id=child, page_content=draft.document.page_content, metadata=draft.document.metadata)
        for child, draft in zip(row.ids, row.drafts, strict=True)
    }


def without(ids: Sequence[str], others: Iterable[str]) -> list[str]:
    """The ids that are not among others, in order."""
    excluded = set(others)
    return [child for child in ids if child not in excluded]
