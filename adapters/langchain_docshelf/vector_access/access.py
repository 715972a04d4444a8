"""`VectorAccess`: every call of a vector store, in chunks that it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from docshelf import ArgumentTypeError, ArgumentValueError, ConfigurationError, DocShelfError
from langchain_docshelf.vector_access.halves import lacking
from langchain_docshelf.vector_access.listing import (
    CallableLister,
    Child,
    ChildId,
    Children,
    ListableVectorStore,
    ListChildren,
    Lister,
)
from langchain_docshelf.vector_access.steps import HALVES, SYSTEM_CLOCK, Call, Clock, Flow, Half
from langchain_docshelf.vector_access.stores import backend_of

T = TypeVar("T")

# Below what the common stores take in a call; docs/vector-stores.md lists their limits.
DEFAULT_BATCH_SIZE: Final = 250
# Children of a chunk that are looked for after it was added.
_SAMPLE: Final = 16
# Seconds between looks for what was added: at first, and at most.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_REMEDY: Final = "Give the retriever another vector store, or another `index` name: its children get ids of their own"


class VectorAccess:
    """The way to a vector store. Methods that ask it or change it are flows, for sync and async.

    A flow makes one call of the vector store for each chunk, and a chunk that is through stays so if a later one fails.
    To act after each, take the `chunks` one by one.

    Args:
        vectorstore: the vector store.
        batch_size: children in one call, at most; less where the store says that it takes less. Default 250.
        verify_seconds: how long `verify` looks for what was added; 0 looks once.
        lister: a function that gives id, text and metadata of every child, for a store that cannot be listed else.
        clock: tells the time and waits.

    Raises:
        ArgumentTypeError, ArgumentValueError: an option cannot be.
    """

    def __init__(
        self,
        vectorstore: VectorStore,
        *,
        batch_size: int | None = None,
        verify_seconds: float = 10.0,
        lister: ListChildren | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        _check_options(batch_size, verify_seconds, lister)
        self._store = vectorstore
        self._backend = backend_of(vectorstore)
        self._batch_size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
        self._verify_seconds = verify_seconds
        self._lister = self._lister_of(lister)
        self._clock = clock
        self._size: int | None = None

    @property
    def name(self) -> str:
        """The name of the vector store's class."""
        return type(self._store).__name__

    @property
    def can_list(self) -> bool:
        """True where `list_children` works. A store that cannot be listed is not scanned."""
        return self._lister is not None

    @property
    def shares_ids(self) -> bool:
        """True where an id belongs to one collection only of all that are in the same database."""
        return self._backend.shares_ids

    # Before anything is written

    def check(self, *, add: bool = True, delete: bool = True) -> Flow[None]:
        """Refuse a vector store that lacks what is needed of it in the calls that are used, sync or async.

        Raises:
            ConfigurationError: it does.
        """
        half: Half = yield Call(HALVES, "half")
        reason = self._backend.refusal(half) or lacking(self._store, half, add=add, delete=delete)
        if reason:
            raise ConfigurationError(reason)

    def chunks(self, items: Iterable[T]) -> Flow[list[list[T]]]:
        """Items in lists as long as one call may be."""
        if self._size is None:
            limit: int | None = yield Call(self._backend, "limit")
            self._size = self._batch_size if limit is None else min(self._batch_size, limit)
        every, size = list(items), self._size
        return [every[start : start + size] for start in range(0, len(every), size)]

    # What it holds

    def held(self, ids: Iterable[ChildId]) -> Flow[set[ChildId] | None]:
        """Those of the ids that the vector store holds; None where it does not tell."""
        found: set[ChildId] = set()
        for chunk in (yield from self.chunks(dict.fromkeys(ids))):
            part: set[ChildId] | None = yield Call(self._backend, "held", chunk)
            if part is None:
                return None
            found |= part
        return found

    def missing(self, ids: Iterable[ChildId], seconds: float = 0.0) -> Flow[list[ChildId] | None]:
        """Those of the ids that the vector store does not hold; None where it does not tell.

        Args:
            seconds: look again for so long, with growing pauses, while some are missing. Some stores show late what
                was added.
        """
        left = list(dict.fromkeys(ids))
        end = self._clock.now() + seconds
        pause = _FIRST_PAUSE
        while True:
            found = yield from self.held(left)
            if found is None:
                return None
            left = [child for child in left if child not in found]
            rest = end - self._clock.now()
            if not left or rest <= 0:
                return left
            yield Call(self._clock, "sleep", min(pause, rest))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def verify(self, ids: Sequence[ChildId], excuse: Callable[[], Flow[bool]] | None = None) -> Flow[bool]:
        """Look for a sample of children that were just added, for up to `verify_seconds`; False where it does not tell.

        Args:
            ids: the children, in the order in which they were added.
            excuse: called when some are missing. True means that another run may have removed them.

        Raises:
            DocShelfError: some of them are not there. The message says what may be the reason, and what helps.
        """

        def excused() -> Flow[bool]:
            return excuse is not None and (yield from excuse())

        sample = list(ids[:: -(-len(ids) // _SAMPLE)]) if ids else []
        missing = yield from self.missing(sample)
        if not missing or (yield from excused()):
            return missing is not None
        missing = yield from self.missing(missing, self._verify_seconds)
        if missing and not (yield from excused()):
            foreign: list[ChildId] = yield Call(self._backend, "foreign", missing)
            raise DocShelfError(self._not_found(missing, len(sample), foreign))
        return True

    # Changes

    def add(self, documents: Iterable[Document]) -> Flow[int]:
        """Add documents under their ids, each id once; how many were embedded.

        Under an id that the vector store holds already, most stores replace the document. FAISS refuses it; there, it
        is left as it is.

        Raises:
            ArgumentValueError: a document has no id.
            DocShelfError: another collection of the same database owns some of the ids; these would be overwritten.
            What the vector store raises. Chunks before that one are in.
        """
        named = {document.id: document for document in documents}
        if None in named or "" in named:
            raise ArgumentValueError("a child has no id; give each document its `id`")
        added = 0
        for chunk in (yield from self.chunks(named.values())):
            added += yield from self._add(chunk)
        return added

    def _add(self, chunk: list[Document]) -> Flow[int]:
        ids = [str(document.id) for document in chunk]
        if self._backend.shares_ids:
            foreign: list[ChildId] = yield Call(self._backend, "foreign", ids)
            if foreign:
                raise DocShelfError(
                    f"{len(foreign):,} of {len(ids):,} children were not added: another collection of this database "
                    f"owns their ids, {foreign[0]!r} for one, and would lose them. {_REMEDY}"
                )
        if self._backend.refuses_held:
            found = yield from self.held(ids)
            chunk = [document for document in chunk if document.id not in (found or ())]
            ids = [str(document.id) for document in chunk]
        if not chunk:
            return 0
        try:
            yield Call(self._store, "add_documents", chunk, ids=ids)
        except NotImplementedError as exc:
            raise ConfigurationError(f"a {self.name} cannot add documents in this way ({exc}); use another") from exc
        return len(chunk)

    def delete(self, ids: Iterable[ChildId], *, sure: bool = False) -> Flow[int]:
        """Delete children; how many the vector store showed. Ids that it does not hold are passed over.

        Args:
            sure: the vector store holds them all, so that it need not be asked first.

        Raises:
            DocShelfError: the vector store said that it did not delete.
            What the vector store raises. Chunks before that one are gone.
        """
        deleted = 0
        for chunk in (yield from self.chunks(dict.fromkeys(ids))):
            deleted += yield from self._delete_chunk(chunk, ask=not sure)
        return deleted

    def _delete_chunk(self, chunk: list[ChildId], *, ask: bool) -> Flow[int]:
        found = (yield from self.held(chunk)) if ask else None
        shown = chunk if found is None else [child for child in chunk if child in found]
        try:
            # Also the ids that it does not show: they may have been added a moment ago.
            yield from self._delete(chunk)
        except DocShelfError:
            raise
        except Exception:
            found = yield from self.held(chunk)
            if found is None or len(found) == len(chunk):
                raise
            # It refuses ids that it does not hold, as FAISS does.
            shown = [child for child in chunk if child in found]
            yield from self._delete(shown)
        return len(shown)

    def _delete(self, ids: list[ChildId]) -> Flow[None]:
        if ids and (yield Call(self._store, "delete", ids=ids, **self._backend.delete_options)) is False:
            raise DocShelfError(f"the vector store did not delete {len(ids):,} stale children; mend it, and sync again")

    # What others put there

    def list_children(self, id_key: str, parents: Collection[str] | None = None) -> Children:
        """A cursor over the children that have `id_key` in their metadata: `next()` is a flow that gives a page.

        `check` first, with what will be done to them. Delete none from a Chroma collection before the last page.

        Args:
            id_key: the key of a child's metadata that holds the key of its parent.
            parents: only children of these parents, by their keys.

        Raises:
            ConfigurationError: the vector store cannot be listed.
        """
        if self._lister is None:
            raise ConfigurationError(
                f"a {self.name} cannot list its children; give a function that gives (id, text, metadata) of each"
            )
        return Children(self._lister, id_key, parents, self._batch_size)

    def find_unknown(
        self,
        id_key: str,
        parents: Collection[str],
        known: Callable[[list[Child]], Flow[Collection[ChildId]]] | None = None,
    ) -> Flow[list[Child]]:
        """Children of these parents that nobody knows: the first page that has some; [] where it cannot be listed.

        Args:
            known: those of the children of a page that somebody knows, by their ids.
        """
        if not self.can_list:
            return []
        children = self.list_children(id_key, parents)
        while page := (yield from children.next()):
            ids = set((yield from known(page)) if known is not None else ())
            if unknown := [child for child in page if child.id not in ids]:
                return unknown
        return []

    def _lister_of(self, given: ListChildren | None) -> Lister | None:
        if given is not None:
            return CallableLister(lambda _: given())
        if isinstance(self._store, ListableVectorStore):
            return CallableLister(self._store.list_children)
        return self._backend if self._backend.can_list else None

    def _not_found(self, missing: Sequence[ChildId], sample: int, foreign: Sequence[ChildId]) -> str:
        seen = (
            f"of {sample:,} children that were looked for after they were added, {len(missing):,} are not in the "
            f"{self.name} after {self._verify_seconds:g} s, {missing[0]!r} for one"
        )
        if foreign:
            return f"{seen}: another collection of this database owns these ids. {_REMEDY}"
        return (
            f"{seen}. It may show them later: raise verify_seconds. Or it does not keep documents under the ids that "
            f"it is given, or another collection of it owns these ids. {_REMEDY}"
        )


def _check_options(batch_size: Any, verify_seconds: Any, lister: Any) -> None:
    if batch_size is not None and (not isinstance(batch_size, int) or isinstance(batch_size, bool)):
        raise ArgumentTypeError(f"batch_size is a {type(batch_size).__name__}; give a whole number")
    if batch_size is not None and batch_size < 1:
        raise ArgumentValueError(f"batch_size is {batch_size}; give 1 or more")
    if not isinstance(verify_seconds, int | float):
        raise ArgumentTypeError(f"verify_seconds is a {type(verify_seconds).__name__}; give a number")
    if not verify_seconds >= 0:
        raise ArgumentValueError(f"verify_seconds is {verify_seconds}; give 0 or more")
    if lister is not None and not callable(lister):
        raise ArgumentTypeError(
            f"lister is a {type(lister).__name__}; give a function that gives (id, text, metadata) of every child"
        )
