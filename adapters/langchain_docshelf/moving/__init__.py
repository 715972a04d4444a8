"""Sources for `docshelf.moving.migrate`: what LangChain's stores kept, read and never executed.

from docshelf.moving import migrate
from langchain_docshelf import DocShelfStore

migrate(old_store, DocShelfStore("postgresql://user:password@host/db"))

A store of ours recognizes objects and folders by itself. These functions are for what it cannot tell: which namespace
of a table, which keys of a store that hides them, and for a plain `DocShelf` as the target.
"""

from langchain_docshelf.moving.origins import (
    from_byte_store_table,
    from_documents,
    from_folder,
    from_sql_store,
    from_store,
)
from langchain_docshelf.moving.records import from_record_manager, from_record_table
from langchain_docshelf.moving.values import Kind

__all__ = [
    "Kind",
    "from_byte_store_table",
    "from_documents",
    "from_folder",
    "from_record_manager",
    "from_record_table",
    "from_sql_store",
    "from_store",
]
