"""`DocShelf`, the store. It checks arguments and runs operations; each has a sync and an async method."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from sqlalchemy import Connection, Engine

from docshelf.display import html
from docshelf.display.progress import progress_bar
from docshelf.engines.base import Backend
from docshelf.engines.bound import BoundBackend
from docshelf.engines.create import DEFAULT_POOL, check_application_name, check_seconds, pool_options
from docshelf.engines.given import GivenEngines, check_engines
from docshelf.engines.own import OwnEngines
from docshelf.engines.url import parse_url
from docshelf.errors import (
    ArgumentTypeError,
    ConfigurationError,
    CorruptEntryError,
    DatabaseError,
)
from docshelf.logs import logged_call, logs_calls
from docshelf.operations import collections, deleting, diagnosis, maintenance, reading, searching, writing
from docshelf.operations.context import Context
from docshelf.operations.plan import PlanOf, Scope, mset_plan, sync_plan
from docshelf.operations.searchable import complete_indexes, make_searchable
from docshelf.schema import define_tables
from docshelf.sql.dialects import dialect_for
from docshelf.sql.queries import Queries
from docshelf.sql.rows import DEFAULT_LAYOUT, MAX_PARTITIONS, Layout
from docshelf.sql.search import Bounds
from docshelf.steps import Flow
from docshelf.types import (
    Collections,
    Entry,
    EstimatedStats,
    Finding,
    Health,
    Item,
    Op,
    Problem,
    Report,
    Source,
    SourceNote,
    Sources,
    Stats,
)
from docshelf.validation import (
    check_at_most,
    check_collection,
    check_expected,
    check_fingerprints,
    check_key,
    check_keys,
    check_limit,
    check_new_sources,
    check_optional_source,
    check_pairs,
    check_prefix,
    check_share,
    check_source,
    check_sources,
    check_versions,
)
from docshelf.values.content_types import DEFAULT_MAX_VALUE_BYTES, Codec, ContentType, HashOn, OnCorrupt
from docshelf.values.search import check_searchable
from docshelf.values.where import parse_where

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from typing_extensions import Self

T = TypeVar("T")
# A source has 1,024 bytes at most, and so comes before this one.
_AFTER_ALL_SOURCES: Final = "\U0010ffff" * 257

Items = Mapping[str, Any] | Iterable["Item | tuple[str, Any] | tuple[Any, ...]"]
"""A batch of items: a mapping of keys to values, or any iterable of `Item` or `(key, value)`."""


class DocShelf:
    """A collection of documents in PostgreSQL or SQLite. It writes only what changed and says what it did.

    Every operation has an asynchronous twin with `a` in front (`get`, `aget`). That of `sync` is `async_`, because
    `async` is a keyword. One object serves both, from any number of threads and event loops.

    Args:
        url: `postgresql://...` with any driver suffix or none, the path of an SQLite file, or `":memory:"`; by default
            the SQLite file `docshelf.db` in the current folder. Sync calls use psycopg2, async calls asyncpg;
            `postgresql+psycopg://` uses psycopg 3 for both.
        collection: the named set of entries that this object works on, 1 to 255 bytes.
        engine: a SQLAlchemy Engine for sync calls, instead of a URL. docshelf never closes it.
        async_engine: an AsyncEngine for async calls, instead of a URL. docshelf never closes it.
        schema: the PostgreSQL schema of the tables; by default the first in the search path.
        table_prefix: the beginning of the tables' names.
        hash_on: what counts as a change: "value" (everything), "text" (only a document's text), or a callable that
            takes a value and returns the part that counts, as a storable value.
        hash_exclude: names that do not count as a change: of a document's metadata, or of the keys of a plain dict.
        on_corrupt: "raise" a CorruptEntryError for a row that cannot be read, or "skip" it with a warning.
        compression: "zstd" compresses values where that saves space; None never does. Reading handles both.
        pooler: True behind PgBouncer, Supavisor and the like in transaction mode: no named prepared statements.
        content_types: how to store documents of frameworks, besides bytes and JSON-like values. Adapters pass theirs.
        max_value_bytes: the limit of a value's canonical bytes, for writing and for unpacking; at most 255 MiB.
        pool_size: how many connections to keep, for sync calls and for each event loop. They are opened on demand.
        max_overflow: how many more to open for a short time.
        pool_timeout: how many seconds a call waits for one of them; then it raises a PoolTimeoutError.
        connect_args: further arguments of the driver's `connect`. With psycopg2 and asyncpg: options of libpq, or one
            dict for each, as `{"psycopg2": {...}, "asyncpg": {...}}`.
        application_name: what `pg_stat_activity` shows, unless the url has that option.
        retry_seconds: how many seconds a call waits for a server that was reached once and is gone. Calls before the
            first connection, and other failures that may pass, are tried five times within about a second.

    Raises:
        ConfigurationError: an option, a URL or a combination of them is invalid.
        ArgumentTypeError, ArgumentValueError: the collection's name is invalid.

    Example:
        >>> shelf = DocShelf(":memory:")  # or DocShelf("docs.db"), DocShelf("postgresql://...")
        >>> shelf.sync({"intro": "Hello.", "usage": "Call sync."}, source="guide.md").counts
        {'INS': 2, 'UPD': 0, 'SKIP': 0, 'DEL': 0}
        >>> shelf.get("intro")
        'Hello.'
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | URL | None = None,
        collection: str = "default",
        *,
        engine: Engine | None = None,
        async_engine: AsyncEngine | None = None,
        schema: str | None = None,
        table_prefix: str = "docshelf",
        hash_on: HashOn = "value",
        hash_exclude: Iterable[str] = (),
        on_corrupt: OnCorrupt = "raise",
        compression: Literal["zstd"] | None = "zstd",
        pooler: bool = False,
        content_types: Iterable[ContentType] = (),
        max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES,
        pool_size: int = 15,
        max_overflow: int = 0,
        pool_timeout: float = 30.0,
        connect_args: Mapping[str, Any] | None = None,
        application_name: str = "docshelf",
        retry_seconds: float = 30.0,
    ) -> None:
        codec = Codec(
            content_types=content_types,
            hash_on=hash_on,
            hash_exclude=hash_exclude,
            on_corrupt=on_corrupt,
            compression=compression,
            max_value_bytes=max_value_bytes,
        )
        tables = define_tables(schema=schema, table_prefix=table_prefix)
        check_seconds("retry_seconds", retry_seconds)
        pool = pool_options(pool_size, max_overflow, pool_timeout)
        backend: Backend
        if engine is None and async_engine is None:
            target = parse_url(url, connect_args, pooler=pooler)
            backend = OwnEngines(
                target,
                dialect_for(target.dialect, tables),
                pool,
                application_name=check_application_name(application_name),
                retry_seconds=retry_seconds,
            )
        elif url is not None:
            raise ConfigurationError("both a url and an engine were given; give one of them")
        else:
            check_engines(engine, async_engine)
            names = {given.dialect.name for given in (engine, async_engine) if given is not None}
            if len(names) > 1:
                raise ConfigurationError(f"engine and async_engine are for different databases: {sorted(names)}")
            if connect_args is not None or pool != DEFAULT_POOL:
                raise ConfigurationError("an engine was given; pass options of connections and pools to create_engine")
            dialect = dialect_for(names.pop(), tables)
            backend = GivenEngines(engine, async_engine, dialect, pooler=pooler, retry_seconds=retry_seconds)
        self._compose(backend, Context(check_collection(collection), codec, Queries(backend.dialect)))

    def _compose(self, backend: Backend, context: Context) -> None:
        self._backend = backend
        self._context = context

    def _sibling(self, backend: Backend, context: Context) -> Self:
        sibling = type(self).__new__(type(self))
        sibling._compose(backend, context)
        return sibling

    @property
    def collection(self) -> str:
        """The name of the collection that this object works on."""
        return self._context.collection

    @property
    def is_bound(self) -> bool:
        """True for a store that works inside the caller's transaction: see `bind`."""
        return isinstance(self._backend, BoundBackend)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.collection!r} {self._backend!r}>"

    def _repr_html_(self) -> str:
        # Showing a store sends nothing to the database: so it never waits, fails or creates tables.
        codec = self._context.codec
        counts = codec.hash_on if isinstance(codec.hash_on, str) else getattr(codec.hash_on, "__name__", "a function")
        facts = {
            "collection": self.collection,
            "database": repr(self._backend),
            "table": str(self._context.dialect.tables.entries.fullname),
            "counts as change": ", without ".join([counts, *sorted(codec.hash_exclude)]),
        }
        return html.shelf(type(self).__name__, facts)

    # As a container of keys

    def __len__(self) -> int:
        """As `count()`. It blocks while the database works; in async code use `acount`."""
        return self.count()

    def __bool__(self) -> bool:
        """True, even if the collection is empty. So `if shelf:` does not query the database."""
        return True

    def __contains__(self, key: object) -> bool:
        """As `exists`."""
        return isinstance(key, str) and self.exists(key)

    def __iter__(self) -> Iterator[str]:
        """As `yield_keys()`."""
        return self.yield_keys()

    def __aiter__(self) -> AsyncIterator[str]:
        """As `ayield_keys()`."""
        return self.ayield_keys()

    # Other stores on the same database

    def view(
        self,
        collection: str | None = None,
        *,
        content_types: Iterable[ContentType] | None = None,
        on_corrupt: OnCorrupt | None = None,
        hash_on: HashOn | None = None,
        hash_exclude: Iterable[str] | None = None,
    ) -> Self:
        """Another store on the same connections, with another collection or other options.

        Args:
            collection: its collection; by default the collection of this store.
            content_types, on_corrupt, hash_on, hash_exclude: as for `DocShelf`; by default the options of this store.

        Example:
            >>> shelf = DocShelf(":memory:", "pages")
            >>> shelf.view("drafts").set("a", "a draft")
            >>> shelf.get("a") is None, shelf.view("drafts").get("a")
            (True, 'a draft')
        """
        codec = self._context.codec
        if any(option is not None for option in (content_types, on_corrupt, hash_on, hash_exclude)):
            codec = codec.derived(
                content_types=content_types, on_corrupt=on_corrupt, hash_on=hash_on, hash_exclude=hash_exclude
            )
        name = self.collection if collection is None else check_collection(collection)
        return self._sibling(self._backend, replace(self._context, collection=name, codec=codec))

    def companion(
        self,
        suffix: str,
        *,
        content_types: Iterable[ContentType] | None = None,
        on_corrupt: OnCorrupt | None = None,
        hash_on: HashOn | None = None,
        hash_exclude: Iterable[str] | None = None,
    ) -> Self:
        """A store for a collection that belongs to this one, as a retriever's ledger belongs to its documents.

        Its first call stores that it belongs to this collection, so that `rename_collection` renames both.

        Args:
            suffix: its name is the name of this collection and this suffix.
            content_types, on_corrupt, hash_on, hash_exclude: as for `view`.
        """
        name = check_collection(f"{self.collection}{suffix}")
        store = self.view(
            name, content_types=content_types, on_corrupt=on_corrupt, hash_on=hash_on, hash_exclude=hash_exclude
        )
        store._context = replace(store._context, owner=self.collection)
        return store

    def bind(self, connection: Connection | AsyncConnection) -> Self:
        """The same store inside the caller's own transaction.

        The caller commits or rolls back, together with the writes to its own tables. Locks are held until then.
        Nothing is retried. Sync methods need a Connection, async methods an AsyncConnection.

        Raises:
            ConfigurationError: the connection is for another kind of database.

        Example:
            >>> from sqlalchemy import create_engine
            >>> engine = create_engine("sqlite://")
            >>> with engine.begin() as connection:  # your own rows, and documents: both or none
            ...     DocShelf(engine=engine).bind(connection).set("a", "a text")
            >>> engine.dispose()
        """
        self._backend.check_open()
        return self._sibling(BoundBackend(connection, self._backend.dialect), self._context)

    # Setup and close

    def setup(
        self,
        *,
        partitions: int | None = None,
        distribute: Literal["citus"] | None = None,
        searchable: Iterable[str] | None = None,
    ) -> None:
        """Create or upgrade the tables. Without this call it happens on first use. Many processes may call it at once.

        Args:
            partitions: on PostgreSQL, create the entries table with this many hash partitions by key, 1 to 1,024. An
                existing table must have the same number.
            distribute: "citus" lets Citus distribute the entries by key over its workers, if it does not do so yet.
            searchable: the fields of this collection for which `find` gets an index. They replace the earlier ones; ()
                means none. Writers keep them beside the values. The first call reads all existing entries once; a call
                that was interrupted is finished by the next one.

        Raises:
            SchemaError: the schema is newer than this docshelf, a table of that name was not made by docshelf, the role
                may not create what is missing, the table has other partitions, or the database has no Citus.
            ConfigurationError: an argument is invalid for this database, or this server is a worker of Citus.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.setup(searchable=["author"])
            >>> shelf.is_set_up()
            True
        """
        layout = self._layout(partitions, distribute)
        self._backend.check_open()
        fields = None if searchable is None else check_searchable(searchable)
        self._backend.run(maintenance.setup(self._context, layout))
        self._backend.ready = True
        if fields is not None:
            self._run(make_searchable(self._context, fields, concurrently=self._backend.autocommits))

    async def asetup(
        self,
        *,
        partitions: int | None = None,
        distribute: Literal["citus"] | None = None,
        searchable: Iterable[str] | None = None,
    ) -> None:
        """As `setup`."""
        layout = self._layout(partitions, distribute)
        self._backend.check_open()
        fields = None if searchable is None else check_searchable(searchable)
        await self._backend.arun(maintenance.setup(self._context, layout))
        self._backend.ready = True
        if fields is not None:
            await self._arun(make_searchable(self._context, fields, concurrently=self._backend.autocommits))

    def _layout(self, partitions: int | None, distribute: Literal["citus"] | None) -> Layout:
        if partitions is not None and (type(partitions) is not int or not 1 <= partitions <= MAX_PARTITIONS):
            raise ConfigurationError(f"partitions={partitions!r}: give 1 to {MAX_PARTITIONS:,}")
        if distribute not in (None, "citus"):
            raise ConfigurationError(f"distribute={distribute!r}: give 'citus'")
        if partitions is not None and distribute is not None:
            raise ConfigurationError("both partitions and distribute were given; with Citus, leave out partitions")
        layout = Layout(partitions, distribute)
        if layout != DEFAULT_LAYOUT and self._backend.dialect.name != "postgresql":
            raise ConfigurationError(f"{self._backend.dialect.name} has neither partitions nor Citus; use PostgreSQL")
        return layout

    def close(self) -> None:
        """Close the connections that this store opened. It cannot be used afterwards. Its views are closed too."""
        self._backend.close()

    async def aclose(self) -> None:
        """As `close`."""
        await self._backend.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _run(self, flow: Flow[T]) -> T:
        self._backend.check_open()
        if not self._backend.ready:
            self.setup()
        if self._is_unregistered():
            with suppress(DatabaseError):  # a role that may only read can still use the store
                self._backend.run(self._registration())
        if not logs_calls():
            return self._backend.run(flow)
        with logged_call(flow, self.collection) as note_result:
            result = self._backend.run(flow)
            note_result(result)
            return result

    async def _arun(self, flow: Flow[T]) -> T:
        self._backend.check_open()
        if not self._backend.ready:
            await self.asetup()
        if self._is_unregistered():
            with suppress(DatabaseError):
                await self._backend.arun(self._registration())
        if not logs_calls():
            return await self._backend.arun(flow)
        with logged_call(flow, self.collection) as note_result:
            result = await self._backend.arun(flow)
            note_result(result)
            return result

    def _is_unregistered(self) -> bool:
        return self._context.owner is not None and self._backend.may_register(self.collection)

    def _registration(self) -> Flow[None]:
        assert self._context.owner is not None
        self._backend.registered.add(self.collection)
        return collections.register(self._context, self._context.owner)

    # Reading

    def get(self, key: str, *, source: str | None = None) -> Any:
        """The value of a key, or None.

        Args:
            key: the key.
            source: read the entry of this source; by default the entry that was written last, in any source.

        Raises:
            CorruptEntryError: the row cannot be read, with `on_corrupt="raise"`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.set("a", {"page": 1})
            >>> shelf.get("a"), shelf.get("b")
            ({'page': 1}, None)
        """
        return self.mget([key], source=source)[0]

    async def aget(self, key: str, *, source: str | None = None) -> Any:
        """As `get`."""
        return (await self.amget([key], source=source))[0]

    def mget(self, keys: Iterable[str], *, source: str | None = None) -> list[Any]:
        """The values of keys, in their order; None for a key without one. Arguments and errors as for `get`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"a": 1, "b": 2})
            >>> shelf.mget(["b", "none", "a"])
            [2, None, 1]
        """
        return self._run(reading.get_values(self._context, check_keys(keys), check_optional_source(source)))

    async def amget(self, keys: Iterable[str], *, source: str | None = None) -> list[Any]:
        """As `mget`."""
        return await self._arun(reading.get_values(self._context, check_keys(keys), check_optional_source(source)))

    def get_entry(self, key: str, *, source: str | None = None) -> Entry | None:
        """The whole entry of a key (value, source, version, hash, times), or None. Otherwise as `get`."""
        return self.mget_entries([key], source=source)[0]

    async def aget_entry(self, key: str, *, source: str | None = None) -> Entry | None:
        """As `get_entry`."""
        return (await self.amget_entries([key], source=source))[0]

    def mget_entries(
        self, keys: Iterable[str], *, source: str | None = None, values: bool = True
    ) -> list[Entry | None]:
        """The entries of keys, in their order; None for a key without one.

        Args:
            values: False does not read the values; they are None then.
        """
        return self._run(
            reading.get_entries(self._context, check_keys(keys), check_optional_source(source), values=values)
        )

    async def amget_entries(
        self, keys: Iterable[str], *, source: str | None = None, values: bool = True
    ) -> list[Entry | None]:
        """As `mget_entries`."""
        return await self._arun(
            reading.get_entries(self._context, check_keys(keys), check_optional_source(source), values=values)
        )

    def source_entries(self, sources: Iterable[str], *, values: bool = True) -> list[list[Entry]]:
        """The entries of each of these sources, in insertion order, by one statement.

        Args:
            values: False does not read the values; they are None then.
        """
        return self._run(reading.source_entries(self._context, check_sources(sources), values=values))

    async def asource_entries(self, sources: Iterable[str], *, values: bool = True) -> list[list[Entry]]:
        """As `source_entries`."""
        return await self._arun(reading.source_entries(self._context, check_sources(sources), values=values))

    def pair_entries(self, pairs: Iterable[tuple[str, str]], *, values: bool = True) -> list[Entry | None]:
        """The entries of (key, source) pairs, in their order; None for a pair without an entry. One statement.

        Args:
            pairs: keys, each with its source.
            values: False does not read the values; they are None.

        Raises:
            CorruptEntryError: a row cannot be read, under `on_corrupt="raise"`.
        """
        return self._run(reading.pair_entries(self._context, check_pairs(pairs), values=values))

    async def apair_entries(self, pairs: Iterable[tuple[str, str]], *, values: bool = True) -> list[Entry | None]:
        """As `pair_entries`."""
        return await self._arun(reading.pair_entries(self._context, check_pairs(pairs), values=values))

    def mexists(self, keys: Iterable[str], *, source: str | None = None) -> list[bool]:
        """`exists` for each of the keys, in their order, by one statement."""
        checked = check_keys(keys)
        existing = self._run(reading.existing_keys(self._context, checked, check_optional_source(source)))
        return [key in existing for key in checked]

    async def amexists(self, keys: Iterable[str], *, source: str | None = None) -> list[bool]:
        """As `mexists`."""
        checked = check_keys(keys)
        existing = await self._arun(reading.existing_keys(self._context, checked, check_optional_source(source)))
        return [key in existing for key in checked]

    def exists(self, key: str, *, source: str | None = None) -> bool:
        """True when the key has an entry (in this source, if one is given)."""
        return key in self._run(reading.existing_keys(self._context, [check_key(key)], check_optional_source(source)))

    async def aexists(self, key: str, *, source: str | None = None) -> bool:
        """As `exists`."""
        return key in await self._arun(
            reading.existing_keys(self._context, [check_key(key)], check_optional_source(source))
        )

    def count(
        self,
        prefix: str | None = None,
        *,
        source: str | None = None,
        where: Mapping[str, Any] | None = None,
        at_most: int | None = None,
        exact: bool = True,
    ) -> int:
        """The number of entries. A key in two sources is two entries. An entry that holds only a version counts.

        Args:
            prefix: count only keys that begin with this text. It is literal: no wildcards.
            source: count only entries of this source.
            where: count only entries that `find` returns for it. This reads their values.
            at_most: stop at this number, 1 or more. `count(at_most=1)` says fast whether there is any entry.
            exact: False returns PostgreSQL's estimate, which reads no entries and can be off by the rows that changed
                since the last ANALYZE; on SQLite and Citus, which have none, it counts. Only of the whole collection.

        Raises:
            ArgumentTypeError: `exact=False` together with another argument.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"a1": {"year": 1999}, "a2": {"year": 2020}, "b": "text"})
            >>> shelf.count(), shelf.count("a"), shelf.count(where={"year": 2020})
            (3, 2, 1)
        """
        return self._run(self._counting(prefix, source, where, at_most, exact))

    async def acount(
        self,
        prefix: str | None = None,
        *,
        source: str | None = None,
        where: Mapping[str, Any] | None = None,
        at_most: int | None = None,
        exact: bool = True,
    ) -> int:
        """As `count`."""
        return await self._arun(self._counting(prefix, source, where, at_most, exact))

    def _counting(
        self,
        prefix: str | None,
        source: str | None,
        where: Mapping[str, Any] | None,
        at_most: int | None,
        exact: bool,
    ) -> Flow[int]:
        if not exact:
            if any(narrowing is not None for narrowing in (prefix, source, where, at_most)):
                raise ArgumentTypeError("exact=False is about the whole collection; leave out the other arguments")
            return reading.estimated_count(self._context)
        most = check_at_most(at_most)
        if where is not None:
            return searching.count(self._context, _search(where, prefix, source, most))
        return reading.count(self._context, check_prefix(prefix), check_optional_source(source), most)

    def find(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        prefix: str | None = None,
        source: str | None = None,
        limit: int | None = None,
        after: str | Entry | None = None,
        values: bool = True,
    ) -> Iterator[Entry]:
        """The entries whose fields match, ordered by key and source. Memory is bounded by 8 MiB or one value.

        The fields of a document are its metadata, those of a plain dict its own names. Other values have no fields. An
        entry that is written or deleted during the loop may or may not appear.

        Args:
            where: the condition: `{"author": "Ann", "year": {"$gte": 2020}, "tags": {"$contains": "x"}}`. A plain value
                means equal. The operators are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $contains (a list
                has this member) and $not; between conditions $and, $or and $not. A dot in a name reads a nested
                dict. Values of different types are never equal, greater or less. None returns all entries.
            prefix: only keys that begin with this text. It is literal: no wildcards.
            source: only entries of this source.
            limit: return at most this many; None returns all.
            after: only entries after this entry, or after all entries of this key: the next page.
            values: False leaves the values out (None).

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is invalid. The text names the place in `where`.
            CorruptEntryError: a row cannot be read, with `on_corrupt="raise"`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"a": {"year": 1999}, "b": {"year": 2020}, "c": "no fields"})
            >>> [entry.key for entry in shelf.find({"year": {"$gte": 2000}})]
            ['b']
        """
        return self._found(_search(where, prefix, source, limit, after), values)

    def afind(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        prefix: str | None = None,
        source: str | None = None,
        limit: int | None = None,
        after: str | Entry | None = None,
        values: bool = True,
    ) -> AsyncIterator[Entry]:
        """As `find`."""
        return self._afound(_search(where, prefix, source, limit, after), values)

    def _found(self, search: searching.Search, values: bool) -> Iterator[Entry]:
        left = search.limit
        while left != 0:
            page = self._run(searching.page(self._context, search))
            for batch in search.batches(page):
                found = self._run(searching.found_entries(self._context, search, batch, values=values))
                yield from found[:left]
                left = None if left is None else max(0, left - len(found))
                if left == 0:
                    return
            if page.is_last:
                return
            search = search.after(page)

    async def _afound(self, search: searching.Search, values: bool) -> AsyncIterator[Entry]:
        left = search.limit
        while left != 0:
            page = await self._arun(searching.page(self._context, search))
            for batch in search.batches(page):
                found = await self._arun(searching.found_entries(self._context, search, batch, values=values))
                for entry in found[:left]:
                    yield entry
                left = None if left is None else max(0, left - len(found))
                if left == 0:
                    return
            if page.is_last:
                return
            search = search.after(page)

    def yield_keys(
        self, prefix: str | None = None, *, source: str | None = None, with_value: bool = False
    ) -> Iterator[str]:
        """Each key once, ordered by UTF-8 bytes, in constant memory. No connection is held between pages.

        A key that is written or deleted during the loop may or may not appear.

        Args:
            prefix, source: as for `count`.
            with_value: leave out entries that hold only a version, as `set_versions` writes them. Default False.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"b": 1, "a2": 2, "a1": 3})
            >>> list(shelf.yield_keys("a"))
            ['a1', 'a2']
        """
        return self._pages_of_keys(check_prefix(prefix), check_optional_source(source), with_value)

    def ayield_keys(
        self, prefix: str | None = None, *, source: str | None = None, with_value: bool = False
    ) -> AsyncIterator[str]:
        """As `yield_keys`."""
        return self._apages_of_keys(check_prefix(prefix), check_optional_source(source), with_value)

    def yield_items(self, prefix: str | None = None, *, source: str | None = None) -> Iterator[tuple[str, Any]]:
        """Each key of `yield_keys` with its value as `get` reads it. Holds at most 16 MiB of values, or one value.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"b": 1, "a": 2})
            >>> list(shelf.yield_items())
            [('a', 2), ('b', 1)]
        """
        return ((entry.key, entry.value) for entry in self.yield_entries(prefix, source=source))

    def ayield_items(self, prefix: str | None = None, *, source: str | None = None) -> AsyncIterator[tuple[str, Any]]:
        """As `yield_items`."""
        return ((entry.key, entry.value) async for entry in self.ayield_entries(prefix, source=source))

    def yield_entries(
        self, prefix: str | None = None, *, source: str | None = None, values: bool = True
    ) -> Iterator[Entry]:
        """The entry of each key of `yield_keys`, as `get_entry` reads it. A key in several sources appears once.

        Args:
            values: False does not read the values; they are None then.
        """
        return self._pages_of_entries(check_prefix(prefix), check_optional_source(source), values)

    def ayield_entries(
        self, prefix: str | None = None, *, source: str | None = None, values: bool = True
    ) -> AsyncIterator[Entry]:
        """As `yield_entries`."""
        return self._apages_of_entries(check_prefix(prefix), check_optional_source(source), values)

    def _pages(self, prefix: str | None, source: str | None, with_value: bool = False) -> Iterator[list[str]]:
        after: str | None = None
        while page := self._run(reading.key_page(self._context, after, prefix, source, with_value=with_value)):
            yield page
            after = page[-1]

    async def _apages(
        self, prefix: str | None, source: str | None, with_value: bool = False
    ) -> AsyncIterator[list[str]]:
        after: str | None = None
        while page := await self._arun(reading.key_page(self._context, after, prefix, source, with_value=with_value)):
            yield page
            after = page[-1]

    def _pages_of_keys(self, prefix: str | None, source: str | None, with_value: bool) -> Iterator[str]:
        for page in self._pages(prefix, source, with_value):
            yield from page

    async def _apages_of_keys(self, prefix: str | None, source: str | None, with_value: bool) -> AsyncIterator[str]:
        async for page in self._apages(prefix, source, with_value):
            for key in page:
                yield key

    def _pages_of_entries(self, prefix: str | None, source: str | None, values: bool) -> Iterator[Entry]:
        for page in self._pages(prefix, source):
            batches = self._run(reading.value_batches(self._context, page, source)) if values else [page]
            for batch in batches:
                yield from self._run(reading.present_entries(self._context, batch, source, values=values))

    async def _apages_of_entries(self, prefix: str | None, source: str | None, values: bool) -> AsyncIterator[Entry]:
        async for page in self._apages(prefix, source):
            batches = await self._arun(reading.value_batches(self._context, page, source)) if values else [page]
            for batch in batches:
                for entry in await self._arun(reading.present_entries(self._context, batch, source, values=values)):
                    yield entry

    # Writing

    def set(self, key: str, value: Any, *, source: str = "", version: str | None = None) -> None:
        """Write a value if it differs from the existing entry. Arguments as for `Item`; errors as for `mset`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.set("a", {"tags": {"x"}, "pages": (1, 2)})
            >>> shelf.get("a")
            {'pages': (1, 2), 'tags': {'x'}}
        """
        self.mset([Item(key, value, source, version)])

    async def aset(self, key: str, value: Any, *, source: str = "", version: str | None = None) -> None:
        """As `set`."""
        await self.amset([Item(key, value, source, version)])

    def conditional_set(self, key: str, value: Any, *, source: str = "", version: str | None = None) -> tuple[str, Op]:
        """As `set`. Returns (key, "INS" | "UPD" | "SKIP").

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.conditional_set("a", "one"), shelf.conditional_set("a", "one"), shelf.conditional_set("a", "two")
            (('a', 'INS'), ('a', 'SKIP'), ('a', 'UPD'))
        """
        [change] = self.conditional_mset([Item(key, value, source, version)])
        return change.key, change.op

    async def aconditional_set(
        self, key: str, value: Any, *, source: str = "", version: str | None = None
    ) -> tuple[str, Op]:
        """As `conditional_set`."""
        [change] = await self.aconditional_mset([Item(key, value, source, version)])
        return change.key, change.op

    def mset(self, items: Items, *, source: str = "", show_progress: bool = False) -> None:
        """Write the items that are new or differ from their entries, in one transaction.

        If an error is raised, nothing was written.

        Args:
            items: a mapping of keys to values, or any iterable of `Item` or `(key, value)`. If a key appears twice in
                one source, the last item wins. The items of a generator are not all held in memory: beyond 32 MiB
                their bytes go to a temporary file until the call ends.
            source: the source of items that name none.
            show_progress: show a progress bar.

        Raises:
            UnsupportedValueError: a value cannot be stored without loss. Names the key and the path.
            ValueTooLargeError: a value exceeds `max_value_bytes`.
            ArgumentTypeError, ArgumentValueError: an item, key, source or version is invalid.
            DocShelfError: the temporary file cannot be written.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset([Item("a", "one", source="a.md"), ("b", b"bytes")])
            >>> len(shelf)
            2
        """
        self.conditional_mset(items, source=source, show_progress=show_progress)

    async def amset(self, items: Items, *, source: str = "", show_progress: bool = False) -> None:
        """As `mset`."""
        await self.aconditional_mset(items, source=source, show_progress=show_progress)

    def conditional_mset(
        self,
        items: Items,
        *,
        source: str = "",
        move: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        dry_run: bool = False,
        diff: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `mset`. Returns a report of what was done to each key.

        Args:
            move: a key lives in one source only: writing it deletes its entries in other sources. The report lists
                them as DEL.
            notes: fingerprints and metadata to store, by source, in the same transaction.
            dry_run: report what would be done, and write nothing.
            diff: fill `report.diffs`. This reads the old values of updated entries and holds old and new in memory.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"a": 1})
            >>> [(change.key, change.op) for change in shelf.conditional_mset({"a": 1, "b": 2})]
            [('a', 'SKIP'), ('b', 'INS')]
        """
        source = check_source(source)
        plan = mset_plan(move=move, notes=notes, dry_run=dry_run, diff=diff)
        return self._write(items, source, plan, show_progress=show_progress)

    async def aconditional_mset(
        self,
        items: Items,
        *,
        source: str = "",
        move: bool = False,
        notes: Mapping[str, SourceNote] | None = None,
        dry_run: bool = False,
        diff: bool = False,
        show_progress: bool = False,
    ) -> Report:
        """As `conditional_mset`."""
        source = check_source(source)
        plan = mset_plan(move=move, notes=notes, dry_run=dry_run, diff=diff)
        return await self._awrite(items, source, plan, show_progress=show_progress)

    def sync(
        self,
        items: Items,
        *,
        source: str = "",
        scope: Scope = "source",
        dry_run: bool = False,
        diff: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        fingerprint: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        notes: Mapping[str, SourceNote] | None = None,
        show_progress: bool = False,
    ) -> Report:
        """Make a source hold exactly these items: insert, update, skip, and delete the rest, in one transaction.

        Args:
            items: as for `mset`.
            source: the source to sync. With another scope: the source of items that name none.
            scope: "source" syncs this source. "sources" syncs every source that an item or `notes` names. "collection"
                syncs the whole collection.
            dry_run: report what would be done, and write nothing.
            diff: as for `conditional_mset`.
            max_delete: the share of the existing entries, 0 to 1, that this sync may delete. None, the default, refuses
                a sync that would remove at least 10 sources whole and more than half of the collection's sources. Any
                value refuses a sync that would delete all entries and leave none. A dry run is never refused: its
                report says in `refused` why the sync would be.
            allow_mass_delete: True refuses no sync.
            fingerprint: the caller's hash of the source's raw file, for `source_changed`.
            metadata: the caller's own data about the source; None keeps the stored metadata.
            notes: fingerprint and metadata by source, for the scopes "sources" and "collection".
            show_progress: show a progress bar.

        Raises:
            MassDeleteError: the sync would delete more than allowed. Nothing was written.
            Others as for `mset`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> report = shelf.sync({"a": 1, "b": 2}, source="a.md")
            >>> report = shelf.sync({"a": 1, "c": 3}, source="a.md")
            >>> [(change.key, change.op) for change in report]
            [('a', 'SKIP'), ('c', 'INS'), ('b', 'DEL')]
        """
        source = check_source(source)
        plan = sync_plan(
            source=source,
            scope=scope,
            dry_run=dry_run,
            diff=diff,
            max_delete=max_delete,
            allow_mass_delete=allow_mass_delete,
            note=SourceNote(fingerprint, metadata),
            notes=notes,
        )
        return self._write(items, source, plan, show_progress=show_progress)

    async def async_(
        self,
        items: Items,
        *,
        source: str = "",
        scope: Scope = "source",
        dry_run: bool = False,
        diff: bool = False,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        fingerprint: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        notes: Mapping[str, SourceNote] | None = None,
        show_progress: bool = False,
    ) -> Report:
        """As `sync`."""
        source = check_source(source)
        plan = sync_plan(
            source=source,
            scope=scope,
            dry_run=dry_run,
            diff=diff,
            max_delete=max_delete,
            allow_mass_delete=allow_mass_delete,
            note=SourceNote(fingerprint, metadata),
            notes=notes,
        )
        return await self._awrite(items, source, plan, show_progress=show_progress)

    def set_versions(
        self,
        versions: Mapping[str, str],
        *,
        source: str | None = None,
        expected: Mapping[str, str | None] | None = None,
        new_sources: Mapping[str, str] | None = None,
    ) -> Report:
        """Set the versions of entries, without changing their values.

        Args:
            versions: key to version. A key without an entry gets one without a value, which reads as None.
            source: change this source only; by default every source that has the key, or "" if none has.
            expected: the version that the entries of each key must have now. Other entries are skipped, none are
                created, and the report leaves them out. So a change by another writer is not overwritten. None stands
                for an entry without a version, and for a missing entry, which is then created: of several writers one
                creates it.
            new_sources: key to source, for the entries that are created. Other keys get "". Not together with `source`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.set("a", "text")
            >>> shelf.set_versions({"a": "v1"}).counts["UPD"]
            1
            >>> shelf.get_entry("a").version
            'v1'
        """
        return self._run(self._set_versions(versions, source, expected, new_sources))

    async def aset_versions(
        self,
        versions: Mapping[str, str],
        *,
        source: str | None = None,
        expected: Mapping[str, str | None] | None = None,
        new_sources: Mapping[str, str] | None = None,
    ) -> Report:
        """As `set_versions`."""
        return await self._arun(self._set_versions(versions, source, expected, new_sources))

    def _set_versions(
        self,
        versions: Mapping[str, str],
        source: str | None,
        expected: Mapping[str, str | None] | None,
        new_sources: Mapping[str, str] | None,
    ) -> Flow[Report]:
        checked = check_versions(versions)
        return writing.set_versions(
            self._context,
            checked,
            check_optional_source(source),
            check_expected(expected, checked),
            check_new_sources(new_sources, source),
        )

    def _write(self, items: Items, source: str, plan_of: PlanOf, *, show_progress: bool) -> Report:
        self._backend.check_open()
        with closing(self._backend.run(writing.encode_items(self._context, items, source))) as encoded:
            plan = plan_of(encoded.identities)
            with progress_bar(len(encoded), "writing", show=show_progress) as on_progress:
                return self._run(writing.write(replace(self._context, on_progress=on_progress), encoded, plan))

    async def _awrite(self, items: Items, source: str, plan_of: PlanOf, *, show_progress: bool) -> Report:
        self._backend.check_open()
        with closing(await self._backend.arun(writing.encode_items(self._context, items, source))) as encoded:
            plan = plan_of(encoded.identities)
            with progress_bar(len(encoded), "writing", show=show_progress) as on_progress:
                return await self._arun(writing.write(replace(self._context, on_progress=on_progress), encoded, plan))

    def mdelete(
        self,
        keys: Iterable[str] | None = None,
        *,
        source: str | None = None,
        expected: Mapping[str, str | None] | None = None,
        where: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        dry_run: bool = False,
    ) -> Report:
        """Delete the entries of keys, or the entries whose fields match, in one transaction.

        Keys without an entry are skipped. The fingerprints of the sources are removed, so that `source_changed` is True
        for them.

        Args:
            keys: the keys to delete; or give `where`.
            source: delete in this source only; by default in all sources.
            expected: the version that the entries of each key must have to be deleted; None stands for no
                version.
            where: delete the entries that `find` returns for it. Entries that change during the call stay.
            prefix: with `where`, delete only keys that begin with this text.
            max_delete: with `where`, the share of the entries of the collection (or of the source) that may be
                deleted, 0 to 1. None, the default, refuses to delete all of them, and refuses to delete more than half
                of the collection's sources with all their entries, if these are at least 10.
            allow_mass_delete: do not refuse.
            dry_run: return the report of the call, and delete nothing.

        Raises:
            MassDeleteError: the call was refused. Nothing was deleted.
            ArgumentTypeError, ArgumentValueError: an argument is invalid, or both `keys` and `where` were given.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"a": {"year": 1999}, "b": {"year": 2020}})
            >>> shelf.mdelete(where={"year": {"$lt": 2000}}).counts["DEL"], shelf.mdelete(["b", "none"]).counts["DEL"]
            (1, 1)
        """
        return self._run(self._deletion(keys, source, expected, where, prefix, max_delete, allow_mass_delete, dry_run))

    async def amdelete(
        self,
        keys: Iterable[str] | None = None,
        *,
        source: str | None = None,
        expected: Mapping[str, str | None] | None = None,
        where: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        max_delete: float | None = None,
        allow_mass_delete: bool = False,
        dry_run: bool = False,
    ) -> Report:
        """As `mdelete`."""
        return await self._arun(
            self._deletion(keys, source, expected, where, prefix, max_delete, allow_mass_delete, dry_run)
        )

    def _deletion(  # noqa: PLR0917 - the arguments of `mdelete`, in their order
        self,
        keys: Iterable[str] | None,
        source: str | None,
        expected: Mapping[str, str | None] | None,
        where: Mapping[str, Any] | None,
        prefix: str | None,
        max_delete: float | None,
        allow_mass_delete: bool,
        dry_run: bool,
    ) -> Flow[Report]:
        if (keys is None) == (where is None):
            raise ArgumentTypeError("give either keys or where=; where={} is every entry")
        if keys is not None:
            if prefix is not None or max_delete is not None or allow_mass_delete:
                raise ArgumentTypeError("prefix, max_delete and allow_mass_delete go with where=, not with keys")
            checked = check_keys(keys)
            labels = check_expected(expected, checked)
            return deleting.delete_keys(self._context, checked, check_optional_source(source), labels, dry_run=dry_run)
        if expected is not None:
            raise ArgumentTypeError("expected goes with keys, not with where=")
        limits = searching.DeleteLimits(check_share(max_delete), allow_mass_delete)
        return searching.delete(self._context, _search(where, prefix, source), limits, dry_run=dry_run)

    def clear(self) -> int:
        """Delete all entries and sources of the collection. Returns how many entries there were."""
        return self._run(deleting.clear(self._context))

    async def aclear(self) -> int:
        """As `clear`."""
        return await self._arun(deleting.clear(self._context))

    def collections(self, *, exact: bool = True) -> Collections:
        """Every collection of the table that has entries or sources, ordered by name.

        Args:
            exact: True counts, and reads the whole table for it. False takes the estimates of `count(exact=False)` and
                leaves out sources and sizes.
        """
        return Collections(self._run(collections.listed(self._context, exact=exact)))

    async def acollections(self, *, exact: bool = True) -> Collections:
        """As `collections`."""
        return Collections(await self._arun(collections.listed(self._context, exact=exact)))

    def companions(self) -> list[str]:
        """The names of the collections that belong to this one: see `companion`."""
        return self._run(collections.companions(self._context))

    async def acompanions(self) -> list[str]:
        """As `companions`."""
        return await self._arun(collections.companions(self._context))

    def rename_collection(self, new: str) -> int:
        """Rename the collection and all collections that belong to it, in one transaction.

        From then on this object works on the new name. Other objects and views keep the old name.

        Args:
            new: the new name, 1 to 255 bytes.

        Returns:
            How many entries the collection has.

        Raises:
            ArgumentTypeError, ArgumentValueError: the name is invalid or taken, or there is no collection to rename.
                Nothing was changed.

        Example:
            >>> shelf = DocShelf(":memory:", "pages")
            >>> shelf.set("a", 1)
            >>> shelf.rename_collection("archive"), shelf.collection
            (1, 'archive')
        """
        name = check_collection(new)
        old = self.collection
        count = self._run(collections.rename(self._context, name))
        self._context = replace(self._context, collection=name)
        if self._context.known_fields.all():
            self._run(complete_indexes(self._context, gone=old, concurrently=self._backend.autocommits))
        return count

    async def arename_collection(self, new: str) -> int:
        """As `rename_collection`."""
        name = check_collection(new)
        old = self.collection
        count = await self._arun(collections.rename(self._context, name))
        self._context = replace(self._context, collection=name)
        if self._context.known_fields.all():
            await self._arun(complete_indexes(self._context, gone=old, concurrently=self._backend.autocommits))
        return count

    def copy_collection(self, new: str) -> int:
        """Copy the collection's entries and sources to a new collection, in one transaction.

        Collections that belong to this one, such as a retriever's ledger, are not copied: what they describe belongs
        to the original. `docshelf.moving.migrate` copies to another database.

        Args:
            new: the name of the copy, 1 to 255 bytes.

        Returns:
            How many entries the copy has.

        Raises:
            ArgumentTypeError, ArgumentValueError: the name is invalid, a collection has it already, or there is no
                collection to copy. Nothing was changed.

        Example:
            >>> shelf = DocShelf(":memory:", "pages")
            >>> shelf.set("a", 1)
            >>> shelf.copy_collection("pages-2026"), shelf.view("pages-2026").get("a")
            (1, 1)
        """
        count = self._run(collections.copy(self._context, check_collection(new)))
        if self._context.known_fields.all():
            self._run(complete_indexes(self._context, concurrently=self._backend.autocommits))
        return count

    async def acopy_collection(self, new: str) -> int:
        """As `copy_collection`."""
        count = await self._arun(collections.copy(self._context, check_collection(new)))
        if self._context.known_fields.all():
            await self._arun(complete_indexes(self._context, concurrently=self._backend.autocommits))
        return count

    # Sources

    def sources(self) -> Sources:
        """Every source that has entries or was synced, ordered by name.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> report = shelf.sync({"a": 1, "b": 2}, source="a.md")
            >>> [(source.source, source.entries) for source in shelf.sources()]
            [('a.md', 2)]
        """
        return Sources(self._run(reading.sources(self._context)))

    async def asources(self) -> Sources:
        """As `sources`."""
        return Sources(await self._arun(reading.sources(self._context)))

    def yield_sources(self, prefix: str | None = None) -> Iterator[Source]:
        """The sources of `sources`, page by page in constant memory. No connection is held between pages.

        Args:
            prefix: only names that begin with this text. It is literal: no wildcards.

        Raises:
            CorruptEntryError: what is stored about a source cannot be read, with `on_corrupt="raise"`.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset([Item("a", 1, "docs/a.md"), Item("b", 2, "notes/b.md")])
            >>> [source.source for source in shelf.yield_sources("docs/")]
            ['docs/a.md']
        """
        return self._pages_of_sources(check_prefix(prefix))

    def ayield_sources(self, prefix: str | None = None) -> AsyncIterator[Source]:
        """As `yield_sources`."""
        return self._apages_of_sources(check_prefix(prefix))

    def _pages_of_sources(self, prefix: str | None) -> Iterator[Source]:
        page = self._run(reading.source_page(self._context, None, prefix))
        yield from page.sources
        while page.last is not None:
            page = self._run(reading.source_page(self._context, page.last, prefix))
            yield from page.sources

    async def _apages_of_sources(self, prefix: str | None) -> AsyncIterator[Source]:
        page = await self._arun(reading.source_page(self._context, None, prefix))
        for source in page.sources:
            yield source
        while page.last is not None:
            page = await self._arun(reading.source_page(self._context, page.last, prefix))
            for source in page.sources:
                yield source

    def source_notes(self, sources: Iterable[str]) -> dict[str, SourceNote]:
        """Fingerprint and metadata of each of these sources that was synced, in input order; one statement.

        Raises:
            CorruptEntryError: metadata cannot be read, under `on_corrupt="raise"`; under "skip" they are None.
        """
        return self._run(reading.source_notes(self._context, check_sources(sources)))

    async def asource_notes(self, sources: Iterable[str]) -> dict[str, SourceNote]:
        """As `source_notes`."""
        return await self._arun(reading.source_notes(self._context, check_sources(sources)))

    def source_changed(self, source: str, fingerprint: str) -> bool:
        """True unless the last sync of the source had this fingerprint. Does not read its entries.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> report = shelf.sync({"a": 1}, source="a.md", fingerprint="f1")
            >>> shelf.source_changed("a.md", "f1"), shelf.source_changed("a.md", "f2")
            (False, True)
        """
        return bool(self.changed_sources({source: fingerprint}))

    async def asource_changed(self, source: str, fingerprint: str) -> bool:
        """As `source_changed`."""
        return bool(await self.achanged_sources({source: fingerprint}))

    def changed_sources(self, fingerprints: Mapping[str, str]) -> list[str]:
        """The sources whose last sync did not have the given fingerprint, in input order, by one statement."""
        return self._run(reading.changed_sources(self._context, check_fingerprints(fingerprints)))

    async def achanged_sources(self, fingerprints: Mapping[str, str]) -> list[str]:
        """As `changed_sources`."""
        return await self._arun(reading.changed_sources(self._context, check_fingerprints(fingerprints)))

    def delete_source(self, source: str) -> Report:
        """Delete a source with all its entries. The same keys in other sources stay.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset([Item("a", 1, "a.md"), Item("a", 2, "b.md")])
            >>> shelf.delete_source("b.md").counts["DEL"], shelf.get("a")
            (1, 1)
        """
        return self.delete_sources([source])

    async def adelete_source(self, source: str) -> Report:
        """As `delete_source`."""
        return await self.adelete_sources([source])

    def delete_sources(self, sources: Iterable[str], *, keys: Iterable[str] = ()) -> Report:
        """Delete sources with all their entries, in one transaction.

        Args:
            sources: their names. Unknown names are skipped.
            keys: also delete the entries of these keys, in every source.
        """
        names, checked = check_sources(sources), check_keys(keys)
        return self._run(deleting.delete_sources(self._context, names, checked))

    async def adelete_sources(self, sources: Iterable[str], *, keys: Iterable[str] = ()) -> Report:
        """As `delete_sources`."""
        names, checked = check_sources(sources), check_keys(keys)
        return await self._arun(deleting.delete_sources(self._context, names, checked))

    # Maintenance

    def health(self) -> Health:
        """Whether a call would work now, for the health check of a service. It tries once.

        Like any first call it creates missing tables. It raises no database error: the result says what is wrong.
        """
        self._backend.check_open()
        with maintenance.HealthCheck() as check:
            check.database = self._backend.run(maintenance.ping(self._context))
            check.schema_version = self._run(maintenance.version(self._context))
        return check.result()

    async def ahealth(self) -> Health:
        """As `health`."""
        self._backend.check_open()
        with maintenance.HealthCheck() as check:
            check.database = await self._backend.arun(maintenance.ping(self._context))
            check.schema_version = await self._arun(maintenance.version(self._context))
        return check.result()

    def diagnose(self) -> list[Finding]:
        """Examine the database and this store: versions, rights, tables, connections, statistics, space.

        Creates nothing, and raises no database error: what fails is a finding.

        Returns:
            One `Finding` for each thing that was examined, with advice where something should be done.
        """
        self._backend.check_open()
        size, pooler = self._backend.pool_size, self._backend.pooler
        return self._backend.run(diagnosis.examine(self._context, size, pooler=pooler))

    async def adiagnose(self) -> list[Finding]:
        """As `diagnose`."""
        self._backend.check_open()
        size, pooler = self._backend.pool_size, self._backend.pooler
        return await self._backend.arun(diagnosis.examine(self._context, size, pooler=pooler))

    def is_set_up(self) -> bool:
        """True if the tables exist and have the version of this docshelf. Unlike other calls, it creates nothing."""
        self._backend.check_open()
        return self._backend.run(maintenance.is_set_up(self._context))

    async def ais_set_up(self) -> bool:
        """As `is_set_up`."""
        self._backend.check_open()
        return await self._backend.arun(maintenance.is_set_up(self._context))

    @overload
    def stats(self, *, exact: Literal[True] = True) -> Stats: ...
    @overload
    def stats(self, *, exact: bool) -> Stats | EstimatedStats: ...
    def stats(self, *, exact: bool = True) -> Stats | EstimatedStats:
        """Numbers and sizes of the collection.

        Args:
            exact: True reads every row of the collection to count. False returns `EstimatedStats`: the estimate of
                `count(exact=False)`, and the size on disk.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.mset({"a": 1, "b": "text"})
            >>> shelf.stats().entries, shelf.stats().stored_bytes
            (2, 7)
        """
        if not exact:
            return self._run(maintenance.estimated_stats(self._context))
        return self._run(maintenance.stats(self._context))

    @overload
    async def astats(self, *, exact: Literal[True] = True) -> Stats: ...
    @overload
    async def astats(self, *, exact: bool) -> Stats | EstimatedStats: ...
    async def astats(self, *, exact: bool = True) -> Stats | EstimatedStats:
        """As `stats`."""
        if not exact:
            return await self._arun(maintenance.estimated_stats(self._context))
        return await self._arun(maintenance.stats(self._context))

    def verify(self, *, show_progress: bool = False) -> list[Problem]:
        """Read every entry, check it against its hash, and list those that cannot be read.

        Example:
            >>> shelf = DocShelf(":memory:")
            >>> shelf.set("a", 1)
            >>> shelf.verify()
            []
        """
        problems: list[Problem] = []
        with progress_bar(self.count() if show_progress else 0, "verifying", show=show_progress) as on_progress:
            context = replace(self._context, on_progress=on_progress)
            try:
                for page in self._pages(None, None):
                    for batch in self._run(reading.value_batches(self._context, page, None)):
                        problems += self._run(maintenance.problems(context, batch))
            except CorruptEntryError as exc:  # a key that is not text; SQLite sorts it after all others
                problems += exc.problems
        return problems

    async def averify(self, *, show_progress: bool = False) -> list[Problem]:
        """As `verify`."""
        problems: list[Problem] = []
        with progress_bar(await self.acount() if show_progress else 0, "verifying", show=show_progress) as on_progress:
            context = replace(self._context, on_progress=on_progress)
            try:
                async for page in self._apages(None, None):
                    for batch in await self._arun(reading.value_batches(self._context, page, None)):
                        problems += await self._arun(maintenance.problems(context, batch))
            except CorruptEntryError as exc:
                problems += exc.problems
        return problems


def _search(
    where: Mapping[str, Any] | None,
    prefix: str | None,
    source: str | None,
    limit: int | None = None,
    after: str | Entry | None = None,
) -> searching.Search:
    start = None
    if isinstance(after, Entry):
        start = (after.key, after.source)
    elif after is not None:
        start = (check_key(after), _AFTER_ALL_SOURCES)
    bounds = Bounds(check_prefix(prefix), check_optional_source(source), start)
    return searching.Search(parse_where({} if where is None else where), bounds, check_limit(limit))


class OnShelf:
    """A step that performs an operation of the core on a shelf.

    Args:
        operation: takes the shelf's context and the arguments.
        args, options: the arguments.
    """

    def __init__(self, shelf: DocShelf, operation: Callable[..., Flow[Any]], *args: Any, **options: Any) -> None:
        self._shelf = shelf
        self._flow = operation(shelf._context, *args, **options)

    def run(self) -> Any:
        """Perform the operation."""
        return self._shelf._run(self._flow)

    async def arun(self) -> Any:
        """As `run`."""
        return await self._shelf._arun(self._flow)
