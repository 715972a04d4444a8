"""The public API: everything is in the table of operations, documented and annotated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_origin, get_type_hints

import pytest

import docshelf
from docshelf import DocShelf
from tests.support.operations import BY_NAME, NO_OPERATIONS, OPERATIONS, WHERE, Operation, public_names
from tests.support.public import TYPES, functions_of, public_of


def hints_of(operation: Operation) -> dict[str, Any]:
    return get_type_hints(getattr(DocShelf, operation.name), localns=TYPES)


def test_every_public_name_of_a_store_is_in_the_table_of_operations() -> None:
    known = BY_NAME.keys() | {operation.async_name for operation in OPERATIONS} | NO_OPERATIONS
    missing = sorted(public_names() - known)
    assert not missing, f"{missing}: add a row for each operation to {WHERE}"
    assert not sorted(known - public_names()), f"DocShelf has no such method: take it out of {WHERE}"
    assert len(BY_NAME) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=BY_NAME)
def test_a_row_of_the_table_is_true_of_the_signature(operation: Operation) -> None:
    signature = inspect.signature(getattr(DocShelf, operation.name))
    signature.bind(None, *operation.arguments)
    assert (get_origin(hints_of(operation)["return"]) is Iterator) == operation.iterates
    assert (operation.iterates or "show_progress" in signature.parameters) == operation.long


def test_both_halves_are_context_managers() -> None:
    for enter, leave in (("__enter__", "__exit__"), ("__aenter__", "__aexit__")):
        assert inspect.signature(getattr(DocShelf, enter)).return_annotation == "Self"
        assert list(inspect.signature(getattr(DocShelf, leave)).parameters) == ["self", "kind", "error", "trace"]


PUBLIC = public_of(docshelf)


def test_every_public_name_is_there_once_in_order() -> None:
    assert len(set(docshelf.__all__)) == len(docshelf.__all__)
    assert list(docshelf.__all__) == sorted(docshelf.__all__)
    assert None not in PUBLIC.values()


def test_every_public_class_and_function_has_a_docstring_of_its_own() -> None:
    missing = []
    for name, value in PUBLIC.items():
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
    for name, value in PUBLIC.items():
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
    errors = {name: value for name, value in PUBLIC.items() if name.endswith("Error")}
    assert all(issubclass(error, docshelf.DocShelfError) for error in errors.values())
    about_arguments = ("ArgumentType", "ArgumentValue", "Closed", "Configuration", "MassDelete", "MissingEngine")
    for name in (*about_arguments, "UnsupportedValue", "ValueTooLarge"):
        assert issubclass(errors[f"{name}Error"], ValueError | TypeError)
