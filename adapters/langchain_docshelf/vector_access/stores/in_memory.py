"""`InMemoryVectorStore` of langchain-core: a dict by id in `.store`, with "text" and "metadata"."""

from __future__ import annotations

from typing import Any

from langchain_docshelf.vector_access.listing import Child, Page, Query
from langchain_docshelf.vector_access.stores.base import Backend


class InMemory(Backend):
    can_list = True

    def page(self, query: Query, after: Any, limit: int) -> Page:
        # A snapshot of the ids: the dict may change between two pages.
        ids, start = (list(self.store.store), 0) if after is None else after
        entries = ((child, self.store.store.get(child)) for child in ids[start : start + limit])
        children = [
            Child(child, entry["text"], dict(entry["metadata"]))
            for child, entry in entries
            if entry is not None and query.matches(entry["metadata"])
        ]
        return Page(children, (ids, start + limit) if start + limit < len(ids) else None)

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        # Not in a thread, where the event loop could change the dict meanwhile.
        return self.page(query, after, limit)
