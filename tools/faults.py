"""Injects faults into every operation many times, prints what they cost and writes the table of docs/faults.md.

python -m tools.faults [--rounds 20] [--only "cut network"] [--seed 1] [--write]
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.support.faults import FAULTS, Stage, Tally, inject
from tests.support.operations import OPERATIONS
from tests.support.servers import named_server

PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
_HEAD = (
    "| fault | database, calls | how it is injected | operations | times | met the call | calls that failed | "
    "rows lost | rows duplicated | connections leaked |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


@contextmanager
def stages() -> Iterator[dict[str, Stage]]:
    """A place on PostgreSQL and one on SQLite."""
    with named_server("pg18") as url, tempfile.TemporaryDirectory(prefix="docshelf-faults-") as folder:
        engine = create_engine(url.set(drivername="postgresql+psycopg2"))
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA faults"))
        engine.dispose()
        placed = url.update_query_dict({"options": "-csearch_path=faults"}).render_as_string(hide_password=False)
        both = {"postgresql": Stage(placed), "sqlite": Stage(f"{folder}/faults.db")}
        try:
            yield both
        finally:
            for stage in both.values():
                stage.close()


def row(tally: Tally) -> str:
    """The row of the page."""
    cells = [tally.fault, tally.where, FAULTS[tally.fault].how, len(tally.operations), f"{tally.times:,}"]
    cells += [f"{tally.met:,}", f"{tally.failed:,}", tally.lost, tally.duplicated, tally.leaked]
    return f"| {' | '.join(map(str, cells))} |"


def write(rows: list[str]) -> None:
    """Put the table into the page."""
    page = PAGE.read_text("utf-8")
    table = "\n".join([_HEAD, *rows])
    page = re.sub(r"^\| fault \|.*?(?=\n\n|\Z)", lambda _: table, page, count=1, flags=re.MULTILINE | re.DOTALL)
    PAGE.write_text(page.rstrip("\n") + "\n", "utf-8")


def main() -> int:
    """Run all faults. The result is 1 if one cost anything."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how often each fault meets each operation")
    parser.add_argument("--only", choices=[*FAULTS], help="one fault")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--write", action="store_true", help="write the table of docs/faults.md")
    arguments = parser.parse_args()
    chance, rows, cost = random.Random(arguments.seed), [], 0  # noqa: S311 - moments, no secrets
    print(f"{len(OPERATIONS)} operations, {arguments.rounds} rounds\n{_HEAD}", flush=True)
    with stages() as both:
        for name, fault in FAULTS.items():
            if arguments.only not in (None, name):
                continue
            for mode in fault.modes:
                for stage in [both["postgresql"], *([both["sqlite"]] if fault.on_sqlite else [])]:
                    tally = inject(stage, name, mode, arguments.rounds, chance)
                    rows.append(row(tally))
                    print(rows[-1], flush=True)
                    for note in tally.notes:
                        print(f"    {note}", file=sys.stderr, flush=True)
                    cost += tally.lost + tally.duplicated + tally.leaked + len(tally.notes)
    if arguments.write:
        write(rows)
    return 1 if cost else 0


if __name__ == "__main__":
    sys.exit(main())
