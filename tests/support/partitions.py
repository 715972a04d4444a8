"""The whole suite on partitioned tables: `DOCSHELF_TEST_PARTITIONS=4 make test`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from docshelf.sql.dialects.postgresql_tables import PostgreSQLTables
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout

if TYPE_CHECKING:
    from sqlalchemy import Connection

PARTITIONS: Final = int(os.environ.get("DOCSHELF_TEST_PARTITIONS", "0"))


def split_every_table(partitions: int) -> None:
    """Let PostgreSQL's tables have so many partitions where no layout is asked for, in this process."""
    create = PostgreSQLTables.create_tables

    def create_tables(self: PostgreSQLTables, connection: Connection, layout: Layout) -> None:
        create(self, connection, Layout(partitions=partitions) if layout == DEFAULT_LAYOUT else layout)

    PostgreSQLTables.create_tables = create_tables  # type: ignore[method-assign]
