"""`PGVectorStore` and `AsyncPGVectorStore`: a table for each store, with columns of the caller's choice.

Its own `get` pages by offset in no order, so pages could miss rows. Here the table is read in the order of its key.
"""

from __future__ import annotations

from typing import Any

from langchain_docshelf.vector_access.listing import Child, Page, Query
from langchain_docshelf.vector_access.steps import Half
from langchain_docshelf.vector_access.stores.base import Backend, loaded


class PGVectorStore(Backend):
    can_list = True
    filters = True

    @property
    def _table(self) -> Any:
        """The `AsyncPGVectorStore`, which a `PGVectorStore` wraps: it knows table and columns."""
        return getattr(self.store, "_PGVectorStore__vs", self.store)

    @property
    def _engine(self) -> Any:
        """The `PGEngine` of a `PGVectorStore`; None in an `AsyncPGVectorStore`."""
        return getattr(self.store, "_engine", None)

    def refusal(self, half: Half) -> str | None:
        if half == "sync" and self._engine is None:
            return "an AsyncPGVectorStore takes async calls only; for sync calls use a PGVectorStore"
        if half == "sync" and self._engine._loop is None:
            return (
                "this PGVectorStore has an engine without an event loop of its own, so it takes async calls only; "
                "for sync calls make the engine by PGEngine.from_connection_string"
            )
        return None

    def page(self, query: Query, after: Any, limit: int) -> Page:
        return self._engine._run_as_sync(self._read(query, after, limit))  # type: ignore[no-any-return]

    async def apage(self, query: Query, after: Any, limit: int) -> Page:
        read = self._read(query, after, limit)
        return await (read if self._engine is None else self._engine._run_as_async(read))

    async def _read(self, query: Query, after: Any, limit: int) -> Page:
        table = self._table
        statement, parameters = _statement(table, query, after, limit)
        async with table.engine.connect() as connection:
            rows = (await connection.execute(loaded("sqlalchemy").text(statement), parameters)).all()
        children = [_child(table, *row) for row in rows]
        return Page(children, rows[-1][0] if len(rows) == limit else None)


def _statement(table: Any, query: Query, after: Any, limit: int) -> tuple[str, dict[str, Any]]:
    identity, content, metadata = _quoted(table.id_column), _quoted(table.content_column), table.metadata_json_column
    columns = [
        identity,
        content,
        "NULL" if metadata is None else _quoted(metadata),
        *map(_quoted, table.metadata_columns),
    ]
    parameters: dict[str, Any] = {"limit": limit}
    if query.id_key in table.metadata_columns:
        key = f"CAST({_quoted(query.id_key)} AS text)"
    elif metadata is not None:
        key = f"({_quoted(metadata)} ->> CAST(:id_key AS text))"
        parameters["id_key"] = query.id_key
    else:
        key = "CAST(NULL AS text)"
    conditions = [f"{key} IS NOT NULL"]
    if query.parents is not None:
        conditions.append(f"{key} = ANY(CAST(:parents AS text[]))")
        parameters["parents"] = sorted(query.parents)
    if after is not None:
        conditions.append(f"{identity} > :after")
        parameters["after"] = after
    return (
        f"SELECT {', '.join(columns)} FROM {_quoted(table.schema_name)}.{_quoted(table.table_name)} "
        f"WHERE {' AND '.join(conditions)} ORDER BY {identity} LIMIT :limit",
        parameters,
    )


def _child(table: Any, identity: Any, text: str | None, metadata: Any, *values: Any) -> Child:
    # A column is NULL where the child had no such key.
    columns = {name: value for name, value in zip(table.metadata_columns, values, strict=True) if value is not None}
    return Child(identity if isinstance(identity, int) else str(identity), text or "", {**(metadata or {}), **columns})


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
