"""Verbs that change a store: put, rm, rename."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from docshelf.cli import standard_input
from docshelf.cli.arguments import Arguments, Verb
from docshelf.cli.codes import DONE, FAILED, USAGE, WOULD_CHANGE, CommandError
from docshelf.cli.opening import reading, writing
from docshelf.cli.output import Column, Output, is_terminal
from docshelf.cli.terms import condition, json_value
from docshelf.store import DocShelf
from docshelf.types import Document, Item, Report

_OP_STYLES: Final[Mapping[str, str]] = {"INS": "green", "UPD": "blue", "SKIP": "faint", "DEL": "red"}
# Keys that a question names.
_NAMED: Final = 3


def show_changes(report: Report, output: Output) -> None:
    """What each key went through."""
    columns = [
        Column("key", flexible=True),
        Column("op", style=lambda op: _OP_STYLES.get(op, "")),
        Column("source", flexible=True),
    ]
    output.rows(columns, report)


def _put(arguments: Arguments, output: Output) -> int:
    value = _value(arguments)
    item = Item(arguments.key, value, arguments.source or "", arguments.label)
    with writing(arguments) as shelf:
        report = shelf.conditional_mset([item])
    show_changes(report, output)
    return DONE


def _value(arguments: Arguments) -> Any:
    """What to write: from the command line, a file or the standard input."""
    if arguments.text is not None and arguments.file is not None:
        raise CommandError("give the text or --file, not both", USAGE)
    if arguments.text is not None:
        data = arguments.text.encode("utf-8", "surrogateescape")
    elif arguments.file is not None:
        data = Path(arguments.file).read_bytes()
    else:
        if is_terminal(sys.stdin):
            sys.stderr.write("reading the value; end it with Ctrl-D\n")
        data = standard_input.everything()
    kind = arguments.type or ("document" if arguments.metadata is not None or arguments.fields else "text")
    if kind == "bytes":
        return data
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CommandError(f"the value is not UTF-8 ({exc}); to store bytes, give --type bytes", USAGE) from exc
    if kind == "json":
        return json_value(text, "the value")
    return Document(text, _metadata(arguments)) if kind == "document" else text


def _metadata(arguments: Arguments) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if arguments.metadata is not None:
        given = json_value(arguments.metadata, "--metadata")
        if not isinstance(given, dict):
            raise CommandError("""--metadata has to be a JSON object, as '{"author": "Ann"}'""", USAGE)
        metadata |= given
    for field in arguments.fields:
        name, equals, text = field.partition("=")
        if not equals or not name:
            raise CommandError(f"-m {field!r}: write NAME=VALUE", USAGE)
        try:
            metadata[name] = json.loads(text)
        except ValueError:
            metadata[name] = text
    return metadata


def _add_put(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the value; without it, --file or the standard input")
    parser.add_argument("-f", "--file", metavar="FILE", help="read the value from this file")
    parser.add_argument("-t", "--type", choices=("text", "document", "json", "bytes"), help="default: text")
    parser.add_argument("-m", dest="fields", action="append", default=[], metavar="NAME=VALUE", help="metadata")
    parser.add_argument("--metadata", metavar="JSON", help="metadata as a JSON object; makes the value a document")
    parser.add_argument("--source", help="the source of the entry")
    parser.add_argument("--label", metavar="VERSION", help="the version of the entry")


def _rm(arguments: Arguments, output: Output) -> int:
    where = condition(arguments)
    narrowed = where is not None or arguments.prefix is not None
    if arguments.keys and narrowed:
        raise CommandError("give keys, or conditions (--match, --where, --prefix), not both", USAGE)
    if not arguments.keys and not narrowed and arguments.source is None:
        raise CommandError("name keys, a --source, or conditions", USAGE)
    with reading(arguments) as shelf:
        plan = _deletion(shelf, arguments, where, dry_run=True)
        if arguments.dry_run:
            show_changes(plan, output)
            return WOULD_CHANGE if plan.changed else DONE
        if plan.refused is not None and not arguments.allow_mass_delete:
            _deletion(shelf, arguments, where, dry_run=False)  # it raises the error
        if not plan:
            output.say("nothing to delete")
            return DONE
        if not arguments.yes and not _confirmed(plan, arguments, output):
            output.say("nothing was deleted")
            return FAILED
        report = _deletion(shelf, arguments, where, dry_run=False)
    show_changes(report, output)
    return DONE


def _deletion(shelf: DocShelf, arguments: Arguments, where: Mapping[str, Any] | None, *, dry_run: bool) -> Report:
    if arguments.keys:
        return shelf.mdelete(arguments.keys, source=arguments.source, dry_run=dry_run, chunked=arguments.chunked)
    if where is None and arguments.prefix is None:  # a whole source, with what is known of its file
        if not dry_run:
            return shelf.delete_source(arguments.source, chunked=arguments.chunked)
        everything: Mapping[str, Any] = {}
        return shelf.mdelete(where=everything, source=arguments.source, allow_mass_delete=True, dry_run=True)
    return shelf.mdelete(
        where={} if where is None else where,
        prefix=arguments.prefix,
        source=arguments.source,
        max_delete=arguments.max_delete,
        allow_mass_delete=arguments.allow_mass_delete,
        dry_run=dry_run,
        chunked=arguments.chunked,
    )


def _confirmed(plan: Report, arguments: Arguments, output: Output) -> bool:
    """Ask a person."""
    names = ", ".join(change.key for change in plan[:_NAMED]) + (", ..." if len(plan) > _NAMED else "")
    entries = "entry" if len(plan) == 1 else "entries"
    if not is_terminal(sys.stdin):
        raise CommandError(f"{len(plan):,} {entries} would be deleted ({names}); to do so, give --yes", USAGE)
    output.err.write(f"delete {len(plan):,} {entries} ({names}) of collection {arguments.collection!r}? [y/N] ")
    output.err.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _add_rm(parser: ArgumentParser) -> None:
    parser.add_argument("keys", nargs="*", metavar="KEY")
    parser.add_argument("--source", help="only in this source; alone: the whole source")
    parser.add_argument("--prefix", help="only keys that begin with this text")
    parser.add_argument(
        "--match", dest="terms", action="append", default=[], metavar="TERM", help="a condition: see docshelf find"
    )
    parser.add_argument("--where", metavar="JSON", help="a condition as JSON")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be deleted; exit code 5 if anything"
    )
    parser.add_argument(
        "--chunked",
        action="store_true",
        help="in many short transactions: other writers do not wait, and a run that was stopped is run again",
    )
    add_guard(parser)


def add_guard(parser: ArgumentParser) -> None:
    """Add the options of the guard against mass deletion."""
    parser.add_argument("--max-delete", type=float, metavar="SHARE", help="the share that may be deleted, 0 to 1")
    parser.add_argument("--allow-mass-delete", action="store_true", help="do not refuse")


def _rename(arguments: Arguments, output: Output) -> int:
    with reading(arguments) as shelf:
        count = shelf.rename_collection(arguments.new)
    output.say(f"{arguments.collection!r} is now {arguments.new!r}, with {count:,} entries")
    return DONE


VERBS: Final[Sequence[Verb]] = (
    Verb(
        "put",
        "write one entry",
        _put,
        [
            ("docshelf put note 'Remember the milk.'", "a text"),
            ("docshelf put intro -f intro.md -m author=Ann -m year=2020", "a document with metadata"),
            ("curl -s https://example.com/data.json | docshelf put data --type json", "a JSON value from a pipe"),
        ],
        _add_put,
    ),
    Verb(
        "rm",
        "delete entries",
        _rm,
        [
            ("docshelf rm note", "delete the entry of a key, in all sources; asks first"),
            ("docshelf rm --source docs:old.md --yes", "delete a source with all its entries"),
            ("docshelf rm --match 'year<2000' --dry-run", "say what would be deleted"),
            ("docshelf rm --source docs:large.csv --chunked --yes", "a large source, without making others wait"),
        ],
        _add_rm,
    ),
    Verb(
        "rename",
        "give the collection, and what belongs to it, another name",
        _rename,
        [("docshelf -c papers rename articles", "the collection papers becomes articles")],
        lambda parser: parser.add_argument("new", metavar="NEW"),
    ),
)
