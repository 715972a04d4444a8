"""Records of what was indexed: keys, the groups that they belong to, and when they were last seen.

For adapters of indexing pipelines, whose vector stores hold the documents of these keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.operations import reading, records
from docshelf.store import DocShelf
from docshelf.types import Change, Report
from docshelf.validation import check_keys, check_source

_MICROSECONDS = 1_000_000


class Record(NamedTuple):
    """A key that was seen in a group.

    Attributes:
        key: the key, as the keys of a shelf are.
        group: the group, as the sources of a shelf are; "" for none.
        time: when it was last seen, in seconds since 1970.

    Example:
        >>> Record("a", "guide.md", 1764144000.0).group
        'guide.md'
    """

    key: str
    group: str = ""
    time: float = 0.0


class Records:
    """The records of a collection. Each method has an asynchronous twin with an `a` in front.

    Times are the database's, in seconds since 1970 with microseconds, and never go back, whatever its clock does.
    A key may be in several groups; deleting what one of them lost leaves it to the others.

    Args:
        shelf: the shelf whose collection holds the records, and nothing else.

    Example:
        >>> records = Records(DocShelf(":memory:", "records"))
        >>> began = records.now()
        >>> records.update(["a", "b"], groups=["a.md", "a.md"])
        >>> records.exist(["a", "c"]), records.list_keys(groups=["a.md"])
        ([True, False], ['a', 'b'])
    """

    def __init__(self, shelf: DocShelf) -> None:
        self._shelf = shelf

    def now(self) -> float:
        """The time, later than that of every record."""
        return self._shelf._run(records.now(self._shelf._context)) / _MICROSECONDS

    async def anow(self) -> float:
        """As `now`."""
        return await self._shelf._arun(records.now(self._shelf._context)) / _MICROSECONDS

    def update(
        self, keys: Iterable[str], *, groups: Sequence[str | None] | None = None, at_least: float | None = None
    ) -> None:
        """Write down that keys were seen.

        Args:
            keys: the keys.
            groups: the group of each key, None for none. Without groups, keys stay in the groups that they have.
            at_least: when the run began that saw them. No time that is written is earlier, and what the groups had
                before that time, and not since, they have lost.

        Raises:
            ArgumentTypeError, ArgumentValueError: a key or group is invalid, or there are not as many groups as keys.
        """
        checked, named = _checked(keys, groups)
        self._shelf._run(records.update(self._shelf._context, checked, named, _micros(at_least)))

    async def aupdate(
        self, keys: Iterable[str], *, groups: Sequence[str | None] | None = None, at_least: float | None = None
    ) -> None:
        """As `update`."""
        checked, named = _checked(keys, groups)
        await self._shelf._arun(records.update(self._shelf._context, checked, named, _micros(at_least)))

    def exist(self, keys: Iterable[str]) -> list[bool]:
        """For each of the keys, whether there is a record."""
        checked = check_keys(keys)
        found = self._shelf._run(reading.existing_keys(self._shelf._context, checked, None))
        return [key in found for key in checked]

    async def aexist(self, keys: Iterable[str]) -> list[bool]:
        """As `exist`."""
        checked = check_keys(keys)
        found = await self._shelf._arun(reading.existing_keys(self._shelf._context, checked, None))
        return [key in found for key in checked]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        groups: Iterable[str | None] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Keys that were last seen before and after some times (not at them), in order.

        Args:
            before, after: the times.
            groups: only keys of these groups, by the times at which they were seen in these. With `before`, which asks
                for what the groups have lost, keys that another group has are left out.
            limit: how many keys to return at most.
        """
        named, most = _groups(groups), _limit(limit)
        flow = records.list_keys(
            self._shelf._context, before=_micros(before), after=_micros(after), groups=named, limit=most
        )
        return self._shelf._run(flow)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        groups: Iterable[str | None] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`."""
        named, most = _groups(groups), _limit(limit)
        flow = records.list_keys(
            self._shelf._context, before=_micros(before), after=_micros(after), groups=named, limit=most
        )
        return await self._shelf._arun(flow)

    def is_any_since(self, time: float) -> bool:
        """True if any key was seen at that time or later."""
        return self._shelf._run(records.is_any_since(self._shelf._context, _micros(time) or 0))

    async def ais_any_since(self, time: float) -> bool:
        """As `is_any_since`."""
        return await self._shelf._arun(records.is_any_since(self._shelf._context, _micros(time) or 0))

    def restore(self, rows: Iterable[Record], *, dry_run: bool = False) -> Report:
        """Write records of another program; those that are there stay as they are.

        Args:
            rows: the records.
            dry_run: return the same report and write nothing.
        """
        checked = [(*_one(row), _micros(row.time) or 0) for row in rows]
        ops = self._shelf._run(records.restore(self._shelf._context, checked, dry_run=dry_run))
        return Report(tuple(Change(key, op, group) for (key, group), op in ops.items()), dry_run=dry_run)

    async def arestore(self, rows: Iterable[Record], *, dry_run: bool = False) -> Report:
        """As `restore`."""
        checked = [(*_one(row), _micros(row.time) or 0) for row in rows]
        ops = await self._shelf._arun(records.restore(self._shelf._context, checked, dry_run=dry_run))
        return Report(tuple(Change(key, op, group) for (key, group), op in ops.items()), dry_run=dry_run)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the records of keys, in all groups."""
        self._shelf.mdelete(keys)

    async def adelete(self, keys: Iterable[str]) -> None:
        """As `delete`."""
        await self._shelf.amdelete(keys)


def _checked(keys: Iterable[str], groups: Sequence[str | None] | None) -> tuple[list[str], list[str] | None]:
    checked, named = check_keys(keys), _groups(groups)
    if named is not None and len(named) != len(checked):
        raise ArgumentValueError(
            f"there are {len(checked):,} keys and {len(named):,} groups; give a group for each key"
        )
    return checked, named


def _groups(groups: Iterable[str | None] | None) -> list[str] | None:
    return None if groups is None else ["" if group is None else check_source(group) for group in groups]


def _one(row: Record) -> tuple[str, str]:
    [key] = check_keys([row.key])
    return key, check_source(row.group)


def _limit(limit: int | None) -> int | None:
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ArgumentValueError(f"limit={limit!r}: give a number of keys, or None")
    return limit


def _micros(time: float | None) -> int | None:
    if time is None:
        return None
    if not isinstance(time, int | float):
        raise ArgumentTypeError(f"the time {time!r:.40} is a {type(time).__name__}; give seconds since 1970")
    return round(time * _MICROSECONDS)
