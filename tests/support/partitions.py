"""The whole suite on partitioned tables: `DOCSHELF_TEST_PARTITIONS=4 make test`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine, inspect

from docshelf.sql.dialects.postgresql_tables import PostgreSQLTables
from docshelf.sql.rows import DEFAULT_LAYOUT, Layout

if TYPE_CHECKING:
    from sqlalchemy import Connection

PARTITIONS: Final = int(os.environ.get("DOCSHELF_TEST_PARTITIONS", "0"))


_OF_PARTITION: Final = re.compile(r"_entries_p\d+(_|$)")


def is_of_partition(name: str) -> bool:
    """True for the name of a partition that `split_every_table` made, or of an index of one."""
    return bool(PARTITIONS and _OF_PARTITION.search(name))


def table_names(bind: Engine | Connection, schema: str | None = None) -> set[str]:
    """The names of all tables in a schema, without the partitions that `split_every_table` made."""
    return {name for name in inspect(bind).get_table_names(schema=schema) if not is_of_partition(name)}


def split_every_table(partitions: int) -> None:
    """Let PostgreSQL's tables have so many partitions where no layout is asked for, in this process."""
    create = PostgreSQLTables.create_tables

    def create_tables(self: PostgreSQLTables, connection: Connection, layout: Layout) -> None:
        create(self, connection, Layout(partitions=partitions) if layout == DEFAULT_LAYOUT else layout)

    PostgreSQLTables.create_tables = create_tables  # type: ignore[method-assign]
