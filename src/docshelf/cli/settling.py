"""Verbs for whoever owns the database: init and grants."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

from docshelf.cli.arguments import Arguments, Verb
from docshelf.cli.codes import DONE, WOULD_CHANGE
from docshelf.cli.opening import examining, writing
from docshelf.cli.output import Output
from docshelf.schema import define_tables, grants

_ROLES: Final = ("reader", "writer", "owner")


def _init(arguments: Arguments, output: Output) -> int:
    if arguments.check:
        with examining(arguments) as shelf:
            current = shelf.is_set_up()
        output.say("the tables are current" if current else "the tables are missing or of an older version")
        return DONE if current else WOULD_CHANGE
    fields = None
    if arguments.searchable is not None:
        fields = [name.strip() for name in arguments.searchable.split(",") if name.strip()]
    with writing(arguments) as shelf:
        shelf.setup(
            partitions=arguments.partitions,
            distribute="citus" if arguments.citus else None,
            shards=arguments.shards,
            searchable=fields,
        )
    output.say("the tables are current")
    return DONE


def _add_init(parser: ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="create nothing; exit code 5 if there is something to do")
    parser.add_argument("--partitions", type=int, metavar="N", help="PostgreSQL: so many hash partitions by key")
    parser.add_argument("--citus", action="store_true", help="let Citus distribute the entries and sources")
    parser.add_argument("--shards", type=int, metavar="N", help="with --citus: so many shards for each of the two")
    parser.add_argument(
        "--searchable", metavar="NAMES", help="the fields of this collection that find has an index for: author,year"
    )


def _grants(arguments: Arguments, output: Output) -> int:
    tables = define_tables(schema=arguments.schema, table_prefix=arguments.table_prefix)
    for statement in grants(tables, arguments.kind, arguments.role):
        output.line(f"{statement};")
    return DONE


def _add_grants(parser: ArgumentParser) -> None:
    parser.add_argument("kind", choices=_ROLES, metavar="KIND", help="reader, writer or owner")
    parser.add_argument("role", metavar="ROLE", help="the name of a PostgreSQL role that exists")


VERBS: Final = (
    Verb(
        "init",
        "create or upgrade the tables",
        _init,
        [
            ("docshelf init", "an SQLite file docshelf.db in this folder"),
            ("docshelf --url postgresql://user@host/db init", "tables in PostgreSQL"),
            ("docshelf init --check", "exit code 0 if there is nothing to do"),
            ("docshelf -c papers init --searchable author,year", "an index for the fields of a collection"),
        ],
        _add_init,
        "Without it the first verb that writes does the same. Safe to repeat.",
    ),
    Verb(
        "grants",
        "print the SQL that lets a role read, write or own the tables",
        _grants,
        [
            ("docshelf grants reader app | psql", "let the role app read"),
            ("docshelf --schema rag grants writer app", "let it write tables in the schema rag"),
        ],
        _add_grants,
    ),
)
