"""Docstrings: every public name has one, classes, functions and main verbs have an example, and every example runs."""

from __future__ import annotations

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import docshelf
from docshelf.adapters import ShelfStore
from tests.support.public import functions_of, is_ours

MODULES = (
    "docshelf",
    "docshelf.adapters",
    "docshelf.folder",
    "docshelf.moving",
    "docshelf.records",
    "docshelf.schema",
    "langchain_docshelf",
    "llama_index_docshelf",
)
# What needs no example of its own, by why.
FOR_ADAPTERS = "what an adapter's source or target is made of; the code of docshelf_* is the example"
EXEMPT = {
    "docshelf.adapters": {
        "Label": "`read_labels` shows it",
        "ShelfOptions": "the options of `DocShelf`",
    },
    "docshelf.folder": {
        **dict.fromkeys(("Content", "FolderTarget", "Piece"), FOR_ADAPTERS),
        **dict.fromkeys(("read_docx", "read_pdf"), "they need a file, and are given as a reader"),
    },
    "docshelf.moving": {
        **dict.fromkeys(
            ("FolderSource", "KeyedRecords", "Note", "OldDatabase", "Open", "PageSize", "Pull", "RawEntry", "Refused"),
            FOR_ADAPTERS,
        ),
        **dict.fromkeys(
            ("ShelfSource", "SortedRecords", "Source", "TableSource", "Target", "json_sections", "migrate_flow"),
            FOR_ADAPTERS,
        ),
    },
    "docshelf.schema": dict.fromkeys(
        ("UTCDateTime", "SearchFields", "check_schema", "check_table_prefix"), "`define_tables` uses them"
    ),
    "langchain_docshelf": {
        "AdoptionReport": "`adopt` shows it",
        "StoredDocument": "only reading makes one, of a class that is not known",
    },
    "llama_index_docshelf": {"AdoptedNodesReport": "`adopt_nodes` shows it"},
}
VERBS = [
    "bind",
    "conditional_mset",
    "conditional_set",
    "copy_collection",
    "count",
    "delete_source",
    "find",
    "get",
    "mdelete",
    "mget",
    "mset",
    "rename_collection",
    "set",
    "set_versions",
    "setup",
    "source_changed",
    "sources",
    "stats",
    "sync",
    "verify",
    "view",
    "yield_items",
    "yield_keys",
]


def names_of(module: str) -> dict[str, Any]:
    """The public names of a module: of its `__all__`, or the classes and functions that it defines."""
    package = import_module(module)
    names = getattr(package, "__all__", None) or [
        name for name, value in vars(package).items() if getattr(value, "__module__", "") == module and name[0] != "_"
    ]
    return {name: getattr(package, name) for name in names}


def described(module: str) -> dict[str, Any]:
    """Our classes, functions and methods of a module, by name."""
    found: dict[str, Any] = {}
    for name, value in names_of(module).items():
        if (inspect.isclass(value) or inspect.isfunction(value)) and is_ours(value):
            found[name] = value
            if inspect.isclass(value):
                found |= {f"{name}.{of}": function for of, function in functions_of(value).items()}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring_of_its_own(module: str) -> None:
    missing = []
    for name, value in described(module).items():
        own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        # Methods of SQLAlchemy's types have their meaning there.
        if (not own or own.startswith(f"{name}(")) and ".process_" not in name and ".load_dialect" not in name:
            missing.append(name)
    assert missing == []


def needs_example(value: Any) -> bool:
    """True for classes and functions, but not for twins, protocols, and errors: the table of errors is about these."""
    if inspect.isclass(value):
        return not (issubclass(value, Exception) or getattr(value, "_is_protocol", False))
    return not re.match(r"(As|The asynchronous twin of) `", value.__doc__ or "")


@pytest.mark.parametrize("module", MODULES)
def test_classes_functions_and_main_verbs_have_an_example(module: str) -> None:
    known = described(module)
    wanted = {name for name, value in known.items() if "." not in name and needs_example(value)}
    verbs = {f"DocShelf.{verb}" for verb in VERBS if module == "docshelf"}
    without = {name for name in wanted | verbs if ">>> " not in (known[name].__doc__ or "")}
    assert without == set(EXEMPT.get(module, ()))


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(verbose=False)
    names = {**names_of("docshelf"), **names_of(module)}
    for name, value in described(module).items():
        for test in finder.find(value, name, module=False, globs=dict(names)):
            failed = runner.run(test, clear_globs=False).failed
            for made in test.globs.values():
                if isinstance(made, docshelf.DocShelf | ShelfStore):
                    made.close()
            assert not failed, name
    assert runner.summarize(verbose=False).failed == 0


def test_every_error_is_in_the_table_with_what_it_is_besides() -> None:
    rows = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text("utf-8").splitlines()
    table = {
        row.split("|")[1].strip(" `"): [cell.strip(" `") for cell in row.split("|")[2:-1]] for row in rows if "|" in row
    }
    errors = {name: value for name, value in vars(docshelf).items() if name.endswith("Error")}
    assert set(errors) - {"DocShelfError"} == {name for name in table if name.endswith("Error")}
    for name in errors.keys() - {"DocShelfError"}:
        standard = [one.__name__ for one in (TypeError, ValueError) if issubclass(errors[name], one)]
        retried = issubclass(errors[name], docshelf.TransientError)
        assert table[name][0] == ", ".join(standard), name
        assert (table[name][3] != "no") == retried, name
