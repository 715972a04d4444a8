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
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any, NamedTuple

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import BaseDocumentStore, SimpleDocumentStore
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from benchmarks.corpus import build_corpus
from llama_index_docshelf import DocShelfDocumentStore
from tests.support.servers import wheel_server

NODES, SIZE, DOCUMENTS = 3_000, 2_000, 30
# The batch sizes among which the best is looked for. 10,922 rows of three columns are what psycopg2 could bind.
BATCHES = (100, 1_000, 3_000)


class Taken(NamedTuple):
    """Seconds, and statements sent."""

    seconds: float
    statements: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llama_index_peer", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, of which the median is shown (3)")
    options = parser.parse_args(arguments)
    try:
        docstores = import_module("llama_index.storage.docstore.postgres")
        kvstores = import_module("llama_index.storage.kvstore.postgres")
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
            kvstore = kvstores.PostgresKVStore("peer", async_connection_string=async_url, engine=own)
            try:
                yield docstores.PostgresDocumentStore(kvstore, batch_size=batch_size)
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

        stores: dict[str, Callable[[], Any]] = {
            "docshelf": ours,
            "PostgresDocumentStore": lambda: peer(1),
            **{f"PostgresDocumentStore, batch_size={size:,}": partial(peer, size) for size in BATCHES},
            "SimpleDocumentStore (memory)": simple,
        }
        # By turns, so that what else the machine does meets all alike.
        taken: dict[str, dict[str, list[Taken]]] = {name: {} for name in stores}
        for _ in range(options.repeat):
            for name, opened in stores.items():
                _measure(opened, nodes, taken[name])
    print(_table(taken))
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


def _measure(opened: Callable[[], Any], nodes: list[BaseNode], taken: dict[str, list[Taken]]) -> None:
    """Each operation on a fresh table; the first use of a statement does not count."""

    def timed(name: str, step: Callable[..., Any], *arguments: Any) -> None:
        taken.setdefault(name, []).append(_timed(step, *arguments))

    with opened() as store:
        rehearsal = [node.model_copy(update={"id_": f"warm-{node.node_id}"}) for node in nodes[:2]]
        store.add_documents(rehearsal)
        store.get_nodes([node.node_id for node in rehearsal])
        store.delete_ref_doc(rehearsal[0].ref_doc_id)
        timed(f"add {len(nodes):,}", store.add_documents, nodes)
        timed("add unchanged", store.add_documents, nodes)
        for start in range(5):
            timed("get 100", store.get_nodes, [node.node_id for node in nodes[start::30][:100]])
        for number in range(3):
            timed("delete 100", store.delete_ref_doc, f"doc-{number}")
        found = store.get_all_ref_doc_info()
        if len(found) != DOCUMENTS - 3 or sum(len(info.node_ids) for info in found.values()) != len(nodes) - 300:
            raise AssertionError("the store does not hold what was put into it")


def _timed(step: Callable[..., Any], *arguments: Any) -> Taken:
    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        start = time.perf_counter()
        step(*arguments)
        return Taken(time.perf_counter() - start, statements)
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def _drop(engine: Engine, *tables: str) -> None:
    with engine.begin() as connection:
        for table in tables:
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))


def _table(taken: dict[str, dict[str, list[Taken]]]) -> str:
    """Medians of the milliseconds, statements, and beside them how many times ours that is."""
    rows = {
        name: {step: Taken(median(one.seconds for one in many), many[0].statements) for step, many in steps.items()}
        for name, steps in taken.items()
    }
    ours = rows["docshelf"]
    lines = [f"| store | {' | '.join(ours)} |", f"| --- |{' ---: |' * len(ours)}"]
    for name, row in rows.items():
        cells = [
            f"{one.seconds * 1000:,.1f} ms, {one.statements:,} statements"
            + ("" if row is ours else f" ({one.seconds / ours[step].seconds:,.1f}x)")
            for step, one in row.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
