"""docshelf keeps the documents of RAG applications in the database that a team already runs.

from docshelf import DocShelf

shelf = DocShelf("postgresql://user:password@host/db")   # without an argument: an SQLite file
report = shelf.sync({"a": "first text", "b": "second text"}, source="notes.txt")
"""

from docshelf._version import __version__
from docshelf.display.progress import progress_bar
from docshelf.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    AuthenticationError,
    BadFileError,
    ClosedError,
    ConfigurationError,
    CorruptEntryError,
    CorruptEntryWarning,
    DatabaseError,
    DocShelfError,
    MassDeleteError,
    MissingEngineError,
    MoveError,
    PoolTimeoutError,
    SchemaError,
    TooManyConnectionsError,
    TransientError,
    UnreachableError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from docshelf.store import DocShelf
from docshelf.types import (
    Change,
    Collection,
    Diff,
    Document,
    Entry,
    EstimatedStats,
    Finding,
    Health,
    Item,
    Op,
    Problem,
    Report,
    Source,
    SourceNote,
    Stats,
)
from docshelf.values.content_types import ContentType, canonical_bytes
from docshelf.values.documents import UnknownDocument
from docshelf.values.hashing import file_fingerprint

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "AuthenticationError",
    "BadFileError",
    "Change",
    "ClosedError",
    "Collection",
    "ConfigurationError",
    "ContentType",
    "CorruptEntryError",
    "CorruptEntryWarning",
    "DatabaseError",
    "Diff",
    "DocShelf",
    "DocShelfError",
    "Document",
    "Entry",
    "EstimatedStats",
    "Finding",
    "Health",
    "Item",
    "MassDeleteError",
    "MissingEngineError",
    "MoveError",
    "Op",
    "PoolTimeoutError",
    "Problem",
    "Report",
    "SchemaError",
    "Source",
    "SourceNote",
    "Stats",
    "TooManyConnectionsError",
    "TransientError",
    "UnknownDocument",
    "UnreachableError",
    "UnsupportedValueError",
    "ValueTooLargeError",
    "__version__",
    "canonical_bytes",
    "file_fingerprint",
    "progress_bar",
]
