"""The flows of a document store during one run of an `IngestionPipeline`: hashes are kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llama_index.core.schema import BaseNode

from docshelf import DocShelf, Entry, MassDeleteError, Report
from docshelf.adapters import Flow, as_list, check_share, entries_refusal, sources_refusal
from llama_index_docshelf.document_flows import DocumentFlows


class IngestionFlows(DocumentFlows):
    """Reads the hashes of the run's documents once, and writes the hashes that are set when the run ends.

    Args:
        shelf: the shelf of the store.
        documents: the documents of the run, or their ids.
        max_delete, allow_mass_delete: as for `DocShelf.sync`.

    Raises:
        ArgumentTypeError, ArgumentValueError: `max_delete` is no share.
    """

    def __init__(
        self,
        shelf: DocShelf,
        documents: Iterable[BaseNode | str],
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
    ) -> None:
        super().__init__(shelf)
        check_share(max_delete)
        self._max_delete, self._allow_mass_delete = max_delete, allow_mass_delete
        self._refused: str | None = None
        self._ids = dict.fromkeys(_document_id(document) for document in documents)
        self._known: dict[str, str | None] = {}
        self._unwritten: dict[str, str] = {}

    def begin(self) -> Flow[None]:
        """Read the hashes of the run's documents."""
        self._known = yield from super().hashes(self._ids)

    def end(self, *, failed: bool) -> Flow[None]:
        """Write the hashes that were set, unless the run failed."""
        unwritten, self._unwritten, self._known = self._unwritten, {}, {}
        if unwritten and not failed:
            yield from super().set_hashes(unwritten)

    def hashes(self, ids: Iterable[str]) -> Flow[dict[str, str | None]]:
        """As `DocumentFlows.hashes`; what is known is not read again."""
        asked = list(ids)
        unknown = [key for key in asked if key not in self._known]
        found = (yield from super().hashes(unknown)) if unknown else {}
        return {key: self._known[key] if key in self._known else found[key] for key in asked}

    def set_hashes(self, hashes: Mapping[str, str]) -> Flow[None]:
        """Remember hashes until their documents are added or the run ends."""
        self._known.update(hashes)
        self._unwritten.update(hashes)
        yield from ()

    def all_hashes(self) -> Flow[dict[str, str]]:
        """As `DocumentFlows.all_hashes`, with the hashes that are not written yet."""
        entries = yield from self._hashed_entries()
        # A pipeline that deletes what its documents lack asks for all hashes just before.
        self._refused = self._refusal(entries)
        found = {entry.version or "": entry.key for entry in entries if entry.key not in self._unwritten}
        return {**found, **{hash_: key for key, hash_ in self._unwritten.items()}}

    def _refusal(self, entries: Iterable[Entry]) -> str | None:
        """Why this run may not delete all stored documents but its own; None if it may."""
        if self._allow_mass_delete:
            return None
        of = [entry.source or entry.key for entry in entries]
        documents = set(of)
        vanished = documents.difference(self._ids)
        deleted = sum(document in vanished for document in of)
        collection = self.shelf.collection
        refused = entries_refusal(f"collection {collection!r}", deleted, len(of), len(self._ids), self._max_delete)
        if refused is not None or self._max_delete is not None:
            return refused
        return sources_refusal(collection, vanished, lambda: len(documents))

    def _check_deletion(self, document: str) -> None:
        """Refuse to delete a document that is not one of the run's, if the run would delete too many.

        Raises:
            MassDeleteError: it would.
        """
        if self._refused is not None and document not in self._ids:
            raise MassDeleteError(self._refused)

    def add(self, docs: Sequence[BaseNode], *, allow_update: bool, store_text: bool) -> Flow[Report]:
        """As `DocumentFlows.add`, which writes the hashes of these nodes too."""
        docs = as_list(docs)
        report = yield from super().add(docs, allow_update=allow_update, store_text=store_text)
        self._forget(node.node_id for node in docs)
        return report

    def delete(self, node_id: str, raise_error: bool) -> Flow[list[str]]:
        """As `DocumentFlows.delete`, under the guard against mass deletion."""
        self._check_deletion(node_id)
        deleted = yield from super().delete(node_id, raise_error)
        self._forget(deleted)
        return deleted

    def delete_ref_doc(self, ref_doc_id: str, raise_error: bool) -> Flow[list[str]]:
        """As `DocumentFlows.delete_ref_doc`, under the guard against mass deletion."""
        self._check_deletion(ref_doc_id)
        deleted = yield from super().delete_ref_doc(ref_doc_id, raise_error)
        self._forget(deleted)
        return deleted

    def _forget(self, keys: Iterable[str]) -> None:
        """Forget hashes whose current value is in the database."""
        for key in keys:
            self._known.pop(key, None)
            self._unwritten.pop(key, None)


def _document_id(document: BaseNode | str) -> str:
    """The id whose hash the pipeline reads."""
    return document if isinstance(document, str) else document.ref_doc_id or document.node_id
