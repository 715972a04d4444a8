"""Moving in and out: copies between shelves, from other stores, to files and back.

from docshelf.moving import migrate, export_jsonl, import_jsonl

report = migrate(old_store, docstore, dry_run=True)
print(report)
"""

from docshelf.moving.arrow import to_arrow
from docshelf.moving.ends import HasMoveTarget, Record, Refused, Source, Take, Target
from docshelf.moving.jsonl import ExportReport, aexport_jsonl, aimport_jsonl, export_jsonl, import_jsonl
from docshelf.moving.migrate import amigrate, migrate
from docshelf.moving.report import MoveReport
from docshelf.moving.shelves import ShelfSource
from docshelf.moving.steps import Open, Pull
from docshelf.values.stored import RawEntry

__all__ = [
    "ExportReport",
    "HasMoveTarget",
    "MoveReport",
    "Open",
    "Pull",
    "RawEntry",
    "Record",
    "Refused",
    "ShelfSource",
    "Source",
    "Take",
    "Target",
    "aexport_jsonl",
    "aimport_jsonl",
    "amigrate",
    "export_jsonl",
    "import_jsonl",
    "migrate",
    "to_arrow",
]
