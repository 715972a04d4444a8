"""`adopt_nodes`: what a vector store knows of its documents becomes what a document store knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Final

from llama_index.core.schema import BaseNode

from docshelf import ConfigurationError
from docshelf.adapters import Call, Compute, Flow, aperform, perform
from docshelf.moving import SortedRecords
from llama_index_docshelf.adoption.listing import Held, pages_of
from llama_index_docshelf.docstore import DocShelfDocumentStore

_DOCUMENTS: Final = 500
_NAMED: Final = 20
Nodes = Iterable[BaseNode] | Callable[[], Iterable[BaseNode]]


@dataclass(frozen=True)
class AdoptedNodesReport:
    """What was found in a vector store, and what the document store knows now.

    Attributes:
        nodes: nodes in the vector store.
        restored: documents whose hash the document store did not have: the next run skips them.
        known: documents whose hash it had.
        differing: documents of which it had another hash, which stays: the next run replaces their nodes.
        ambiguous: documents with nodes of several hashes, as an old version was left in the vector store. They are left
            alone: the next run replaces all of their nodes.
        without_hash: nodes that do not say of which version of which document they are.
        stored_nodes: nodes that were written to the document store, with `keep_nodes`.
        examples: some of the ambiguous and the differing documents.
        dry_run: True if nothing was written.
    """

    nodes: int = 0
    restored: int = 0
    known: int = 0
    differing: int = 0
    ambiguous: int = 0
    without_hash: int = 0
    stored_nodes: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False

    def __str__(self) -> str:
        names = ("nodes", "restored", "known", "differing", "ambiguous", "without_hash", "stored_nodes")
        lines = [f"{'':<14}  {'would be' if self.dry_run else 'done':>8}"]
        lines += [f"{name.replace('_', ' '):<14}  {getattr(self, name):>8,}" for name in names]
        return "\n".join([*lines, *(f"{kind}: {name}" for kind, name in self.examples)])


def adopt_nodes(
    vector_store: Any,
    docstore: Any,
    *,
    dry_run: bool = True,
    nodes: Nodes | None = None,
    keep_nodes: bool = False,
) -> AdoptedNodesReport:
    """Restore the document hashes of a document store from the nodes of a vector store, without embedding anything.

    A node says of which document it was made, and which hash that document had. With these hashes, an
    `IngestionPipeline` skips the documents that did not change, and replaces the nodes of those that did. Run it as a
    dry run first, which is the default.

    Args:
        vector_store: a vector store of LlamaIndex: Chroma, Qdrant or PostgreSQL; any other with `nodes`.
        docstore: the document store that the pipeline will have.
        dry_run: return the same report and write nothing.
        nodes: the nodes of a vector store that cannot be listed, or a function that gives them.
        keep_nodes: write the nodes to the document store too, for a `VectorStoreIndex` that keeps its nodes there. Not
            for an `IngestionPipeline` with `UPSERTS_AND_DELETE`, which takes every row of the store for a document.

    Raises:
        ConfigurationError: the vector store cannot be listed, or the document store is another one.

    Example:
        >>> from llama_index.core.schema import Document, NodeRelationship, TextNode
        >>> page = Document(text="Hello.", id_="guide.md")
        >>> node = TextNode(text="Hello.", relationships={NodeRelationship.SOURCE: page.as_related_node_info()})
        >>> with DocShelfDocumentStore(":memory:") as docstore:
        ...     report = adopt_nodes(None, docstore, nodes=[node], dry_run=False)
        ...     docstore.get_document_hash("guide.md") == page.hash
        True
        >>> report.nodes, report.restored
        (1, 1)
    """
    return perform(_adopt(vector_store, docstore, dry_run=dry_run, nodes=nodes, keep_nodes=keep_nodes))


async def aadopt_nodes(
    vector_store: Any,
    docstore: Any,
    *,
    dry_run: bool = True,
    nodes: Nodes | None = None,
    keep_nodes: bool = False,
) -> AdoptedNodesReport:
    """As `adopt_nodes`."""
    return await aperform(_adopt(vector_store, docstore, dry_run=dry_run, nodes=nodes, keep_nodes=keep_nodes))


def _adopt(
    vector_store: Any, docstore: Any, *, dry_run: bool, nodes: Nodes | None, keep_nodes: bool
) -> Flow[AdoptedNodesReport]:
    if not isinstance(docstore, DocShelfDocumentStore):
        raise ConfigurationError(f"the docstore is a {type(docstore).__name__}; give a DocShelfDocumentStore")
    count = without_hash = stored = 0
    with SortedRecords() as versions:
        pages = pages_of(vector_store, nodes)
        while page := (yield Compute(next, pages, [])):
            count += len(page)
            found = yield Compute(_origins, page)
            without_hash += len(page) - len(found)
            yield Compute(versions.add, found)
            if keep_nodes:
                kept = yield Compute(_nodes, page)
                stored += len(kept)
                if not dry_run:
                    yield from docstore._flows.add(kept, allow_update=True, store_text=True)
        documents = yield from _restore(docstore, iter(versions), dry_run=dry_run)
    return AdoptedNodesReport(count, *documents[:4], without_hash, stored, documents[4], dry_run)


def _restore(
    docstore: DocShelfDocumentStore, versions: Iterator[Sequence[Any]], *, dry_run: bool
) -> Flow[tuple[int, int, int, int, tuple[tuple[str, str], ...]]]:
    """Write the hashes that are missing, some documents at a time; how many of each kind there are."""
    restored = known = differing = ambiguous = 0
    examples: list[tuple[str, str]] = []
    groups = groupby(versions, lambda record: record[0])
    hashes = ((document, {doc_hash for _, doc_hash in records}) for document, records in groups)
    while part := (yield Compute(_some, hashes)):
        unclear = [document for document, found in part if len(found) > 1]
        ambiguous += len(unclear)
        wanted = {document: next(iter(found)) for document, found in part if len(found) == 1}
        there: dict[str, str | None] = yield from docstore._flows.hashes(wanted)
        missing = {document: doc_hash for document, doc_hash in wanted.items() if there[document] is None}
        others = [document for document, doc_hash in wanted.items() if there[document] not in (None, doc_hash)]
        restored, differing = restored + len(missing), differing + len(others)
        known += len(wanted) - len(missing) - len(others)
        examples += [("ambiguous", one) for one in unclear] + [("differing", one) for one in others]
        if missing and not dry_run:
            yield Call(docstore.shelf, "set_versions", missing)
    return restored, known, differing, ambiguous, tuple(examples[:_NAMED])


def _origins(page: Sequence[Held]) -> list[tuple[str, str]]:
    found = [held.origin() for held in page]
    return [(document, doc_hash) for document, doc_hash in found if document and doc_hash]


def _nodes(page: Sequence[Held]) -> list[BaseNode]:
    found = [held.as_node() for held in page]
    return [node for node in found if node is not None]


def _some(groups: Iterator[Any]) -> list[Any]:
    return list(islice(groups, _DOCUMENTS))
