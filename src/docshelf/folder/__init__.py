"""Folders: a shelf, a store or a retriever holds exactly what the files of a folder say.

from docshelf.folder import sync_folder

report = sync_folder("docs", DocShelf(), dry_run=True)
print(report)
"""

from docshelf.folder.files import File
from docshelf.folder.office import read_docx, read_pdf
from docshelf.folder.pieces import Piece, Splitter
from docshelf.folder.readers import Reader
from docshelf.folder.report import FileOp, FileOutcome, FolderReport
from docshelf.folder.sync import async_folder, sync_folder
from docshelf.folder.targets import Content, FolderTarget, HasFolderTarget
from docshelf.folder.text import UnreadableError

__all__ = [
    "Content",
    "File",
    "FileOp",
    "FileOutcome",
    "FolderReport",
    "FolderTarget",
    "HasFolderTarget",
    "Piece",
    "Reader",
    "Splitter",
    "UnreadableError",
    "async_folder",
    "read_docx",
    "read_pdf",
    "sync_folder",
]
