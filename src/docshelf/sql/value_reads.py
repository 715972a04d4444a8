"""Reads of values: no statement carries more of them than the limits of the dialect say."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, bindparam, case, func, select

from docshelf.sql.chunks import KEYS_PER_STATEMENT, bounded, chunked
from docshelf.sql.statements import Statements
from docshelf.values.stored import Stored

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.sql.dialects.base import Dialect
    from docshelf.sql.rows import Identity

_VALUE: Final = Stored._fields.index("value")
_HASH: Final = Stored._fields.index("value_hash")


class ValueReads(Statements):
    """The statements of one set of tables that read values."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._of_source = self._entries.c.source == bindparam("source")

    def completed(
        self, connection: Connection, collection: str, columns: Sequence[Any], rows: list[Stored]
    ) -> list[Stored]:
        """Rows with the values that their statement left out; without those that are gone by now."""
        missing = [(row.key, row.source) for row in rows if _lacks_value(row)]
        if not missing:
            return rows
        whole = {
            (row[0], row[1]): Stored(*row)
            for row in self._large_values(connection, "fetch", columns, collection, missing)
        }
        completed = (whole.get((row.key, row.source)) if _lacks_value(row) else row for row in rows)
        return [row for row in completed if row is not None]

    def of_keys(
        self,
        connection: Connection,
        name: str,
        columns: Sequence[Any],
        collection: str,
        *,
        keys: Sequence[str],
        source: str | None,
    ) -> Iterator[Sequence[Any]]:
        """The rows of some keys. `name` identifies the columns, which begin as those of `Stored` do.

        No statement carries more values than the dialect's limits say. So that small reads stay one statement, the
        first leaves out only the values that are larger than their share.
        """
        parameters: dict[str, Any] = {"collection": collection} | ({} if source is None else {"source": source})
        conditions = () if source is None else (self._of_source,)
        limits = self.dialect
        for chunk in chunked(keys, limits.chunk_rows):
            large: list[Identity] = []
            parameters["whole"] = limits.chunk_bytes // len(chunk)
            rows = self._rows_of_keys(
                connection, ("short", name, source is None), lambda: self.short(columns), parameters, chunk, *conditions
            )
            for row in rows:
                if _lacks_value(row):
                    large.append((row[0], row[1]))
                else:
                    yield row
            yield from self._large_values(connection, name, columns, collection, large)

    def _large_values(
        self, connection: Connection, name: str, columns: Sequence[Any], collection: str, identities: Sequence[Identity]
    ) -> Iterator[Sequence[Any]]:
        """The rows of some entries, by as many statements as the dialect's limits ask for."""
        groups: Iterable[Sequence[Identity]] = [identities] if identities else []
        if len(identities) > 1:
            e = self._entries.c
            size = func.coalesce(func.length(e.value), 0)
            sized = self._of_identities(connection, "sizes of pairs", (e.key, e.source, size), collection, identities)
            sizes = {(row[0], row[1]): row[2] for row in sized}
            groups = bounded(list(sizes), sizes.__getitem__, self.dialect)
        for group in groups:
            yield from self._of_identities(connection, ("large", name), columns, collection, group)

    def _of_identities(
        self,
        connection: Connection,
        name: Hashable,
        columns: Sequence[Any],
        collection: str,
        identities: Sequence[Identity],
    ) -> Iterator[Sequence[Any]]:
        in_pairs = self.dialect.in_pairs(self._entries.c.key, self._entries.c.source)
        for chunk in chunked(identities, KEYS_PER_STATEMENT):
            parameters = {"collection": collection, **self.dialect.pairs(chunk)}
            yield from self._rows(
                connection, name, lambda: select(*columns).where(self._of_collection, in_pairs), parameters
            )

    def short(self, columns: Sequence[Any]) -> list[Any]:
        """The columns, with NULL for each value of more bytes than the parameter `whole` says."""
        value = columns[_VALUE]
        is_short = func.length(self._entries.c.value) <= bindparam("whole", type_=Integer)
        short = case((is_short, value)).label("value")
        return [short if column is value else column for column in columns]


def _lacks_value(row: Sequence[Any]) -> bool:
    """True for a row that has a value which its statement may have left out."""
    return row[_VALUE] is None and row[_HASH] is not None and type(row[0]) is str and type(row[1]) is str
