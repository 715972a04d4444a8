"""What `diagnose` asks a database: one function for each subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import text

from docshelf.sql.collections import CollectionQueries
from docshelf.sql.migrations import STEPS, schema_version
from docshelf.types import Finding

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from docshelf.sql.dialects.base import Dialect

# The versions of PostgreSQL that docshelf is tested on.
_TESTED: Final = (15, 18)
# Rows from which on it matters that statistics are missing or many rows are dead.
_MANY: Final = 10_000
_DEAD_SHARE: Final = 0.2
_FREE_SHARE: Final = 0.3
# A file that is checked page by page at once; a larger one takes seconds.
_CHECKED_BYTES: Final = 500_000_000


@dataclass(frozen=True)
class Place:
    """What is examined.

    Attributes:
        pool_size: connections that this store keeps open at most, or None where that is not known.
        pooler: the store was told that a pooler stands before the server.
    """

    dialect: Dialect
    collection: str
    pool_size: int | None = None
    pooler: bool = False

    @property
    def entries(self) -> str:
        return str(self.dialect.tables.entries.fullname)

    def oid(self, table: str = "entries") -> str:
        """The SQL of a table's oid; NULL where there is no such table."""
        name = getattr(self.dialect.tables, table).fullname
        quoted = ".".join(f'"{part}"' for part in name.split("."))
        return f"to_regclass('{quoted}')"


Check = Callable[["Connection", Place], Sequence[Finding]]


def _finding(subject: str, seen: str, problem: str = "", advice: str = "") -> Finding:
    """A finding: a problem or an advice where a text for it is given."""
    state: Literal["ok", "advice", "problem"] = "problem" if problem else "advice" if advice else "ok"
    return Finding(subject, state, seen, problem or advice)


def _connection(connection: Connection, place: Place) -> list[Finding]:
    server = place.dialect.server(connection)
    start = perf_counter()
    connection.execute(text("SELECT 1"))
    milliseconds = 1000 * (perf_counter() - start)
    advice = "the server is far away: use batches, and run close to it" if milliseconds > 20 else ""
    return [_finding("connection", f"{server}, {milliseconds:.1f} ms for a question", advice=advice)]


def _tables(connection: Connection, place: Place) -> list[Finding]:
    version = schema_version(connection, place.dialect)
    newest = max(STEPS)
    if version is None:
        return [_finding("tables", f"{place.entries} does not exist", "run `docshelf init` or setup()")]
    if version < newest:
        remedy = "run `docshelf init` or setup() as a role that owns them"
        return [_finding("tables", f"schema version {version} of {newest}", remedy)]
    problem = "upgrade docshelf" if version > newest else ""
    return [_finding("tables", f"{place.entries}, schema version {version}", problem)]


def _search(connection: Connection, place: Place) -> list[Finding]:
    dialect = place.dialect
    if not dialect.may_select(connection, dialect.tables.collections):
        remedy = f"grant this role SELECT on {dialect.tables.collections.fullname}"
        return [_finding("search", "the settings of collections cannot be read", advice=remedy)]
    settled = CollectionQueries(dialect).searchable(connection, place.collection).get(place.collection)
    if settled is None or not settled.fields:
        return [_finding("search", "no searchable fields; find() reads every entry")]
    existing = dialect.existing_indexes(connection)
    missing = [name for name in dialect.search_indexes(place.collection, settled.fields) if name not in existing]
    names = ", ".join(settled.fields)
    if missing or not settled.filled:
        return [_finding("search", f"index of {names}: incomplete", advice="run setup(searchable=...) again")]
    return [_finding("search", f"index of {names}")]


def _version(connection: Connection, place: Place) -> list[Finding]:
    number = int(connection.scalar(text("SELECT current_setting('server_version_num')")) or 0) // 10_000
    oldest, newest = _TESTED
    advice = f"docshelf is tested on PostgreSQL {oldest} to {newest}" if not oldest <= number <= newest else ""
    encoding = str(connection.scalar(text("SELECT current_setting('server_encoding')")))
    problem = "" if encoding == "UTF8" else "create the database with ENCODING 'UTF8'"
    return [_finding("version", f"PostgreSQL {number}, {encoding}", problem, advice)]


def _privileges(connection: Connection, place: Place) -> list[Finding]:
    role = str(connection.scalar(text("SELECT current_user")))
    wanted: dict[str, tuple[str, ...]]
    wanted = {"entries": ("SELECT", "INSERT", "UPDATE", "DELETE"), "sources": ("SELECT", "INSERT", "UPDATE", "DELETE")}
    wanted |= {"collections": ("SELECT",), "versions": ("SELECT",)}
    missing: list[str] = []
    for table, rights in wanted.items():
        for right in rights:
            granted = connection.scalar(text(f"SELECT has_table_privilege({place.oid(table)}, '{right}')"))
            if granted is False:
                missing.append(f"{right} on {getattr(place.dialect.tables, table).name}")
    if "SELECT on " + place.dialect.tables.entries.name in missing:
        return [_finding("privileges", f"{role}: no {', '.join(missing)}", f"run `docshelf grants reader {role}`")]
    advice = f"to write, `docshelf grants writer {role}` prints the SQL" if missing else ""
    owns = "" if missing or not place.dialect.owns_tables(connection) else ", owner of the tables"
    return [_finding("privileges", f"{role}: " + (f"no {', '.join(missing)}" if missing else f"all{owns}"), "", advice)]


