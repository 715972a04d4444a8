"""The guides for what people run beside docshelf: their code runs on the real packages, on PostgreSQL with pgvector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.support.pages import ROOT, check_blocks

GUIDES = ("how-to/celery", "how-to/fastapi", "how-to/pgvector", "moving/databases")


@pytest.mark.parametrize("guide", GUIDES)
def test_the_blocks_of_a_guide_run_and_print_what_they_say(
    guide: str, tmp_path: Path, new_database: Callable[[], URL]
) -> None:
    url = new_database().set(drivername="postgresql").render_as_string(hide_password=False)
    # The packages warn of themselves.
    check_blocks(ROOT / "docs" / f"{guide}.md", tmp_path, "-W", "ignore", url=url)
