"""The checkout, and what its packages offer: public classes and their public methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import Self

ROOT = Path(__file__).parents[2]
# Names that modules import for type checkers only.
TYPES = {
    "AsyncConnection": AsyncConnection,
    "AsyncEngine": AsyncEngine,
    "Connection": Connection,
    "Engine": Engine,
    "Self": Self,
    "TracebackType": TracebackType,
    "URL": URL,
}
PACKAGES = {"docshelf", "langchain_docshelf", "llama_index_docshelf"}


def public_of(package: ModuleType) -> dict[str, Any]:
    """What a package offers, by name."""
    return {name: getattr(package, name) for name in package.__all__}


def is_ours(value: Any) -> bool:
    return value.__module__.partition(".")[0] in PACKAGES


def functions_of(owner: type) -> dict[str, Callable[..., Any]]:
    """The public functions that a class itself defines, properties included."""
    found: dict[str, Callable[..., Any]] = {}
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else inspect.unwrap(getattr(member, "__func__", member))
        if not name.startswith("_") and inspect.isfunction(function):
            found[name] = function
    return found


def methods_of(owner: type) -> dict[str, Callable[..., Any]]:
    """The public methods that a class has from itself and from bases of ours; no properties."""
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(owner.__mro__):
        if is_ours(base):
            # pydantic puts functions of its own into a model's class.
            found |= {name: function for name, function in functions_of(base).items() if is_ours(function)}
    return {name: function for name, function in found.items() if not isinstance(getattr(owner, name), property)}
