"""How the children of parent documents get into a vector store, and out of it, whatever happens on the way.

The shelf is the truth, and the vector store follows it. Which children a vector store may hold is written down in a
ledger, a collection beside that of the parents: a row for each version of a parent, named by the parent, the hash of
its stored value and the settings, with the ids of its children. All of these names follow from the documents alone, so
that two runs, or a run and its repetition after a crash, mean the same children by the same ids.

A row is "pending" before any of its children is added and before any is removed, and "live" only between: the vector
store never holds a child that the ledger does not know, and all children of a live row are there. The order is:
parents written, rows pending, children added, rows live; then, for what is stale, rows pending, children removed,
parents deleted, rows deleted. After a crash between any two, the next run finds what is not live and does it again.

A vector store may be lost, above all one in memory. Where it can tell what it holds, each run looks for a few children
of live rows; should one be missing, the rows are taken as pending, and what is not there is added again.

Another run may be at the same parents. So the label of a row bears the mark of the run that wrote it, and a row is made
live, taken or deleted only while it has the label that this run knows. Where one has another by now, two runs met: this
one takes nothing that it did as done, looks again at what stands, and brings the vector store to that, some times; and
if they still meet, it leaves rows pending, for the next run. Only a child that rows of two versions share may be
missed: less than one of a thousand meetings in random order leaves such a child behind, or its row without it.
"""

from __future__ import annotations

import secrets
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import TextSplitter

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    Change,
    ConfigurationError,
    DocShelf,
    DocShelfError,
    Entry,
    Item,
    MassDeleteError,
    Report,
    UnsupportedValueError,
    canonical_bytes,
    progress_bar,
)
from langchain_docshelf.base import notes_of
from langchain_docshelf.documents import check_document
from langchain_docshelf.flow import Call, Compute, Flow
from langchain_docshelf.naming import described, stable_digest, stable_uuid
from langchain_docshelf.reports import RetrieverReport

if TYPE_CHECKING:
    from langchain_docshelf.stores import DocShelfStore

T = TypeVar("T")

Scope = Literal["sources", "collection"]
Identity = tuple[str, str]
"""Key and source of a parent."""
ChildSplitter = TextSplitter | Callable[[Document], Sequence[Document]] | None
"""What makes the children of a parent; None makes the parent its own only child."""

_PENDING: Final = "pending"
# Live; as "replacing" while rows of older versions of the same parent are still to be removed.
_LIVE: Final = "live"
_REPLACING: Final = "replacing"
_DELETE_IDS: Final = 1000
# How often a run looks again because another one came between.
_TURNS: Final = 5
# Rows of which a child is looked for, to see that the vector store is still the one that the ledger tells of.
_SAMPLE: Final = 8


class _Children(NamedTuple):
    """The children of a stored parent, under the key of their row in the ledger."""

    row: str
    identity: Identity
    documents: list[Document]

    @property
    def ids(self) -> list[str]:
        return [str(document.id) for document in self.documents]

    def item(self, ids: Sequence[str], label: str) -> Item:
        key, source = self.identity
        return Item(self.row, {"parent": key, "children": list(ids)}, source, label)


@dataclass
class _Known:
    """What the ledger says of the parents in question, and what this turn made of it.

    Attributes:
        wanted: the rows that are to be, with the parents that they stand for.
        live: those of them whose children are all in the vector store, with their number.
        doomed: the rows that are not to be.
        labels: the label that each row has, as far as this run knows.
        mark: what the labels of the rows bear that this turn wrote.
        ids: the children of rows that were looked up or written, by row.
        unsure: the rows among them whose children may be in the vector store, or not.
        made: the rows that this turn made live.
        contested: another run changed one of these rows meanwhile.
    """

    wanted: dict[str, Identity]
    live: dict[str, int]
    doomed: list[Entry]
    labels: dict[str, str | None]
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    ids: dict[str, list[str]] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    contested: bool = False

    @property
    def pending(self) -> str:
        """The label of the rows that are pending for this turn."""
        return self.label(_PENDING, 0)

    def label(self, state: str, number: int) -> str:
        """A label of this turn for a row with so many children."""
        return f"{state}:{number} by {self.mark}"

    def children_by_name(self, rows: Iterable[str]) -> dict[str, set[str]]:
        """The children of rows, together for each parent."""
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(_name_in(row), set()).update(self.ids.get(row, ()))
        return found


