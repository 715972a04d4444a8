"""Whether a vector store has the methods that a run uses, told from its class before anything is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from langchain_core.vectorstores import VectorStore

from langchain_docshelf.vector_access.steps import Half

_OTHER: Final[dict[Half, Half]] = {"sync": "async", "async": "sync"}
# Names that a method uses which does nothing but refuse.
_OF_A_REFUSAL: Final = frozenset({"NotImplementedError", "__class__", "__name__", "type"})


def lacking(vectorstore: VectorStore, half: Half, *, add: bool, delete: bool) -> str | None:
    """What a vector store cannot do that is needed, and what helps; None where it can do all."""
    kind = type(vectorstore)
    if delete and not _can(kind, "delete", half):
        if not _can(kind, "delete", _OTHER[half]):
            return f"a {kind.__name__} cannot delete, so stale children would stay in it; use another"
        return _only(kind, "delete", half)
    if add:
        if not _can(kind, "add_documents", half):
            if not _can(kind, "add_documents", _OTHER[half]):
                return f"a {kind.__name__} cannot add documents; use another"
            return _only(kind, "add_documents", half)
        method = _method(kind, "add_documents", half)
        if method is not None and not _takes_ids(method):
            return f"{kind.__name__}.{method.__name__} takes no ids, by which children are found again; use another"
    return None


def _only(kind: type, verb: str, half: Half) -> str:
    name, calls = (f"a{verb}", "asynchronous") if half == "sync" else (verb, "synchronous")
    return f"a {kind.__name__} has only `{name}`, which {half} calls do not reach; use the {calls} methods, or another"


def _can(kind: type, verb: str, half: Half) -> bool:
    method = _method(kind, verb, half)
    return method is not None and not _refuses(method)


def _method(kind: type, verb: str, half: Half) -> Callable[..., Any] | None:
    """What `verb`, or its asynchronous twin, comes to in the end: LangChain's base class passes calls on."""
    names = {"add_documents": ("add_documents", "add_texts"), "delete": ("delete",)}[verb]
    for name in (*(f"a{name}" for name in names if half == "async"), *names):
        method: Callable[..., Any] = getattr(kind, name)
        if method is not getattr(VectorStore, name):
            return method
    return None


def _refuses(method: Callable[..., Any]) -> bool:
    """True for a method whose body is `raise NotImplementedError(...)`."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    names = set(getattr(code, "co_names", ()))
    return "NotImplementedError" in names and names <= _OF_A_REFUSAL


def _takes_ids(method: Callable[..., Any]) -> bool:
    parameters = inspect.signature(method).parameters
    return "ids" in parameters or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
