"""`FAISS`: ids by position in `.index_to_docstore_id`, documents by id in `.docstore`.

It refuses an id that it holds, and by then has added its vector: from then on vectors and documents do not match. So it
is asked before each addition. It refuses to delete ids that it does not hold, before it deletes any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document

from langchain_docshelf.vector_access.listing import Child, ChildId, Page, Query
from langchain_docshelf.vector_access.stores.base import Backend


class Faiss(Backend):
    can_list = True
    refuses_held = True

    def _held(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        # `get_by_ids` gives documents without ids where an old version of the class saved them.
        return {child for child in ids if self._document(child) is not None}

    async def _aheld(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return self._held(ids)

    def page(self, query: Query, after: Any, limit: int) -> Page:
        ids, start = (list(self.store.index_to_docstore_id.values()), 0) if after is None else after
        found = ((child, self._document(child)) for child in ids[start : start + limit])
        children = [
            Child(child, document.page_content, dict(document.metadata))
            for child, document in found
            if document is not None and query.matches(document.metadata)
        ]
        return Page(children, (ids, start + limit) if start + limit < len(ids) else None)

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        return self.page(query, after, limit)

    def _document(self, child: ChildId) -> Document | None:
        # A docstore answers with a sentence where there is no such document.
        found = self.store.docstore.search(child)
        return found if isinstance(found, Document) else None
