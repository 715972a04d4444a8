"""The public API: every sync method has its asynchronous twin, everything is documented and annotated."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import Self

import docshelf
from docshelf import DocShelf
from tests.support.face import async_name

# What makes another store does no I/O and needs no twin.
WITHOUT_TWIN = {"view", "bind"}
# Names that the core imports for type checkers only.
TYPES = {
    "AsyncConnection": AsyncConnection,
    "AsyncEngine": AsyncEngine,
    "Connection": Connection,
    "Engine": Engine,
    "Self": Self,
    "URL": URL,
}


def functions_of(owner: type) -> dict[str, Callable[..., Any]]:
    """The public functions that a class itself defines, properties included."""
    found: dict[str, Callable[..., Any]] = {}
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else inspect.unwrap(getattr(member, "__func__", member))
        if not name.startswith("_") and inspect.isfunction(function):
            found[name] = function
    return found


def is_async(function: Callable[..., Any]) -> bool:
    returned = get_type_hints(function, localns=TYPES).get("return")
    return inspect.iscoroutinefunction(function) or get_origin(returned) is AsyncIterator


METHODS = {name: method for name, method in functions_of(DocShelf).items() if name != "collection"}
SYNC = {name for name, method in METHODS.items() if not is_async(method)}
WITH_TWIN = sorted(SYNC - WITHOUT_TWIN)


def test_sync_and_async_methods_come_in_pairs() -> None:
    assert len(WITH_TWIN) > 20
    assert {async_name(name) for name in WITH_TWIN} == METHODS.keys() - SYNC


@pytest.mark.parametrize("name", WITH_TWIN)
def test_twins_have_the_same_signature(name: str) -> None:
    method, twin = METHODS[name], METHODS[async_name(name)]
    parameters = inspect.signature(method).parameters
    assert parameters == inspect.signature(twin).parameters
    hints, twin_hints = (get_type_hints(function, localns=TYPES) for function in (method, twin))
    returned, twin_returned = hints.pop("return"), twin_hints.pop("return")
    assert hints == twin_hints
    if get_origin(returned) is Iterator:
        assert get_origin(twin_returned) is AsyncIterator
        assert get_args(returned) == get_args(twin_returned)
        assert not inspect.iscoroutinefunction(twin)
    else:
        assert returned == twin_returned
        assert inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize("name", WITH_TWIN)
def test_the_docstring_of_a_twin_names_its_sync_method(name: str) -> None:
    assert METHODS[async_name(name)].__doc__ == f"As `{name}`."


def test_both_halves_are_context_managers() -> None:
    for enter, leave in (("__enter__", "__exit__"), ("__aenter__", "__aexit__")):
        assert inspect.signature(getattr(DocShelf, enter)).return_annotation == "Self"
        assert list(inspect.signature(getattr(DocShelf, leave)).parameters) == ["self", "kind", "error", "trace"]


def public() -> dict[str, Any]:
    return {name: getattr(docshelf, name) for name in docshelf.__all__}


def test_every_public_name_is_there_once_in_order() -> None:
    assert len(set(docshelf.__all__)) == len(docshelf.__all__)
    assert list(docshelf.__all__) == sorted(docshelf.__all__)
    assert None not in public().values()


def test_every_public_class_and_function_has_a_docstring_of_its_own() -> None:
    missing = []
    for name, value in public().items():
        if inspect.isclass(value):
            functions = {f"{name}.{of}": function for of, function in functions_of(value).items()}
            # A NamedTuple or dataclass without a docstring gets one that only repeats its fields.
            own = vars(value).get("__doc__") or ""
            missing += [name] if not own or own.startswith(f"{name}(") else []
        else:
            functions = {name: value} if inspect.isfunction(value) else {}
        missing += [of for of, function in functions.items() if not function.__doc__]
    assert missing == []


def test_every_public_function_is_annotated_in_full() -> None:
    missing = []
    for name, value in public().items():
        functions: dict[str, Callable[..., Any]] = {}
        if inspect.isclass(value):
            functions |= functions_of(value)
        elif inspect.isfunction(value):
            functions[name] = value
        if inspect.isclass(value) and "__init__" in vars(value) and value.__module__.startswith("docshelf"):
            functions["__init__"] = value.__init__
        for of, function in functions.items():
            signature = inspect.signature(function)
            annotations = [one.annotation for one in signature.parameters.values() if one.name != "self"]
            if inspect.Signature.empty in (*annotations, signature.return_annotation):
                missing.append(f"{name}.{of}")
    assert missing == []


def test_every_error_is_a_docshelf_error_and_those_about_arguments_are_standard_ones_too() -> None:
    errors = {name: value for name, value in public().items() if name.endswith("Error")}
    assert all(issubclass(error, docshelf.DocShelfError) for error in errors.values())
    about_arguments = ("ArgumentType", "ArgumentValue", "Closed", "Configuration", "MassDelete", "MissingEngine")
    for name in (*about_arguments, "UnsupportedValue", "ValueTooLarge"):
        assert issubclass(errors[f"{name}Error"], ValueError | TypeError)
