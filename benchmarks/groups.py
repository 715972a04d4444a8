"""Who is compared with whom: peers that use one database through one driver in one way."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from benchmarks.peers.base import Peer
from benchmarks.peers.place import Place, postgresql_schema
from benchmarks.peers.raw import RawAsyncpg, RawAsyncPsycopg, RawPsycopg, RawPsycopg2, RawSQLite, RawSQLiteInThread
from benchmarks.peers.shelf import AsyncShelfPeer, ShelfPeer

MakePeers = Callable[[Callable[[], Place]], list[Peer]]


@dataclass(frozen=True)
class Group:
    """Peers that stand beside each other in one table. The first is the one that ratios are about.

    Attributes:
        name: what `--only` takes, and the table's title.
        database: "sqlite" or "postgresql".
        make: the peers, given a function that makes places.
    """

    name: str
    database: str
    make: MakePeers


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
        lambda place: [AsyncShelfPeer(place()), *(RawAsyncpg(place(), by_hand=by_hand) for by_hand in (False, True))],
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
)


@contextmanager
def opened(groups: Sequence[Group], server: str | None) -> Iterator[dict[str, list[Peer]]]:
    """The peers of groups, connected, with tables in temporary places that are gone afterwards.

    Args:
        server: a PostgreSQL URL; needed by groups on PostgreSQL.
    """
    numbers = itertools.count(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="docshelf-bench-")))

        def sqlite_place() -> Place:
            number = next(numbers)
            return Place(URL.create("sqlite", database=str(folder / f"{number}.db")), None, number)

        places = {"sqlite": sqlite_place}
        if server is not None:
            url, schema = stack.enter_context(postgresql_schema(server))
            places["postgresql"] = lambda: Place(url, schema, next(numbers))
        peers = {}
        for group in groups:
            peers[group.name] = group.make(places[group.database])
            for peer in peers[group.name]:
                peer.open()
                stack.callback(peer.close)
        yield peers
