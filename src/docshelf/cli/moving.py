"""Verbs that move a store, or a part of it: copy, export, import, migrate."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from docshelf.cli.arguments import Arguments, Verb
from docshelf.cli.codes import DONE, IN_PART, USAGE, WOULD_CHANGE, CommandError
from docshelf.cli.opening import reading, target
from docshelf.cli.output import Output
from docshelf.cli.standard_input import raw_input
from docshelf.cli.stores import add_store, store_on
from docshelf.errors import DocShelfError
from docshelf.moving import MoveReport, export_jsonl, import_jsonl, migrate

# The standard input or output, in place of a file.
_STREAM: Final = "-"


def _copy(arguments: Arguments, output: Output) -> int:
    with reading(arguments) as shelf:
        if arguments.dry_run:
            new = shelf.view(arguments.new).collection
            if new in [one.name for one in shelf.collections(exact=False)]:
                raise CommandError(f"there is a collection {new!r} already", USAGE)
            output.facts({"entries": (shelf.count(), "count")})
            return WOULD_CHANGE
        count = shelf.copy_collection(arguments.new)
    output.facts({"entries": (count, "count")})
    return DONE


def _add_copy(parser: ArgumentParser) -> None:
    parser.add_argument("new", metavar="NEW")
    _add_dry_run(parser)


def _export(arguments: Arguments, output: Output) -> int:
    options = {"prefix": arguments.prefix, "source": arguments.source}
    everything = arguments.everything or bool(arguments.only)
    with reading(arguments) as shelf:
        if arguments.dry_run:
            count = shelf.count(**options)
            if everything:
                names = arguments.only
                count = sum(one.entries for one in shelf.collections() if not names or one.name in names)
            output.facts({"entries": (count, "count")})
            return WOULD_CHANGE
        with _said("the part that is written stays; the same command goes on from there", arguments, output):
            report = export_jsonl(
                shelf,
                sys.stdout.buffer if arguments.file == _STREAM else arguments.file,
                **options,
                everything=everything,
                collections=arguments.only or None,
                resume=not arguments.anew,
                show_progress=output.shows_progress,
            )
    if arguments.file == _STREAM:
        sys.stdout.buffer.flush()
        output.say(f"{report.entries:,} entries, SHA-256 {report.sha256}")
        return DONE
    output.facts(
        {
            "entries": (report.entries, "count"),
            "sources": (report.sources, "count"),
            "collections": (report.collections, "count"),
            "sha256": (report.sha256, "text"),
        }
    )
    return DONE


def _add_export(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=".jsonl, or .jsonl.zst to compress it; - for the standard output")
    parser.add_argument("--prefix", help="only keys that begin with this text")
    parser.add_argument("--source", help="only entries of this source")
    _add_collections(parser, "every collection, with its sources and settings")
    parser.add_argument("--anew", action="store_true", help="begin anew, whatever an interrupted export left")
    _add_dry_run(parser)


def _import(arguments: Arguments, output: Output) -> int:
    origin = raw_input() if arguments.file == _STREAM else arguments.file
    with target(arguments) as shelf, _said("run it again: what is there is skipped", arguments, output):
        report = import_jsonl(
            origin,
            shelf,
            prefix=arguments.prefix,
            source=arguments.source,
            collections=arguments.only or None,
            dry_run=arguments.dry_run,
            show_progress=output.shows_progress,
        )
    return _moved(report, output)


def _add_import(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="an export; - for the standard input")
    parser.add_argument("--prefix", help="only keys that begin with this text")
    parser.add_argument("--source", help="only entries of this source")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="of an export of everything, this collection"
    )
    _add_dry_run(parser)


def _migrate(arguments: Arguments, output: Output) -> int:
    with target(arguments) as shelf, _said("run it again: what is there is skipped", arguments, output):
        report = migrate(
            arguments.origin,
            store_on(shelf, arguments.store),
            collection=arguments.origin_collection,
            everything=arguments.everything,
            dry_run=arguments.dry_run,
            compare=not arguments.no_compare,
            on_refused="skip" if arguments.skip_refused else "raise",
            show_progress=output.shows_progress,
        )
    return _moved(report, output)


def _add_migrate(parser: ArgumentParser) -> None:
    parser.add_argument("origin", metavar="FROM", help="a URL, an SQLite file, a folder or an export")
    parser.add_argument(
        "--from-collection", dest="origin_collection", metavar="NAME", help="the collection or namespace there"
    )
    add_store(parser)
    parser.add_argument(
        "--everything", action="store_true", help="from a store of docshelf: every collection, sources and settings"
    )
    parser.add_argument("--skip-refused", action="store_true", help="leave out what cannot be stored; exit code 3")
    parser.add_argument("--no-compare", action="store_true", help="do not read everything again to compare hashes")
    _add_dry_run(parser)


def _add_collections(parser: ArgumentParser, help_of_all: str) -> None:
    parser.add_argument("--everything", action="store_true", help=help_of_all)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="with everything of this collection; repeatable"
    )


def _add_dry_run(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be written; exit code 5 if any")


@contextmanager
def _said(text: str, arguments: Arguments, output: Output) -> Iterator[None]:
    """Tell a person who interrupts a move how it goes on; a reader that has enough ends an export cleanly."""
    try:
        yield
    except KeyboardInterrupt:
        if not arguments.dry_run:
            output.say(f"\n{text}")
        raise
    except DocShelfError as exc:
        if isinstance(exc.__cause__, BrokenPipeError):
            raise exc.__cause__ from None
        raise


def _moved(report: MoveReport, output: Output) -> int:
    """Show what a move did."""
    counts: dict[str, int] = {op: count for op, count in report.counts.items() if op != "DEL"}
    counts |= {"refused": report.refused, "sources": report.sources, "collections": report.collections}
    output.facts({name: (count, "count") for name, count in counts.items()})
    for problem in report.problems:
        output.say(f"refused {problem.key!r} of source {problem.source!r}: {problem.reason}")
    if report.dry_run and report.changed:
        return WOULD_CHANGE
    return IN_PART if report.refused else DONE


VERBS: Final[Sequence[Verb]] = (
    Verb(
        "copy",
        "copy the collection to a new one in the same database",
        _copy,
        [("docshelf -c papers copy papers-backup", "in one transaction; sources and their fingerprints too")],
        _add_copy,
        "Collections that belong to it, such as a retriever's ledger, stay with the original.",
    ),
    Verb(
        "export",
        "write the collection, or all of them, to a file of JSON Lines",
        _export,
        [
            ("docshelf -c papers export papers.jsonl.zst", "one line for each entry, compressed"),
            ("docshelf export --everything backup.jsonl.zst", "the whole store: sources, fingerprints, settings"),
            ("docshelf export - --prefix docs: | jq -r .text", "into a pipe"),
        ],
        _add_export,
        "The file gets its name only once it is whole. An export that was interrupted goes on where it stopped.",
    ),
    Verb(
        "import",
        "write the entries of an export into the store",
        _import,
        [
            ("docshelf -c papers import papers.jsonl.zst --dry-run", "what would be written"),
            ("docshelf --url postgresql://user@host/db import backup.jsonl.zst", "the collections of an export"),
            ("zcat old.jsonl.gz | docshelf import -", "from a pipe"),
        ],
        _add_import,
        "A file that is cut short or was altered is refused before anything is written. Entries that "
        "are there with the same hash are skipped.",
    ),
    Verb(
        "migrate",
        "fill the store from another one",
        _migrate,
        [
            (
                "docshelf --url postgresql://user@host/db migrate docshelf.db --everything",
                "from SQLite to PostgreSQL, with hashes, versions and times",
            ),
            ("docshelf -c parents migrate ./old-parents --store langchain", "a LocalFileStore of LangChain"),
            ("docshelf -c docstore migrate ./storage --store llama-index", "a persisted docstore of LlamaIndex"),
        ],
        _add_migrate,
        "The origin is only read. At the end every entry is compared with its origin by its hash. A move that was "
        "interrupted is simply run again.",
    ),
)
