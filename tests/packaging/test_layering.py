"""Imports go one way only, and importing docshelf has no side effects."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import docshelf

ROOT = Path(docshelf.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
DEPENDENCIES = {"sqlalchemy", "orjson", "zstandard", "tenacity", "tqdm", "psycopg", "psycopg2", "asyncpg"}
# Modules of the standard library that load code by name or run what they read.
DANGEROUS = {
    "pickle",
    "_pickle",
    "marshal",
    "shelve",
    "importlib",
    "imp",
    "runpy",
    "pkgutil",
    "code",
    "codeop",
    "pydoc",
}
ADAPTERS = sorted((ROOT.parents[1] / "adapters").rglob("*.py"))
# Never langchain-community or langchain-classic: both are at their end of life.
FRAMEWORKS = {
    "langchain_docshelf": {"langchain_core", "langchain_text_splitters", "pydantic"},
    "llama_index_docshelf": {"llama_index"},
}
# What may load code all the same: entry points, which installed packages name and no row or argument.
LOADING = {"docshelf.cli.stores": {"importlib"}}
CONTRIBUTING = ROOT.parents[1] / "CONTRIBUTING.md"
# Rooms that do no I/O and know no database.
PURE = {"display", "types", "errors", "validation", "values"}
# What adapters may import of docshelf: its face, and the modules that are public under their own names.
PUBLIC_MODULES = {"docshelf.adapters", "docshelf.folder", "docshelf.moving", "docshelf.records", "docshelf.schema"}
# Extras, and the only module that may import each, when it is called.
EXTRAS = {
    "docshelf.cli.run": {"shtab"},
    "docshelf.display.frames": {"pandas"},
    "docshelf.folder.markup": {"bs4", "markdownify"},
    "docshelf.folder.office": {"mammoth", "pypdf"},
    "docshelf.folder.scan": {"pathspec"},
    "docshelf.folder.text": {"charset_normalizer"},
    "docshelf.moving.arrow": {"pyarrow"},
}


def name_of(path: Path) -> str:
    """`docshelf.sql.dialects.base` of `.../docshelf/dialects/base.py`."""
    parts = [ROOT.name, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(tree: ast.AST, *, for_types: bool) -> Iterator[ast.AST]:
    """All nodes; without those that only a type checker sees, unless they are asked for."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            inner: list[ast.stmt] = [*(node.body if for_types else []), *node.orelse]
            for statement in inner:
                yield statement
                yield from statements(statement, for_types=for_types)
            continue
        yield node
        yield from statements(node, for_types=for_types)


