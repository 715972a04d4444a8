"""`QdrantVectorStore`: points whose payload holds the text and the metadata; ids are UUIDs or whole numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_docshelf.vector_access.listing import Child, ChildId, Page, Query
from langchain_docshelf.vector_access.stores.base import Backend, loaded, same_ids


class Qdrant(Backend):
    can_list = True
    filters = True

    def _held(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        points = self.store.client.retrieve(self.store.collection_name, list(ids), with_payload=False)
        return same_ids(ids, {point.id for point in points})

    async def _aheld(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return await asyncio.to_thread(self._held, ids)

    def page(self, query: Query, after: Any, limit: int) -> Page:
        text, metadata = self.store.content_payload_key, self.store.metadata_payload_key
        points, following = self._scroll(query, after, limit)
        found = (
            Child(point.id, point.payload.get(text) or "", dict(point.payload.get(metadata) or {})) for point in points
        )
        return Page([child for child in found if query.matches(child.metadata)], following)

    def _scroll(self, query: Query, after: Any, limit: int) -> tuple[list[Any], Any]:
        options = {"limit": limit, "offset": after, "with_payload": True, "with_vectors": False}
        scroll = self.store.client.scroll
        if query.parents is not None:
            models = loaded("qdrant_client.models")
            field = f'{self.store.metadata_payload_key}."{query.id_key}"'
            match = models.FieldCondition(key=field, match=models.MatchAny(any=sorted(query.parents)))
            try:
                return scroll(self.store.collection_name, models.Filter(must=[match]), **options)  # type: ignore[no-any-return]
            except Exception:  # noqa: S110 - a server in strict mode refuses a field without an index
                pass
        # Then each page is filtered here.
        return scroll(self.store.collection_name, **options)  # type: ignore[no-any-return]
