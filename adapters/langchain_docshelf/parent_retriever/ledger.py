"""The ledger: which children a vector store may hold, written down before they go in.

The document store is the truth, and the vector store follows it. The ledger is a collection that belongs to the one of
the parents. It has a row for each version of a parent under each of the retriever's settings. The row's key follows
from the parent's name, the hash of its stored value and the settings; the row's value lists the ids of the children.
All of these follow from the documents and the ledger's namespace. So two runs mean the same children by the same ids,
and so do a run and its repetition after a crash.

A row is "pending" before any of its children is added, and again before any is removed. Between, it is "live": all its
children are in the vector store. So the vector store never holds a child that the ledger does not know. The order of a
run is: write parents, make rows pending, add children, make rows live; then, for obsolete rows, make them pending,
remove their children, delete the parents, delete the rows. After a crash between any two steps, the next run finds the
rows that are not live and does their work again.

Other runs may work on the same parents at the same time. So a row's label has the mark of the run that wrote it, and a
run relabels or deletes a row only while it has the label that this run knows. A row with another label is a conflict:
two runs met. Then the run takes none of its work as done, reads again what exists, and repeats its work.

Two kinds of rows are about more than one parent. One holds the namespace, which the first run draws and all ids of
children begin with. The others are notes: which file of a source the live rows were made of.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from docshelf import DocShelf, DocShelfError, Entry, Item, Report
from docshelf.adapters import Call, Flow, Label, read_labels
from langchain_docshelf.parent_retriever.child_ids import stable_digest, stable_uuid
from langchain_docshelf.parent_retriever.parents import Identity, Scope, entries_in

_PENDING: Final = "pending"
_LIVE: Final = "live"
# As "live", while older versions of the same parent still have rows.
_REPLACING: Final = "replacing"
# How often a run tries to label rows that other runs keep changing.
_ATTEMPTS: Final = 5
# Keys of rows that are about more than one parent. Those of all other rows begin with a UUID.
_NAMESPACE: Final = "namespace"
_NOTE: Final = "note/"


@dataclass
class Turn:
    """What the ledger says of the parents of a run, and what one turn of the run did.

    Attributes:
        wanted: the rows that shall exist, with their parents.
        live: the wanted rows whose children are all in the vector store, with the number of children.
        obsolete: the rows that shall not exist.
        labels: the label that this run knows of each row.
        mark: what the labels end with that this turn writes.
        ids: the children of the rows that were read or written, by row.
        adopted: the ids that children have in the vector store which others added, by the ids that they would have, by
            the first part of the row's key.
        unverified: the rows among `ids` whose children may or may not be in the vector store.
        added: children of pending rows that a run before this one added, as it wrote down.
        unreadable: the rows whose values cannot be read, so that their children are not known.
        done: the rows that this turn made live.
        conflict: another run changed one of these rows meanwhile.
    """

    wanted: dict[str, Identity]
    live: dict[str, int]
    obsolete: list[Entry]
    labels: dict[str, str | None]
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    ids: dict[str, list[str]] = field(default_factory=dict)
    adopted: dict[str, dict[str, str]] = field(default_factory=dict)
    unverified: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    conflict: bool = False

    @property
    def pending(self) -> str:
        """The label of this turn's pending rows."""
        return self.pending_label(0)

    def pending_label(self, added: int) -> str:
        """The label of a pending row of this turn, of whose children so many, from the first, were added."""
        return self._label(_PENDING, added)

    def live_label(self, children: int, *, replacing: bool) -> str:
        """The label of a live row of this turn with so many children."""
        return self._label(_REPLACING if replacing else _LIVE, children)

    def _label(self, state: str, number: int) -> str:
        return f"{state}:{number} by {self.mark}"

    def children_by_parent(self, rows: Iterable[str]) -> dict[str, set[str]]:
        """The children of rows, by the first part of the row's key, which names the parent."""
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(parent_part(row), set()).update(self.ids.get(row, ()))
        return found


class SourceRows(NamedTuple):
    """What a ledger says of some sources.

    Attributes:
        rows: one for each version of a parent.
        notes: the labels of the notes, by source.
    """

    rows: list[Entry]
    notes: dict[str, str | None]


class SourceState(NamedTuple):
    """What a ledger says of some sources in short.

    Attributes:
        unsettled: the sources whose live rows are not exactly those that shall exist.
        notes: the labels of the notes, by source.
        live: the rows whose children are all in the vector store, without those that have none.
    """

    unsettled: set[str]
    notes: dict[str, str | None]
    live: list[str]


