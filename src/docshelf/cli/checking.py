"""Verbs that check: verify and doctor."""

from __future__ import annotations

from typing import Final

from docshelf._version import __version__
from docshelf.cli.arguments import Arguments, Verb
from docshelf.cli.codes import DONE, FAILED
from docshelf.cli.opening import examining, reading
from docshelf.cli.output import Column, Output

_STATE_STYLES: Final = {"ok": "green", "advice": "yellow", "problem": "red"}


def _verify(arguments: Arguments, output: Output) -> int:
    columns = [Column("key", flexible=True), Column("source", flexible=True), Column("reason", flexible=True)]
    with reading(arguments) as shelf:
        problems = shelf.verify(show_progress=output.shows_progress)
        count = shelf.count()
    output.rows(columns, problems)
    if problems:
        output.say(f"{len(problems):,} of {count:,} entries cannot be read; write them again, or delete them")
        return FAILED
    output.say(f"{count:,} entries, each as it was written")
    return DONE


def _doctor(arguments: Arguments, output: Output) -> int:
    with examining(arguments) as shelf:
        findings = shelf.diagnose()
    columns = [
        Column("subject"),
        Column("state", style=lambda state: _STATE_STYLES.get(state, "")),
        Column("seen", flexible=True),
        Column("advice", flexible=True),
    ]
    output.rows(columns, [("docshelf", "ok", __version__, ""), *findings])
    problems = sum(finding.state == "problem" for finding in findings)
    advice = sum(finding.state == "advice" for finding in findings)
    output.say(f"{problems} problems, {advice} pieces of advice" if problems or advice else "healthy")
    return FAILED if problems else DONE


VERBS: Final = (
    Verb(
        "verify",
        "read every entry and compare it with its hash",
        _verify,
        [("docshelf -c papers verify", "exit code 0 if every entry is as it was written, else 1 and the list")],
    ),
    Verb(
        "doctor",
        "examine the database and say what to do",
        _doctor,
        [
            ("docshelf doctor", "versions, rights, layout, connections, statistics, space"),
            ("docshelf doctor --json", "the same for a monitor: one finding per line"),
        ],
        details="Exit code 0 if nothing is wrong; advice alone does not count as wrong.",
    ),
)
