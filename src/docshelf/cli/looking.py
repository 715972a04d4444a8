"""Verbs that show what is in a store: collections, ls, sources, cat, find, stats."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any, Final

from docshelf.cli.arguments import Arguments, Verb
from docshelf.cli.codes import DONE, FAILED, IN_PART
from docshelf.cli.opening import reading
from docshelf.cli.output import Column, Output, is_terminal
from docshelf.cli.reading_values import as_json, cell, entry_json, excerpt, raw, readable
from docshelf.cli.terms import HELP, add_terms, condition
from docshelf.display.html import visible
from docshelf.types import Entry

_KEY: Final = Column("key", flexible=True)
_SOURCE: Final = Column("source", flexible=True)


def _collections(arguments: Arguments, output: Output) -> int:
    columns = [
        Column("collection", flexible=True),
        Column("entries", "count"),
        Column("sources", "count"),
        Column("stored_bytes", "bytes"),
    ]
    with reading(arguments) as shelf:
        found = shelf.collections(exact=not arguments.estimate)
        rows = ((one.name, one.entries, one.sources, one.stored_bytes) for one in found)
        output.rows(columns, rows, empty="there are no collections")
    return DONE


def _ls(arguments: Arguments, output: Output) -> int:
    with reading(arguments) as shelf:
        empty = f"collection {shelf.collection!r} has no such entries"
        if not arguments.long:
            keys = shelf.yield_keys(arguments.prefix, source=arguments.source)
            output.rows([Column("key")], ((key,) for key in keys), empty=empty)
            return DONE
        columns = [_KEY, _SOURCE, Column("type"), Column("version", flexible=True), Column("updated", "time")]
        entries = shelf.find(prefix=arguments.prefix, source=arguments.source, values=False)
        rows = ((one.key, one.source, one.content_type, one.version, one.updated_at) for one in entries)
        output.rows(columns, rows, empty=empty)
    return DONE


def _add_ls(parser: ArgumentParser) -> None:
    parser.add_argument("--prefix", help="only keys that begin with this text")
    parser.add_argument("--source", help="only entries of this source")
    parser.add_argument("-l", "--long", action="store_true", help="with source, type, version and time")


def _sources(arguments: Arguments, output: Output) -> int:
    columns = [_SOURCE, Column("entries", "count"), Column("synced", "time"), Column("fingerprint", flexible=True)]
    if arguments.long:
        columns.append(Column("metadata", flexible=True))
    with reading(arguments) as shelf:

        def rows() -> Iterator[list[Any]]:
            for one in shelf.yield_sources(arguments.prefix):
                row = [one.source, one.entries, one.synced_at, one.fingerprint]
                if arguments.long:
                    known = None if one.metadata is None else dict(one.metadata)
                    row.append(as_json(known) if output.form == "json" else "" if known is None else cell(known))
                yield row

        output.rows(columns, rows(), empty=f"collection {shelf.collection!r} has no such sources")
    return DONE


def _add_sources(parser: ArgumentParser) -> None:
    parser.add_argument("--prefix", help="only sources that begin with this text")
    parser.add_argument("-l", "--long", action="store_true", help="with the metadata of each")


def _cat(arguments: Arguments, output: Output) -> int:
    with reading(arguments) as shelf:
        entries = shelf.mget_entries(arguments.keys, source=arguments.source)
    missing = [key for key, entry in zip(arguments.keys, entries, strict=True) if entry is None]
    found = [entry for entry in entries if entry is not None]
    for position, entry in enumerate(found):
        if arguments.raw:
            output.raw(raw(entry.value))
        elif output.form == "json":
            output.json_line(entry_json(entry))
        else:
            _show(entry, output, first=position == 0)
    for key in missing:
        where = "" if arguments.source is None else f" in source {arguments.source!r}"
        output.err.write(f"docshelf cat: collection {arguments.collection!r} has no key {key!r}{where}\n")
    return DONE if not missing else IN_PART if found else FAILED


def _show(entry: Entry, output: Output, *, first: bool) -> None:
    """A value as a person reads it: its text, then what is known of it as a table."""
    if not first:
        output.line()
    text, metadata = readable(entry.value)
    facts: list[tuple[str, str]] = [("key", entry.key)]
    if entry.source:
        facts.append(("source", entry.source))
    if entry.version is not None:
        facts.append(("version", entry.version))
    facts.append(("updated", f"{entry.updated_at:%Y-%m-%d %H:%M} UTC"))
    named = [(str(name), cell(value)) for name, value in metadata.items()]
    if text is not None:
        lines = text.split("\n") if not is_terminal(output.out) else [visible(one) for one in text.split("\n")]
        output.line("\n".join(lines).rstrip("\n"))
        output.line()
    widest = max(len(visible(name)) for name, _ in [*facts, *named])
    for name, value in named:
        output.line(f"{visible(name).ljust(widest)}  {visible(value)}")
    if named:
        output.line()
    for name, value in facts:
        output.line(f"{output.styled(name.ljust(widest), 'faint')}  {output.styled(visible(value), 'faint')}")


def _add_cat(parser: ArgumentParser) -> None:
    parser.add_argument("keys", nargs="+", metavar="KEY")
    parser.add_argument("--source", help="the entry of this source; by default the one that was written last")
    parser.add_argument("--raw", action="store_true", help="the value alone: a text, bytes, or JSON")


def _find(arguments: Arguments, output: Output) -> int:
    where = condition(arguments)
    with reading(arguments) as shelf:
        if arguments.count:
            count = shelf.count(arguments.prefix, source=arguments.source, where={} if where is None else where)
            output.facts({"count": (count, "count")}) if output.form == "json" else output.line(str(count))
            return DONE
        entries = shelf.find(
            where, prefix=arguments.prefix, source=arguments.source, limit=arguments.limit, after=arguments.after
        )
        if output.form == "json":
            for entry in entries:
                output.json_line(entry_json(entry))
            return DONE
        columns = [_KEY, _SOURCE, Column("text", flexible=True)]
        rows = ((one.key, one.source, excerpt(one)) for one in entries)
        output.rows(columns, rows, empty="nothing matches")
    return DONE


def _add_find(parser: ArgumentParser) -> None:
    add_terms(parser)
    parser.add_argument("-n", "--limit", type=int, metavar="N", help="at most N entries")
    parser.add_argument("--after", metavar="KEY", help="only keys after this one: the next page")
    parser.add_argument("--count", action="store_true", help="only how many there are")


def _stats(arguments: Arguments, output: Output) -> int:
    facts: dict[str, tuple[Any, str]] = {"collection": (arguments.collection, "text")}
    with reading(arguments) as shelf:
        if arguments.estimate:
            about = shelf.stats(exact=False)
            facts |= {"entries": (about.entries, "count"), "disk_bytes": (about.disk_bytes, "bytes")}
        else:
            stats = shelf.stats()
            facts |= {
                "entries": (stats.entries, "count"),
                "sources": (stats.sources, "count"),
                "stored_bytes": (stats.stored_bytes, "bytes"),
                "disk_bytes": (stats.disk_bytes, "bytes"),
            }
    output.facts(facts)
    return DONE


def _add_estimate(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--estimate", action="store_true", help="PostgreSQL's estimate of the entries, without reading the table"
    )


VERBS: Final = (
    Verb(
        "collections",
        "list the collections",
        _collections,
        [("docshelf collections", "every collection, with its numbers of entries and sources, and its bytes")],
        _add_estimate,
    ),
    Verb(
        "ls",
        "list keys",
        _ls,
        [
            ("docshelf ls", "every key"),
            ("docshelf ls --long --prefix docs:guide/", "the keys of a folder, with source, type and time"),
            ("docshelf ls --source docs:a.md | wc -l", "count the keys of a source"),
        ],
        _add_ls,
    ),
    Verb(
        "sources",
        "list sources: the files that entries came from",
        _sources,
        [("docshelf sources --prefix docs:", "the files of the folder that is synced under the name docs")],
        _add_sources,
    ),
    Verb(
        "cat",
        "print entries",
        _cat,
        [
            ("docshelf cat docs:intro.md", "the text of a document, and its metadata below"),
            ("docshelf cat --raw picture > picture.png", "the bytes of a value and nothing else"),
            ("docshelf cat --json docs:intro.md | jq .value.metadata", "the whole entry as JSON"),
        ],
        _add_cat,
    ),
    Verb(
        "find",
        "find entries by their metadata",
        _find,
        [
            ("docshelf find author=Ann 'year>=2020'", "documents whose metadata match"),
            ("docshelf find tags~sea --limit 10", "those that have a tag"),
            ("""docshelf find --where '{"$or": [{"author": "Ann"}, {"year": 2020}]}'""", "any condition, as JSON"),
            ("docshelf find author --count", "how many have an author"),
        ],
        _add_find,
        HELP,
    ),
    Verb(
        "stats",
        "count a collection and its bytes",
        _stats,
        [
            ("docshelf -c papers stats", "entries, sources and sizes of the collection papers"),
            ("docshelf stats --estimate", "at once, however large the collection is"),
        ],
        _add_estimate,
    ),
)
