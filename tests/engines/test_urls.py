"""Which URLs a user may give, what each driver gets from them, and that they connect."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL, make_url

from docshelf import AuthenticationError, ConfigurationError, DatabaseError, DocShelf, UnreachableError
from docshelf.engines.url import Target, parse_url
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.proxy import Proxy

POSTGRESQL_DRIVERS = ["postgresql", "postgresql+psycopg"]
SECRET = "hunter2"


def asyncpg_dsn(target: Target) -> dict[str, str]:
    """The options that reach asyncpg by way of a DSN."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(target.async_options.get("dsn", "")).query).items()}


@pytest.fixture
def connect(mode: str, loop: Loop) -> Iterator[Callable[[str | URL], Face]]:
    """Opens a store on a URL; all are closed after the test."""
    faces: list[Face] = []

    def open_one(url: str | URL) -> Face:
        faces.append(Face(DocShelf(url), mode, loop))
        return faces[-1]

    yield open_one
    for face in faces:
        face.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine without a listener."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


# PostgreSQL, understood


@pytest.mark.parametrize(
    "scheme",
    [
        "postgresql",
        "postgres",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
        "postgres+asyncpg",
        "postgresql+pg8000",
        "postgresql+psycopg2cffi",
    ],
)
def test_any_postgresql_driver_means_psycopg2_for_sync_and_asyncpg_for_async(scheme: str) -> None:
    target = parse_url(f"{scheme}://ann:{SECRET}@db.example:6432/shelf")
    assert target.dialect == "postgresql"
    assert target.sync_url.drivername == "postgresql+psycopg2"
    assert target.async_url is not None
    assert target.async_url.drivername == "postgresql+asyncpg"
    for url in (target.sync_url, target.async_url):
        assert (url.username, url.password, url.host, url.port, url.database) == (
            "ann",
            SECRET,
            "db.example",
            6432,
            "shelf",
        )


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgres+psycopg", "postgresql+psycopg_async"])
def test_psycopg_3_serves_both_when_the_url_names_it(scheme: str) -> None:
    target = parse_url(f"{scheme}://ann@db.example/shelf")
    assert target.async_url is not None
    assert target.sync_url.drivername == target.async_url.drivername == "postgresql+psycopg"
    assert target.async_options == {}


# What a user or a password may hold.
_TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@pytest.mark.parametrize("part", ["\0", "pw\ud800"])
@pytest.mark.parametrize("place", ["username", "password", "host", "database", "query"])
def test_characters_that_no_driver_takes_are_refused_and_not_shown(part: str, place: str) -> None:
    parts: dict[str, Any] = {"username": "u", "password": "p", "host": "h", "database": "d", "query": {}}
    parts[place] = {"application_name": part} if place == "query" else part
    with pytest.raises(ConfigurationError, match=r"contains a NUL or a lone surrogate; remove it$") as caught:
        DocShelf(URL.create("postgresql", **parts))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("given_url", ["sqlite://h/db", "sqlite://u:pw@h/db", "sqlite://u:pw@/db"])