def _layout(connection: Connection, place: Place) -> list[Finding]:
    partitions = connection.scalar(text(f"SELECT count(*) FROM pg_inherits WHERE inhparent = {place.oid()}"))
    if partitions or not connection.scalar(text("SELECT to_regclass('pg_dist_shard') IS NOT NULL")):
        return [_finding("layout", f"{partitions} partitions" if partitions else "one table")]
    version = connection.scalar(text("SELECT substring(citus_version() FROM '[0-9.]+')"))
    shards = connection.scalar(text(f"SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = {place.oid()}"))
    seen = f"Citus {version}, " + (f"{shards} shards" if shards else "not distributed")
    return [_finding("layout", seen, advice="" if shards else "to distribute, run `docshelf init --citus`")]


def _pooler(connection: Connection, place: Place) -> list[Finding]:
    pids = {connection.scalar(text("SELECT pg_backend_pid()")) for _ in range(3)}
    if len(pids) > 1:
        seen = "statements of one connection reach several servers"
        problem = "" if place.pooler else "a pooler in transaction mode: pass pooler=True (--pooler)"
        return [_finding("pooler", seen, problem)]
    return [_finding("pooler", "expected, by pooler=True" if place.pooler else "none seen")]


def _connections(connection: Connection, place: Place) -> list[Finding]:
    most, reserved = (
        int(connection.scalar(text(f"SELECT current_setting('{name}')")) or 0)
        for name in ("max_connections", "superuser_reserved_connections")
    )
    used = int(
        connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")) or 0
    )
    free = max(0, most - reserved - used)
    seen = f"{used} of {most - reserved} in use"
    if place.pool_size is None:
        return [_finding("connections", seen)]
    seen += f"; this store opens {place.pool_size} at most"
    advice = ""
    if place.pool_size > free:
        advice = "raise max_connections, use fewer processes, or put a pooler before the server (pooler=True)"
    return [_finding("connections", seen, advice=advice)]


def _statistics(connection: Connection, place: Place) -> list[Finding]:
    leaves = f"SELECT relid FROM pg_partition_tree({place.oid()}) WHERE isleaf"
    row = connection.execute(
        text(
            "SELECT coalesce(sum(n_live_tup), 0), coalesce(sum(n_dead_tup), 0), "
            "min(greatest(last_analyze, last_autoanalyze)), min(greatest(last_vacuum, last_autovacuum)) "
            f"FROM pg_stat_user_tables WHERE relid = {place.oid()} OR relid IN ({leaves})"
        )
    ).one()
    live, dead = int(row[0]), int(row[1])
    never = "never" if row[2] is None else f"{row[2]:%Y-%m-%d %H:%M}"
    stale = f"run ANALYZE {place.entries}" if row[2] is None and live > _MANY else ""
    bloated = f"run VACUUM {place.entries}" if dead > _MANY and dead > _DEAD_SHARE * (live + dead) else ""
    off = connection.scalar(text("SELECT current_setting('autovacuum')")) == "off"
    automatic = "turn autovacuum on: nothing removes dead rows" if off else ""
    return [
        _finding("statistics", f"{live:,} rows, analyzed {never}", advice=stale),
        _finding("dead rows", f"{dead:,}", advice=bloated or automatic),
    ]


def _file(connection: Connection, place: Place) -> list[Finding]:
    def pragma(name: str) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    pages, free, size = (int(pragma(name) or 0) for name in ("page_count", "freelist_count", "page_size"))
    mode = str(pragma("journal_mode"))
    slow = "" if mode in ("wal", "memory") else "readers and the writer wait for each other: PRAGMA journal_mode = WAL"
    seen = f"{pages * size:,} bytes, {free * size:,} of them free, journal mode {mode}"
    bloated = free > _FREE_SHARE * pages and free * size > 10_000_000
    findings = [_finding("file", seen, advice=slow or ("run VACUUM to give space back" if bloated else ""))]
    if pages * size <= _CHECKED_BYTES:
        told = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        problem = "" if told == "ok" else "restore the file from a backup"
        findings.append(_finding("integrity", told if problem else "every page is sound", problem))
    return findings


CHECKS: Final[Mapping[str, Sequence[Check]]] = {
    "postgresql": (
        _connection,
        _version,
        _tables,
        _privileges,
        _layout,
        _pooler,
        _connections,
        _statistics,
        _search,
    ),
    "sqlite": (_connection, _tables, _file, _search),
}
# These need the tables.
OF_TABLES: Final = frozenset((_privileges, _layout, _statistics, _search))
