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
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import TextSplitter

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    Change,
    DocShelf,
    DocShelfError,
    Entry,
    Item,
    MassDeleteError,
    Report,
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

    def item(self, ids: Sequence[str], state: str) -> Item:
        key, source = self.identity
        version = state if state == _PENDING else f"{state}:{len(ids)}"
        return Item(self.row, {"parent": key, "children": list(ids)}, source, version)


@dataclass
class _Known:
    """What the ledger says of the parents in question. Ids are by the name of their parent.

    Attributes:
        wanted: the rows that are to be, with the parents that they stand for.
        live: those of them whose children are all in the vector store, with their number.
        doomed: the rows that are not to be.
        sure: children that are in the vector store.
        doubtful: children that may be.
        leftover: the ids of wanted rows that are pending, by row.
        kept: children that belong to wanted rows.
    """

    wanted: dict[str, Identity]
    live: dict[str, int]
    doomed: list[Entry]
    replacing: list[str]
    sure: dict[str, set[str]] = field(default_factory=dict)
    doubtful: dict[str, set[str]] = field(default_factory=dict)
    leftover: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Indexer:
    """One vector store that follows one document store.

    Attributes:
        vectors: where the children are.
        store: where the parents are.
        index: what the name of the ledger ends with.
        fingerprint: what the caller says of the settings, the embedding model for example.
        batch_size: parents whose children are embedded together.
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
    _settings: str = field(init=False)
    _docs: DocShelf = field(init=False)
    _ledger: DocShelf = field(init=False)

    def __post_init__(self) -> None:
        docs = self.store.shelf
        settings = described([self.child_splitter, self.child_metadata_fields, self.id_key, self.fingerprint], 8)
        object.__setattr__(self, "_settings", stable_digest(settings))
        object.__setattr__(self, "_docs", docs)
        ledger = docs.view(
            f"{docs.collection}/{self.index}", content_types=(), on_corrupt="raise", hash_on="value", hash_exclude=()
        )
        object.__setattr__(self, "_ledger", ledger)

    # What callers ask for

    def add(self, documents: Iterable[Document], ids: Sequence[str] | None) -> Flow[RetrieverReport]:
        """Write documents and embed what of them is new or changed; nothing else is removed."""
        parents = yield Compute(self._parents, documents, None, ids)
        report: Report = yield Call(self._docs, "conditional_mset", _items(parents))
        wanted = yield from self._wanted(list(parents))
        rows: list[Entry | None] = yield Call(self._ledger, "mget_entries", list(wanted), values=False)
        standing = {row.key: row for row in rows if row is not None}
        # Only a parent that was there can have other versions.
        done = {identity for row, identity in wanted.items() if row in standing and _state(standing[row]) == _LIVE}
        ops = {(change.key, change.source): change.op for change in report}
        older = {identity for identity, op in ops.items() if op == "UPD" or (op == "SKIP" and identity not in done)}
        if older:
            names = {_name(identity) for identity in older}
            found = yield from self._rows({source for _, source in older}, "sources")
            standing |= {row.key: row for row in found if _name_in(row.key) in names}
        known = yield from self._known(wanted, list(standing.values()), reindex=False)
        embedded, spared = yield from self._embed(known)
        removed = yield from self._remove(known)
        yield from self._forget(known)
        return RetrieverReport(report.changes, embedded=embedded, spared=spared, removed=removed)

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
        wanted = yield from self._wanted(list(parents))
        known = yield from self._known(wanted, (yield from self._rows(sources, scope)), reindex=reindex)
        embedded, spared = yield from self._embed(known)
        removed = yield from self._remove(known)
        if plan.deleted:
            done: Report = yield Call(self._docs, "sync", items, allow_mass_delete=True, **options)
            changes += done.deleted
        yield from self._forget(known)
        return RetrieverReport(tuple(changes), embedded=embedded, spared=spared, removed=removed)

    def delete_source(self, source: str) -> Flow[RetrieverReport]:
        """Delete a source with its documents and their children."""
        report = yield from self.sync([], source, allow_mass_delete=True)
        yield Call(self._docs, "delete_source", source)
        return report

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

    def _standing(self, identities: Sequence[Identity], *, values: bool) -> Flow[dict[Identity, Entry]]:
        """The entries of parents that are there."""
        found: dict[Identity, Entry] = {}
        keys = [key for key, _ in identities]
        entries: list[Entry | None] = yield Call(self._docs, "mget_entries", keys, values=values)
        elsewhere: dict[str, list[str]] = {}
        for (key, source), entry in zip(identities, entries, strict=True):
            if entry is not None and entry.source == source:
                found[key, source] = entry
            else:
                elsewhere.setdefault(source, []).append(key)
        for source, others in elsewhere.items():
            entries = yield Call(self._docs, "mget_entries", others, source=source, values=values)
            found |= {(entry.key, source): entry for entry in entries if entry is not None}
        return found

    # The ledger

    def _row(self, identity: Identity, value_hash: bytes | None) -> str:
        """The key of the ledger's row of a version of a parent under these settings."""
        return f"{_name(identity)}/{stable_digest((value_hash or b'').hex(), self._settings)}"

    def _wanted(self, identities: Sequence[Identity]) -> Flow[dict[str, Identity]]:
        entries = yield from self._standing(identities, values=False)
        return {self._row(identity, entry.value_hash): identity for identity, entry in entries.items()}

    def _rows(self, sources: set[str], scope: Scope) -> Flow[list[Entry]]:
        """The rows of some sources, or all."""
        if scope == "collection":
            everything: list[Entry] = yield Call(self._ledger, "yield_entries", values=False)
            return everything
        by_source: list[list[Entry]] = yield Call(self._ledger, "source_entries", sorted(sources), values=False)
        return [row for rows in by_source for row in rows]

    def _known(self, wanted: dict[str, Identity], rows: Sequence[Entry], *, reindex: bool) -> Flow[_Known]:
        doubted = reindex or (yield from self._is_lost(rows))
        if doubted:
            # Written down first, and for all sources: who comes after a crash, or for another, may see no gap.
            every: list[Entry] = yield Call(self._ledger, "yield_entries", values=False)
            live_rows = [row.key for row in every if _state(row) != _PENDING]
            yield Call(self._ledger, "set_versions", dict.fromkeys(live_rows, _PENDING))
        live = {row.key: _number(row) for row in rows if row.key in wanted and _state(row) != _PENDING and not doubted}
        doomed = [row for row in rows if row.key not in wanted]
        replacing = [row.key for row in rows if row.key in live and _state(row) == _REPLACING]
        known = _Known(wanted, live, doomed, replacing)
        names = {_name_in(row.key) for row in doomed}
        pending = [row.key for row in rows if row.key in wanted and row.key not in live]
        beside = [row for row in live if _name_in(row) in names]
        looked_up = [row.key for row in doomed] + pending + beside
        entries: list[Entry | None] = yield Call(self._ledger, "mget_entries", looked_up)
        for entry in entries:
            if entry is None:
                continue
            name, ids = _name_in(entry.key), entry.value["children"]
            if entry.key in live:
                known.kept.setdefault(name, set()).update(ids)
            elif doubted or _state(entry) == _PENDING:
                known.doubtful.setdefault(name, set()).update(ids)
                if entry.key in wanted:
                    known.leftover[entry.key] = ids
            else:
                known.sure.setdefault(name, set()).update(ids)
        return known

    # The vector store

    def _is_lost(self, rows: Sequence[Entry]) -> Flow[bool]:
        """True when it does not hold what the ledger says: it was made anew, or others deleted from it."""
        held = [row.key for row in rows if _state(row) != _PENDING and _number(row)]
        if not held:
            return False
        sample = held[:: -(-len(held) // _SAMPLE)]
        entries: list[Entry | None] = yield Call(self._ledger, "mget_entries", sample)
        ids = {entry.value["children"][0] for entry in entries if entry is not None}
        found = yield from self._found(sorted(ids))
        return found is not None and not ids <= found

    def _embed(self, known: _Known) -> Flow[tuple[int, int]]:
        """Bring the children of wanted rows into the vector store; how many were embedded, and how many spared."""
        embedded, spared = 0, sum(known.live.values())
        superseded = {_name_in(row.key) for row in known.doomed}
        missing = [identity for row, identity in known.wanted.items() if row not in known.live]
        for start in range(0, len(missing), self.batch_size):
            entries = yield from self._standing(missing[start : start + self.batch_size], values=True)
            batch: list[_Children] = yield Compute(self._split, entries)
            gone = {children.row: _without(known.leftover.get(children.row, []), children.ids) for children in batch}
            pending = [children.item([*children.ids, *gone[children.row]], _PENDING) for children in batch]
            yield Call(self._ledger, "conditional_mset", pending)
            there = yield from self._present(known, batch)
            adding = [child for children in batch for child in children.documents if child.id not in there]
            if adding:
                yield Call(self.vectors, "add_documents", adding, ids=[str(child.id) for child in adding])
            yield from self._delete([child for ids in gone.values() for child in ids], sure=False)
            live = []
            for children in batch:
                name = _name(children.identity)
                known.kept.setdefault(name, set()).update(children.ids)
                state = _REPLACING if name in superseded else _LIVE
                if state == _REPLACING:
                    known.replacing.append(children.row)
                known.live[children.row] = len(children.ids)
                live.append(children.item(children.ids, state))
            yield Call(self._ledger, "conditional_mset", live)
            embedded += len(adding)
            spared += sum(len(children.ids) for children in batch) - len(adding)
        return embedded, spared

    def _remove(self, known: _Known) -> Flow[int]:
        """Remove the children of doomed rows from the vector store, but for those that a wanted row has too."""
        live = {row.key: _PENDING for row in known.doomed if _state(row) != _PENDING}
        if live:
            yield Call(self._ledger, "set_versions", live)
        names = {_name_in(row.key) for row in known.doomed}
        sure, doubtful = (
            [child for name in sorted(names) for child in sorted(of.get(name, set()) - known.kept.get(name, set()))]
            for of in (known.sure, known.doubtful)
        )
        removed: int = yield from self._delete(sure, sure=True)
        removed += yield from self._delete(_without(doubtful, sure), sure=False)
        return removed

    def _forget(self, known: _Known) -> Flow[None]:
        """Delete doomed rows, whose children are gone."""
        if known.doomed:
            yield Call(self._ledger, "mdelete", [row.key for row in known.doomed])
        if known.replacing:
            yield Call(self._ledger, "set_versions", {row: f"{_LIVE}:{known.live[row]}" for row in known.replacing})

    def _present(self, known: _Known, batch: Sequence[_Children]) -> Flow[set[str]]:
        """Those of the children that the vector store holds."""
        there: set[str] = set()
        asked: list[str] = []
        for children in batch:
            name = _name(children.identity)
            sure, doubtful = known.sure.get(name, set()), known.doubtful.get(name, set())
            there |= sure.intersection(children.ids)
            asked += [child for child in children.ids if child in doubtful and child not in sure]
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
        found = {document.id for document in documents}
        return None if None in found else {str(child) for child in found}

    def _split(self, entries: dict[Identity, Entry]) -> list[_Children]:
        """The children of stored parents."""
        return [
            _Children(self._row(identity, entry.value_hash), identity, self._children_of(identity, entry))
            for identity, entry in entries.items()
            if isinstance(entry.value, Document)
        ]

    def _children_of(self, identity: Identity, entry: Entry) -> list[Document]:
        key, source = identity
        value_hash = (entry.value_hash or b"").hex()
        children = []
        for position, piece in enumerate(self._pieces(entry.value)):
            metadata = dict(piece.metadata)
            if self.child_metadata_fields is not None:
                metadata = {name: metadata[name] for name in self.child_metadata_fields if name in metadata}
            metadata[self.id_key] = key
            # The same parent, text and metadata under other settings is the same child: it is not embedded again.
            parts = (source, key, value_hash, self.fingerprint, position, piece.page_content, described(metadata))
            child_id = stable_uuid("child", *parts)
            children.append(Document(id=child_id, page_content=piece.page_content, metadata=metadata))
        return children

    def _pieces(self, parent: Document) -> Sequence[Document]:
        splitter = self.child_splitter
        if splitter is None:
            return [parent]
        return splitter.split_documents([parent]) if isinstance(splitter, TextSplitter) else splitter(parent)

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


def _check_arguments(documents: Any, source: Any) -> None:
    if not isinstance(documents, Iterable):
        raise ArgumentTypeError(f"documents is a {type(documents).__name__}; give an iterable of documents")
    if source is not None and not isinstance(source, str):
        raise ArgumentTypeError(f"source is a {type(source).__name__}; give text")


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
    number = (row.version or "").partition(":")[2]
    return int(number) if number.isdigit() else 0


def _without(ids: Sequence[str], others: Iterable[str]) -> list[str]:
    excluded = set(others)
    return [child for child in ids if child not in excluded]