def test_sqlite_has_no_host_and_no_user(given_url: str) -> None:
    with pytest.raises(ConfigurationError, match="with three slashes") as caught:
        DocShelf(given_url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"engine": 5}, {"async_engine": "x"}, {"content_types": 5}, {"content_types": ["x"]}],
    ids=["engine", "async_engine", "content_types", "a content type"],
)
def test_options_of_a_wrong_type_are_named(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(ConfigurationError, match=f"^{name} ?(is|=|holds)"):
        DocShelf(**options)


def test_a_url_object_is_taken_as_it_is() -> None:
    target = parse_url(URL.create("postgresql", "ann", "p@:/% w#?&=+", "db.example", 5432, "shelf"))
    assert target.sync_url.password == "p@:/% w#?&=+"


@given(name=st.text(_TEXT, min_size=1), password=st.text(_TEXT, min_size=1))
def test_any_user_and_password_survive_percent_escapes(name: str, password: str) -> None:
    target = parse_url(f"postgresql://{quote(name, safe='')}:{quote(password, safe='')}@db.example/shelf")
    assert target.async_url is not None
    for url in (target.sync_url, target.async_url):
        assert (url.username, url.password, url.host) == (name, password, "db.example")


def test_options_reach_both_drivers_in_the_form_that_each_takes() -> None:
    target = parse_url(
        "postgresql://ann@db.example/shelf?sslmode=require&sslrootcert=/etc/ca.pem&application_name=docs%20app"
        "&options=-csearch_path%3Drag&connect_timeout=7&channel_binding=require&keepalives_idle=30"
        "&target_session_attrs=read-write&gssencmode=disable"
    )
    assert dict(target.sync_url.query) == {
        "sslmode": "require",
        "sslrootcert": "/etc/ca.pem",
        "application_name": "docs app",
        "options": "-csearch_path=rag",
        "connect_timeout": "7",
        "channel_binding": "require",
        "keepalives_idle": "30",
        "target_session_attrs": "read-write",
        "gssencmode": "disable",
    }
    assert target.async_url is not None
    assert dict(target.async_url.query) == {}
    assert asyncpg_dsn(target) == {
        "sslmode": "require",
        "sslrootcert": "/etc/ca.pem",
        "target_session_attrs": "read-write",
    }
    assert target.async_options["server_settings"] == {"application_name": "docs app", "options": "-csearch_path=rag"}
    assert target.async_options["timeout"] == 7
    assert target.async_options.keys() == {"dsn", "server_settings", "timeout"}


@pytest.mark.parametrize("scheme", POSTGRESQL_DRIVERS)
def test_the_name_that_asyncpg_has_for_sslmode_reaches_libpq_too(scheme: str) -> None:
    target = parse_url(f"{scheme}://ann@db.example/shelf?ssl=verify-full")
    assert dict(target.sync_url.query) == {"sslmode": "verify-full"}
    if scheme == "postgresql":
        assert asyncpg_dsn(target) == {"sslmode": "verify-full"}


def test_options_of_asyncpg_alone_are_numbers_and_do_not_reach_libpq() -> None:
    target = parse_url(
        "postgresql+asyncpg://ann@db.example/shelf?statement_cache_size=7&prepared_statement_cache_size=10"
        "&command_timeout=1.5"
    )
    assert dict(target.sync_url.query) == {}
    assert target.async_options == {
        "statement_cache_size": 7,
        "prepared_statement_cache_size": 10,
        "command_timeout": 1.5,
    }


def test_asyncpg_without_a_cache_of_statements_is_behind_a_pooler() -> None:
    # It prepares the unnamed statement and executes it in two messages. Reads are transactions then.
    base = "postgresql://ann@db.example/shelf"
    assert parse_url(f"{base}?statement_cache_size=0") == parse_url(base, pooler=True)
    assert parse_url(base, {"asyncpg": {"statement_cache_size": 0}}) == parse_url(base, pooler=True)


def test_of_an_option_given_twice_the_last_counts() -> None:
    target = parse_url("postgresql://ann@db.example/shelf?sslmode=disable&sslmode=require")
    assert dict(target.sync_url.query) == {"sslmode": "require"}
    assert asyncpg_dsn(target) == {"sslmode": "require"}


# Options: one rule for all drivers

UNKNOWN = {
    "schema=tenant": "'schema' is unknown; pass schema= as an argument",
    "connection_limit=5": "'connection_limit' is unknown; pass pool_size=",
    "statement_timeout=5": "options=-cstatement_timeout%3D30s",
    "sslmod=require": "'sslmod' is unknown; do you mean sslmode",
    "aplication_name=x": "do you mean application_name",
    "replication=database": "'replication' is unknown; remove it",
    "ssl=true": "sslmode=verify-full",
    "sslmode=on": "sslmode must be one of disable, allow",
    "target_session_attrs=master": "target_session_attrs must be one of any",
    "pgbouncer=yes": "pgbouncer must be true or false",
    "connect_timeout=soon": "connect_timeout='soon' must be a number",
}


@pytest.mark.parametrize("scheme", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize(("query", "message"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_option_that_a_driver_would_ignore_is_refused_before_any_connection(
    scheme: str, query: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as refusal:
        DocShelf(f"{scheme}://ann:{SECRET}@db.example/shelf?{query}")
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("query", ["require_auth=scram-sha-256", "requirepeer=postgres", "gssencmode=require"])
def test_what_asyncpg_cannot_obey_needs_psycopg_3(query: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot obey .*; use postgresql\+psycopg://"):
        DocShelf(f"postgresql://ann@db.example/shelf?{query}")
    target = parse_url(f"postgresql+psycopg://ann@db.example/shelf?{query}")
    assert dict(target.sync_url.query) == dict([query.split("=")])


def test_every_option_of_libpq_has_a_rule() -> None:
    from psycopg import pq

    from docshelf.engines import url

    known = url._LIBPQ | url._URL_PARTS.keys()
    assert {option.keyword.decode() for option in pq.Conninfo.get_defaults()} - known == {"replication"}


@pytest.mark.parametrize("scheme", POSTGRESQL_DRIVERS)
def test_pgbouncer_true_means_pooler(scheme: str) -> None:
    base = f"{scheme}://ann@db.example/shelf"
    target = parse_url(f"{base}?pgbouncer=true")
    assert target == parse_url(base, pooler=True)
    assert target.pooler
    assert parse_url(f"{base}?pgbouncer=false") == parse_url(base)


def test_prepare_threshold_belongs_to_psycopg_3() -> None:
    base = "://ann@db.example/shelf?prepare_threshold="
    for text_, number in (("0", 0), ("7", 7), ("None", None)):
        target = parse_url(f"postgresql+psycopg{base}{text_}")
        assert target.sync_options == target.async_options == {"prepare_threshold": number}
        assert dict(target.sync_url.query) == {}
    for url, message in (
        (f"postgresql{base}0", "statement_cache_size=0"),
        (f"postgresql+psycopg{base}-1", "0 or more"),
        (f"postgresql+psycopg{base}x", "must be a number"),
        (f"postgresql+psycopg{base}0&pgbouncer=true", "both pooler=True and prepare_threshold"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            DocShelf(url)


@pytest.mark.parametrize("scheme", POSTGRESQL_DRIVERS)
def test_several_hosts_in_the_form_of_libpq(scheme: str) -> None:
    target = parse_url(f"{scheme}://ann:{SECRET}@a.example:5433,b.example/shelf?sslmode=require")
    assert dict(target.sync_url.query) == {
        "host": "a.example,b.example",
        "port": "5433,5432",
        "sslmode": "require",
    }
    assert (target.sync_url.username, target.sync_url.password, target.sync_url.database) == ("ann", SECRET, "shelf")
    if scheme == "postgresql":
        assert asyncpg_dsn(target) == dict(target.sync_url.query)


def test_a_line_break_around_a_url_is_ignored_and_around_a_path_refused() -> None:
    assert parse_url("postgresql://ann@db.example/shelf\n").sync_url.database == "shelf"
    assert parse_url(" postgresql://ann@db.example/shelf?sslmode=require\r\n").sync_url.query["sslmode"] == "require"
    with pytest.raises(ConfigurationError, match="line break"):
        DocShelf("shelf.db\n")


def test_connect_args_reach_the_driver_that_they_are_for() -> None:
    base = "://ann@db.example/shelf"
    target = parse_url(f"postgresql{base}", {"sslmode": "require", "connect_timeout": 7})
    assert target == parse_url(f"postgresql{base}?sslmode=require&connect_timeout=7")
    target = parse_url(f"postgresql{base}", {"psycopg2": {"cursor_factory": 1}, "asyncpg": {"ssl": 2}})
    assert (target.sync_options, target.async_options) == ({"cursor_factory": 1}, {"ssl": 2})
    target = parse_url(f"postgresql+psycopg{base}", {"prepare_threshold": 3, "sslmode": "require"})
    assert (target.sync_options, target.sync_url.query["sslmode"]) == ({"prepare_threshold": 3}, "require")
    assert parse_url("shelf.db", {"timeout": 1}).sync_options == {"timeout": 1}


@pytest.mark.parametrize(
    ("connect_args", "message"),
    [
        ({"ssl": object()}, "psycopg2 and asyncpg take different arguments"),
        ({"asyncpg": 5}, r"connect_args\['asyncpg'\] is a int; give a dict"),
        (["x"], "connect_args is a list; give a dict"),
        ({"sslmode": "on"}, "sslmode must be one of"),
    ],
)
def test_connect_args_that_one_driver_would_not_know_are_refused(connect_args: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DocShelf("postgresql://ann@db.example/shelf", connect_args=connect_args)


@pytest.mark.parametrize("query", ["wal=1", "timeot=3", "mod=ro"])
def test_an_unknown_option_of_an_sqlite_path_is_refused(query: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown for the path of an SQLite file; "):
        DocShelf(f"sqlite:///shelf.db?{query}")


@pytest.mark.parametrize("rest", [":memory:?cache=shared", "?immutable=1", "shelf.db?mode=memory"])
def test_an_option_of_sqlites_uri_for_a_database_in_memory_needs_that_uri(rest: str) -> None:
    with pytest.raises(ConfigurationError, match="needs SQLite's own URI for a database in memory; write sqlite:///"):
        DocShelf(f"sqlite:///{rest}")


# SQLite, understood


@pytest.mark.parametrize("query", ["mode=ro", "immutable=1", "mode=rw&timeout=3"])
def test_an_option_of_sqlites_uri_makes_a_uri_of_the_path(query: str, tmp_path: Path) -> None:
    file = tmp_path / "a b#1.db"
    target = parse_url(f"sqlite:///{file}?{query}")
    assert (target.sync_url.database, target.memory) == (file.as_uri(), False)
    assert target.sync_url.query == {**dict(part.split("=") for part in query.split("&")), "uri": "true"}
    with pytest.raises(ConfigurationError, match=r"folder .* does not exist; create it first"):
        parse_url(f"sqlite:///{tmp_path / 'absent' / 'x.db'}?{query}")


@pytest.mark.parametrize(
    ("given_url", "database"),
    [
        ("shelf.db", "shelf.db"),
        ("./shelf.db", "./shelf.db"),
        ("shelf", "shelf"),
        ("a b?c#d%41&e=+.db", "a b?c#d%41&e=+.db"),
        ("sqlite:///shelf.db", "shelf.db"),
        ("sqlite+pysqlite:///shelf.db", "shelf.db"),
        ("sqlite+aiosqlite:///shelf.db", "shelf.db"),
        (Path("shelf.db"), "shelf.db"),
        (None, "docshelf.db"),
    ],
)
def test_a_path_or_an_sqlite_url_names_a_file(given_url: str | Path | None, database: str) -> None:
    target = parse_url(given_url)
    assert (target.dialect, target.memory, target.async_url) == ("sqlite", False, None)
    assert target.sync_url.drivername == "sqlite+pysqlite"
    assert target.sync_url.database is not None
    assert Path(target.sync_url.database) == Path(database)


@pytest.mark.parametrize(
    "given_url", [":memory:", "sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:"]
)
def test_memory_has_several_names(given_url: str) -> None:
    target = parse_url(given_url)
    assert (target.dialect, target.memory) == ("sqlite", True)


@pytest.mark.skipif(os.name == "nt", reason="there the drive has to exist")
@pytest.mark.parametrize("given_url", [r"C:\shelf.db", "c:shelf.db"])
def test_a_windows_drive_is_no_scheme(given_url: str) -> None:
    target = parse_url(given_url)
    assert (target.dialect, target.sync_url.database) == ("sqlite", given_url)


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert parse_url("~/shelf.db").sync_url.database == str(tmp_path / "shelf.db")


@pytest.mark.parametrize("as_path", [True, False])
def test_the_name_of_an_sqlite_file_is_literal(tmp_path: Path, as_path: bool) -> None:
    file = tmp_path / "a b?c#d%41&e=+é.db"
    with DocShelf(file if as_path else str(file)) as shelf:
        shelf.set("k", "v")
    assert file.exists()
    assert {path.name for path in tmp_path.iterdir()} == {file.name}


def test_an_sqlite_file_can_be_opened_for_reading_only(tmp_path: Path) -> None:
    file = tmp_path / "shelf.db"
    with DocShelf(file) as shelf:
        shelf.set("k", "v")
    with DocShelf(f"sqlite:///file:{file}?mode=ro&uri=true") as shelf:
        assert shelf.get("k") == "v"
        with pytest.raises(DatabaseError, match="readonly"):
            shelf.set("k", "w")


# Malformed


@pytest.mark.parametrize(
    "given_url",
    [
        "",
        "a\0b",
        f"postgresql:ann:{SECRET}",
        f"postgresql://ann:{SECRET}@db.example:port/shelf",
        f"postgresql://ann:{SECRET}@db.example:99999999999x/shelf",
        f"postgresql://ann:{SECRET}@db.example/shelf?connect_timeout=soon",
        f"mysql://ann:{SECRET}@db.example/shelf",
        f"http://ann:{SECRET}@db.example/shelf",
        f"postgresql//ann:{SECRET}@db.example/shelf",
        f"postgresql://ann:p@{SECRET}@db.example/shelf",
        "sqlite:////no/such/folder/shelf.db",
        "/no/such/folder/shelf.db",
        Path("/no/such/folder/shelf.db"),
        "C:/no/such/folder/shelf.db",
        42,
        b"postgresql://db.example/shelf",
        ["postgresql://db.example/shelf"],
    ],
    ids=str,
)
def test_an_invalid_url_is_rejected_at_once_and_not_shown(given_url: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        DocShelf(given_url)
    assert isinstance(refusal.value, ValueError)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("dialect", ["mysql", "oracle+oracledb", "mssql+pyodbc"])
def test_the_error_names_an_unsupported_database(dialect: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PostgreSQL and SQLite, not '{dialect.partition('+')[0]}'"):
        DocShelf(f"{dialect}://ann:{SECRET}@db.example/shelf")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_missing_psycopg_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], Face], mode: str
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    face = connect(f"postgresql+psycopg://ann:{SECRET}@db.example/shelf")
    with pytest.raises(ConfigurationError, match=r"docshelf\[psycopg\]"):
        face.get("k")


# Connecting


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize("query", ["", "sslmode=prefer", "sslmode=disable", "ssl=prefer", "channel_binding=prefer"])
def test_a_password_of_special_characters_logs_in(
    connect: Callable[[URL], Face], password_url: URL, drivername: str, query: str
) -> None:
    face = connect(password_url.set(drivername=drivername).update_query_string(query))
    face.set("k", "v")
    assert face.get("k") == "v"


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_a_percent_escaped_password_logs_in_over_tcp(
    connect: Callable[[str], Face], password_url: URL, drivername: str
) -> None:
    with Proxy(password_url) as proxy:
        face = connect(proxy.url(drivername) + "&sslmode=prefer")
        face.set("k", "v")
        assert face.get("k") == "v"
        face.close()


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_password_is_an_authentication_error_and_is_not_retried(
    connect: Callable[[str], Face], password_url: URL, drivername: str, password: str | None
) -> None:
    # pgpass and the environment are no help here: the role is of this test alone.
    with Proxy(password_url._replace(password=password)) as proxy:
        face = connect(proxy.url(drivername))
        with pytest.raises(AuthenticationError, match="user and password"):
            face.get("k")
        face.close()
        assert proxy.attempts <= 2  # asyncpg may try a second time without encryption


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_options_of_the_url_are_those_of_the_session(
    connect: Callable[[URL], Face], new_location: Any, new_engine: Callable[..., Engine], drivername: str
) -> None:
    location = new_location("pg18")
    name = f"a reader/{location.schema}"
    url = make_url(location.url).set(drivername=drivername).update_query_dict({"application_name": name})
    face = connect(url)
    face.set("k", "v")
    with new_engine(location).connect() as connection:
        names = connection.scalars(text("SELECT application_name FROM pg_stat_activity")).all()
        assert name in names
        # The search path was given by `options`: the tables are in that schema.
        assert connection.scalar(text(f"SELECT count(*) FROM {location.schema}.docshelf_entries")) == 1


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize(
    "query", ["connect_timeout=0", "connect_timeout=20", "keepalives_idle=30", "gssencmode=disable"]
)
def test_options_about_the_connection_alone_let_it_work(
    connect: Callable[[str], Face], proxy: Proxy, drivername: str, query: str
) -> None:
    face = connect(f"{proxy.url(drivername)}&{query}")
    assert face.get("k") is None
    face.close()


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize(
    "query",
    ["host=127.0.0.1:{closed}&host=127.0.0.1:{open}", "host=127.0.0.1:{open}&host=127.0.0.1:{closed}"],
)
def test_of_several_hosts_the_one_that_answers_is_used(
    connect: Callable[[str], Face], proxy: Proxy, closed_port: int, drivername: str, query: str
) -> None:
    hosts = query.format(open=proxy.port, closed=closed_port)
    face = connect(f"{drivername}://postgres@/{proxy.database}?{hosts}&options={quote(_options(proxy))}")
    assert face.get("k") is None
    face.close()


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_user_and_password_may_be_options(connect: Callable[[str], Face], password_url: URL, drivername: str) -> None:
    query = {"user": str(password_url.username), "password": str(password_url.password)}
    url = password_url._replace(drivername=drivername, username=None, password=None).update_query_dict(query)
    face = connect(url.render_as_string(hide_password=False))
    face.set("k", "v")
    assert face.get("k") == "v"


@pytest.mark.no_citus("the URL of its coordinator names no socket")
@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_the_host_may_be_a_socket_folder(
    connect: Callable[[str], Face], new_location: Callable[[str], Location], drivername: str
) -> None:
    url = make_url(new_location("pg18").url)
    folder, options = url.query["host"], url.query["options"]
    assert isinstance(folder, str)
    assert isinstance(options, str)
    face = connect(f"{drivername}://postgres@{quote(folder, safe='')}/postgres?options={quote(options)}")
    assert face.get("k") is None


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_a_port_without_a_listener_is_unreachable(
    connect: Callable[[str], Face], closed_port: int, drivername: str
) -> None:
    with pytest.raises(UnreachableError, match="check host, port and network"):
        connect(f"{drivername}://ann:{SECRET}@127.0.0.1:{closed_port}/shelf").get("k")


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_a_socket_that_is_not_there_is_unreachable(
    connect: Callable[[str], Face], tmp_path: Path, drivername: str
) -> None:
    with pytest.raises(UnreachableError):
        connect(f"{drivername}://ann@/shelf?host={quote(str(tmp_path))}").get("k")


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
        ({"options": "-cno_such_setting=1"}, "no_such_setting"),
    ],
    ids=["database", "setting"],
)
def test_a_server_that_answers_is_not_called_unreachable(
    connect: Callable[[str], Face], proxy: Proxy, drivername: str, change: dict[str, str], message: str
) -> None:
    url = make_url(proxy.url(drivername))
    url = url.set(database=change["database"]) if "database" in change else url.update_query_dict(change)
    face = connect(url.render_as_string(hide_password=False))
    with pytest.raises(DatabaseError, match=message) as refusal:
        face.get("k")
    face.close()
    assert not isinstance(refusal.value, UnreachableError)
    assert proxy.attempts <= 2  # after an unknown setting, libpq tries once more without the application's name


def _options(proxy: Proxy) -> str:
    options = make_url(proxy.url()).query["options"]
    assert isinstance(options, str)
    return options
