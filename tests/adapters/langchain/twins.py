"""One interface to the sync and async methods of a store or retriever."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.documents import Document

from docshelf.adapters import async_name
from tests.support.face import Loop

_TWINS = {"sync_parent_documents": "async_parent_documents"}


class Twin:
    """Calls the methods of an object; under mode "async" their twins, in an event loop."""

    def __init__(self, of: Any, mode: str, loop: Loop) -> None:
        self.of = of
        self.mode = mode
        self.loop = loop

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.of, name)
        if not callable(attribute):
            return attribute
        if self.mode == "sync":
            return lambda *args, **options: _read(attribute(*args, **options))
        twin = getattr(self.of, _TWINS.get(name, async_name(name)))

        def call(*args: Any, **options: Any) -> Any:
            result = twin(*args, **options)
            return self.loop.run(_drained(result) if isinstance(result, AsyncIterator) else result)

        return call


def _read(result: Any) -> Any:
    return list(result) if inspect.isgenerator(result) else result


async def _drained(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def page(text: str, source: str | None = None, **metadata: Any) -> Document:
    """A document, of a source if one is named."""
    return Document(page_content=text, metadata={**({} if source is None else {"source": source}), **metadata})
