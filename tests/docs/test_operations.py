"""`docs/operations.md` lists every operation, as the table of the tests has it."""

from __future__ import annotations

import re

from tests.support.operations import OPERATIONS, WHERE, Operation
from tests.support.public import ROOT

PAGE = "docs/operations.md"


def row_of(operation: Operation) -> str:
    """How the row of an operation has to begin."""
    long = "pages" if operation.iterates else "bar" if operation.long else ""
    cells = [f"`{operation.name}`", f"`{operation.async_name}`", "yes" if operation.writes else "", long]
    return "|".join(f" {cell} " if cell else " " for cell in cells)


def test_the_page_lists_every_operation_and_says_what_it_is() -> None:
    rows = re.findall(r"^\|((?: `[^|]+\|){2}[^|]+\|[^|]+)\| (.+) \|$", (ROOT / PAGE).read_text("utf-8"), re.MULTILINE)
    expected = [row_of(operation) for operation in OPERATIONS]
    listed = [cells for cells, _ in rows]
    missing = [row for row in expected if row not in listed]
    assert not missing, f"add to {PAGE}, with a few words in the last column: {missing}"
    assert listed == expected, f"{PAGE} has other rows, or another order, than {WHERE}"
