"""Verbs that keep a store equal to a folder of files: sync, diff."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from docshelf.cli.arguments import Arguments, Verb
from docshelf.cli.changing import add_guard
from docshelf.cli.codes import DONE, IN_PART, REFUSED, WOULD_CHANGE
from docshelf.cli.opening import planning, target
from docshelf.cli.output import Column, Output
from docshelf.cli.stores import add_store, store_on
from docshelf.display.html import visible
from docshelf.folder import FolderReport, read_docx, read_pdf, sync_folder
from docshelf.store import DocShelf

_STYLES: Final[Mapping[str, str]] = {
    "INS": "green",
    "UPD": "blue",
    "MOVE": "blue",
    "SKIP": "faint",
    "DEL": "red",
    "FAIL": "yellow",
}
_LINE_STYLES: Final[Mapping[str, str]] = {"+": "green", "-": "red", "@": "faint"}
_SAID: Final[Mapping[str, str]] = {
    "INS": "new",
    "UPD": "changed",
    "MOVE": "moved",
    "SKIP": "the same",
    "DEL": "gone",
    "FAIL": "failed",
}


def _sync(arguments: Arguments, output: Output) -> int:
    with target(arguments) as shelf:
        report = _run(shelf, arguments, output, dry_run=arguments.dry_run, diff=False)
    columns = [
        Column("file", flexible=True),
        Column("op", style=lambda op: _STYLES.get(op, "")),
        Column("note", flexible=True),
    ]
    output.rows(columns, _rows(report, everything=arguments.all))
    return _code(report, output)


def _diff(arguments: Arguments, output: Output) -> int:
    with planning(arguments) as shelf:
        report = _run(shelf, arguments, output, dry_run=True, diff=True)
    if output.form == "csv":
        output.rows([Column("file"), Column("op"), Column("note")], _rows(report, everything=False))
        return _code(report, output)
    texts: dict[str, list[str]] = {}
    for diff in report.changes.diffs:
        texts.setdefault(diff.source, []).append(str(diff))
    for file in report.files:
        if file.op == "SKIP":
            continue
        note = file.reason or file.moved_from
        lines = [line for text in texts.get(file.source, ()) for line in text.splitlines()]
        if output.form == "json":
            output.json_line({"file": file.name, "op": file.op, "note": note, "diff": "\n".join(lines)})
            continue
        said = " ".join(filter(None, [file.op, visible(file.name), f"({visible(note)})" if note else ""]))
        output.line(output.styled(said, "bold"))
        for line in lines:
            output.line(output.styled(line, _LINE_STYLES.get(line[:1], "")))
    return _code(report, output)


def _run(shelf: DocShelf, arguments: Arguments, output: Output, *, dry_run: bool, diff: bool) -> FolderReport:
    readers: dict[str, Any] = {}
    if arguments.pdf:
        readers[".pdf"] = read_pdf
    if arguments.docx:
        readers[".docx"] = read_docx
    return sync_folder(
        arguments.folder,
        store_on(shelf, arguments.store),
        name=arguments.name,
        include=arguments.include or "**/*",
        exclude=arguments.exclude,
        readers=readers,
        encoding=arguments.encoding,
        gitignore=not arguments.no_gitignore,
        hidden=arguments.hidden,
        follow_symlinks=arguments.follow_symlinks,
        trust_mtime=not arguments.rehash,
        max_delete=0.2 if arguments.max_delete is None else arguments.max_delete,
        allow_mass_delete=arguments.allow_mass_delete,
        dry_run=dry_run,
        diff=diff,
        show_progress=output.shows_progress,
    )


def _rows(report: FolderReport, *, everything: bool) -> Iterator[list[str]]:
    for file in report.files:
        if everything or file.op != "SKIP":
            yield [file.name, file.op, file.reason or file.moved_from]


def _code(report: FolderReport, output: Output) -> int:
    """Say what was done, and return the exit code."""
    counts = [f"{count:,} {_SAID[op]}" for op, count in report.counts.items() if count]
    left_out = sum(report.without_reader.values())
    if left_out:
        counts.append(
            f"{left_out:,} without a reader ({', '.join(name or 'no suffix' for name in report.without_reader)})"
        )
    if report.links:
        counts.append(f"{report.links:,} links not followed")
    output.say(", ".join(counts) or "no files")
    if report.refused is not None:
        output.say(f"refused: {report.refused}".replace("pass allow_mass_delete=True", "give --allow-mass-delete"))
        return REFUSED
    if report.dry_run and report.changed:
        return WOULD_CHANGE
    return IN_PART if report.failed else DONE


def _add_sync(parser: ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("-a", "--all", action="store_true", help="list files without a change too")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done; exit code 5 if anything")


def _add_folder(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--name", help="what its sources begin with (default: the folder's name)")
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="only these files, as in a .gitignore"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="not these files and folders; repeatable"
    )
    parser.add_argument(
        "--encoding", default="utf-8", metavar="NAME", help="of files without a mark, or detect (default: utf-8)"
    )
    parser.add_argument("--pdf", action="store_true", help="read PDF files too: needs docshelf[pdf]")
    parser.add_argument("--docx", action="store_true", help="read Word files too: needs docshelf[docx]")
    parser.add_argument("--no-gitignore", action="store_true", help="read what .gitignore files leave out, too")
    parser.add_argument("--hidden", action="store_true", help="read files and folders that begin with a dot, too")
    parser.add_argument("--follow-symlinks", action="store_true", help="read what symbolic links lead to, too")
    parser.add_argument("--rehash", action="store_true", help="read every file, whatever its size and time say")
    add_store(parser)
    add_guard(parser)


VERBS: Final[Sequence[Verb]] = (
    Verb(
        "diff",
        "show what sync would change, with the texts before and after",
        _diff,
        [
            ("docshelf diff docs", "exit code 5 if anything would change"),
            ("docshelf diff docs --json | jq -r .file", "only the names of the files"),
        ],
        _add_folder,
        "Nothing is written. Texts are shown for files that are in the store already.",
    ),
    Verb(
        "sync",
        "make the store hold exactly what the files of a folder say",
        _sync,
        [
            ("docshelf sync docs", "read what changed, write what differs, delete what is gone"),
            ("docshelf sync docs --dry-run", "what it would do"),
            ("docshelf sync docs --exclude drafts/ --include '*.md'", "some of the files"),
            (
                "17 3 * * *  docshelf -q --url postgresql://user@host/db -c docs sync /srv/docs",
                "every night, in a crontab",
            ),
        ],
        _add_sync,
        "The source of a file's entries is NAME:relative/path. A folder that is missing, is empty, or has lost more "
        "than a fifth of its files is refused. A file that cannot be read keeps its entries; the exit code is 3 then. "
        "Run it again after an interruption: it does what is left. Needs docshelf[folder].",
    ),
)
