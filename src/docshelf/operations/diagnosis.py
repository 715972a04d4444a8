"""Operations that examine the database: `diagnose`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy

from docshelf.errors import ABOUT_THE_STORE, AuthenticationError, DocShelfError, UnreachableError
from docshelf.operations.context import Context
from docshelf.sql.diagnosis import CHECKS, OF_TABLES, Check, Place
from docshelf.steps import Flow, Read
from docshelf.types import Finding

if TYPE_CHECKING:
    from sqlalchemy import Connection


def installed(dialect: str) -> Finding:
    """The versions of Python, SQLAlchemy and the drivers."""
    versions = [f"Python {sys.version.partition(' ')[0]}", f"SQLAlchemy {sqlalchemy.__version__}"]
    if dialect == "postgresql":
        with suppress(ImportError):
            import psycopg2

            versions.append(f"psycopg2 {vars(psycopg2)['__version__'].partition(' ')[0]}")
        with suppress(ImportError):
            import asyncpg

            versions.append(f"asyncpg {asyncpg.__version__}")
        with suppress(ImportError):
            import psycopg

            versions.append(f"psycopg {psycopg.__version__}")
    return Finding("installed", "ok", ", ".join(versions))


def examine(context: Context, pool_size: int | None, *, pooler: bool) -> Flow[list[Finding]]:
    """Every finding about the database. It ends at the first question if the database does not answer."""
    place = Place(context.dialect, context.collection, pool_size, pooler)
    findings = [installed(context.dialect.name)]
    has_tables = True
    for check in CHECKS[context.dialect.name]:
        if check in OF_TABLES and not has_tables:
            continue
        found = yield from _checked(check, place)
        findings += found
        if any(one.subject == "tables" and one.state == "problem" for one in found):
            has_tables = False
        if any(one.subject == "connection" and one.state == "problem" for one in found):
            break
    return findings


def _checked(check: Check, place: Place) -> Flow[list[Finding]]:
    def ask(connection: Connection) -> list[Finding]:
        return list(check(connection, place))

    try:
        findings: list[Finding] = yield Read(ask, retry=False)
    except (UnreachableError, AuthenticationError) as exc:
        return [Finding("connection", "problem", str(exc), "check the URL, the server and the network")]
    except ABOUT_THE_STORE:
        raise
    except DocShelfError as exc:
        subject = check.__name__.lstrip("_")
        return [Finding(subject, "problem", str(exc), "")]
    return findings
