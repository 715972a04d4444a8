"""A document store for one run of an `IngestionPipeline`, without its round trips for each document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from llama_index.core.schema import BaseNode

from docshelf import Report
from llama_index_docshelf.docstore import DocShelfDocumentStore
from llama_index_docshelf.flow import Flow

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class IngestionRun(DocShelfDocumentStore):
    """Made by `DocShelfDocumentStore.ingestion_run`; a context manager, sync and async.

    A pipeline asks for the hash of each document, and under some strategies writes each hash, by itself. Here the
    hashes of the run's documents are read once when it begins. Hashes that are set wait in memory until their
    documents are added or the run ends; a run that fails writes none of them, so that the next one does its work.
    """

    def __init__(self, store: DocShelfDocumentStore, documents: Iterable[BaseNode | str]) -> None:
        # The same shelf, whose content types know the store's node classes.
        self._shelf = store.shelf
        self._owned = False
        self._looked_up = store._looked_up
        self._asked = list(dict.fromkeys(_document_id(document) for document in documents))
        self._known: dict[str, str | None] = {}
        self._waiting: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._do(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end(failed=kind is not None))

    async def __aenter__(self) -> Self:
        await self._ado(self._begin())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._ado(self._end(failed=kind is not None))

    def _begin(self) -> Flow[None]:
        self._known = yield from super()._hashes(self._asked)

    def _end(self, *, failed: bool) -> Flow[None]:
        waiting, self._waiting, self._known = self._waiting, {}, {}
        if waiting and not failed:
            yield from super()._set_hashes(waiting)

    def _hashes(self, ids: Iterable[str]) -> Flow[dict[str, str | None]]:
        asked = list(ids)
        unknown = [key for key in asked if key not in self._known]
        found = (yield from super()._hashes(unknown)) if unknown else {}
        return {key: self._known[key] if key in self._known else found[key] for key in asked}

    def _set_hashes(self, hashes: Mapping[str, str]) -> Flow[None]:
        self._known.update(hashes)
        self._waiting.update(hashes)
        yield from ()

    def _all_hashes(self) -> Flow[dict[str, str]]:
        stored = yield from super()._all_hashes()
        found = {hash_: key for hash_, key in stored.items() if key not in self._waiting}
        return {**found, **{hash_: key for key, hash_ in self._waiting.items()}}

    def _add(self, docs: Sequence[BaseNode], *, allow_update: bool, store_text: bool) -> Flow[Report]:
        report = yield from super()._add(docs, allow_update=allow_update, store_text=store_text)
        self._forget(node.node_id for node in docs)
        return report

    def _delete(self, key: str, raise_error: bool) -> Flow[list[str]]:
        gone = yield from super()._delete(key, raise_error)
        self._forget(gone)
        return gone

    def _delete_ref_doc(self, document: str, raise_error: bool) -> Flow[list[str]]:
        gone = yield from super()._delete_ref_doc(document, raise_error)
        self._forget(gone)
        return gone

    def _forget(self, keys: Iterable[str]) -> None:
        """What the database now says itself."""
        for key in keys:
            self._known.pop(key, None)
            self._waiting.pop(key, None)


def _document_id(document: BaseNode | str) -> str:
    """The id whose hash the pipeline asks for."""
    return document if isinstance(document, str) else document.ref_doc_id or document.node_id
