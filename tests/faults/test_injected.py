"""Faults at random moments of every operation lose no row, make none twice and leak no connection.

`make faults` runs the same for longer, and writes docs/faults.md.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable

import pytest

from tests.conftest import Location
from tests.support.faults import FAULTS, UNKNOWN, Stage, Tally, _count, inject
from tests.support.operations import BY_NAME
from tests.support.public import ROOT

CASES = [
    (fault, mode, backend)
    for fault, kind in FAULTS.items()
    for mode in kind.modes
    for backend in (["pg18", "sqlite"] if kind.on_sqlite else ["pg18"])
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(("fault", "mode", "backend"), CASES)
def test_a_fault_costs_nothing(fault: str, mode: str, backend: str, new_location: Callable[[str], Location]) -> None:
    stage = Stage(new_location(backend).url)
    try:
        tally = inject(stage, fault, mode, rounds=1, chance=random.Random(7))
    finally:
        stage.close()
    assert tally.notes == []
    assert (tally.lost, tally.duplicated, tally.leaked) == (0, 0, 0)
    assert tally.operations == BY_NAME.keys()
    assert tally.times == len(BY_NAME)
    assert tally.met > 0


def test_a_lost_row_and_a_duplicated_one_are_counted(new_location: Callable[[str], Location]) -> None:
    """The counting itself sees a row that is missing, and one too many."""
    stage = Stage(new_location("sqlite").url)
    try:
        for operation in BY_NAME.values():
            for change, expected in (
                ("DELETE FROM docshelf_entries WHERE key = 'l'", "lost"),
                (
                    "INSERT INTO docshelf_entries SELECT collection, 'twice', source, 7, created_at, updated_at, "
                    "value_hash, checksum, content_type, encoding, version, value, NULL FROM docshelf_entries "
                    "WHERE key = 'm'",
                    "duplicated",
                ),
            ):
                if operation.name in ("sync", "clear", "delete_source", "delete_sources", "rename_collection"):
                    continue  # these change the rows in question themselves
                stage.reset()
                with stage._engine.begin() as connection:
                    connection.exec_driver_sql(change)
                tally = Tally("", "")
                _count(tally, stage, operation, UNKNOWN)
                assert getattr(tally, expected) == 1
    finally:
        stage.close()


def test_the_page_shows_a_long_run_of_every_fault_without_any_cost() -> None:
    page = (ROOT / "docs/faults.md").read_text("utf-8")
    rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"^\| [a-z ]+ \| (Post|SQLite)", line)
    ]
    cases = {(fault, f"{'SQLite' if backend == 'sqlite' else 'PostgreSQL'}, {mode}") for fault, mode, backend in CASES}
    assert {(row[0], row[1]) for row in rows} == cases
    for fault, where, how, operations, times, met, _, *costs in rows:
        assert how == FAULTS[fault].how
        assert int(operations) == len(BY_NAME)
        assert int(times.replace(",", "")) >= 10 * len(BY_NAME)
        share = 10 if "SQLite" in where else 4  # a call on SQLite may end before the first moment of a fault
        assert int(met.replace(",", "")) > int(times.replace(",", "")) / share
        assert costs == ["0", "0", "0"]
