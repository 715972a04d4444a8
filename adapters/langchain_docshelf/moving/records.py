"""Records of an `SQLRecordManager` as a source, and our record manager as their target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from docshelf import ArgumentTypeError, ConfigurationError, DocShelf, Item, Op
from docshelf.adapters import Call, Flow, Url
from docshelf.moving import Note, OldDatabase, RawEntry, Record, Refused, Source, TableSource, Target
from docshelf.records import Record as Seen
from docshelf.records import Records
from langchain_docshelf.byte_keys import stored_item

RECORD_TABLE: Final = "upsertion_record"


def from_record_manager(manager: Any) -> Source:
    """The records of an `SQLRecordManager`, by its table. A document that it knows is not embedded again.

    Args:
        manager: the record manager.

    Raises:
        ArgumentTypeError: it is another kind of record manager.
    """
    if not hasattr(manager, "engine") or not hasattr(manager, "namespace"):
        raise ArgumentTypeError(f"a {type(manager).__name__} is no SQLRecordManager")
    engine = manager.engine
    return from_record_table(engine.url if hasattr(engine, "sync_engine") else engine, manager.namespace)


def from_record_table(database: Url | Any, namespace: str, *, schema: str | None = None) -> Source:
    """The records in the table of an `SQLRecordManager`, `upsertion_record`.

    Args:
        database: a URL, the path of an SQLite file, or a SQLAlchemy Engine.
        namespace: the namespace.
        schema: the schema of the table.
    """
    return TableSource(
        database,
        RECORD_TABLE,
        ["key", "group_id", "updated_at"],
        where={"namespace": namespace},
        order=["key"],
        record=_record,
        schema=schema,
    )


def _record(key: Any, group_id: Any, updated_at: Any) -> Record:
    if not isinstance(key, str) or not isinstance(group_id, str | None) or not isinstance(updated_at, int | float):
        return Refused(str(key), str(group_id or ""), "a record whose key, group or time is of another type")
    return Item(key, float(updated_at), stored_item(group_id).key if group_id else "")


class RecordTarget(Target):
    """A `DocShelfRecordManager`. Records that it has already stay as they are."""

    def __init__(self, shelf: DocShelf, records: Records) -> None:
        super().__init__(shelf)
        self._records = records

    def open(self, origin: Any, name: str | None) -> Source | None:
        """The source of an `SQLRecordManager`, or of the only or the named namespace of its table."""
        if hasattr(origin, "list_keys") and hasattr(origin, "engine"):
            return from_record_manager(origin)
        with OldDatabase(origin) as database:
            if "namespace" not in database.columns(RECORD_TABLE):
                return None
            names = [found for found in database.distinct(RECORD_TABLE, "namespace") if name in (None, found)]
        if len(names) > 1:
            known = ", ".join(map(repr, names))
            raise ConfigurationError(f"there are several namespaces in {RECORD_TABLE}: {known}; give collection=")
        return from_record_table(origin, names[0]) if names else None

    def item(self, item: Item) -> Item:
        """A record."""
        if not isinstance(item.value, float):
            raise ArgumentTypeError(f"key {item.key!r:.60}: the value is a {type(item.value).__name__}; give a record")
        return item

    def write(self, records: Sequence[Item | RawEntry | Note], *, dry_run: bool) -> Flow[dict[Op, int]]:
        """Write records that are missing."""
        seen = [Seen(one.key, one.source or "", one.value) for one in map(self._checked, records)]
        report = yield Call(self._records, "restore", seen, dry_run=dry_run)
        return dict(report.counts)

    def _checked(self, record: Item | RawEntry | Note) -> Item:
        if not isinstance(record, Item):
            raise ArgumentTypeError(f"a {type(record).__name__} where a record belongs; copy its collection instead")
        return self.item(record)
