"""Sources for `docshelf.moving.migrate`: what LlamaIndex's stores kept.

from docshelf.moving import migrate
from llama_index_docshelf import DocShelfDocumentStore

migrate("./storage", DocShelfDocumentStore("postgresql://user:password@host/db"))

A store of ours recognizes objects, folders and tables by itself. These functions are for what it cannot tell: which of
several tables or namespaces, and for a plain `DocShelf` as the target.
"""

from llama_index_docshelf.moving.documents import from_docstore, from_docstore_file, from_docstore_table
from llama_index_docshelf.moving.values import (
    from_index_store,
    from_index_store_file,
    from_index_store_table,
    from_kvstore,
    from_kvstore_table,
)

__all__ = [
    "from_docstore",
    "from_docstore_file",
    "from_docstore_table",
    "from_index_store",
    "from_index_store_file",
    "from_index_store_table",
    "from_kvstore",
    "from_kvstore_table",
]
