"""`Chroma`: documents, metadata and ids by `.get(ids=, where=, limit=, offset=)`, in the order they were added."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_docshelf.vector_access.listing import Child, ChildId, Page, Query
from langchain_docshelf.vector_access.stores.base import Backend


class Chroma(Backend):
    can_list = True
    filters = True

    def limit(self) -> int | None:
        client = getattr(self.store, "_client", None)
        told = getattr(client, "get_max_batch_size", None) or getattr(client, "max_batch_size", None)
        limit = told() if callable(told) else told
        return limit if isinstance(limit, int) and limit > 0 else None

    def _held(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return set(self.store.get(ids=list(ids), include=[])["ids"])

    async def _aheld(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return await asyncio.to_thread(self._held, ids)

    def page(self, query: Query, after: Any, limit: int) -> Page:
        start = after or 0
        where = None if query.parents is None else {query.id_key: {"$in": sorted(query.parents)}}
        found = self.store.get(where=where, limit=limit, offset=start, include=["documents", "metadatas"])
        entries = zip(found["ids"], found["documents"], found["metadatas"], strict=True)
        children = [Child(child, text or "", dict(metadata or {})) for child, text, metadata in entries]
        full = len(children) == limit
        return Page([child for child in children if query.matches(child.metadata)], start + limit if full else None)
