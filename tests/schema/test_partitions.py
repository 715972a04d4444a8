"""Entries in hash partitions by key: the store works as any; the layout is set when the table is created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from docshelf import ConfigurationError, DocShelf, SchemaError
from docshelf.schema import define_tables
from tests.conftest import Location
from tests.support.face import Face, Loop

pytestmark = pytest.mark.no_citus("a table is either partitioned or distributed")
PARTITIONS = 3


@pytest.fixture
def place(pg_location: Location) -> Location:
    return pg_location


@pytest.fixture
def face(place: Location, mode: str, loop: Loop) -> Iterator[Face]:
    face = Face(DocShelf(place.url), mode, loop)
    yield face
    face.close()


def test_a_partitioned_store_behaves_like_any_store(face: Face) -> None:
    face.setup(partitions=PARTITIONS)
    keys = [f"k{number:03}" for number in range(50)]
    assert face.sync(dict.fromkeys(keys, "text"), source="f").counts["INS"] == 50
    face.mset({"k001": "other", "elsewhere": b"bytes"}, source="g")
    report = face.sync(dict.fromkeys(keys[:40], "text") | {"k000": "new"}, source="f")
    assert report.counts == {"INS": 0, "UPD": 1, "SKIP": 39, "DEL": 10}
    assert face.mget(["k001", "k002", "k049", "elsewhere"]) == ["other", "text", None, b"bytes"]
    assert list(face.yield_keys("k03")) == keys[30:40]
    assert [(source.source, source.entries) for source in face.sources()] == [("f", 40), ("g", 2)]
    [entries] = face.source_entries(["f"])
    assert [entry.key for entry in entries] == keys[:40]
    assert face.stats().disk_bytes > 0
    assert list(face.verify()) == []
    assert face.set_versions({"k001": "v"}, source="f").counts["UPD"] == 1
    face.mdelete(["k001"], source="f")
    assert face.delete_source("f").counts["DEL"] == 39
    assert face.count() == 2


def test_values_are_spread_over_partitions_and_not_compressed_again(
    face: Face, place: Location, new_engine: Callable[..., Engine]
) -> None:
    face.setup(partitions=PARTITIONS)
    face.mset({f"k{number}": "text" for number in range(100)})
    with new_engine(place).connect() as connection:
        names = [f"docshelf_entries_p{number}" for number in range(PARTITIONS)]
        counts = [connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in names]
        assert all(counts)
        assert sum(counts) == 100
        for name in names:
            storage = (
                "SELECT attstorage FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attname = 'value'"
            )
            options = "SELECT reloptions FROM pg_class WHERE oid = CAST(:name AS regclass)"
            assert connection.scalar(text(storage), {"name": name}) in ("e", b"e")
            assert "toast_tuple_target=8160" in connection.scalar(text(options), {"name": name})


def test_the_same_layout_may_be_asked_for_again_and_no_other(face: Face, place: Location) -> None:
    face.setup(partitions=PARTITIONS)
    face.set("k", "v")
    face.setup(partitions=PARTITIONS)
    face.setup()
    with pytest.raises(SchemaError, match=r"exists with 3 partitions, not 4; .*; use another table_prefix"):
        face.setup(partitions=4)
    with DocShelf(place.url) as other:
        assert other.get("k") == "v"


@pytest.mark.no_partitions("here each table has some")
def test_a_table_without_partitions_gets_none(face: Face) -> None:
    face.set("k", "v")
    with pytest.raises(SchemaError, match="exists with 0 partitions, not 3"):
        face.setup(partitions=PARTITIONS)
    assert face.get("k") == "v"


@pytest.mark.parametrize("existing", ["plain", "no partitions", "partitions"])
def test_tables_that_alembic_made_keep_their_layout(
    face: Face, place: Location, new_engine: Callable[..., Engine], existing: str
) -> None:
    tables = define_tables()
    if existing != "plain":
        tables.entries.dialect_options["postgresql"]["partition_by"] = "HASH (key)"
    with new_engine(place).begin() as connection:
        tables.entries.metadata.create_all(connection)
        for number in range(PARTITIONS if existing == "partitions" else 0):
            bounds = f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            connection.execute(text(f"CREATE TABLE part_{number} PARTITION OF docshelf_entries {bounds}"))
    if existing == "plain":
        with pytest.raises(SchemaError, match=r"exists with 0 partitions, not 3; .*; use another table_prefix"):
            face.setup(partitions=PARTITIONS)
    else:
        face.setup(partitions=PARTITIONS)
    face.set("k", "v")
    assert face.get("k") == "v"


def test_a_schema_and_a_prefix_hold_partitions_too(place: Location, new_engine: Callable[..., Engine]) -> None:
    with DocShelf(place.url, schema=f"{place.schema}", table_prefix="Rag") as shelf:
        shelf.setup(partitions=2)
        shelf.set("k", "v")
        assert shelf.get("k") == "v"
    with new_engine(place).connect() as connection:
        assert connection.scalar(text('SELECT count(*) FROM "Rag_entries_p0"')) is not None


def test_several_that_set_up_at_once_make_one_table(place: Location) -> None:
    def set_up(_number: int) -> None:
        with DocShelf(place.url) as shelf:
            shelf.setup(partitions=PARTITIONS)
            shelf.set("k", "v")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(set_up, range(4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partitions": 0}, "partitions=0: give 1 to 1,024"),
        ({"partitions": 1025}, "partitions=1025: give 1 to 1,024"),
        ({"partitions": True}, "partitions=True: give 1 to 1,024"),
        ({"partitions": "4"}, "partitions='4': give 1 to 1,024"),
        ({"distribute": "sharding"}, "distribute='sharding': give 'citus'"),
        ({"distribute": "citus", "partitions": 2}, "both partitions and distribute"),
        ({"distribute": "citus", "shards": 0}, "shards=0: give 1 to 64,000"),
        ({"distribute": "citus", "shards": True}, "shards=True: give 1 to 64,000"),
        ({"shards": 4}, "shards were given without distribute='citus'"),
        ({"shards": 4, "partitions": 4}, "shards were given without distribute='citus'"),
    ],
)
def test_an_invalid_layout_is_rejected(face: Face, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        face.setup(**options)


@pytest.mark.parametrize("options", [{"partitions": 2}, {"distribute": "citus"}])
def test_sqlite_rejects_partitions_and_citus(options: dict[str, Any], mode: str, loop: Loop, tmp_path: Path) -> None:
    with (
        DocShelf(tmp_path / "shelf.db") as shelf,
        pytest.raises(ConfigurationError, match="sqlite has neither partitions nor Citus; use PostgreSQL"),
    ):
        Face(shelf, mode, loop).setup(**options)


def test_a_server_without_citus_says_so_and_has_no_tables_afterwards(
    face: Face, place: Location, new_engine: Callable[..., Engine]
) -> None:
    with pytest.raises(SchemaError, match="does not have the extension citus; run CREATE EXTENSION citus"):
        face.setup(distribute="citus")
    with new_engine(place).connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('docshelf_entries')")) is None
