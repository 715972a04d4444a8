"""Listing the children that a vector store holds, in pages: what can list them, and the cursor that reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

from docshelf import ArgumentTypeError, ConfigurationError
from langchain_docshelf.vector_access.steps import Call, Flow

ChildId = str | int
"""Text in almost every store. A Qdrant point and a PGVectorStore row may have a number."""


class Child(NamedTuple):
    """A child as a vector store holds it.

    Attributes:
        id: what `get_by_ids` and `delete` know it by.
        text: what was embedded.
        metadata: what it was added with, without anything that the store's own search adds.
    """

    id: ChildId
    text: str
    metadata: dict[str, Any]


ListedChild = Child | tuple[ChildId, str, Mapping[str, Any]]
ListChildren = Callable[[], Iterable[ListedChild] | AsyncIterable[ListedChild]]
"""A caller's own listing: gives id, text and metadata of every child, each time anew. It may be a generator."""


@runtime_checkable
class ListableVectorStore(Protocol):
    """A vector store that lists its children itself. Any class with this method is one."""

    def list_children(self, id_key: str, /) -> Iterable[ListedChild] | AsyncIterable[ListedChild]:
        """Give id, text and metadata of every child whose metadata has `id_key`; others are passed over."""


class Query(NamedTuple):
    """Which children are asked for.

    Attributes:
        id_key: the key of a child's metadata that holds the key of its parent.
        parents: keys of parents; None for all children that have `id_key`.
    """

    id_key: str
    parents: frozenset[str] | None

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        if self.id_key not in metadata:
            return False
        key = metadata[self.id_key]
        return self.parents is None or (isinstance(key, str) and key in self.parents)


class Page(NamedTuple):
    """Some children, maybe none, and where the next page begins: None after the last."""

    children: list[Child]
    after: Any


class Lister(Protocol):
    """Reads pages of a vector store."""

    @property
    def filters(self) -> bool:
        """The store itself finds the children of some parents. If not, each page is filtered here."""

    def page(self, query: Query, after: Any, limit: int) -> Page:
        """At most `limit` entries of the store that follow `after` (None: from the beginning)."""

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        """As `page`."""


class Children:
    """Reads children page by page, in bounded memory.

    Args:
        parents: keys of parents; None for all children that have `id_key`.
        page_size: entries read at once.
    """

    def __init__(self, lister: Lister, id_key: str, parents: Collection[str] | None, page_size: int) -> None:
        self._lister = lister
        self._size = page_size
        self._after: Any = None
        self._all = Query(id_key, None)
        self._queries = iter(self._queries_for(parents))
        self._query: Query | None = next(self._queries, None)
        # Most stores that are asked about many parents hold no child at all; then one page tells.
        self._unsure = parents is not None and lister.filters and len(parents) > page_size

    def next(self) -> Flow[list[Child]]:
        """The next page; an empty list after the last."""
        if self._unsure:
            self._unsure = False
            first: Page = yield Call(self._lister, "page", self._all, None, self._size)
            if not first.children and first.after is None:
                self._query = None
        while self._query is not None:
            page: Page = yield Call(self._lister, "page", self._query, self._after, self._size)
            self._after = page.after
            if page.after is None:
                self._query = next(self._queries, None)
            if page.children:
                return page.children
        return []

    def _queries_for(self, parents: Collection[str] | None) -> Iterator[Query]:
        if parents is None:
            yield self._all
        elif self._lister.filters:
            keys = iter(sorted(set(parents)))
            while part := frozenset(islice(keys, self._size)):
                yield self._all._replace(parents=part)
        elif parents:
            yield self._all._replace(parents=frozenset(parents))


class CallableLister:
    """Reads pages of what a caller's function, or the vector store itself, gives one by one."""

    filters = False

    def __init__(self, listing: Callable[[str], Iterable[ListedChild] | AsyncIterable[ListedChild]]) -> None:
        self._listing = listing

    def page(self, query: Query, after: Any, limit: int) -> Page:
        return self._read(query, self._begin(query) if after is None else after, limit)

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        if after is None:
            after = await asyncio.to_thread(self._begin, query, aio=True)
        if isinstance(after, AsyncIterator):
            items: list[ListedChild] = []
            async for item in after:
                items.append(item)
                if len(items) == limit:
                    break
            return _page(query, items, after, limit)
        return await asyncio.to_thread(self._read, query, after, limit)

    def _begin(self, query: Query, *, aio: bool = False) -> Any:
        listed = self._listing(query.id_key)
        if isinstance(listed, AsyncIterable):
            if not aio:
                raise ConfigurationError("the listing of children is asynchronous; use the async methods")
            return aiter(listed)
        if not isinstance(listed, Iterable):
            raise ArgumentTypeError(
                f"the listing of children gave a {type(listed).__name__}; it has to give (id, text, metadata) of each"
            )
        return iter(listed)

    def _read(self, query: Query, items: Iterator[ListedChild], limit: int) -> Page:
        return _page(query, list(islice(items, limit)), items, limit)


def _page(query: Query, items: Sequence[Any], after: Any, limit: int) -> Page:
    children = [child for child in map(_checked, items) if query.matches(child.metadata)]
    return Page(children, after if len(items) == limit else None)


def _checked(item: Any) -> Child:
    if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 3:
        child, text, metadata = item
        metadata = {} if metadata is None else metadata
        if isinstance(child, str | int) and isinstance(text, str) and isinstance(metadata, Mapping):
            return Child(child, text, dict(metadata))
    raise ArgumentTypeError(f"the listing of children gave {item!r:.80}; it has to give (id, text, metadata)")