class Ledger:
    """The rows of one vector store.

    Args:
        docs: the collection of the parents.
        index: the last part of the ledger's name.
        settings: what the children of a parent depend on besides the parent, as JSON.
    """

    def __init__(self, docs: DocShelf, index: str, settings: Any) -> None:
        self._docs = docs
        self._settings = stable_digest(settings)
        self._shelf = docs.companion(f"/{index}", content_types=(), on_corrupt="skip", hash_on="value", hash_exclude=())
        self._namespace: str | None = None

    def row_of(self, identity: Identity, value_hash: bytes | None) -> str:
        """The key of the row of a version of a parent under these settings."""
        return f"{parent_part_of(identity)}/{stable_digest((value_hash or b'').hex(), self._settings)}"

    # Namespace

    def namespace(self) -> Flow[str]:
        """What the ids of new children begin with. The first run draws it; of several first runs, one."""
        found = yield from self.read_namespace()
        if found is None:
            drawn = {_NAMESPACE: secrets.token_hex(16)}
            yield Call(self._shelf, "set_versions", drawn, source="", expected={_NAMESPACE: None})
            found = yield from self.read_namespace()
        if found is None:
            raise DocShelfError(f"another process keeps clearing the collection {self._shelf.collection!r}; stop it")
        return found

    def is_new(self) -> Flow[bool]:
        """True while no run has written to it."""
        if (yield from self.read_namespace()) is not None:
            return False
        return not (yield Call(self._shelf, "count", at_most=1))

    def read_namespace(self) -> Flow[str | None]:
        """The namespace; None if no run drew one."""
        if self._namespace is None:
            self._namespace = yield from _namespace_in(self._shelf)
        return self._namespace

    def others(self, sources: Collection[str]) -> Flow[tuple[set[str], set[str]]]:
        """The namespaces of the other ledgers of these documents, and the children that they list for some sources."""
        namespaces: set[str] = set()
        children: set[str] = set()
        for name in (yield Call(self._docs, "companions")):
            if name == self._shelf.collection:
                continue
            other = self._docs.view(name, content_types=(), on_corrupt="skip", hash_on="value", hash_exclude=())
            namespace = yield from _namespace_in(other)
            namespaces.update([] if namespace is None else [namespace])
            by_source: list[list[Entry]] = yield Call(other, "source_entries", sorted(sources))
            values = [entry.value for entries in by_source for entry in entries if _is_row(entry)]
            children.update(child for value in values if isinstance(value, dict) for child in value.get("children", ()))
        return namespaces, children

    # Reading

    def read(self, sources: set[str], scope: Scope) -> Flow[list[Entry]]:
        """The rows of some sources, or of all."""
        return (yield from self.read_with_notes(sources, scope)).rows

    def read_with_notes(self, sources: set[str], scope: Scope) -> Flow[SourceRows]:
        """The rows and the notes of some sources, or of all."""
        entries = yield from entries_in(self._shelf, sources, scope)
        notes = {entry.source: entry.version for entry in entries if entry.key.startswith(_NOTE)}
        return SourceRows([entry for entry in entries if _is_row(entry)], notes)

    def read_state(self, sources: Sequence[str], wanted: Mapping[str, str]) -> Flow[SourceState]:
        """The state of some sources.

        Args:
            sources: their names.
            wanted: the rows that shall exist, each with its source.
        """

        def state_of(rows: Iterable[Label]) -> SourceState:
            state = SourceState(set(), {}, [])
            settled = set()
            for row in rows:
                if row.key.startswith(_NOTE):
                    state.notes[row.source] = row.version
                elif _is_row(row):
                    if is_settled(row) and wanted.get(row.key) == row.source:
                        settled.add(row.key)
                    else:
                        state.unsettled.add(row.source)
                    if _has_children(row):
                        state.live.append(row.key)
            state.unsettled.update(wanted[row] for row in wanted.keys() - settled)
            return state

        state: SourceState = yield read_labels(self._shelf, sources, state_of)
        return state

    def read_rows(self, rows: Sequence[str], *, values: bool = False) -> Flow[list[Entry | None]]:
        """The rows with these keys."""
        if not rows:
            return []
        entries: list[Entry | None] = yield Call(self._shelf, "mget_entries", list(rows), values=values)
        return entries

    def begin(self, wanted: dict[str, Identity], rows: Sequence[Entry], *, lost: bool) -> Flow[Turn]:
        """Compare the rows that exist with the wanted ones.

        Args:
            lost: the vector store does not hold what it should. No row counts as live.
        """
        turn = Turn(wanted, {}, [row for row in rows if row.key not in wanted], {row.key: row.version for row in rows})
        if lost:
            # All sources become pending, and before anything is added: a later run, or one for another source, must
            # not take what this one adds for a sign that the rest is there.
            every: list[Entry] = yield Call(self._shelf, "yield_entries", values=False)
            every = [row for row in every if _is_row(row)]
            turn.labels |= {row.key: row.version for row in every}
            # A pending row with a number says that some of its children were added: they may be lost too.
            doubted = [row.key for row in every if not is_pending(row) or count_in(row)]
            yield from self.relabel(turn, dict.fromkeys(doubted, turn.pending))
        else:
            turn.live = {row.key: count_in(row) for row in rows if row.key in wanted and not is_pending(row)}
        obsolete_parents = {parent_part(row.key) for row in turn.obsolete}
        pending = [row.key for row in rows if row.key in wanted and row.key not in turn.live]
        # Live rows beside obsolete ones may share children with them.
        beside = [row for row in turn.live if parent_part(row) in obsolete_parents]
        yield from self._read_ids(turn, [row.key for row in turn.obsolete] + pending + beside, lost=lost)
        return turn

    def _read_ids(self, turn: Turn, rows: list[str], *, lost: bool) -> Flow[None]:
        entries = yield from self.read_rows(rows, values=True)
        without_value = []
        for row, entry in zip(rows, entries, strict=True):
            if entry is None or entry.value is None:
                without_value.append(row)
                continue
            turn.ids[row] = entry.value["children"]
            turn.adopted.setdefault(parent_part(row), {}).update(entry.value.get("adopted", {}))
            if lost or is_pending(entry):
                turn.unverified.add(row)
                if not lost:
                    turn.added.update(turn.ids[row][: count_in(entry)])
        if without_value:
            # Another run may have deleted them meanwhile. Those that still exist cannot be read.
            existing = yield from self.read_rows(without_value)
            turn.unreadable = {entry.key for entry in existing if entry is not None}
            for row in turn.unreadable:
                turn.live.pop(row, None)

    # Writing

    def drop_unlabelled(self, rows: Sequence[Entry]) -> Flow[list[Entry]]:
        """Delete the rows that no run wrote, as they have no label; returns the others."""
        unlabelled = [row.key for row in rows if row.version is None]
        if unlabelled:
            yield Call(self._shelf, "mdelete", unlabelled)
        return [row for row in rows if row.version is not None]

    def write(self, items: Sequence[Item]) -> Flow[None]:
        """Write rows, whatever label they have."""
        if items:
            yield Call(self._shelf, "conditional_mset", list(items))

    def delete(self, rows: Iterable[str]) -> Flow[None]:
        """Delete rows, whatever label they have."""
        keys = list(rows)
        if keys:
            yield Call(self._shelf, "mdelete", keys)

    def relabel(self, turn: Turn, labels: Mapping[str, str]) -> Flow[set[str]]:
        """Give rows other labels, while they have the labels that the turn knows; returns the rows that got them."""
        expected = {row: turn.labels.get(row) or "" for row in labels}
        if not labels:
            return set()
        report: Report = yield Call(self._shelf, "set_versions", labels, expected=expected)
        done = {change.key for change in report if change.op == "UPD"}
        turn.labels.update({row: labels[row] for row in done})
        turn.conflict |= len(done) < len(labels)
        return done

    def changed_by_others(self, turn: Turn, rows: Sequence[str]) -> Flow[set[str]]:
        """Those of the rows that another run changed. They cannot be made live: `relabel` finds the conflict then."""
        entries = yield from self.read_rows(rows)
        labels = {entry.key: entry.version for entry in entries if entry is not None}
        return {row for row in rows if labels.get(row) != turn.labels.get(row)}

    def claim_obsolete(self, turn: Turn) -> Flow[set[str]]:
        """Make obsolete rows pending, and forget those that another run changed meanwhile; returns these."""
        claiming = {row.key: turn.pending for row in turn.obsolete if turn.labels[row.key] != turn.pending}
        claimed = yield from self.relabel(turn, claiming)
        lost = {row for row in claiming if row not in claimed}
        turn.obsolete = [row for row in turn.obsolete if row.key not in lost]
        return lost

    def forget_obsolete(self, turn: Turn) -> Flow[None]:
        """Delete obsolete rows, whose children are gone; then nothing is replaced any more."""
        yield from self._keep_shared(turn)
        obsolete = {row.key: turn.pending for row in turn.obsolete}
        if obsolete:
            report: Report = yield Call(self._shelf, "mdelete", list(obsolete), expected=obsolete)
            yield from self._doubt(turn, set(obsolete) - {change.key for change in report})
        replacing = [row for row in turn.live if state_in(turn.labels.get(row)) == _REPLACING]
        yield from self.relabel(turn, {row: turn.live_label(turn.live[row], replacing=False) for row in replacing})

    def _keep_shared(self, turn: Turn) -> Flow[None]:
        """Keep obsolete rows that share children with a live row that another run changed: it may count on them."""
        obsolete = turn.children_by_parent(row.key for row in turn.obsolete)
        sharing = [
            row for row in turn.live if obsolete.get(parent_part(row), set()).intersection(turn.ids.get(row, ()))
        ]
        if not sharing:
            return
        rows = yield from self.read_rows(sharing)
        changed = {
            parent_part(row)
            for row, entry in zip(sharing, rows, strict=True)
            if entry is None or entry.version != turn.labels.get(row)
        }
        if changed:
            turn.conflict = True
            turn.obsolete = [row for row in turn.obsolete if parent_part(row.key) not in changed]

    def _doubt(self, turn: Turn, rows: set[str]) -> Flow[None]:
        """Make rows pending that another run took as wanted while this one removed their children."""
        for _ in range(_ATTEMPTS):
            if not rows:
                return
            turn.conflict = True
            entries = yield from self.read_rows(sorted(rows))
            turn.labels |= {entry.key: entry.version for entry in entries if entry is not None}
            existing = {entry.key: turn.pending for entry in entries if entry is not None}
            rows = existing.keys() - (yield from self.relabel(turn, existing))

    # Notes

    def write_notes(self, labels: Mapping[str, str]) -> Flow[None]:
        """Write the labels of notes, by source."""
        notes = [Item(_note_of(source), label, source, label) for source, label in labels.items()]
        yield from self.write(notes)

    def drop_notes(self, sources: Iterable[str]) -> Flow[None]:
        """Delete the notes of sources."""
        yield from self.delete([_note_of(source) for source in sources])


