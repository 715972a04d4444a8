"""Entries as Arrow record batches, which other tools and Parquet read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from docshelf import ArgumentValueError, DocShelf, Document, Item, UnknownDocument
from docshelf.moving import to_arrow


def test_documents_have_columns_and_other_values_are_json(shelf: DocShelf) -> None:
    node = UnknownDocument("llama-index/node", {"text": "node", "metadata": {}, "id": "n", "relationships": {}})
    shelf.mset(
        [
            Item("a", Document("text", {"n": (1,)}), "f.md", "v"),
            Item("b", node),
            Item("c", {"x": [1.5, None]}),
            Item("d", b"\xff"),
            Item("e", Document("\ud800")),
        ]
    )
    shelf.set_versions({"f": "v"})
    rows = to_arrow(shelf).read_all().to_pylist()
    told = ("key", "type", "text", "metadata", "value")
    assert [tuple(row[name] for name in told) for row in rows] == [
        ("a", "document", "text", '{"n":{"$tuple":[1]}}', None),
        ("b", "llama-index/node", "node", "{}", '{"id":"n","relationships":{}}'),
        ("c", "json", None, None, '{"x":[1.5,null]}'),
        ("d", "bytes", None, None, '{"$bytes":"/w=="}'),
        ("e", "document", None, None, '{"id":null,"metadata":{},"text":{"$str":"\\\\ud800"}}'),
        ("f", None, None, None, None),
    ]
    entry = shelf.get_entry("a")
    assert entry is not None
    first = rows[0]
    assert (first["collection"], first["source"], first["version"]) == ("default", "f.md", "v")
    assert (first["hash"], first["updated_at"]) == (entry.value_hash, entry.updated_at)


def test_it_is_a_stream_of_batches(new_shelf: Callable[..., DocShelf]) -> None:
    shelf = new_shelf()
    shelf.mset({f"k{n:05}": Document(f"text {n}") for n in range(6_000)}, source="f.md")
    shelf.set("k00001", "in another source", source="g.md")
    reader = to_arrow(shelf, batch_size=700)
    assert isinstance(reader, pyarrow.RecordBatchReader)
    sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == 6_001
    assert max(sizes) == 700
    assert to_arrow(shelf, prefix="k0001").read_all().num_rows == 10
    assert to_arrow(shelf, source="g.md").read_all().num_rows == 1
    assert to_arrow(shelf.view("nothing")).read_all().num_rows == 0


def test_parquet_keeps_it(new_shelf: Callable[..., DocShelf], tmp_path: Path) -> None:
    shelf = new_shelf()
    shelf.mset({"a": Document("text", {"n": 1}), "b": {"x": 1}})
    parquet.write_table(to_arrow(shelf).read_all(), tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column("text").to_pylist() == ["text", None]
    assert [json.loads(one) if one else None for one in table.column("metadata").to_pylist()] == [{"n": 1}, None]


def test_a_batch_has_a_size(new_shelf: Callable[..., DocShelf]) -> None:
    with pytest.raises(ArgumentValueError, match="batch_size=0: give a number of entries"):
        to_arrow(new_shelf(), batch_size=0)


def test_without_pyarrow_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from docshelf import DocShelf\nfrom docshelf.moving import to_arrow\nto_arrow(DocShelf(':memory:'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'docshelf[arrow]'" in done.stderr.splitlines()[-1]


def test_importing_moving_loads_no_pyarrow() -> None:
    code = "import docshelf.moving, sys; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
