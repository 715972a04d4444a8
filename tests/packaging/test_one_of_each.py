"""There is one of each: one runner of flows, one list of a shelf's options."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from docshelf import DocShelf
from docshelf.adapters import ShelfOptions
from tests.support.public import ROOT, TYPES

CORE, ADAPTERS = (sorted((ROOT / folder).rglob("*.py")) for folder in ("src", "adapters"))
RUNNER = "src/docshelf/steps.py"
OPTIONS = "src/docshelf/adapters.py"
# Arguments of DocShelf that no store of an adapter hands on: the store has its own.
NOT_HANDED_ON = {"self", "url", "collection", "content_types"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def results_sent(tree: ast.AST) -> Iterator[str]:
    """Where a generator is sent a result or an error, as whoever runs a flow has to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # `send(None)` begins or ends a generator, and hands it nothing.
            empty = node.func.attr == "send" and isinstance(node.args[0], ast.Constant) and node.args[0].value is None
            if node.func.attr in ("send", "throw", "asend", "athrow") and not empty:
                yield f"line {node.lineno}: .{node.func.attr}(...)"


def option_lists(tree: ast.AST, *, of_functions: bool = True) -> Iterator[str]:
    """Where options of a shelf are listed: three or more of them as fields of a class, or arguments of a function."""
    for node in ast.walk(tree):
        names: set[str] = set()
        if isinstance(node, ast.ClassDef):
            names = {ast.unparse(field.target) for field in node.body if isinstance(field, ast.AnnAssign)}
        elif of_functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
        if len(names & ShelfOptions.__annotations__.keys()) >= 3:
            yield f"line {node.lineno}: {node.name}"  # type: ignore[attr-defined]


def test_the_checks_see_a_second_one() -> None:
    runner = "def run(flow):\n    result = None\n    while True:\n        result = flow.send(result).run()\n"
    assert list(results_sent(ast.parse(runner))) == ["line 4: .send(...)"]
    assert list(results_sent(ast.parse("flow.throw(error)\niterator.send(None)"))) == ["line 1: .throw(...)"]
    fields = "class Options(TypedDict):\n    schema: str\n    pooler: bool\n    hash_on: str\n"
    assert list(option_lists(ast.parse(fields))) == ["line 1: Options"]
    assert list(option_lists(ast.parse("def f(a, *, schema, pooler, engine): ..."))) == ["line 1: f"]
    for path, found in ((RUNNER, results_sent), (OPTIONS, option_lists)):
        assert list(found(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", CORE + ADAPTERS, ids=name_of)
def test_only_the_runner_of_steps_drives_a_flow(path: Path) -> None:
    sent = list(results_sent(ast.parse(path.read_text(encoding="utf-8"))))
    assert not sent or name_of(path) == RUNNER, f"{sent}: use run_flow, arun_flow, perform or aperform of {RUNNER}"


@pytest.mark.parametrize("path", CORE + ADAPTERS, ids=name_of)
def test_only_the_kit_of_adapters_lists_the_options_of_a_shelf(path: Path) -> None:
    # In the core, the face and the codec take options as arguments: they are what the list is about.
    found = list(option_lists(ast.parse(path.read_text(encoding="utf-8")), of_functions=path in ADAPTERS))
    assert not found or name_of(path) == OPTIONS, f"{found}: take **options: Unpack[ShelfOptions], of {OPTIONS}"


def test_a_store_of_an_adapter_takes_every_option_of_a_shelf() -> None:
    parameters = inspect.signature(DocShelf.__init__).parameters.keys() - NOT_HANDED_ON
    assert ShelfOptions.__annotations__.keys() == parameters, f"ShelfOptions is in {OPTIONS}"
    own: dict[str, Any] = get_type_hints(DocShelf.__init__, localns=TYPES)
    assert get_type_hints(ShelfOptions, localns=TYPES) == {name: own[name] for name in parameters}
