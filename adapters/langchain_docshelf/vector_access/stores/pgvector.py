"""`PGVector`: all collections of a database in the table `langchain_pg_embedding`, whose primary key is the id alone.

So an id that one collection owns is overwritten in place when another collection adds it, and that other one never sees
it; and `delete` removes it from whichever collection owns it, unless `collection_only=True`. The table is read through
the class's own model and sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from langchain_docshelf.vector_access.listing import Child, ChildId, Page, Query
from langchain_docshelf.vector_access.steps import Half
from langchain_docshelf.vector_access.stores.base import Backend


class PGVector(Backend):
    can_list = True
    filters = True
    shares_ids = True
    delete_options: ClassVar = {"collection_only": True}

    def refusal(self, half: Half) -> str | None:
        if half == ("async" if self.store.async_mode else "sync"):
            return None
        mode = "True" if half == "async" else "False"
        return f"this PGVector was made with async_mode={self.store.async_mode}; {half} calls need async_mode={mode}"

    def _held(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return self._in_session(self._find, ids)  # type: ignore[no-any-return]

    async def _aheld(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return await self._in_async_session(self._find, ids)  # type: ignore[no-any-return]

    def foreign(self, ids: Sequence[ChildId]) -> list[ChildId]:
        return self._in_session(self._find_foreign, ids)  # type: ignore[no-any-return]

    async def aforeign(self, ids: Sequence[ChildId]) -> list[ChildId]:
        return await self._in_async_session(self._find_foreign, ids)  # type: ignore[no-any-return]

    def page(self, query: Query, after: Any, limit: int) -> Page:
        return self._in_session(self._read, query, after, limit)  # type: ignore[no-any-return]

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        return await self._in_async_session(self._read, query, after, limit)  # type: ignore[no-any-return]

    def _in_session(self, read: Any, *args: Any) -> Any:
        with self.store.session_maker() as session:
            return read(session, self.store.get_collection(session), *args)

    async def _in_async_session(self, read: Any, *args: Any) -> Any:
        async with self.store.session_maker() as session:
            collection = await self.store.aget_collection(session)
            return await session.run_sync(read, collection, *args)

    # Each reads the ids, never the vectors that the class's own `get_by_ids` brings along.

    def _find(self, session: Any, collection: Any, ids: Sequence[ChildId]) -> set[ChildId]:
        if collection is None:
            return set()
        row = self.store.EmbeddingStore
        found = session.query(row.id).filter(row.collection_id == collection.uuid, row.id.in_(list(ids)))
        return {child for (child,) in found}

    def _find_foreign(self, session: Any, collection: Any, ids: Sequence[ChildId]) -> list[ChildId]:
        row = self.store.EmbeddingStore
        found = session.query(row.id).filter(row.id.in_(list(ids)))
        if collection is not None:
            found = found.filter(row.collection_id != collection.uuid)
        return [child for (child,) in found]

    def _read(self, session: Any, collection: Any, query: Query, after: Any, limit: int) -> Page:
        if collection is None:
            return Page([], None)
        row = self.store.EmbeddingStore
        key = row.cmetadata[query.id_key].astext
        found = session.query(row.id, row.document, row.cmetadata).filter(row.collection_id == collection.uuid)
        found = found.filter(key.is_not(None) if query.parents is None else key.in_(sorted(query.parents)))
        if after is not None:
            found = found.filter(row.id > after)
        children = [Child(child, text or "", metadata) for child, text, metadata in found.order_by(row.id).limit(limit)]
        return Page(children, children[-1].id if len(children) == limit else None)
