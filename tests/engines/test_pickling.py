"""A store made from a URL goes everywhere: pickled, deep-copied, to a spawned process. Others say why they do not."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from docshelf import ClosedError, DocShelf, Document
from tests.conftest import Location
from tests.support.face import Face, Loop

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}


def counted(value: Any) -> Any:
    """What counts as a change, for `hash_on`."""
    return value["text"]


def read_there(shelf: DocShelf, key: str) -> tuple[Any, int]:
    """Runs in another process: reads, and writes who it is."""
    shelf.set("from there", os.getpid())
    value = shelf.get(key)
    shelf.close()
    return value, os.getpid()


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_has_the_options_and_connections_of_its_own(
    new_face: Callable[..., Face], location: Location, way: str
) -> None:
    options = {"hash_on": counted, "hash_exclude": ("n",), "on_corrupt": "skip", "compression": None, "pooler": True}
    face = new_face("named", table_prefix="other", max_value_bytes=1_000, **options)
    face.set("k", {"text": "a", "n": 1})
    copied = face.of(COPIES[way](face.shelf))
    assert (copied.collection, repr(copied.shelf)) == ("named", repr(face.shelf))
    assert copied.shelf._repr_html_() == face.shelf._repr_html_()
    codec, other = copied.shelf._context.codec, face.shelf._context.codec
    for name in ("hash_on", "hash_exclude", "on_corrupt", "compression", "max_value_bytes"):
        assert getattr(codec, name) == getattr(other, name)
    assert vars(copied.shelf._backend)["_pooler"] is (location.dialect == "postgresql")
    assert copied.conditional_set("k", {"text": "a", "n": 2}) == ("k", "SKIP")
    face.close()
    assert copied.get("k") == {"text": "a", "n": 1}
    copied.close()
    with pytest.raises(ClosedError):
        copied.get("k")


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_connects_as_the_store_did(location: Location, way: str) -> None:
    of_pool: Any = {"pool_size": 2, "max_overflow": 1, "pool_timeout": 5.0}
    option = "timeout" if location.dialect == "sqlite" else "connect_timeout"
    with DocShelf(
        location.url, connect_args={option: 7}, application_name="travels", retry_seconds=3, **of_pool
    ) as shelf:
        shelf.set("k", 1)
        backend: Any = shelf._backend
        with COPIES[way](shelf) as copied:
            other: Any = copied._backend
            assert (other._target, other._retry_seconds) == (backend._target, 3)
            pool = other._engine().pool
            assert (pool.size(), pool._max_overflow, pool._timeout) == tuple(of_pool.values())
            assert not other._was_connected  # as a new store, it does not wait for a server that it never reached
            assert copied.get("k") == 1
            if location.dialect == "postgresql":
                with other._engine().connect() as connection:
                    assert connection.exec_driver_sql("SHOW application_name").scalar() == "travels"


def test_views_that_travel_together_share_their_connections_as_before(face: Face) -> None:
    companion = face.shelf.companion("/ledger")
    face.of(companion).set("l", 1)
    shelf, view, again = COPIES["pickle"]((face.shelf, face.shelf.view("other"), companion))
    assert shelf._backend is view._backend is again._backend is not face.shelf._backend
    assert face.of(again).get("l") == 1
    assert again._context.owner == face.collection
    face.of(shelf).close()


def test_a_store_travels_to_a_spawned_process(location: Location) -> None:
    with DocShelf(location.url, "named") as shelf, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        shelf.set("k", Document("text", {"a": 1}))
        value, pid = pool.submit(read_there, shelf, "k").result()
        assert value == Document("text", {"a": 1})
        assert shelf.get("from there") == pid != os.getpid()


def test_a_relative_path_is_the_same_file_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with DocShelf("docs.db") as shelf:
        shelf.set("k", 1)
        pickled = pickle.dumps(shelf)
    monkeypatch.chdir(tmp_path / "other")
    with pickle.loads(pickled) as there:
        assert there.get("k") == 1
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("way", COPIES)
def test_a_store_on_anything_else_says_why_it_stays(tmp_path: Path, way: str) -> None:
    engine: Engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.connect() as connection, DocShelf(engine=engine) as given, DocShelf(":memory:") as memory:
        reasons = {
            given: "on a given engine stays in its process",
            given.bind(connection): "bound to a connection stays in its process",
            memory: "in memory stays in its process; give it the path of a file",
        }
        for shelf, reason in reasons.items():
            with pytest.raises(TypeError, match=reason):
                COPIES[way](shelf)
    engine.dispose()


def test_a_copy_is_closed_where_the_store_was(face: Face, loop: Loop) -> None:
    face.close()
    with pytest.raises(ClosedError):
        face.of(COPIES["pickle"](face.shelf)).get("k")