@cache
def imports(text: str, *, for_types: bool = True) -> set[str]:
    """The modules that a text imports, at its top or inside functions; `from a import b` gives `a` and `a.b`."""
    found: set[str] = set()
    for node in statements(ast.parse(text), for_types=for_types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@cache
def calls(text: str) -> set[str]:
    """The plain names that a text calls."""
    return {
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_check_sees_every_form_of_import() -> None:
    text = (
        "import a.b, c\nfrom d.e import f as g\ndef h():\n    try:\n        import i\n    finally:\n        eval('1')\n"
    )
    text += "if TYPE_CHECKING:\n    import j\nelse:\n    import k\n"
    assert imports(text) == {"a.b", "c", "d.e", "d.e.f", "i", "j", "k"}
    assert imports(text, for_types=False) == {"a.b", "c", "d.e", "d.e.f", "i", "k"}
    assert calls(text) == {"eval"}
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_imports_nothing_but_itself_its_dependencies_and_the_standard_library(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    allowed = {"docshelf", *DEPENDENCIES, *sys.stdlib_module_names}
    allowed |= EXTRAS.get(name_of(path), set())
    assert tops(imports(text, for_types=False)) <= allowed
    assert tops(imports(text)) <= allowed | {"typing_extensions"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_loads_no_code_by_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not tops(imports(text)) & (DANGEROUS - LOADING.get(name_of(path), set()))
    assert not calls(text) & {"eval", "exec", "compile", "__import__"}


def modules_of(folder: Path, package: str) -> dict[str, Path]:
    """The modules of a package, by name."""
    found = {}
    for path in sorted((folder / package).rglob("*.py")):
        parts = [package, *path.relative_to(folder / package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = {
    **modules_of(ROOT.parent, "docshelf"),
    **modules_of(ROOT.parents[1] / "adapters", "langchain_docshelf"),
    **modules_of(ROOT.parents[1] / "adapters", "llama_index_docshelf"),
}


def own_imports(name: str) -> set[str]:
    """The modules of ours that a module imports: at its top, within functions, and for types."""
    # `from a import b` names both `a` and `a.b`. Where `a.b` is a module, `a` itself gives nothing.
    named = imports(MODULES[name].read_text(encoding="utf-8")) & MODULES.keys()
    return {one for one in named if not any(other.startswith(f"{one}.") for other in named)} - {name}


def room_of(name: str) -> str:
    """The folder or the single module at the top of `src/docshelf` that a module is, or is in."""
    return name.split(".")[1]


def rooms_of_code() -> dict[str, set[str]]:
    """Which rooms each room imports."""
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        if name.startswith("docshelf.") and not name.endswith("._version"):
            graph.setdefault(room_of(name), set()).update(room_of(one) for one in own_imports(name))
    return {room: imported - {room} for room, imported in graph.items()}


def rooms_of_contributing() -> dict[str, set[str]]:
    """The same, as the table in CONTRIBUTING says."""
    rows = re.findall(r"^\| `(\w+)/?` \| [^|]+ \|([^|]*)\|$", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE)
    return {room: set(re.findall(r"`(\w+)`", imported)) for room, imported in rows}


def test_a_pure_room_knows_no_database() -> None:
    for name, path in MODULES.items():
        if name.startswith("docshelf.") and room_of(name) in PURE:
            names = imports(path.read_text(encoding="utf-8"))
            assert not tops(names) & (DEPENDENCIES - {"orjson", "zstandard", "tqdm"}), name
            assert {room_of(one) for one in own_imports(name)} <= PURE, name


def test_contributing_lists_the_rooms_and_what_they_import() -> None:
    assert rooms_of_contributing() == rooms_of_code()


def test_every_operation_that_writes_entries_is_a_repeatable_write() -> None:
    # A plain Write returns the result of its last attempt, which is wrong after a commit that was not answered. It is
    # right for a step without a result: `setup`.
    writing = {
        name
        for name, path in MODULES.items()
        if name.startswith("docshelf.operations.") and "Write" in calls(path.read_text(encoding="utf-8"))
    }
    # `searchable` ends in the same state however often a step is repeated, and it returns no report.
    names = ("repeatable", "maintenance", "searchable")
    assert writing == {f"docshelf.operations.{name}" for name in names}


def test_only_the_dialects_import_a_database_of_sqlalchemy() -> None:
    knowing = {name_of(path) for path in FILES if any("sqlalchemy.dialects" in n for n in imports(path.read_text()))}
    assert knowing
    assert all(name.startswith("docshelf.sql.dialects.") for name in knowing)


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {name: own_imports(name) for name in MODULES}
    packages = {"docshelf": "docshelf.", "langchain_docshelf": "langchain_docshelf."}
    offered = {f"docshelf.{name}" for name in docshelf.__all__}
    for name in graph:
        if name.startswith("docshelf."):
            named = imports(MODULES[name].read_text(encoding="utf-8"))
            assert not named & offered, f"{name} imports from the package what it should import from its module"
    assert graph.keys() >= {*packages, "llama_index_docshelf"}
    ordered = list(graphlib.TopologicalSorter(graph).static_order())
    assert ordered.index("docshelf.store") > ordered.index("docshelf.operations.writing")


def test_no_file_is_longer_than_a_room() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    # The face has two methods for each operation, sync and async.
    assert {name for name, lines in lengths.items() if lines > 500} <= {"docshelf.store"}


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_an_adapter_knows_its_framework_and_what_docshelf_offers(path: Path) -> None:
    names = imports(path.read_text(encoding="utf-8"))
    adapter = path.relative_to(ROOT.parents[1] / "adapters").parts[0]
    foreign = tops(names) - sys.stdlib_module_names - {adapter, "docshelf", "typing_extensions"}
    assert foreign <= FRAMEWORKS[adapter]
    offered = {"docshelf", *(f"docshelf.{name}" for name in docshelf.__all__), *PUBLIC_MODULES}
    for name in names:
        if name.partition(".")[0] == "docshelf":
            assert name in offered or name.rpartition(".")[0] in PUBLIC_MODULES, name
    if adapter == "llama_index_docshelf":
        assert all(name.startswith("llama_index.core") for name in names if name.startswith("llama_index."))


_IMPORTED = """
import json, sys

events = []
sys.addaudithook(lambda name, arguments: events.append((name, [str(argument) for argument in arguments])))
import docshelf
print(json.dumps([sorted(sys.modules), events]))
"""
_NOT_BEFORE_USE = ("psycopg2", "psycopg", "asyncpg", "aiosqlite", "sqlite3", "tqdm", "numpy", "pandas", "IPython")
_NEVER = (
    "langchain",
    "langchain_core",
    "langchain_community",
    "llama_index",
    "langchain_docshelf",
    "llama_index_docshelf",
)


def test_importing_docshelf_imports_no_framework_and_no_driver_and_does_no_io(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-B", "-c", _IMPORTED], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    modules, events = json.loads(run.stdout)
    assert "docshelf.store" in modules
    assert not tops(set(modules)) & {*_NOT_BEFORE_USE, *_NEVER}
    assert not list(tmp_path.iterdir())
    assert any(name == "import" for name, _ in events), "the hook sees what happens"
    forbidden = (
        "socket.",
        "sqlite3.",
        "subprocess.",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.system",
        "os.exec",
        "urllib",
    )
    assert not [event for event in events if event[0].startswith(forbidden)]
    opened = [arguments for name, arguments in events if name == "open"]
    assert opened
    assert not [arguments for arguments in opened if set(str(arguments[1])) & set("wax+")]
    assert {Path(name).suffix for name, *_ in opened} <= {".py", ".pyc", ".so", ".pyd", ".pth"}
    assert run.stderr == ""


def test_every_public_name_exists() -> None:
    assert list(docshelf.__all__) == sorted(docshelf.__all__)
    for name in docshelf.__all__:
        assert getattr(docshelf, name) is not None


def test_the_import_brings_only_what_every_user_needs() -> None:
    heavy = {"sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "tenacity", "tqdm", "asyncpg", "psycopg2", "psycopg"}
    code = f"import docshelf, sys; print(*({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
