"""Every public sync method of the core and the adapters has its asynchronous twin: same arguments, same result."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import docshelf
import langchain_docshelf
import llama_index_docshelf
from docshelf.adapters import async_name
from tests.support.operations import FIXED_TWINS, WITHOUT_TWIN
from tests.support.public import TYPES, is_ours, methods_of, public_of

PACKAGES = (docshelf, langchain_docshelf, llama_index_docshelf)


def is_async(function: Callable[..., Any]) -> bool:
    returned = str(inspect.signature(function).return_annotation)
    return inspect.iscoroutinefunction(function) or returned.startswith("AsyncIterator")


def owners() -> Iterator[tuple[str, list[str], dict[str, Callable[..., Any]]]]:
    """Name, names in the tables, and functions: of each public class that has async methods, and of each package."""
    for package in PACKAGES:
        public = public_of(package)
        yield (
            package.__name__,
            [package.__name__],
            {name: value for name, value in public.items() if inspect.isfunction(value)},
        )
        for name, value in public.items():
            methods = methods_of(value) if inspect.isclass(value) and is_ours(value) else {}
            if any(map(is_async, methods.values())):
                yield name, [base.__name__ for base in value.__mro__], methods


PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
ALONE: list[str] = []
for _owner, _names, _functions in owners():
    _twins = {
        name: next((FIXED_TWINS[of, name] for of in _names if (of, name) in FIXED_TWINS), async_name(name))
        for name, function in _functions.items()
        if not is_async(function) and not any(name in WITHOUT_TWIN.get(of, ()) for of in _names)
    }
    PAIRS |= {
        f"{_owner}.{name}": (_functions[name], _functions[twin]) for name, twin in _twins.items() if twin in _functions
    }
    ALONE += [f"{_owner}.{name}, whose twin would be {twin}" for name, twin in _twins.items() if twin not in _functions]
    _async = {name for name, function in _functions.items() if is_async(function)}
    ALONE += [f"{_owner}.{name}, the twin of nothing" for name in sorted(_async - set(_twins.values()))]


def test_sync_and_async_methods_come_in_pairs() -> None:
    assert len(PAIRS) > 100
    where = "tests/support/operations.py"
    assert not ALONE, (
        f"{ALONE}: give each its twin. If it does no I/O, name it in WITHOUT_TWIN of {where}; if a framework fixes the "
        "twin's name, in FIXED_TWINS there"
    )


def test_the_tables_of_twins_name_only_what_there_is() -> None:
    known = {(of, name) for _, names, functions in owners() for of in names for name in functions}
    assert {*FIXED_TWINS, *((of, name) for of, names in WITHOUT_TWIN.items() for name in names)} <= known


@pytest.mark.parametrize("name", PAIRS)
def test_twins_have_the_same_signature(name: str) -> None:
    method, twin = PAIRS[name]
    assert inspect.signature(method).parameters == inspect.signature(twin).parameters
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


@pytest.mark.parametrize("name", PAIRS)
def test_the_docstring_of_a_twin_names_its_sync_method(name: str) -> None:
    assert PAIRS[name][1].__doc__ == f"As `{name.rpartition('.')[2]}`."
