"""docs/command-line.md and the help of the command: every verb and code is there, every example can be typed."""

from __future__ import annotations

import re
import shlex

import pytest

from docshelf.cli.arguments import FIRST_STEPS, Verb, build_parser
from docshelf.cli.codes import MEANINGS
from docshelf.cli.run import VERBS
from tests.support.pages import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
EXAMPLES = [
    *(command for command, _ in FIRST_STEPS),
    *(command for verb in VERBS for command, _ in verb.examples),
    *(
        command
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for command in re.findall(r"^\$ (docshelf .*)$", page.read_text("utf-8"), re.MULTILINE)
    ),
]


def commands(line: str) -> list[list[str]]:
    """The arguments of each call of docshelf in a line of a shell."""
    words = [word.rstrip(";") for word in shlex.split(line)]
    calls: list[list[str]] = []
    inside = False
    for word in words:
        if word == "docshelf":
            calls.append([])
            inside = True
        elif word in ("|", ">", "<", "&&"):
            inside = False
        elif inside:
            calls[-1].append(word)
    return calls


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_can_be_typed(line: str) -> None:
    found = commands(line)
    assert found
    for arguments in found:
        if line.partition("docshelf")[0].endswith("xargs "):
            arguments = [*arguments, "key"]
        build_parser(VERBS).parse_args(arguments)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_the_page_names_every_verb_and_each_teaches_by_examples(verb: Verb) -> None:

    assert re.search(rf"^\| `{verb.name}[ `]", PAGE, re.MULTILINE)
    assert verb.examples


def test_the_page_lists_every_exit_code() -> None:
    listed = re.findall(r"^\| (\d+) \|", PAGE.partition("## Exit codes")[2], re.MULTILINE)
    assert list(map(int, listed)) == list(MEANINGS)
