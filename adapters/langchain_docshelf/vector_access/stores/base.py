"""What is known of a vector store beside LangChain's interface: nothing, unless a module of this package knows more."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_docshelf.vector_access.listing import ChildId, Page, Query
from langchain_docshelf.vector_access.steps import Half


class Backend:
    """A vector store by LangChain's interface alone.

    Attributes:
        can_list: `page` works.
        filters: the store itself finds the children of some parents.
        refuses_held: adding an id that the store holds is an error.
        shares_ids: an id of one collection may be owned by another collection.
        delete_options: what `delete` is given beside the ids.
    """

    can_list: ClassVar[bool] = False
    filters: ClassVar[bool] = False
    refuses_held: ClassVar[bool] = False
    shares_ids: ClassVar[bool] = False
    delete_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, vectorstore: VectorStore, kind: type[VectorStore] = VectorStore) -> None:
        # Any: the attributes of other packages' classes are used, which are not imported here.
        self.store: Any = vectorstore
        self._kind = kind

    def refusal(self, half: Half) -> str | None:
        """Why this store cannot be used in sync or async calls, if its classes do not show it."""
        return None

    def limit(self) -> int | None:
        """The most children that the store says it takes in one call."""
        limit = getattr(self.store, "max_batch_size", None)
        return limit if isinstance(limit, int) and limit > 0 else None

    async def alimit(self) -> int | None:
        return await asyncio.to_thread(self.limit)

    def held(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        """Those of the ids that the store holds; None where it does not tell."""
        if self._has_own("get_by_ids"):
            return self._held(ids)
        try:
            return _among(ids, self.store.get_by_ids(list(ids)))
        except NotImplementedError:
            return None

    async def aheld(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        if self._has_own("get_by_ids") and self._has_own("aget_by_ids"):
            return await self._aheld(ids)
        try:
            return _among(ids, await self.store.aget_by_ids(list(ids)))
        except NotImplementedError:
            return None

    def _held(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        """As `held`, cheaper or surer than `get_by_ids`. Not used where a subclass has a `get_by_ids` of its own."""
        return _among(ids, self.store.get_by_ids(list(ids)))

    async def _aheld(self, ids: Sequence[ChildId]) -> set[ChildId] | None:
        return _among(ids, await self.store.aget_by_ids(list(ids)))

    def _has_own(self, method: str) -> bool:
        """True where the known class itself has the method that the store uses."""
        return self._kind is not VectorStore and getattr(type(self.store), method) is getattr(self._kind, method)

    def foreign(self, ids: Sequence[ChildId]) -> list[ChildId]:
        """Those of the ids that another collection owns, where `shares_ids`."""
        return []

    async def aforeign(self, ids: Sequence[ChildId]) -> list[ChildId]:
        return self.foreign(ids)

    def page(self, query: Query, after: Any, limit: int) -> Page:
        """At most `limit` entries of the store that follow `after`, where `can_list`."""
        raise NotImplementedError

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        return await asyncio.to_thread(self.page, query, after, limit)


def _among(ids: Sequence[ChildId], documents: Sequence[Document]) -> set[ChildId] | None:
    # Some stores give the id only among the metadata, as Qdrant's class does.
    found = {document.id or document.metadata.get("_id") for document in documents}
    if None in found:
        return set(ids) if len(documents) == len(set(ids)) else None
    return same_ids(ids, found)


def same_ids(ids: Sequence[ChildId], found: set[Any]) -> set[ChildId]:
    """Those of the ids that a store named, however it writes them."""
    names = {str(one) for one in found}
    if names.issuperset(map(str, ids)):
        return set(ids)
    return {child for child in ids if str(child) in names or _canonical(child) in names}


def loaded(module: str) -> Any:
    """A module that the vector store at hand imported itself; this package must work without it."""
    return sys.modules[module]


def _canonical(child: Any) -> str:
    """A UUID as most stores write it; any other id as it is."""
    try:
        return str(uuid.UUID(str(child)))
    except ValueError:
        return str(child)
