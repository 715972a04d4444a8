"""The record manager for LangChain's `index` and `aindex`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.indexing import RecordManager
from langchain_core.vectorstores import VectorStore

from docshelf import ConfigurationError, DocShelf, MassDeleteError
from docshelf.adapters import Call, Flow, ShelfOptions, ShelfStore, Url, aperform, perform
from docshelf.records import Records
from langchain_docshelf.byte_keys import stored_item
from langchain_docshelf.vector_access import VectorAccess

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from docshelf.moving import Target

_PREFIX = "records/"


class DocShelfRecordManager(ShelfStore, RecordManager):
    """Knows which documents `index()` wrote into a vector store, of which sources, and when. Sync and async in one.

    Times are the database's and never go back. A key that two sources have, as with a `key_encoder` of the text alone,
    is deleted when the second one loses it. A refresh leaves keys in their groups.

    A record manager on a url can be pickled if its vector store can, and opens connections of its own elsewhere.

    Args:
        namespace: the name of these records, of the vector store that they are about for example.
        url: as for `docshelf.DocShelf`.
        shelf: a shelf whose connections it uses, instead of a url and options.
        vectorstore: the vector store that is indexed. `exists` then asks it too, so that a store that lost documents is
            filled again; one that cannot tell (`get_by_ids`) is not asked.
        refuse_empty: refuse a cleanup that would leave nothing, with a `MassDeleteError`. Off by default, since
            `index([], ..., cleanup="full")` is how people clear a vector store.
        collection: the collection of the records; by default "records/" and the namespace.
        options: as for `docshelf.DocShelf`.

    Raises:
        ConfigurationError: as `docshelf.DocShelf`; or a shelf beside a url or options.

    Example:
        >>> manager = DocShelfRecordManager("pages", url=":memory:")
        >>> manager.update(["a"], group_ids=["a.md"])
        >>> manager.exists(["a", "b"])
        [True, False]
    """

    def __init__(
        self,
        namespace: str,
        *,
        url: Url | None = None,
        shelf: DocShelf | None = None,
        vectorstore: VectorStore | None = None,
        refuse_empty: bool = False,
        collection: str | None = None,
        **options: Unpack[ShelfOptions],
    ) -> None:
        RecordManager.__init__(self, namespace)
        if not namespace:
            raise ConfigurationError("the namespace is empty; give it a name")
        if vectorstore is not None and not isinstance(vectorstore, VectorStore):
            raise ConfigurationError(f"vectorstore is a {type(vectorstore).__name__}; give a VectorStore")
        self._open(
            url,
            collection or f"{_PREFIX}{namespace}",
            shelf,
            options,
            default=f"{_PREFIX}{namespace}",
            namespace=namespace,
            vectorstore=vectorstore,
            refuse_empty=refuse_empty,
        )
        self._records = Records(self._shelf)
        self._vectors = None if vectorstore is None else VectorAccess(vectorstore)
        self._refuse_empty = refuse_empty

    def create_schema(self) -> None:
        """Create docshelf's tables, or bring them up to date; else it happens on first use."""
        self._shelf.setup()

    async def acreate_schema(self) -> None:
        """As `create_schema`."""
        await self._shelf.asetup()

    def get_time(self) -> float:
        """The database's time in seconds since 1970, later than that of every record."""
        return self._records.now()

    async def aget_time(self) -> float:
        """As `get_time`."""
        return await self._records.anow()

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Write down that documents were indexed.

        Args:
            keys: their keys, 1 to 1,024 bytes each.
            group_ids: the source of each. Without them, keys stay in the groups that they have.
            time_at_least: the start of the run. No time that is written is earlier.

        Raises:
            ValueError: there are not as many groups as keys, or a key is invalid.
        """
        self._records.update(keys, groups=_groups(group_ids), at_least=time_at_least)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As `update`."""
        await self._records.aupdate(keys, groups=_groups(group_ids), at_least=time_at_least)

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """For each of the keys, whether it was indexed and, with a vector store that tells, whether it is there."""
        return perform(self._exist(keys))

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As `exists`."""
        return await aperform(self._exist(keys))

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Keys by the time of their last update, in order.

        Args:
            before, after: only keys that were updated before and after these times, not at them.
            group_ids: only keys of these sources. With `before`, keys that another source has are left out.
            limit: how many keys to return at most.

        Raises:
            MassDeleteError: with `refuse_empty`, no key was updated since `before`, so that nothing would be left.
        """
        return perform(self._list(before, after, group_ids, limit))

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`."""
        return await aperform(self._list(before, after, group_ids, limit))

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Delete the records of keys."""
        self._records.delete(keys)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As `delete_keys`."""
        await self._records.adelete(keys)

    def move_target(self) -> Target:
        """How `docshelf.moving.migrate` writes the records of an `SQLRecordManager` into this one."""
        from langchain_docshelf.moving.records import RecordTarget

        return RecordTarget(self._shelf, self._records)

    def _exist(self, keys: Sequence[str]) -> Flow[list[bool]]:
        exist: list[bool] = yield Call(self._records, "exist", keys)
        if self._vectors is None or not any(exist):
            return exist
        asked = [key for key, known in zip(keys, exist, strict=True) if known]
        missing = yield from self._vectors.missing(asked)
        lost = set(missing or ())
        return [known and key not in lost for key, known in zip(keys, exist, strict=True)]

    def _list(
        self, before: float | None, after: float | None, group_ids: Sequence[str] | None, limit: int | None
    ) -> Flow[list[str]]:
        # LangChain's own managers take an empty list for no list.
        groups = _groups(group_ids or None)
        found: list[str] = yield Call(
            self._records, "list_keys", before=before, after=after, groups=groups, limit=limit
        )
        if (
            found
            and before is not None
            and self._refuse_empty
            and not (yield Call(self._records, "is_any_since", before))
        ):
            raise MassDeleteError(
                f"this cleanup would delete every document of the namespace {self.namespace!r}: none came from the "
                "loader. If that is meant, make the record manager with refuse_empty=False"
            )
        return found


def _groups(group_ids: Sequence[str | None] | None) -> list[str | None] | None:
    """Groups as sources of a shelf: one that does not fit is named by its digest."""
    if group_ids is None:
        return None
    return [group if not group else stored_item(group).key for group in group_ids]
