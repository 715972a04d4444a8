"""Tables of other programs, read page by page. Nothing here can write."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Column,
    Engine,
    MetaData,
    Table,
    Text,
    cast,
    column,
    create_engine,
    func,
    inspect,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import NullType

from docshelf.engines.create import driver_errors
from docshelf.engines.url import parse_url
from docshelf.errors import ConfigurationError, DatabaseError
from docshelf.moving.ends import Record, Source, Take
from docshelf.steps import Compute, Flow

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import ColumnElement, Connection

# A page has so many rows at first, and then as many as hold so many bytes.
_FIRST_ROWS: Final = 100
_MOST_ROWS: Final = 2_000
_PAGE_BYTES: Final = 8 * 1024 * 1024


class PageSize:
    """How many items to read at once, so that they fit in memory: learnt from the pages before."""

    def __init__(self) -> None:
        self.items = _FIRST_ROWS

    def learn(self, count: int, held: int) -> None:
        """Take account of a page of so many items that held so many bytes."""
        if count:
            wanted = _PAGE_BYTES * count // max(1, held)
            # Pages grow slowly, as the next items may be much larger.
            self.items = max(1, min(wanted, 4 * self.items, _MOST_ROWS))


class OldDatabase:
    """A database of another program. Its transactions are read-only; an SQLite file is opened read-only.

    Args:
        database: a URL, the path of an SQLite file, or a SQLAlchemy Engine, which is not closed here.
        schema: the schema of its tables.

    Raises:
        ConfigurationError: there is no such file, or the URL is invalid.
    """

    def __init__(self, database: str | os.PathLike[str] | URL | Engine, *, schema: str | None = None) -> None:
        self._owned = not isinstance(database, Engine)
        self._schema = schema
        self._engine = database if isinstance(database, Engine) else _read_only_engine(database)

    def __enter__(self) -> OldDatabase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; those of a given Engine stay."""
        if self._owned:
            self._engine.dispose()

    def columns(self, table: str) -> set[str]:
        """The names of a table's columns; none if there is no such table.

        Raises:
            DatabaseError: the database cannot be read.
        """
        with self._connected() as connection:
            inspector = inspect(connection)
            if not inspector.has_table(table, schema=self._schema):
                return set()
            return {one["name"] for one in inspector.get_columns(table, schema=self._schema)}

    def tables(self) -> list[str]:
        """The names of the tables, in order."""
        with self._connected() as connection:
            return sorted(inspect(connection).get_table_names(schema=self._schema))

    def distinct(self, table: str, name: str) -> list[Any]:
        """The values of a column, each once, in order."""
        chosen: ColumnElement[Any] = column(name)
        with self._connected() as connection:
            return list(
                connection.scalars(select(chosen).select_from(self._table(table, name)).distinct().order_by(chosen))
            )

    def count(self, table: str, where: Mapping[str, Any]) -> int:
        """How many rows have these values."""
        with self._connected() as connection:
            source = self._table(table, *where)
            statement = select(func.count()).select_from(source).where(*self._conditions(where))
            return int(connection.scalar(statement) or 0)

    def pages(
        self,
        table: str,
        names: Sequence[str],
        where: Mapping[str, Any],
        order: Sequence[str],
        as_text: Collection[str] = (),
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in pages that fit in memory, each read by a short query of its own.

        Args:
            table: the table.
            names: the columns to read. Values come as the driver gives them.
            where: read only rows with these values.
            order: columns that together are unique and never NULL; rows come in their order.
            as_text: columns that the database turns into text, as JSON columns keep their own order of keys so.
        """
        size = PageSize()
        source = self._table(table, *names, *where, *order)
        keys: list[ColumnElement[Any]] = [column(name) for name in order]
        chosen = [
            cast(column(name), Text) if name in as_text else type_coerce(column(name), NullType())
            for name in (*names, *order)
        ]
        after: tuple[Any, ...] | None = None
        while True:
            statement = select(*chosen).select_from(source).where(*self._conditions(where)).order_by(*keys)
            if after is not None:
                bound = [literal(value) for value in after]
                statement = statement.where(tuple_(*keys) > tuple_(*bound) if len(keys) > 1 else keys[0] > bound[0])
            with self._connected() as connection:
                rows = [tuple(row) for row in connection.execute(statement.limit(size.items))]
            if not rows:
                return
            after = rows[-1][len(names) :]
            size.learn(len(rows), sum(_size(value) for row in rows for value in row))
            yield [row[: len(names)] for row in rows]

    def _table(self, name: str, *names: str) -> Table:
        columns = [Column(one, NullType()) for one in dict.fromkeys(names)]
        return Table(name, MetaData(), *columns, schema=self._schema)

    def _conditions(self, where: Mapping[str, Any]) -> list[Any]:
        return [column(name).is_(None) if value is None else column(name) == value for name, value in where.items()]

    def _connected(self) -> _Connected:
        return _Connected(self._engine)


class TableSource(Source):
    """The rows of a table of another program as a source.

    Args:
        database: as for `OldDatabase`.
        table: the table.
        names: the columns to read.
        where: read only rows with these values.
        order: columns that together are unique and never NULL; rows are read in their order.
        record: makes a record of the values of a row.
        as_text: columns that the database turns into text.
        schema: the schema of the table.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] | URL | Engine,
        table: str,
        names: Sequence[str],
        *,
        where: Mapping[str, Any],
        order: Sequence[str],
        record: Callable[..., Record],
        as_text: Collection[str] = (),
        schema: str | None = None,
    ) -> None:
        self._database = database
        self._table = table
        self._names = names
        self._where = where
        self._order = order
        self._record = record
        self._as_text = as_text
        self._schema = schema

    def count(self) -> Flow[int]:
        """How many rows there are."""
        count: int = yield Compute(self._count)
        return count

    def _count(self) -> int:
        with OldDatabase(self._database, schema=self._schema) as database:
            return database.count(self._table, self._where)

    def read(self, take: Take) -> Flow[None]:
        """Read every row."""
        with OldDatabase(self._database, schema=self._schema) as database:
            missing = sorted(
                {*self._names, *self._where, *self._order} - (yield Compute(database.columns, self._table))
            )
            if missing:
                raise ConfigurationError(f"there is no table {self._table!r} with a column {missing[0]!r} to move from")
            pages = database.pages(self._table, self._names, self._where, self._order, self._as_text)
            while rows := (yield Compute(next, pages, [])):
                yield from take((yield Compute(self._records, rows)))

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[Record]:
        return [self._record(*row) for row in rows]


class _Connected:
    """A connection for one read. Errors of the database are ours."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Connection:
        try:
            self._connection = self._engine.connect()
            if self._engine.dialect.name == "postgresql":
                self._connection = self._connection.execution_options(postgresql_readonly=True)
        except SQLAlchemyError as exc:
            raise _failed(exc) from exc
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise _failed(error) from error


def _failed(error: SQLAlchemyError) -> DatabaseError:
    return DatabaseError(f"the source cannot be read: {str(getattr(error, 'orig', None) or error).strip()[:300]}")


def _read_only_engine(database: str | os.PathLike[str] | URL) -> Engine:
    target = parse_url(database)
    if target.dialect != "sqlite":
        with driver_errors():
            return create_engine(target.sync_url, hide_parameters=True, pool_size=1, max_overflow=1)
    file = target.sync_url.database
    if not file or not Path(file).is_file():
        raise ConfigurationError(f"there is no file {file!r} to move from")
    address = f"{Path(file).absolute().as_uri()}?mode=ro"

    def connect() -> Any:
        import sqlite3

        return sqlite3.connect(address, uri=True, check_same_thread=False)

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | memoryview) else 64