@dataclass
class _Done:
    """What the turns of a run did in the vector store."""

    embedded: int = 0
    spared: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Indexer:
    """One vector store that follows one document store.

    Attributes:
        vectors: where the children are.
        store: where the parents are.
        index: what the name of the ledger ends with.
        fingerprint: what the caller says of the settings, the embedding model for example.
        batch_size: parents whose children are embedded together.
        source_id_key: the key of a child's metadata that holds the source of its parent; "" for none.
        by_key_alone: who reads the parents knows only their keys.
        show_progress: show a progress bar over the parents whose children are embedded.
    """

    vectors: VectorStore
    store: DocShelfStore
    child_splitter: ChildSplitter
    parent_splitter: TextSplitter | None
    id_key: str
    child_metadata_fields: Sequence[str] | None
    index: str
    fingerprint: str
    batch_size: int
    source_id_key: str
    by_key_alone: bool = False
    show_progress: bool = False
    _settings: str = field(init=False)
    _docs: DocShelf = field(init=False)
    _ledger: DocShelf = field(init=False)

    def __post_init__(self) -> None:
        docs = self.store.shelf
        settings = described([self.child_splitter, self.child_metadata_fields, self.id_key, self.fingerprint], 8)
        object.__setattr__(self, "_settings", stable_digest(settings))
        object.__setattr__(self, "_docs", docs)
        ledger = docs.view(
            f"{docs.collection}/{self.index}", content_types=(), on_corrupt="skip", hash_on="value", hash_exclude=()
        )
        object.__setattr__(self, "_ledger", ledger)

    # What callers ask for

    def add(self, documents: Iterable[Document], ids: Sequence[str] | None) -> Flow[RetrieverReport]:
        """Write documents and embed what of them is new or changed; nothing else is removed."""
        self._check_vectors()
        parents = yield Compute(self._parents, documents, None, ids)
        report: Report = yield Call(self._docs, "conditional_mset", _items(parents))
        yield from self._warn_of_shared_keys(parents)
        ops = {(change.key, change.source): change.op for change in report}

        def look(*, again: bool) -> Flow[tuple[dict[str, Identity], list[Entry]]]:
            wanted = yield from self._wanted(list(parents))
            rows: list[Entry | None] = yield Call(self._ledger, "mget_entries", list(wanted), values=False)
            standing = {row.key: row for row in rows if row is not None}
            # Only a parent that was there can have other versions.
            done = {identity for row, identity in wanted.items() if row in standing and _state(standing[row]) == _LIVE}
            older = {
                identity
                for identity, op in ops.items()
                if again or op == "UPD" or (op == "SKIP" and identity not in done)
            }
            if older:
                names = {_name(identity) for identity in older}
                found = yield from self._rows({source for _, source in older}, "sources")
                standing |= {row.key: row for row in found if _name_in(row.key) in names}
            return wanted, list(standing.values())

        done = yield from self._follow(look, reindex=False)
        return RetrieverReport(report.changes, embedded=done.embedded, spared=done.spared, removed=done.removed)

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
        self._check_vectors()
        parents = yield Compute(self._parents, documents, source, ids)
        items = _items(parents)
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
            return (yield from self._foreseen(parents, plan, sources, scope, reindex=reindex))
        changes = yield from self._write(parents, plan)
        yield from self._warn_of_shared_keys(parents)

        def look(*, again: bool) -> Flow[tuple[dict[str, Identity], list[Entry]]]:
            if again:  # whoever wrote it: the shelf is the truth
                entries = yield from self._entries(self._docs, sources, scope)
                named = {(entry.key, entry.source): entry.value_hash for entry in entries}
                wanted = {self._row(identity, value_hash): identity for identity, value_hash in named.items()}
            else:
                wanted = yield from self._wanted(list(parents))
            return wanted, (yield from self._rows(sources, scope))

        def delete_parents(known: _Known) -> Flow[None]:
            done: Report = yield Call(self._docs, "sync", items, allow_mass_delete=True, **options)
            changes.extend(done.deleted)
            known.contested |= bool(done.inserted or done.updated)

        done = yield from self._follow(look, delete_parents if plan.deleted else None, reindex=reindex)
        return RetrieverReport(tuple(changes), embedded=done.embedded, spared=done.spared, removed=done.removed)

    def delete_source(self, source: str) -> Flow[RetrieverReport]:
        """Delete a source with its documents and their children."""
        report = yield from self.sync([], source, allow_mass_delete=True)
        yield Call(self._docs, "delete_source", source)
        return report

    def _follow(
        self,
        look: Callable[..., Flow[tuple[dict[str, Identity], list[Entry]]]],
        delete_parents: Callable[[_Known], Flow[None]] | None = None,
        *,
        reindex: bool,
    ) -> Flow[_Done]:
        """Bring the vector store to what is wanted; again, where another run came between.

        Args:
            look: the rows that are wanted, with their parents, and the rows that are there; `again` after another run
                came between.
            delete_parents: done once, when their children are gone and before their rows are.
        """
        done = _Done()
        for turn in range(_TURNS):
            wanted, rows = yield from look(again=turn > 0)
            known = yield from self._known(wanted, rows, reindex=reindex and not turn)
            embedded, spared = yield from self._embed(known)
            # What an earlier turn embedded stands there now.
            done.spared = max(0, spared - done.embedded)
            done.embedded += embedded
            done.removed += yield from self._remove(known)
            if delete_parents is not None and not turn:
                yield from delete_parents(known)
            yield from self._forget(known)
            if not known.contested:
                break
            # Whoever came between may have removed what this turn took for there.
            yield from self._relabel(known, dict.fromkeys(known.made, known.pending))
        return done

    # Parents

    def _parents(
        self, documents: Iterable[Document], source: str | None, ids: Sequence[str] | None
    ) -> dict[Identity, Document]:
        """The parents that documents are or are split into, by their names."""
        _check_arguments(documents, source)
        placed = list(self._placed(documents, source))
        ids = None if ids is None else list(ids)
        if ids is not None and len(ids) != len(placed):
            raise ArgumentValueError(f"there are {len(placed):,} parent documents and {len(ids):,} ids; give one each")
        parents: dict[Identity, Document] = {}
        seen: Counter[Any] = Counter()
        for position, (document, of) in enumerate(placed):
            key = document.id if ids is None else ids[position]
            if not key:
                # By content, not position: a text that is inserted does not make others new.
                content = (of, document.page_content)
                key = stable_uuid("parent", *content, seen[content])
                seen[content] += 1
            elif ids is not None and (key, of) in parents:
                raise ArgumentValueError(f"two parent documents of source {of!r:.60} have the id {key!r:.60} in ids")
            parents[key, of] = document
        return parents

    def _placed(self, documents: Iterable[Document], source: str | None) -> Iterator[tuple[Document, str]]:
        for position, document in enumerate(documents):
            check_document(document, f"document {position}")
            of = self.store.source_of(document, document.id or f"document {position}") if source is None else source
            pieces = [document] if self.parent_splitter is None else self.parent_splitter.split_documents([document])
            for piece in pieces:
                yield piece, of

    def _write(self, parents: dict[Identity, Document], plan: Report) -> Flow[list[Change]]:
        """Write the parents that are new or changed."""
        changed = {
            (change.key, change.source): parents[change.key, change.source] for change in plan if _writes(change)
        }
        ops = {}
        if changed:
            written: Report = yield Call(self._docs, "conditional_mset", _items(changed))
            ops = {(change.key, change.source): change for change in written}
        return [ops.get((change.key, change.source), change) for change in plan if change.op != "DEL"]

    def _warn_of_shared_keys(self, parents: dict[Identity, Document]) -> Flow[None]:
        """Warn of parents that their reader cannot tell from those of other sources."""
        if not self.by_key_alone or not parents:
            return
        once = {key: Item(key, document, source) for (key, source), document in parents.items()}
        plan: Report = yield Call(self._docs, "conditional_mset", list(once.values()), move=True, dry_run=True)
        if plan.deleted:
            key, _, source = plan.deleted[0]
            warnings.warn(
                f"{len(plan.deleted):,} parents stand in another source too, as {key!r:.60} does in {source!r:.60}: a "
                "retriever of langchain-classic reads by id alone, and answers with the one written last; give ids "
                "that differ in all sources, or use langchain_docshelf.ParentDocumentRetriever",
                stacklevel=2,
            )

    def _check_vectors(self) -> None:
        kind = type(self.vectors)
        if kind.delete is VectorStore.delete and kind.adelete is VectorStore.adelete:
            raise ConfigurationError(
                f"a {kind.__name__} cannot delete, so stale children would stay in it; use another"
            )

    # The ledger

    def _row(self, identity: Identity, value_hash: bytes | None) -> str:
        """The key of the ledger's row of a version of a parent under these settings."""
        return f"{_name(identity)}/{stable_digest((value_hash or b'').hex(), self._settings)}"

    def _wanted(self, identities: Sequence[Identity]) -> Flow[dict[str, Identity]]:
        entries = yield from _standing(self._docs, identities, values=False)
        return {self._row(identity, entry.value_hash): identity for identity, entry in entries.items()}

    def _rows(self, sources: set[str], scope: Scope) -> Flow[list[Entry]]:
        """The rows of some sources, or all."""
        return (yield from self._entries(self._ledger, sources, scope))

    def _entries(self, shelf: DocShelf, sources: set[str], scope: Scope) -> Flow[list[Entry]]:
        """The entries of some sources, or all, without their values."""
        if scope == "collection":
            everything: list[Entry] = yield Call(shelf, "yield_entries", values=False)
            return everything
        by_source: list[list[Entry]] = yield Call(shelf, "source_entries", sorted(sources), values=False)
        return [entry for entries in by_source for entry in entries]

    def _relabel(self, known: _Known, labels: Mapping[str, str]) -> Flow[set[str]]:
        """Give rows other labels, those that still have the ones that are known; which these are."""
        expected = {row: known.labels.get(row) or "" for row in labels}
        if not labels:
            return set()
        report: Report = yield Call(self._ledger, "set_versions", labels, expected=expected)
        done = {change.key for change in report if change.op == "UPD"}
        known.labels.update({row: labels[row] for row in done})
        known.contested |= len(done) < len(labels)
        return done

    def _known(self, wanted: dict[str, Identity], rows: Sequence[Entry], *, reindex: bool) -> Flow[_Known]:
        strays = [row.key for row in rows if row.version is None]
        if strays:  # of no run
            yield Call(self._ledger, "mdelete", strays)
            rows = [row for row in rows if row.version is not None]
        known = _Known(
            wanted, {}, [row for row in rows if row.key not in wanted], {row.key: row.version for row in rows}
        )
        doubted = reindex or (yield from self._is_lost(rows))
        if doubted:
            # Written down first, and for all sources: who comes after a crash, or for another, may see no gap.
            every: list[Entry] = yield Call(self._ledger, "yield_entries", values=False)
            known.labels |= {row.key: row.version for row in every}
            yield from self._relabel(known, {row.key: known.pending for row in every if _state(row) != _PENDING})
        known.live = {
            row.key: _number(row) for row in rows if row.key in wanted and _state(row) != _PENDING and not doubted
        }
        names = {_name_in(row.key) for row in known.doomed}
        pending = [row.key for row in rows if row.key in wanted and row.key not in known.live]
        beside = [row for row in known.live if _name_in(row) in names]
        looked_up = [row.key for row in known.doomed] + pending + beside
        entries: list[Entry | None] = yield Call(self._ledger, "mget_entries", looked_up)
        unreadable = []
        for row, entry in zip(looked_up, entries, strict=True):
            if entry is not None and entry.value is not None:
                known.ids[row] = entry.value["children"]
                if doubted or _state(entry) == _PENDING:
                    known.unsure.add(row)
            elif row in wanted:
                known.live.pop(row, None)
                unreadable.append(row)
        if unreadable:  # to be written anew
            yield Call(self._ledger, "mdelete", unreadable)
        return known

    # The vector store

    def _is_lost(self, rows: Sequence[Entry]) -> Flow[bool]:
        """True when it does not hold what the ledger says: it was made anew, or others deleted from it."""
        held = [row.key for row in rows if _state(row) != _PENDING and _number(row)]
        if not held:
            return False
        sample = held[:: -(-len(held) // _SAMPLE)]
        entries: list[Entry | None] = yield Call(self._ledger, "mget_entries", sample)
        ids = {entry.value["children"][0] for entry in entries if entry is not None and entry.value is not None}
        found = yield from self._found(sorted(ids))
        return found is not None and not ids <= found

    def _embed(self, known: _Known) -> Flow[tuple[int, int]]:
        """Bring the children of wanted rows into the vector store; how many were embedded, and how many spared."""
        embedded, spared = 0, sum(known.live.values())
        superseded = {_name_in(row.key) for row in known.doomed}
        sure = known.children_by_name(row for row in known.ids if row not in known.unsure)
        doubtful = known.children_by_name(known.unsure)
        missing = [identity for row, identity in known.wanted.items() if row not in known.live]
        with progress_bar(len(missing), "embedding", show=self.show_progress, unit="document") as tick:
            for start in range(0, len(missing), self.batch_size):
                part = missing[start : start + self.batch_size]
                entries = yield from _standing(self._docs, part, values=True)
                split: list[_Children] = yield Compute(self._split, entries)
                # A parent may have been written anew since it was looked at.
                batch = [children for children in split if children.row in known.wanted]
                known.contested |= len(batch) < len(split)
                gone = {children.row: _without(known.ids.get(children.row, []), children.ids) for children in batch}
                pending = [children.item([*children.ids, *gone[children.row]], known.pending) for children in batch]
                yield Call(self._ledger, "conditional_mset", pending)
                there = yield from self._present(batch, sure, doubtful)
                adding = [child for children in batch for child in children.documents if child.id not in there]
                if adding:
                    yield Call(self.vectors, "add_documents", adding, ids=[str(child.id) for child in adding])
                yield from self._delete([child for ids in gone.values() for child in ids], sure=False)
                labels = {}
                for children in batch:
                    state = _REPLACING if _name_in(children.row) in superseded else _LIVE
                    labels[children.row] = known.label(state, len(children.ids))
                    known.labels[children.row] = known.pending
                made = yield from self._relabel(known, labels)
                # What another run took or deleted meanwhile has to be known of, now that its children are in.
                lost = [item for children, item in zip(batch, pending, strict=True) if children.row not in made]
                trimmed = [
                    children.item(children.ids, labels[children.row])
                    for children in batch
                    if children.row in made and gone[children.row]
                ]
                if lost or trimmed:
                    yield Call(self._ledger, "conditional_mset", lost + trimmed)
                for children in batch:
                    known.ids[children.row] = children.ids
                    known.live[children.row] = len(children.ids)
                known.made |= made
                embedded += len(adding)
                spared += sum(len(children.ids) for children in batch) - len(adding)
                tick(len(part))
        return embedded, spared

    def _remove(self, known: _Known) -> Flow[int]:
        """Remove the children of doomed rows from the vector store, but for those that another row has too."""
        live = {row.key: known.pending for row in known.doomed if known.labels[row.key] != known.pending}
        taken = yield from self._relabel(known, live)
        lost = {row for row in live if row not in taken}
        known.doomed = [row for row in known.doomed if row.key not in lost]
        kept = known.children_by_name([*known.live, *lost])
        sure, doubtful = (
            [
                child
                for name, children in sorted(known.children_by_name(rows).items())
                for child in sorted(children - kept.get(name, set()))
            ]
            for rows in (
                [row.key for row in known.doomed if row.key not in known.unsure],
                [row.key for row in known.doomed if row.key in known.unsure],
            )
        )
        removed: int = yield from self._delete(sure, sure=True)
        removed += yield from self._delete(_without(doubtful, sure), sure=False)
        return removed

    def _forget(self, known: _Known) -> Flow[None]:
        """Delete doomed rows, whose children are gone."""
        yield from self._keep_known(known)
        doomed = {row.key: known.pending for row in known.doomed}
        if doomed:
            report: Report = yield Call(self._ledger, "mdelete", list(doomed), expected=doomed)
            yield from self._doubt(known, set(doomed) - {change.key for change in report})
        replacing = [row for row in known.live if (known.labels.get(row) or "").partition(":")[0] == _REPLACING]
        yield from self._relabel(known, {row: known.label(_LIVE, known.live[row]) for row in replacing})

    def _doubt(self, known: _Known, rows: set[str]) -> Flow[None]:
        """Make rows pending that another run wanted while this one removed their children."""
        for _ in range(_TURNS):
            if not rows:
                return
            known.contested = True
            entries: list[Entry | None] = yield Call(self._ledger, "mget_entries", sorted(rows), values=False)
            known.labels |= {entry.key: entry.version for entry in entries if entry is not None}
            there = {entry.key: known.pending for entry in entries if entry is not None}
            rows = there.keys() - (yield from self._relabel(known, there))

    def _keep_known(self, known: _Known) -> Flow[None]:
        """Keep doomed rows, pending, whose children another row has too that another run took: it may count on them."""
        doomed = known.children_by_name(row.key for row in known.doomed)
        keeping = [row for row in known.live if doomed.get(_name_in(row), set()).intersection(known.ids.get(row, ()))]
        if keeping:
            rows: list[Entry | None] = yield Call(self._ledger, "mget_entries", keeping, values=False)
            shaken = {
                _name_in(row)
                for row, entry in zip(keeping, rows, strict=True)
                if entry is None or entry.version != known.labels.get(row)
            }
            if shaken:
                known.contested = True
                known.doomed = [row for row in known.doomed if _name_in(row.key) not in shaken]

    def _present(
        self, batch: Sequence[_Children], sure: Mapping[str, set[str]], doubtful: Mapping[str, set[str]]
    ) -> Flow[set[str]]:
        """Those of the children that the vector store holds.

        Args:
            sure, doubtful: those that are there, and those that may be, by the names of their parents.
        """
        there: set[str] = set()
        asked: list[str] = []
        for children in batch:
            name = _name_in(children.row)
            known, unknown = sure.get(name, set()), doubtful.get(name, set())
            there |= known.intersection(children.ids)
            asked += [child for child in children.ids if child in unknown and child not in known]
        # Where it cannot be told they are added again: that replaces them.
        return there | ((yield from self._found(asked)) or set())

    def _delete(self, ids: Sequence[str], *, sure: bool) -> Flow[int]:
        """Remove children; how many. Some vector stores refuse ids that they do not hold."""
        if not sure:
            found = yield from self._found(ids)
            ids = ids if found is None else [child for child in ids if child in found]
        for start in range(0, len(ids), _DELETE_IDS):
            chunk = list(ids[start : start + _DELETE_IDS])
            if (yield Call(self.vectors, "delete", ids=chunk)) is False:
                raise DocShelfError(
                    f"the vector store did not delete {len(chunk):,} stale children; mend it, and sync again"
                )
        return len(ids)

    def _found(self, ids: Sequence[str]) -> Flow[set[str] | None]:
        """Those of the ids that the vector store holds; None where it does not tell."""
        if not ids:
            return set()
        try:
            documents: list[Document] = yield Call(self.vectors, "get_by_ids", list(ids))
        except NotImplementedError:
            return None
        # Qdrant's has no ids, but what it made of them among the metadata.
        found = {document.id or document.metadata.get("_id") for document in documents}
        if None in found:
            return set(ids) if len(documents) == len(set(ids)) else None
        return {str(child) for child in found}

    def _split(self, entries: dict[Identity, Entry]) -> list[_Children]:
        """The children of stored parents."""
        return [
            _Children(self._row(identity, entry.value_hash), identity, self._children_of(identity, entry))
            for identity, entry in entries.items()
            if isinstance(entry.value, Document)
        ]

    def _children_of(self, identity: Identity, entry: Entry) -> list[Document]:
        key, source = identity
        children = []
        seen: Counter[str] = Counter()
        for piece in self._pieces(entry.value):
            metadata = dict(piece.metadata)
            if self.child_metadata_fields is not None:
                metadata = {name: metadata[name] for name in self.child_metadata_fields if name in metadata}
            metadata[self.id_key] = key
            if self.source_id_key:
                metadata[self.source_id_key] = source
            # The same text and metadata in another version of the parent, or under other settings, is the same child:
            # it is not embedded again.
            told = stable_digest(source, key, self.fingerprint, piece.page_content, _told(metadata, entry))
            child_id = stable_uuid("child", told, seen[told])
            seen[told] += 1
            children.append(Document(id=child_id, page_content=piece.page_content, metadata=metadata))
        return children

    def _pieces(self, parent: Document) -> Sequence[Document]:
        splitter = self.child_splitter
        if splitter is None:
            return [parent]
        if isinstance(splitter, TextSplitter):
            return splitter.split_documents([parent])
        pieces = list(splitter(parent))
        for piece in pieces:
            if not isinstance(piece, Document):
                raise ArgumentTypeError(f"the child_splitter gave a {type(piece).__name__}; it has to give Documents")
        return pieces

    def _foreseen(
        self, parents: dict[Identity, Document], plan: Report, sources: set[str], scope: Scope, *, reindex: bool
    ) -> Flow[RetrieverReport]:
        """What a sync would do. Children of a parent that changed, or is in doubt, count as if none of them stood."""
        same = [(change.key, change.source) for change in plan if change.op == "SKIP"]
        wanted = yield from self._wanted(same)
        rows = yield from self._rows(sources, scope)
        doubted = reindex or (yield from self._is_lost(rows))
        live = {row.key: _number(row) for row in rows if row.key in wanted and _state(row) != _PENDING and not doubted}
        split = [parents[change.key, change.source] for change in plan if _writes(change)]
        split += [parents[identity] for row, identity in wanted.items() if row not in live]
        embedded: int = yield Compute(lambda: sum(len(self._pieces(parent)) for parent in split))
        removed = sum(_number(row) for row in rows if row.key not in wanted)
        return RetrieverReport(
            plan.changes, dry_run=True, embedded=embedded, spared=sum(live.values()), removed=removed
        )


def parents_of(
    store: DocShelfStore, children: Iterable[Document], id_key: str, source_id_key: str
) -> Flow[list[Document]]:
    """The parents of children that were found, the best first, each once."""
    metadata = [child.metadata for child in children if id_key in child.metadata]
    # A child that others put there does not tell its parent's source.
    places = list(dict.fromkeys((one[id_key], one.get(source_id_key)) for one in metadata))
    found: dict[tuple[str, str | None], Entry] = {}
    named = [(key, source) for key, source in places if source is not None]
    if named:
        standing = yield from _standing(store.shelf, named, values=True)
        found.update({(key, source): entry for (key, source), entry in standing.items()})
    alone = [key for key, source in places if source is None]
    if alone:
        entries: list[Entry | None] = yield Call(store.shelf, "mget_entries", alone)
        found |= {(key, None): entry for key, entry in zip(alone, entries, strict=True) if entry is not None}
    documents = store.documents_of([found.get(place) for place in places])
    return [document for document in documents if document is not None]


def _standing(shelf: DocShelf, identities: Sequence[Identity], *, values: bool) -> Flow[dict[Identity, Entry]]:
    """The entries of parents that are there."""
    found: dict[Identity, Entry] = {}
    keys = [key for key, _ in identities]
    entries: list[Entry | None] = yield Call(shelf, "mget_entries", keys, values=values)
    elsewhere: dict[str, list[str]] = {}
    for (key, source), entry in zip(identities, entries, strict=True):
        if entry is not None and entry.source == source:
            found[key, source] = entry
        else:
            elsewhere.setdefault(source, []).append(key)
    for source, others in elsewhere.items():
        entries = yield Call(shelf, "mget_entries", others, source=source, values=values)
        found |= {(entry.key, source): entry for entry in entries if entry is not None}
    return found


def _check_arguments(documents: Any, source: Any) -> None:
    if not isinstance(documents, Iterable) or isinstance(documents, Document):
        raise ArgumentTypeError(f"documents is a {type(documents).__name__}; give an iterable of documents")
    if source is not None and not isinstance(source, str):
        raise ArgumentTypeError(f"source is a {type(source).__name__}; give text")


def _told(metadata: dict[str, Any], parent: Entry) -> Any:
    """What tells the metadata of a child from others, alike in every process."""
    try:
        return canonical_bytes(metadata).decode("utf-8", "surrogatepass")
    except UnsupportedValueError:
        # A splitter of the caller's put something there that is seen in part only: then all of the parent counts.
        return [described(metadata), (parent.value_hash or b"").hex()]


def _items(parents: dict[Identity, Document]) -> list[Item]:
    return [Item(key, document, source) for (key, source), document in parents.items()]


def _writes(change: Change) -> bool:
    return change.op in ("INS", "UPD")


def _name(identity: Identity) -> str:
    """What the rows of a parent begin with."""
    return stable_uuid("name", *identity)


def _name_in(row: str) -> str:
    return row.partition("/")[0]


def _state(row: Entry) -> str:
    return (row.version or _PENDING).partition(":")[0]


def _number(row: Entry) -> int:
    """The children of a row that is not pending."""
    number = (row.version or "").partition(":")[2].partition(" ")[0]
    return int(number) if number.isdigit() else 0


def _without(ids: Sequence[str], others: Iterable[str]) -> list[str]:
    excluded = set(others)
    return [child for child in ids if child not in excluded]
