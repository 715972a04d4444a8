"""The flows of a document store during one run of an `IngestionPipeline`: hashes are kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llama_index.core.schema import BaseNode

from docshelf import DocShelf, Report
from docshelf.adapters import Flow, as_list
from llama_index_docshelf.document_flows import DocumentFlows


class IngestionFlows(DocumentFlows):
    """Reads the hashes of the run's documents once, and writes the hashes that are set when the run ends.

    Args:
        shelf: the shelf of the store.
        documents: the documents of the run, or their ids.
    """

    def __init__(self, shelf: DocShelf, documents: Iterable[BaseNode | str]) -> None:
        super().__init__(shelf)
        self._ids = list(dict.fromkeys(_document_id(document) for document in documents))
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
        stored = yield from super().all_hashes()
        found = {hash_: key for hash_, key in stored.items() if key not in self._unwritten}
        return {**found, **{hash_: key for key, hash_ in self._unwritten.items()}}

    def add(self, docs: Sequence[BaseNode], *, allow_update: bool, store_text: bool) -> Flow[Report]:
        """As `DocumentFlows.add`, which writes the hashes of these nodes too."""
        docs = as_list(docs)
        report = yield from super().add(docs, allow_update=allow_update, store_text=store_text)
        self._forget(node.node_id for node in docs)
        return report

    def delete(self, node_id: str, raise_error: bool) -> Flow[list[str]]:
        """As `DocumentFlows.delete`."""
        deleted = yield from super().delete(node_id, raise_error)
        self._forget(deleted)
        return deleted

    def delete_ref_doc(self, ref_doc_id: str, raise_error: bool) -> Flow[list[str]]:
        """As `DocumentFlows.delete_ref_doc`."""
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
