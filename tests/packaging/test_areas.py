"""A test is found by its path: each area is a folder, and CONTRIBUTING says what for."""

from __future__ import annotations

import re

from tests.support.public import ROOT

TESTS = ROOT / "tests"
CONTRIBUTING = "CONTRIBUTING.md"


def test_every_test_is_in_the_folder_of_an_area() -> None:
    outside = sorted(path.name for path in TESTS.glob("test_*.py"))
    assert not outside, f"move {outside} from tests/ into the area that it is about: see {CONTRIBUTING}"


def test_contributing_lists_the_areas() -> None:
    listed = re.findall(r"^\| `tests/(\w+)/` \| \S", (ROOT / CONTRIBUTING).read_text("utf-8"), re.MULTILINE)
    areas = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py") if path.parent != TESTS}
    assert set(listed) == areas | {"support", "typing"}, f"the table of {CONTRIBUTING}, 'Where tests live'"
    assert len(set(listed)) == len(listed)
