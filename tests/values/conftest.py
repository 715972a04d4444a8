"""No test of values depends on the version of a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Location


@pytest.fixture(params=["sqlite", "pg18", "pg18-psycopg"])
def location(request: pytest.FixtureRequest, new_empty_location: Callable[[str], Location]) -> Location:
    """A place without entries, on each driver."""
    return new_empty_location(request.param)
