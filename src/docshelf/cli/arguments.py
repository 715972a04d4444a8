"""The arguments of the command, and what the options have in common."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from docshelf._version import __version__
from docshelf.cli.codes import MEANINGS, USAGE
from docshelf.cli.output import Output

Arguments = argparse.Namespace
Run = Callable[[Arguments, Output], int]


@dataclass(frozen=True)
class Verb:
    """One verb of the command.

    Attributes:
        name: the word.
        summary: what it does, in a few words.
        run: does it, and returns the exit code.
        examples: command lines with what they do.
        add_arguments: adds the arguments that only this verb has.
        details: what else a person has to know.
    """

    name: str
    summary: str
    run: Run
    examples: Sequence[tuple[str, str]] = ()
    add_arguments: Callable[[argparse.ArgumentParser], Any] = lambda parser: None
    details: str = ""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that says where the help is."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\ntry: {self.prog} --help\n")
        raise SystemExit(USAGE)


_DEFAULTS: Final[dict[str, Any]] = {
    "url": None,
    "collection": None,
    "schema": None,
    "table_prefix": "docshelf",
    "pooler": False,
    "form": None,
    "quiet": False,
    "verbose": False,
}
FIRST_STEPS: Final = (
    ("docshelf put intro -f intro.md -m author=Ann", "write a document to docshelf.db in this folder"),
    ("docshelf ls", "list what is in it"),
    ("docshelf find author=Ann 'year>=2020'", "find documents by their metadata"),
    ("docshelf --url postgresql://user@host/db -c papers stats", "look into a database"),
)
_ENVIRONMENT: Final = """\
environment:
  DOCSHELF_URL         the URL, where --url is not given (a password in it stays out of lists of processes)
  DOCSHELF_COLLECTION  the collection, where -c is not given
  NO_COLOR             no colours
"""


def build_parser(verbs: Sequence[Verb], prog: str = "docshelf") -> argparse.ArgumentParser:
    """The parser of the command line."""
    common = _common_options()
    parser = Parser(
        prog=prog,
        parents=[common],
        description="Look into a docshelf store, and change it.\n\n" + _examples(FIRST_STEPS),
        epilog=_ENVIRONMENT
        + "\nexit codes:\n"
        + "".join(f"  {code:<4} {meaning}\n" for code, meaning in MEANINGS.items()),
        usage=f"{prog} [options] VERB ...   ({prog} VERB --help: examples and options of a verb)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"docshelf {__version__}")
    parser.add_argument("--completion", metavar="SHELL", help="print a completion script: bash, zsh or tcsh")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=Parser, prog=prog)
    for verb in verbs:
        one = subparsers.add_parser(
            verb.name,
            parents=[common],
            help=verb.summary,
            description=f"{verb.summary[0].upper()}{verb.summary[1:]}.\n{textwrap.fill(verb.details, 100)}".rstrip(),
            epilog=_examples(verb.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.add_arguments(one)
        one.set_defaults(run=verb.run)
    return parser


def with_defaults(arguments: Arguments) -> Arguments:
    """The arguments with what was not given, before or after the verb, from the environment or by default."""
    for name, default in _DEFAULTS.items():
        if not hasattr(arguments, name):
            setattr(arguments, name, default)
    arguments.url = arguments.url or os.environ.get("DOCSHELF_URL") or None
    arguments.collection = arguments.collection or os.environ.get("DOCSHELF_COLLECTION") or "default"
    return arguments


def _common_options() -> Parser:
    """The options that stand before or after the verb. One that is not given leaves no trace, so neither overrules."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument("--url", help="postgresql://user@host/database or an SQLite file (default: docshelf.db here)")
    group.add_argument("-c", "--collection", metavar="NAME", help="the collection (default: default)")
    group.add_argument("--schema", metavar="NAME", help="the PostgreSQL schema of the tables")
    group.add_argument("--table-prefix", metavar="NAME", help="the prefix of the tables' names (default: docshelf)")
    group.add_argument("--pooler", action="store_true", help="a pooler such as PgBouncer stands before the server")
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="one JSON object per line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="CSV with a header")
    group.add_argument("-q", "--quiet", action="store_true", help="no messages and no progress")
    group.add_argument("-v", "--verbose", action="store_true", help="log every call, and show where an error came from")
    return common


def _examples(examples: Sequence[tuple[str, str]]) -> str:
    lines = ["examples:"] if examples else []
    for command, meaning in examples:
        lines += [f"  {command}", f"      {meaning}"]
    return "\n".join(lines)
