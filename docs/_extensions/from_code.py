"""Fills marked places of the pages from the code, so that the reference never says less or more than the code does.

A place is a comment of its own line, which GitHub does not show:

    <!-- code: public docshelf -->    every public name of a module, with its docstring
    <!-- code: options -->            the options of `DocShelf`, in one table
    <!-- code: commands -->           the help of the command and of each of its verbs
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
from argparse import _SubParsersAction
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sphinx.domains.python import PyObject

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# With the sentence before it, which is for those who read the page on GitHub.
_PLACE = re.compile(r"^(?:The site has .*\n\n)?<!-- code: (\w+) ?(\S*) -->$", re.MULTILINE)
_TWIN = re.compile(r"As `\w+`\.")
# Members of its types that SQLAlchemy documents.
_SQLALCHEMY = ("cache_ok", "impl", "load_dialect_impl", "process_bind_param", "process_result_value")
# A link to a page beside docs/, which the site has as a file.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[A-Z]+\.md)\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    for package in own_packages():  # before autodoc, which imports in a way of its own that pydantic does not stand
        import_module(package)
    for field in PyObject.doc_field_types:
        if field.name == "variable":  # our docstrings say Attributes
            field.label = "Attributes"
    app.connect("autodoc-process-docstring", _escape, priority=100)  # before napoleon
    app.connect("source-read", _fill)
    app.connect("autodoc-skip-member", _skip)
    app.connect("build-finished", _copy_pictures)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    makers = {"public": public, "options": options, "commands": commands}
    text = _PLACE.sub(lambda match: makers[match[1]](*filter(None, [match[2]])), source[0])
    source[0] = _OUTSIDE.sub(r"{download}`\1 <\2>`", text)


def _skip(app: Sphinx, what: str, name: str, member: Any, *rest: Any) -> bool | None:
    """Leave out asynchronous twins, whose docstrings lead to the others, and fields that the class describes."""
    text = inspect.getdoc(member) or ""
    if name in _SQLALCHEMY or _TWIN.fullmatch(text) or type(member).__name__ in ("_tuplegetter", "member_descriptor"):
        return True
    return None


def _escape(app: Sphinx, what: str, name: str, value: Any, *rest: Any) -> None:
    """Let docstrings be written for people: a plural after a name in backticks, and stars, mean what they look like."""
    in_example, lines = False, rest[-1]
    for number, line in enumerate(lines):
        in_example = line.lstrip().startswith((">>>", "...")) or (in_example and bool(line.strip()))
        if not in_example:
            parts = re.split(r"(`[^`]+`)", line)
            parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
            for place in range(1, len(parts), 2):
                if parts[place + 1][:1].isalnum():
                    parts[place] += "\\ "
            lines[number] = "".join(parts)


def _copy_pictures(app: Sphinx, error: Exception | None) -> None:
    """Pages name pictures in HTML too, for light and dark; Sphinx copies only those that Markdown names."""
    if error is None:
        shutil.copytree(Path(app.srcdir, "images"), Path(app.outdir, "images"), dirs_exist_ok=True)


def public(module: str) -> str:
    """What a module offers: classes first, then functions, errors, and the rest."""
    kinds: dict[str, list[str]] = {"autoclass": [], "autofunction": [], "autoexception": [], "autodata": []}
    package = import_module(module)
    for name in sorted(names_of(package), key=lambda name: not name.startswith("DocShelf")):  # stores first
        value = getattr(package, name)
        if inspect.isclass(value) and value.__module__.partition(".")[0] in own_packages():
            kinds["autoexception" if issubclass(value, BaseException) else "autoclass"].append(name)
        elif inspect.isfunction(value):
            kinds["autofunction"].append(name)
        elif name != "__version__":
            kinds["autodata"].append(name)
    titles = {
        "autoclass": "Classes",
        "autofunction": "Functions",
        "autoexception": "Errors and warnings",
        "autodata": "Types",
    }
    parts = []
    for directive, names in kinds.items():
        if not names:
            continue
        parts.append(f"## {titles[directive]}\n")
        for name in names:
            # A heading for each name gives it a place in the contents of the page.
            members = "   :members:\n" if directive in ("autoclass", "autoexception") else ""
            value = getattr(package, name)
            if members and value.__bases__[0] not in (object, tuple):
                members += "   :show-inheritance:\n"
            hidden = "   :no-value:\n" if directive == "autodata" else ""
            parts.append(f"```{{eval-rst}}\n.. {directive}:: {module}.{name}\n{members}{hidden}```\n")
    return "\n".join(parts)


def names_of(module: ModuleType) -> list[str]:
    """The public names of a module: its `__all__`, or the classes and functions that it defines."""
    named: list[str] | None = getattr(module, "__all__", None)
    if named is not None:
        return list(named)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]


def own_packages() -> set[str]:
    """The packages of this project."""
    return {"docshelf", "langchain_docshelf", "llama_index_docshelf"}


def options() -> str:
    """The options of `DocShelf` as a table: name, type, default, meaning."""
    from docshelf import DocShelf

    meanings = described_arguments(DocShelf)
    rows = ["| option | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, one in list(inspect.signature(DocShelf.__init__).parameters.items())[1:]:
        kind = str(one.annotation).replace("|", "\\|")
        default = re.sub(r"^267386880$", "255 MiB", repr(one.default))
        rows.append(f"| `{name}` | `{kind}` | `{default}` | {meanings[name].replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def described_arguments(owner: Any) -> dict[str, str]:
    """What the section `Args:` of a docstring says of each argument."""
    section = (inspect.getdoc(owner) or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    ([\w, ]+): (.*(?:\n     .*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for names, text in found for name in names.split(", ")}


def commands() -> str:
    """The help of the command and of each verb, from its parser."""
    os.environ.update(COLUMNS="96", NO_COLOR="1")
    from docshelf.cli.arguments import build_parser
    from docshelf.cli.run import VERBS

    parser = build_parser(VERBS)
    [verbs] = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    parts = [f"## docshelf\n\n```text\n{parser.format_help()}```\n"]
    parts += [f"## docshelf {name}\n\n```text\n{one.format_help()}```\n" for name, one in verbs.choices.items()]
    return "\n".join(parts)
