"""Protocols of the values that a view can show. They let `types` import views without an import circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol


class ChangeShape(Protocol):
    """What a write did to one key."""

    @property
    def key(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def source(self) -> str: ...


class ReportShape(Protocol):
    """What a write did."""

    @property
    def dry_run(self) -> bool: ...
    @property
    def refused(self) -> str | None: ...
    @property
    def counts(self) -> Mapping[Any, int]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[ChangeShape]: ...


class ProblemShape(Protocol):
    """An entry that cannot be read or stored."""

    @property
    def key(self) -> str: ...
    @property
    def reason(self) -> str: ...


class MoveShape(Protocol):
    """What a move did."""

    @property
    def dry_run(self) -> bool: ...
    @property
    def counts(self) -> Mapping[Any, int]: ...
    @property
    def entries(self) -> int: ...
    @property
    def problems(self) -> Sequence[ProblemShape]: ...


class DocumentShape(Protocol):
    """A document of no framework."""

    @property
    def text(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def id(self) -> str | None: ...


class DiffShape(Protocol):
    """A text before and after."""

    @property
    def key(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def old(self) -> str: ...
    @property
    def new(self) -> str: ...


class EntryShape(Protocol):
    """A stored row."""

    @property
    def key(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def version(self) -> str | None: ...
    @property
    def value_hash(self) -> bytes | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def updated_at(self) -> datetime: ...
    @property
    def seq(self) -> int: ...


class SourceShape(Protocol):
    """A file or other origin of entries."""

    @property
    def source(self) -> str: ...
    @property
    def entries(self) -> int: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...
    @property
    def synced_at(self) -> datetime | None: ...


class CollectionShape(Protocol):
    """A collection, counted or estimated."""

    @property
    def name(self) -> str: ...
    @property
    def entries(self) -> int: ...
    @property
    def sources(self) -> int | None: ...
    @property
    def stored_bytes(self) -> int | None: ...


class EstimatedStatsShape(Protocol):
    """About how large a collection is."""

    @property
    def entries(self) -> int: ...
    @property
    def disk_bytes(self) -> int: ...


class StatsShape(EstimatedStatsShape, Protocol):
    """Numbers and sizes of a collection."""

    @property
    def sources(self) -> int: ...
    @property
    def stored_bytes(self) -> int: ...


class FileShape(Protocol):
    """What happened to one file of a folder."""

    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def reason(self) -> str: ...


class FolderShape(Protocol):
    """What a sync of a folder did."""

    @property
    def files(self) -> Sequence[FileShape]: ...
    @property
    def changes(self) -> ReportShape: ...
    @property
    def counts(self) -> Mapping[Any, int]: ...
    @property
    def dry_run(self) -> bool: ...
    @property
    def refused(self) -> str | None: ...
