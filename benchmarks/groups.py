"""Who is compared with whom: peers that use one database through one driver in one way."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import URL

from benchmarks.corpus import Corpus, build_fields
from benchmarks.peers.base import Peer
from benchmarks.peers.place import Place, postgresql_schema
from benchmarks.peers.raw import (
    CopyAsyncpg,
    PooledAsyncpg,
    RawAsyncpg,
    RawAsyncPsycopg,
    RawPsycopg,
    RawPsycopg2,
    RawSQLite,
    RawSQLiteInThread,
)
from benchmarks.peers.shelf import AsyncShelfBytesPeer, AsyncShelfPeer, SearchingShelfPeer, ShelfPeer

MakePeers = Callable[[Callable[[], Place]], list[Peer]]


@dataclass(frozen=True)
class Group:
    """Peers that stand beside each other in one table. The first is the one that ratios are about.

    Attributes:
        name: what `--only` takes, and the table's title.
        database: "sqlite" or "postgresql".
        make: the peers, given a function that makes places.
        needs: modules of other projects that the peers are made of; the group `bench` of the project has them.
        documents: at most so many, where a peer takes too long for more.
        repeat: at most so many repetitions.
        corpus: makes its own documents, of any number or of as many as were asked for.
        workloads: the only workloads of it, by name; empty for all that its peers can.
    """

    name: str
    database: str
    make: MakePeers
    needs: tuple[str, ...] = ()
    documents: int | None = None
    repeat: int | None = None
    corpus: Callable[[int | None], Corpus] | None = None
    workloads: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.needs if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _langchain(place: Callable[[], Place]) -> list[Peer]:
    from benchmarks.peers.langchain import LocalFileStorePeer, ShelfStorePeer, SQLStorePeer

    return [ShelfStorePeer(place()), SQLStorePeer(place()), LocalFileStorePeer()]


def _langchain_async(place: Callable[[], Place]) -> list[Peer]:
    from benchmarks.peers.langchain import AsyncShelfStorePeer, AsyncSQLStorePeer

    return [AsyncShelfStorePeer(place()), AsyncSQLStorePeer(place())]


def _llama_index(place: Callable[[], Place]) -> list[Peer]:
    from benchmarks.peers.llama_index import PostgresDocumentStorePeer, ShelfDocumentStorePeer, SimpleDocumentStorePeer

    return [
        ShelfDocumentStorePeer(place()),
        *(PostgresDocumentStorePeer(place(), batch_size=size) for size in (1, 1_000)),
        SimpleDocumentStorePeer(),
    ]


def _values(place: Callable[[], Place]) -> list[Peer]:
    from benchmarks.peers.langgraph import LangGraphStorePeer
    from benchmarks.peers.values import KeyValueStorePeer

    return [AsyncShelfPeer(place()), LangGraphStorePeer(place()), KeyValueStorePeer(place())]


def _search(place: Callable[[], Place]) -> list[Peer]:
    from benchmarks.peers.langgraph import LangGraphStorePeer

    return [SearchingShelfPeer(place(), driver="psycopg"), LangGraphStorePeer(place())]


_LANGCHAIN_NEEDS = ("langchain_core", "langchain_classic", "langchain_community")

GROUPS: Sequence[Group] = (
    Group(
        "SQLite, sync",
        "sqlite",
        lambda place: [ShelfPeer(place()), *(RawSQLite(place(), by_hand=by_hand) for by_hand in (False, True))],
    ),
    Group(
        "SQLite, async",
        "sqlite",
        lambda place: [
            AsyncShelfPeer(place()),
            *(RawSQLiteInThread(place(), by_hand=by_hand) for by_hand in (False, True)),
        ],
    ),
    Group(
        "PostgreSQL, psycopg2",
        "postgresql",
        lambda place: [ShelfPeer(place()), *(RawPsycopg2(place(), by_hand=by_hand) for by_hand in (False, True))],
    ),
    Group(
        "PostgreSQL, asyncpg",
        "postgresql",
        lambda place: [
            AsyncShelfPeer(place()),
            *(RawAsyncpg(place(), by_hand=by_hand) for by_hand in (False, True)),
            PooledAsyncpg(place()),
            CopyAsyncpg(place()),
        ],
    ),
    Group(
        "PostgreSQL, psycopg 3 sync",
        "postgresql",
        lambda place: [
            ShelfPeer(place(), driver="psycopg"),
            *(RawPsycopg(place(), by_hand=by_hand) for by_hand in (False, True)),
        ],
    ),
    Group(
        "PostgreSQL, psycopg 3 async",
        "postgresql",
        lambda place: [
            AsyncShelfPeer(place(), driver="psycopg"),
            *(RawAsyncPsycopg(place(), by_hand=by_hand) for by_hand in (False, True)),
        ],
    ),
    Group(
        "PostgreSQL, asyncpg, bytes",
        "postgresql",
        lambda place: [AsyncShelfBytesPeer(place()), RawAsyncpg(place(), by_hand=False)],
    ),
    Group("LangChain documents, sync", "postgresql", _langchain, _LANGCHAIN_NEEDS),
    Group("LangChain documents, async", "postgresql", _langchain_async, _LANGCHAIN_NEEDS),
    Group(
        "LlamaIndex nodes",
        "postgresql",
        _llama_index,
        ("llama_index.core", "llama_index.storage.docstore.postgres"),
        documents=3_000,
        repeat=3,
    ),
    Group("dictionaries", "postgresql", _values, ("langgraph.store.postgres", "key_value.aio.stores.postgresql")),
    Group(
        "search by a field",
        "postgresql",
        _search,
        ("langgraph.store.postgres",),
        repeat=3,
        corpus=build_fields,
        workloads=("cold", "find"),
    ),
)


@contextmanager
def opened(group: Group, server: str | None) -> Iterator[list[Peer]]:
    """The peers of a group, connected, with tables in temporary places that are gone afterwards.

    Args:
        server: a PostgreSQL URL; needed by a group on PostgreSQL.
    """
    numbers = itertools.count(1)
    with ExitStack() as stack:
        if group.database == "sqlite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="docshelf-bench-")))

            def place() -> Place:
                number = next(numbers)
                return Place(URL.create("sqlite", database=str(folder / f"{number}.db")), None, number)
        else:
            assert server is not None
            url, schema = stack.enter_context(postgresql_schema(server))

            def place() -> Place:
                return Place(url, schema, next(numbers))

        peers = group.make(place)
        for peer in peers:
            peer.open()
            stack.callback(peer.close)
        yield peers
