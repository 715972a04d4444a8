"""Moving in and out: copies between shelves, from other stores, to files and back.

from docshelf.moving import migrate, export_jsonl, import_jsonl

report = migrate(old_store, docstore, dry_run=True)
print(report)
"""

from docshelf.moving.arrow import to_arrow
from docshelf.moving.ends import HasMoveTarget, Note, Record, Refused, Source, Take, Target
from docshelf.moving.folders import FolderSource
from docshelf.moving.json_sections import json_sections
from docshelf.moving.jsonl import ExportReport, aexport_jsonl, aimport_jsonl, export_jsonl, import_jsonl
from docshelf.moving.keyed import KeyedRecords
from docshelf.moving.migrate import amigrate, migrate, migrate_flow
from docshelf.moving.pickles import RefusedPickleError, read_pickle
from docshelf.moving.report import MoveReport
from docshelf.moving.shelves import ShelfSource
from docshelf.moving.sorting import SortedRecords
from docshelf.moving.steps import Open, Pull
from docshelf.moving.tables import OldDatabase, PageSize, TableSource
from docshelf.values.stored import RawEntry

__all__ = [
    "ExportReport",
    "FolderSource",
    "HasMoveTarget",
    "KeyedRecords",
    "MoveReport",
    "Note",
    "OldDatabase",
    "Open",
    "PageSize",
    "Pull",
    "RawEntry",
    "Record",
    "Refused",
    "RefusedPickleError",
    "ShelfSource",
    "SortedRecords",
    "Source",
    "TableSource",
    "Take",
    "Target",
    "aexport_jsonl",
    "aimport_jsonl",
    "amigrate",
    "export_jsonl",
    "import_jsonl",
    "json_sections",
    "migrate",
    "migrate_flow",
    "read_pickle",
    "to_arrow",
]
