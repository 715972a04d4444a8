"""Health checks: whether a call would work now, without raising and without trying twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from docshelf import DocShelf, Health, MissingEngineError
from docshelf.sql.migrations import STEPS
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.proxy import Proxy
from tests.support.tables import connected


def test_a_store_that_works_is_healthy(face: Face, location: Location) -> None:
    health = face.health()
    assert health
    assert (health.ok, health.problem, health.schema_version) == (True, "", max(STEPS))
    assert health.database.startswith("SQLite 3." if location.dialect == "sqlite" else "PostgreSQL ")
    assert health.milliseconds > 0


def test_is_set_up_makes_nothing(face: Face, location: Location) -> None:
    assert face.is_set_up() is False
    with connected(location) as connection:
        query = (
            "SELECT count(*) FROM sqlite_master"
            if location.dialect == "sqlite"
            else f"SELECT count(*) FROM pg_tables WHERE schemaname = '{location.schema}'"
        )
        assert connection.scalar(text(query)) == 0
    face.setup()
    assert face.is_set_up() is True


def test_a_server_that_is_gone_is_one_attempt_and_no_exception(proxy: Proxy, mode: str, loop: Loop) -> None:
    with DocShelf(proxy.url()) as shelf:
        face = Face(shelf, mode, loop)
        assert face.health()
        proxy.refuse()
        proxy.cut()
        before = proxy.attempts
        health = face.health()
        assert not health
        assert "no connection to the database" in health.problem
        assert (health.database, health.schema_version) == ("", None)
        # The connection of the pool is found lost, or a new one is refused: never the five attempts of a call.
        assert proxy.attempts - before <= 2


def test_a_table_that_is_not_docshelfs_is_a_problem(face: Face, location: Location) -> None:
    with connected(location) as connection:
        connection.execute(text("CREATE TABLE docshelf_entries (id integer)"))
    health = face.health()
    assert not health
    assert health.database
    assert "was not made by docshelf" in health.problem


def test_a_store_without_an_engine_for_this_half_raises(
    location: Location, new_engine: Callable[..., Engine], loop: Loop
) -> None:
    with DocShelf(engine=new_engine(location)) as shelf:
        with pytest.raises(MissingEngineError):
            loop.run(shelf.ahealth())
        assert shelf.health()


@pytest.mark.parametrize("result", [Health(True, "", "SQLite", 2, 0.1), Health(False, "gone", "", None, 0.1)])
def test_a_result_is_true_when_it_is_ok(result: Any) -> None:
    assert bool(result) is result.ok
