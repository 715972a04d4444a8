"""`to_arrow`: entries as record batches of Arrow, for pandas, polars, DuckDB and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from docshelf.errors import ArgumentValueError, ConfigurationError
from docshelf.moving.jsonl import shelf_of
from docshelf.moving.lines import document_parts
from docshelf.moving.shelves import value_pages
from docshelf.operations.transfer import outline_page, raw_entries
from docshelf.sql.rows import Identity
from docshelf.store import DocShelf
from docshelf.validation import check_optional_source, check_prefix
from docshelf.values.stored import RawEntry

if TYPE_CHECKING:
    from pyarrow import RecordBatch, RecordBatchReader, Schema


def to_arrow(
    shelf: Any, *, prefix: str | None = None, source: str | None = None, batch_size: int = 1_000
) -> RecordBatchReader:
    """The entries of a collection as a stream of Arrow record batches, by key, in bounded memory.

    `reader.read_pandas()`, `polars.from_arrow(reader)` and DuckDB's `FROM reader` read it, and so does
    `pyarrow.parquet.ParquetWriter`. Columns: collection, key, source, type, text, metadata and value as JSON text,
    version, hash, created_at, updated_at. A document has its text and metadata in columns of their own, and what else
    it holds in `value`; any other value is in `value`.

    Needs pyarrow: `pip install 'docshelf[arrow]'`.

    Args:
        shelf: a shelf or a store of an adapter.
        prefix: only entries whose keys start with this literal text.
        source: only entries of this source.
        batch_size: how many entries a record batch holds at most.

    Raises:
        ConfigurationError: pyarrow is not installed.
        CorruptEntryError: while it is read: a row cannot be read, under `on_corrupt="raise"`.

    Example:
        >>> with DocShelf(":memory:") as shelf:
        ...     shelf.set("a", Document("Hello.", {"page": 1}))
        ...     table = to_arrow(shelf).read_all()
        >>> table.column("text").to_pylist(), table.column("metadata").to_pylist()
        (['Hello.'], ['{"page":1}'])
    """
    if type(batch_size) is not int or batch_size < 1:
        raise ArgumentValueError(f"batch_size={batch_size!r}: give a number of entries, 1 or more")
    try:
        import pyarrow
    except ModuleNotFoundError as exc:
        raise ConfigurationError("to_arrow needs pyarrow: pip install 'docshelf[arrow]'") from exc
    text = pyarrow.large_string()
    time = pyarrow.timestamp("us", tz="UTC")
    types = {
        "collection": pyarrow.string(),
        "key": pyarrow.string(),
        "source": pyarrow.string(),
        "type": pyarrow.string(),
        "text": text,
        "metadata": text,
        "value": text,
        "version": text,
        "hash": pyarrow.binary(32),
        "created_at": time,
        "updated_at": time,
    }
    schema: Schema = pyarrow.schema(types.items())
    pages = _pages(shelf_of(shelf), check_prefix(prefix), check_optional_source(source), batch_size)
    return pyarrow.RecordBatchReader.from_batches(schema, (_batch(pyarrow, schema, *page) for page in pages))


def _pages(
    shelf: DocShelf, prefix: str | None, source: str | None, batch_size: int
) -> Iterator[tuple[str, list[RawEntry]]]:
    after: Identity | None = None
    while outlines := shelf._run(outline_page(shelf._context, after, prefix, source)):
        after = outlines[-1].key, outlines[-1].source
        for identities in value_pages(outlines, batch_size):
            yield shelf.collection, shelf._run(raw_entries(shelf._context, identities))


def _batch(pyarrow: Any, schema: Any, collection: str, entries: list[RawEntry]) -> RecordBatch:
    parts = [document_parts(entry.content_type, entry.data) for entry in entries]
    columns: dict[str, list[Any]] = {
        "collection": [collection] * len(entries),
        "key": [entry.key for entry in entries],
        "source": [entry.source for entry in entries],
        "type": [entry.content_type for entry in entries],
        "text": [text for text, _, _ in parts],
        "metadata": [metadata for _, metadata, _ in parts],
        "value": [value for _, _, value in parts],
        "version": [entry.version for entry in entries],
        "hash": [entry.value_hash for entry in entries],
        "created_at": [entry.created_at for entry in entries],
        "updated_at": [entry.updated_at for entry in entries],
    }
    return pyarrow.RecordBatch.from_pydict(columns, schema=schema)
