"""Statements about records: keys in groups, with the times at which they were seen, in the version of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func, select

from docshelf.sql.chunks import chunked
from docshelf.sql.dialects.base import Dialect
from docshelf.sql.statements import Statements

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

# Microseconds since 1970 in so many digits, so that their texts have the same order.
DIGITS: Final = 20
_KEYS_PER_STATEMENT: Final = 20_000


class RecordRow(NamedTuple):
    """A key that was seen in a group.

    Attributes:
        key: the key.
        group: the group, "" for none; it is the source of the row.
        label: two times: when the key was last seen, and when it was last seen in this group.
    """

    key: str
    group: str
    label: str


def time_text(microseconds: int) -> str:
    """A time as a part of a label."""
    return f"{max(0, microseconds):0{DIGITS}d}"


class RecordQueries(Statements):
    """The statements of one set of tables on one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._label = func.coalesce(self._entries.c.version, "")

    def last_label(self, connection: Connection, collection: str) -> str:
        """The greatest label of a collection, "" if there is none."""
        e = self._entries.c
        return str(connection.scalar(select(func.max(self._label)).where(e.collection == collection)) or "")

    def of_keys(self, connection: Connection, collection: str, keys: Sequence[str]) -> list[RecordRow]:
        """Every record of some keys."""
        e = self._entries.c
        columns = (e.key, e.source, self._label)
        rows: list[RecordRow] = []
        for chunk in chunked(list(dict.fromkeys(keys)), _KEYS_PER_STATEMENT):
            found = self._rows_of_keys(connection, "records", lambda: columns, {"collection": collection}, chunk)
            rows += [RecordRow(*row) for row in found]
        return rows

    def keys(
        self, connection: Connection, collection: str, *, before: str | None, after: str | None, limit: int | None
    ) -> list[str]:
        """Keys that were last seen between two times, in order."""
        e = self._entries.c
        last = func.max(self._label)
        statement = select(e.key).where(e.collection == collection).group_by(e.key).order_by(e.key).limit(limit)
        for condition in self._between(last, before, after):
            statement = statement.having(condition)
        return [row[0] for row in connection.execute(statement)]

    def in_groups(
        self,
        connection: Connection,
        collection: str,
        groups: Sequence[str],
        *,
        before: str | None,
        after: str | None,
        after_key: str | None,
        limit: int,
    ) -> list[str]:
        """Keys that were last seen in one of some groups between two times, in order; a key of several is repeated."""
        e = self._entries.c
        seen = func.substr(self._label, DIGITS + 1, DIGITS)
        statement = select(e.key).where(e.collection == collection, self.dialect.in_array(e.source, "groups"))
        if after_key is not None:
            statement = statement.where(e.key > after_key)
        statement = statement.where(*self._between(seen, before, after)).order_by(e.key).limit(limit)
        return [row[0] for row in connection.execute(statement, {"groups": self.dialect.array(groups)})]

    def is_any_since(self, connection: Connection, collection: str, time: str) -> bool:
        """True if a key was seen at that time or later."""
        e = self._entries.c
        statement = select(e.key).where(e.collection == collection, self._label >= time).limit(1)
        return connection.execute(statement).first() is not None

    def _between(
        self, text: ColumnElement[Any], before: str | None, after: str | None
    ) -> Iterable[ColumnElement[bool]]:
        if before is not None:
            yield text < before
        if after is not None:
            # A label goes on behind its first time, and so is greater than that time alone.
            yield func.substr(text, 1, DIGITS) > after
