"""The guide for tables in a database runs on tables that the packages of its readers wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import URL

from tests.support.pages import ROOT, check_blocks


def test_the_blocks_of_the_guide_run_and_print_what_they_say(tmp_path: Path, new_database: Callable[[], URL]) -> None:
    url = new_database().set(drivername="postgresql").render_as_string(hide_password=False)
    # The packages warn of themselves.
    check_blocks(ROOT / "docs" / "moving" / "databases.md", tmp_path, "-W", "ignore", url=url)