def note_label(fingerprint: str, rows: Iterable[str]) -> str:
    """The label of a note: a file of this fingerprint was made into exactly these rows."""
    return stable_digest(fingerprint, sorted(rows))


def parent_part_of(identity: Identity) -> str:
    """The first part of the keys of a parent's rows."""
    return stable_uuid("name", *identity)


def parent_part(row: str) -> str:
    """The first part of a row's key: it names the parent."""
    return row.partition("/")[0]


def state_in(label: str | None) -> str:
    """The state in a label: pending, live or replacing."""
    return (label or _PENDING).partition(":")[0]


def is_pending(row: Entry | Label) -> bool:
    """True for a row whose children may or may not be in the vector store."""
    return state_in(row.version) == _PENDING


def is_settled(row: Entry | Label) -> bool:
    """True for a live row whose parent has no rows of older versions left to remove."""
    return state_in(row.version) == _LIVE


def count_in(row: Entry | Label) -> int:
    """The number in a row's label: of a pending row, the children that were added; of others, all children."""
    number = (row.version or "").partition(":")[2].partition(" ")[0]
    return int(number) if number.isdigit() else 0


def rows_with_children(rows: Iterable[Entry | Label]) -> list[str]:
    """The keys of the rows whose children are all in the vector store, without those that have none."""
    return [row.key for row in rows if _has_children(row)]


def _has_children(row: Entry | Label) -> bool:
    return not is_pending(row) and count_in(row) > 0


def _namespace_in(shelf: DocShelf) -> Flow[str | None]:
    [entry] = yield Call(shelf, "mget_entries", [_NAMESPACE], source="", values=False)
    namespace: str | None = None if entry is None else entry.version
    return namespace


def _is_row(entry: Entry | Label) -> bool:
    """True for a row of one parent."""
    return entry.key != _NAMESPACE and not entry.key.startswith(_NOTE)


def _note_of(source: str) -> str:
    return _NOTE + stable_digest(source)
