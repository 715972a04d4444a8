"""`python -m benchmarks.llama_index_peer`: our document store beside LlamaIndex's own, on one server in one run.

Needs llama-index-storage-docstore-postgres, which the project does not install. Its `PostgresKVStore` is built by
hand: `PostgresDocumentStore.from_uri` raises a TypeError in version 0.6.0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import BaseDocumentStore, SimpleDocumentStore
from llama_index_docshelf import DocShelfDocumentStore
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from benchmarks.corpus import build_corpus
from tests.support.servers import wheel_server

NODES, SIZE, DOCUMENTS = 3_000, 2_000, 30
# The batch sizes among which the best is looked for. 10,922 rows of three columns are what psycopg2 could bind.
BATCHES = (100, 1_000, 3_000)


class Taken(NamedTuple):
    """Seconds, and statements sent."""

    seconds: float
    statements: int


Row = dict[str, Taken]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llama_index_peer", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, of which the median is shown (3)")
    options = parser.parse_args(arguments)
    try:
        from llama_index.storage.docstore.postgres import PostgresDocumentStore
        from llama_index.storage.kvstore.postgres import PostgresKVStore
    except ImportError as exc:
        print(f"bench: {exc}; pip install llama-index-storage-docstore-postgres", file=sys.stderr)
        return 2
    nodes = _nodes()
    with ExitStack() as stack:
        url = stack.enter_context(wheel_server())
        sync_url = url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
        async_url = url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
        engine = create_engine(sync_url)
        stack.callback(engine.dispose)

        @contextmanager
        def peer(batch_size: int) -> Iterator[BaseDocumentStore]:
            own = create_engine(sync_url)
            kvstore = PostgresKVStore("peer", async_connection_string=async_url, engine=own)
            try:
                yield PostgresDocumentStore(kvstore, batch_size=batch_size)
            finally:
                own.dispose()
                _drop(engine, "public.data_peer")

        @contextmanager
        def ours() -> Iterator[BaseDocumentStore]:
            with DocShelfDocumentStore(url) as store:
                yield store
            _drop(engine, "docshelf_entries", "docshelf_sources", "docshelf_schema")

        @contextmanager
        def simple() -> Iterator[BaseDocumentStore]:
            yield SimpleDocumentStore()

        rows: dict[str, Row] = {"docshelf": _measured(ours, nodes, options.repeat)}
        rows["PostgresDocumentStore"] = _measured(lambda: peer(1), nodes, 1)
        for batch_size in BATCHES:
            name = f"PostgresDocumentStore, batch_size={batch_size:,}"
            rows[name] = _measured(lambda size=batch_size: peer(size), nodes, options.repeat)  # type: ignore[misc]
        rows["SimpleDocumentStore (memory)"] = _measured(simple, nodes, options.repeat)
    print(_table(rows))
    return 0


def _nodes() -> list[BaseNode]:
    documents = list(build_corpus(NODES, SIZE).documents.values())
    each = len(documents) // DOCUMENTS
    return [
        TextNode(
            id_=f"node-{number}",
            text=document["text"],
            metadata={"title": f"Document {number // each}", "file": "f.txt"},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{number // each}")},
        )
        for number, document in enumerate(documents)
    ]


def _measured(opened: Callable[[], Any], nodes: list[BaseNode], repeat: int) -> Row:
    """Each operation once for each repetition, every one on a fresh table; their medians."""
    taken: dict[str, list[Taken]] = {}
    for _ in range(repeat):
        with opened() as store:
            store.get_document("warm", raise_error=False)
            some = [node.node_id for node in nodes[::30][:100]]
            steps: dict[str, Callable[[], Any]] = {
                f"add {len(nodes):,}": lambda: store.add_documents(nodes),
                "add unchanged": lambda: store.add_documents(nodes),
                "get 100": lambda: store.get_nodes(some),  # noqa: B023
                "delete 100": lambda: store.delete_ref_doc("doc-7"),
            }
            for name, step in steps.items():
                taken.setdefault(name, []).append(_timed(step))
            found = store.get_all_ref_doc_info()
            if len(found) != DOCUMENTS - 1 or sum(len(info.node_ids) for info in found.values()) != len(nodes) - 100:
                raise AssertionError("the store does not hold what was put into it")
    return {
        name: Taken(median(one.seconds for one in several), several[0].statements) for name, several in taken.items()
    }


def _timed(step: Callable[[], Any]) -> Taken:
    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        start = time.perf_counter()
        step()
        return Taken(time.perf_counter() - start, statements)
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def _drop(engine: Engine, *tables: str) -> None:
    with engine.begin() as connection:
        for table in tables:
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))


def _table(rows: dict[str, Row]) -> str:
    """Milliseconds and statements, and beside them how many times ours that is."""
    ours = rows["docshelf"]
    lines = [f"| store | {' | '.join(ours)} |", f"| --- |{' ---: |' * len(ours)}"]
    for name, row in rows.items():
        cells = [
            f"{taken.seconds * 1000:,.1f} ms, {taken.statements:,} statements"
            + ("" if row is ours else f" ({taken.seconds / ours[step].seconds:,.2g}x)")
            for step, taken in row.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
