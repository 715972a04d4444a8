"""`adopt`: children that others embedded become a retriever's own, without an embedding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from tempfile import TemporaryDirectory
from typing import Any, Final

from docshelf import ArgumentTypeError, ConfigurationError, Entry, Item
from docshelf.adapters import Call, Compute, Flow, aperform, perform
from docshelf.moving import MoveReport, SortedRecords, migrate_flow
from langchain_docshelf.adoption.matching import Digester, Found, Group
from langchain_docshelf.adoption.report import MAX_NAMED, AdoptionReport
from langchain_docshelf.moving import from_documents
from langchain_docshelf.parent_retriever.batch import row_item
from langchain_docshelf.parent_retriever.child_ids import child_id, is_in_namespace
from langchain_docshelf.parent_retriever.children import ChildMaker, Draft, Drafts
from langchain_docshelf.parent_retriever.classic import own_retriever
from langchain_docshelf.parent_retriever.ledger import Ledger, Turn
from langchain_docshelf.parent_retriever.parents import Identity, existing_entries
from langchain_docshelf.parent_retriever.retriever import ParentDocumentRetriever
from langchain_docshelf.stores import DocShelfStore
from langchain_docshelf.vector_access import ChildId, ListChildren, VectorAccess

# Parents that are split and matched together, and keys and sources that are read together.
_BATCH: Final = 100
_SOURCES: Final = 200


def adopt(
    retriever: Any,
    parents: Any = None,
    *,
    dry_run: bool = True,
    delete_orphaned: bool = False,
    ignore_metadata: Collection[str] = (),
    lister: ListChildren | None = None,
    child_splitter: Any = None,
    embedding_version: str = "",
    index: str = "children",
) -> AdoptionReport:
    """Make the children that a vector store has the retriever's own, so that no sync embeds them again.

    It lists the children, splits every parent of the document store anew, matches chunks and children by text and
    metadata, and writes down which child is which. Later syncs embed only new chunks and delete the right old ones.
    Nothing is embedded. Run it as a dry run first, which is the default. It may be run again.

    Args:
        retriever: a `ParentDocumentRetriever`, ours or langchain-classic's, or a MultiVectorRetriever, whose `docstore`
            is a `DocShelfStore`. Splitter and `id_key` must be those that the children were made with.
        parents: where the parents are, if the docstore does not have them yet: a store of LangChain, a mapping of keys
            to documents, or whatever `docshelf.moving.migrate` takes. They are moved first.
        dry_run: return the same report and write nothing.
        delete_orphaned: delete children that no parent has. Look at the report of a dry run first.
        ignore_metadata: names of metadata that are not compared, where these changed since the children were made.
        lister: a function that gives id, text and metadata of every child, for a vector store that cannot be listed.
        child_splitter, embedding_version, index: for retrievers of langchain-classic, as for `sync_parent_documents`.

    Raises:
        ConfigurationError: the vector store cannot be listed, or the retriever has another docstore.
        MoveError: parents could not be moved. Nothing was adopted.
        What the splitter and the vector store raise.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> retriever = ParentDocumentRetriever(
        ...     vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=8)),
        ...     docstore=DocShelfStore(":memory:"),
        ...     child_splitter=None,
        ... )
        >>> retriever.docstore.mset([("a", Document(page_content="Hello."))])
        >>> _ = retriever.vectorstore.add_documents([Document(page_content="Hello.", metadata={"doc_id": "a"})])
        >>> report = adopt(retriever, dry_run=False)
        >>> report.adopted, report.missing, report.orphaned
        (1, 0, 0)
        >>> retriever.docstore.close()
    """
    own = _own(retriever, child_splitter, embedding_version, index)
    return perform(_Adoption(own, lister, ignore_metadata, dry_run).run(parents, delete_orphaned=delete_orphaned))


async def aadopt(
    retriever: Any,
    parents: Any = None,
    *,
    dry_run: bool = True,
    delete_orphaned: bool = False,
    ignore_metadata: Collection[str] = (),
    lister: ListChildren | None = None,
    child_splitter: Any = None,
    embedding_version: str = "",
    index: str = "children",
) -> AdoptionReport:
    """As `adopt`."""
    own = _own(retriever, child_splitter, embedding_version, index)
    return await aperform(
        _Adoption(own, lister, ignore_metadata, dry_run).run(parents, delete_orphaned=delete_orphaned)
    )


def _own(retriever: Any, child_splitter: Any, embedding_version: str, index: str) -> ParentDocumentRetriever:
    if isinstance(retriever, ParentDocumentRetriever):
        if child_splitter is not None or embedding_version or index != "children":
            raise ConfigurationError(
                "child_splitter, embedding_version and index are for retrievers of langchain-classic; this one has them"
            )
        return retriever
    return own_retriever(retriever, child_splitter, embedding_version=embedding_version, index=index)


@dataclass
class _Tally:
    """Counts of an adoption that is under way."""

    parents: int = 0
    adopted: int = 0
    known: int = 0
    missing: int = 0
    orphaned: list[ChildId] = field(default_factory=list)
    without_parent: int = 0
    ambiguous: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def name(self, kind: str, names: Iterable[object]) -> None:
        """Keep some names of a kind."""
        kept = self.examples.setdefault(kind, [])
        kept += [str(name) for name in islice(names, max(0, MAX_NAMED - len(kept)))]


class _Adoption:
    """One adoption."""

    def __init__(
        self,
        retriever: ParentDocumentRetriever,
        lister: ListChildren | None,
        ignore_metadata: Collection[str],
        dry_run: bool,
    ) -> None:
        if isinstance(ignore_metadata, str) or not isinstance(ignore_metadata, Iterable):
            raise ArgumentTypeError(f"ignore_metadata={ignore_metadata!r:.40}: give a tuple of names")
        self._store = retriever.docstore
        self._docs = retriever.docstore.shelf
        self._maker: ChildMaker = retriever._maker()
        self._ledger: Ledger = Ledger(self._docs, retriever.index, self._maker.settings)
        self._vectors = VectorAccess(
            retriever.vectorstore, batch_size=retriever.vector_batch_size, verify_seconds=0, lister=lister
        )
        self._digester = Digester(self._maker.id_key, self._maker.source_id_key, ignore_metadata)
        self._dry_run = dry_run
        # Where the parents are read: in a dry run, they may be in another place than they will be.
        self._parents = self._docs
        self._tally = _Tally()

    def run(self, parents: Any, *, delete_orphaned: bool) -> Flow[AdoptionReport]:
        """List, match, and write down."""
        yield from self._vectors.check(add=False, delete=delete_orphaned)
        yield from self._maker.check()
        moved = None
        with ExitStack() as stack:
            if parents is not None:
                moved = yield from self._move(parents, stack)
            children = stack.enter_context(SortedRecords())
            yield from self._list_children(children)
            identities = stack.enter_context(SortedRecords())
            yield from self._list_parents(identities)
            yield from self._match(iter(children), iter(identities))
        removed = 0
        if delete_orphaned and not self._dry_run:
            removed = yield from self._vectors.delete(self._tally.orphaned, sure=True)
        return self._report(moved, removed)

    def _move(self, parents: Any, stack: ExitStack) -> Flow[MoveReport]:
        """Move parents into the document store; in a dry run, into a temporary one that has its documents too."""
        source = from_documents(parents) if isinstance(parents, Mapping) else parents
        if not self._dry_run:
            return (yield from migrate_flow(source, self._store))
        folder = stack.enter_context(TemporaryDirectory(prefix="docshelf-", ignore_cleanup_errors=True))
        scratch = DocShelfStore(f"{folder}/parents.db", self._docs.collection, source_key=self._store.source_key)
        stack.callback(scratch.close)
        yield from migrate_flow(self._docs, scratch.shelf, compare=False)
        report: MoveReport = yield from migrate_flow(source, scratch, compare=False)
        self._parents = scratch.shelf
        return replace(report, dry_run=True)

    def _list_children(self, spool: SortedRecords) -> Flow[None]:
        """List the children, without those of other records of the same documents."""
        namespaces, _ = yield from self._ledger.others(set())
        cursor = self._vectors.list_children(self._maker.id_key)
        while page := (yield from cursor.next()):
            found = [
                self._digester.found(child)
                for child in page
                if not any(is_in_namespace(child.id, namespace) for namespace in namespaces)
            ]
            yield Compute(spool.add, [child.spooled() for child in found if child is not None])

    def _list_parents(self, spool: SortedRecords) -> Flow[None]:
        names = [source.source for source in (yield Call(self._parents, "sources")) if source.entries]
        for start in range(0, len(names), _SOURCES):
            part = names[start : start + _SOURCES]
            by_source: list[list[Entry]] = yield Call(self._parents, "source_entries", part, values=False)
            rows = [(entry.key, entry.source) for entries in by_source for entry in entries if entry.value_hash]
            self._tally.parents += len(rows)
            yield Compute(spool.add, rows)

    def _match(self, children: Iterator[Any], identities: Iterator[Any]) -> Flow[None]:
        """Go through children and parents by key, both sorted, some keys at a time."""
        groups = _joined(children, identities)
        while part := (yield Compute(_some, groups)):
            wanted = [identity for _, _, owners in part for identity in owners]
            entries: dict[Identity, Entry] = {}
            if wanted:
                entries = yield from existing_entries(self._parents, wanted, values=True)
            drafts: Drafts = yield Call(self._maker, "make", entries)
            if drafts.failure is not None:
                raise drafts.failure
            rows = {
                self._ledger.row_of(identity, entries[identity].value_hash): identity for identity in drafts.by_parent
            }
            existing = yield from self._ledger.read_rows(list(rows), values=True)
            known = {rows[row.key]: row for row in existing if row is not None}
            _, others = yield from self._ledger.others({source for _, source in wanted})
            kept = [(key, [one for one in found if str(one.id) not in others], owners) for key, found, owners in part]
            yield from self._adopt(kept, rows, drafts.by_parent, known)

    def _adopt(
        self,
        part: Sequence[tuple[str, list[Found], list[Identity]]],
        rows: Mapping[str, Identity],
        drafts: Mapping[Identity, list[Draft]],
        known: Mapping[Identity, Entry],
    ) -> Flow[None]:
        """Match the children of some keys, and write down what was matched."""
        matched: dict[Identity, list[ChildId | None]] = {}
        for key, found, owners in part:
            group = Group(found)
            for identity in owners:
                if identity in known and known[identity].value:
                    taken = group.take_known(known[identity].value["children"])
                    self._tally.known += taken
                    # A pending row may lack children.
                    self._tally.missing += max(0, len(drafts.get(identity, ())) - taken)
            open_ = {one: [self._digester.of_draft(draft) for draft in drafts[one]] for one in owners if one in drafts}
            open_ = {one: digests for one, digests in open_.items() if one not in known}
            for identity, match in group.match(open_).items():
                matched[identity] = match.ids
                if match.missing:
                    self._tally.missing += match.missing
                    self._tally.name("missing of", [identity[0]])
            self._count_rest(key, group, has_parent=bool(owners))
        self._tally.adopted += sum(child is not None for ids in matched.values() for child in ids)
        if not self._dry_run:
            yield from self._write(rows, drafts, matched)

    def _count_rest(self, key: str, group: Group, *, has_parent: bool) -> None:
        tally = self._tally
        tally.ambiguous += len(group.ambiguous)
        tally.name("ambiguous", group.ambiguous)
        tally.orphaned += [child.id for child in group.rest]
        tally.without_parent += 0 if has_parent else len(group.rest)
        tally.name("orphaned", (child.id for child in group.rest))

    def _write(
        self,
        rows: Mapping[str, Identity],
        drafts: Mapping[Identity, list[Draft]],
        matched: Mapping[Identity, list[ChildId | None]],
    ) -> Flow[None]:
        """Write rows: live where every chunk has its child, else pending, so that the next sync adds the rest."""
        # A parent without any child in the vector store is as new to the retriever as before.
        adopting = {one: ids for one, ids in matched.items() if not ids or any(child is not None for child in ids)}
        if not adopting:
            return
        namespace = yield from self._ledger.namespace()
        turn = Turn({}, {}, [], {})
        items: list[Item] = []
        for row, identity in rows.items():
            if identity not in adopting:
                continue
            ids = adopting[identity]
            adopted = {
                child_id(namespace, draft.content, draft.ordinal): child
                for draft, child in zip(drafts[identity], ids, strict=True)
                if child is not None
            }
            children = [child for child in ids if child is not None]
            whole = len(children) == len(ids)
            label = turn.live_label(len(ids), replacing=False) if whole else turn.pending_label(0)
            items.append(row_item(row, identity, children, label, adopted))
        yield from self._ledger.write(items)

    def _report(self, moved: MoveReport | None, removed: int) -> AdoptionReport:
        tally = self._tally
        return AdoptionReport(
            tally.parents,
            tally.adopted,
            tally.known,
            tally.missing,
            len(tally.orphaned),
            tally.without_parent,
            tally.ambiguous,
            removed,
            tuple((kind, name) for kind, names in tally.examples.items() for name in names),
            moved,
            self._dry_run,
        )


def _joined(children: Iterator[Any], identities: Iterator[Any]) -> Iterator[tuple[str, list[Found], list[Identity]]]:
    """For each key its children and its parents, of two sorted streams."""
    left = groupby((Found.read(record) for record in children), lambda child: child.parent)
    right = groupby((tuple(record) for record in identities), lambda identity: identity[0])
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        key = min(group[0] for group in (one, other) if group is not None)
        found, owners = [], []
        if one is not None and one[0] == key:
            found, one = list(one[1]), next(left, None)
        if other is not None and other[0] == key:
            owners, other = [(name, source) for name, source in other[1]], next(right, None)
        yield key, found, owners


def _some(groups: Iterator[Any]) -> list[Any]:
    return list(islice(groups, _BATCH))
