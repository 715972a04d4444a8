"""What the operations of one store share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from docshelf.operations.known_fields import KnownFields
from docshelf.sql.queries import Queries
from docshelf.values.content_types import Codec

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.sql.dialects.base import Dialect


def _ignore(_count: int) -> None:
    """Where no progress is shown. A named function, because a lambda does not pickle."""


@dataclass(frozen=True)
class Context:
    """What the operations of one store share.

    Attributes:
        on_progress: called with n when n more entries are done.
        owner: the collection that this one belongs to, or None.
        known_fields: the searchable fields of collections.
    """

    collection: str
    codec: Codec
    queries: Queries
    on_progress: Callable[[int], None] = _ignore
    owner: str | None = None
    known_fields: KnownFields = field(default_factory=KnownFields)

    @property
    def dialect(self) -> Dialect:
        return self.queries.dialect

    def learn(self, connection: Connection) -> None:
        """Read what another process may have changed: the layout of the entries, and what is searchable."""
        self.dialect.learn_layout(connection)
        self.known_fields.read(connection, self.dialect)
