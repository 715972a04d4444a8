"""A password appears in no repr, error, traceback or log."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from docshelf import ConfigurationError, DocShelf, DocShelfError
from docshelf.engines.url import parse_url
from tests.conftest import Location
from tests.support.face import Face, Loop
from tests.support.proxy import Proxy

POSTGRESQL_DRIVERS = ["postgresql", "postgresql+psycopg"]
SECRET = "p@:/% w#?&=+Zq7"
FORMS = {SECRET, quote(SECRET, safe=""), quote_plus(SECRET), quote(SECRET), repr(SECRET)[1:-1], "Zq7"}


def shows_secret(text: str) -> bool:
    return any(form in text for form in FORMS)


def everything_about(error: BaseException) -> str:
    """What any handler might print of an error: itself, its attributes and the whole chain."""
    shown = [*traceback.format_exception(error), repr(vars(error))]
    one: BaseException | None = error
    while one is not None:
        shown += [str(one), repr(one), repr(one.args)]
        one = one.__cause__ or one.__context__
    return "\n".join(shown)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that is logged, by anyone, from the finest level on."""
    with contextlib.ExitStack() as stack:
        for name in (None, "docshelf", "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "asyncio", "psycopg"):
            stack.enter_context(caplog.at_level(logging.DEBUG, logger=name))
        yield lambda: "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records)


@pytest.fixture
def connect(mode: str, loop: Loop) -> Iterator[Callable[..., Face]]:
    """Opens stores; all are closed after the test."""
    faces: list[Face] = []

    def open_one(*args: Any, **options: Any) -> Face:
        faces.append(Face(DocShelf(*args, **options), mode, loop))
        return faces[-1]

    yield open_one
    for face in faces:
        face.close()


def test_this_file_would_notice_a_password() -> None:
    try:
        raise ValueError("outer") from OSError(f"cannot log in with {SECRET}")
    except ValueError as exc:
        assert shows_secret(everything_about(exc))
    assert shows_secret(str(parse_url(f"postgresql://ann:{quote(SECRET, safe='')}@h/d").sync_url.password))


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize(
    "place",
    [
        "ann:{}@db.example/shelf",
        "db.example/shelf?user=ann&password={}",
        "ann@db.example/shelf?sslkey=/k&sslpassword={}",
        "ann:x@db.example/shelf?password={}&sslmode=require",
    ],
)
def test_no_repr_shows_a_password(drivername: str, place: str) -> None:
    url = f"{drivername}://{place.format(quote(SECRET, safe=''))}"
    with DocShelf(url) as shelf:
        shown = [repr(shelf), str(shelf), repr(shelf.view("other")), repr(vars(shelf))]
        assert "db.example" in shown[0]
        assert not shows_secret("\n".join(shown))
    assert not shows_secret(f"{parse_url(url)!s} {parse_url(url)!r}")


@pytest.mark.parametrize("half", ["engine", "async_engine"])
def test_no_repr_shows_the_password_of_a_given_engine(half: str, loop: Loop) -> None:
    url = URL.create("postgresql", "ann", SECRET, "db.example", 5432, "shelf", {"password": SECRET})
    if half == "engine":
        shelf = DocShelf(engine=create_engine(url.set(drivername="postgresql+psycopg2")))
        with pytest.raises(DocShelfError) as refusal:
            loop.run(shelf.aget("k"))
    else:
        shelf = DocShelf(async_engine=create_async_engine(url.set(drivername="postgresql+asyncpg")))
        with pytest.raises(DocShelfError) as refusal:
            shelf.get("k")
    assert "db.example" in repr(shelf)
    assert not shows_secret(repr(shelf))
    assert not shows_secret(everything_about(refusal.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:{}@db.example:port/shelf",
        "postgresql:ann:{}@db.example",
        "postgresql//ann:{}@db.example/shelf",
        "postgresql://ann:{}@db.example/shelf?connect_timeout=soon",
        "postgresql://db.example/shelf?password={}&connect_timeout=soon",
        "mysql://ann:{}@db.example/shelf",
    ],
)
def test_no_refusal_of_a_url_shows_its_password(url: str, log: Callable[[], str]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        DocShelf(url.format(quote(SECRET, safe="")))
    assert not shows_secret(everything_about(refusal.value))
    assert not shows_secret(log())


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize("option", ["pasword", "PASSWORD", "schema"])
def test_an_unknown_option_is_named_without_its_value(drivername: str, option: str) -> None:
    with pytest.raises(ConfigurationError, match=option) as refusal:
        DocShelf(f"{drivername}://ann@db.example/shelf?{option}={quote(SECRET, safe='')}")
    assert not shows_secret(everything_about(refusal.value))


def test_a_password_that_is_not_escaped_is_not_taken_for_a_host() -> None:
    url = f"postgresql://ann:half@{SECRET[-3:]}@db.example/shelf"  # the traceback quotes this file
    with pytest.raises(ConfigurationError, match="percent-escapes") as refusal:
        DocShelf(url)
    assert not shows_secret(everything_about(refusal.value))


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"username": "no_such_role"},
        {"database": "no_such_database"},
        {"query": {"sslmode": "require"}},
        {"query": {"sslmode": "verify-full", "sslrootcert": "/no/such/file", "sslpassword": SECRET}},
        {"query": {"sslmode": "no_such_mode"}},
        {"query": {"options": "-cno_such_setting=1"}},
        {"query": {"target_session_attrs": "standby"}},
        {"query": {"no_such_option": "1", "password": SECRET}},
        {"query": {"service": "no_such_service"}},
        {"host": "no such host"},
        {"host": "127.0.0.1", "port": 1},
    ],
    ids=str,
)
def test_no_failure_to_connect_shows_a_password(
    connect: Callable[..., Face],
    password_url: URL,
    log: Callable[[], str],
    drivername: str,
    change: dict[str, Any],
) -> None:
    # Some of these work with one of the drivers. Only what is shown matters here.
    with Proxy(password_url) as proxy:
        place = {"username": password_url.username, "host": "127.0.0.1", "port": proxy.port, "database": "postgres"}
        url = URL.create(drivername, password=SECRET, **{**place, **change})
        with pytest.raises(DocShelfError) as failure:
            connect(url.render_as_string(hide_password=False)).set("k", "v")
        shown = everything_about(failure.value)
    assert not shows_secret(shown)
    assert not shows_secret(log())


@pytest.mark.parametrize(
    ("mode", "missing"), [("sync", "psycopg2"), ("async", "asyncpg"), ("sync", "psycopg"), ("async", "psycopg")]
)
def test_no_missing_driver_shows_a_password(
    connect: Callable[..., Face], monkeypatch: pytest.MonkeyPatch, log: Callable[[], str], mode: str, missing: str
) -> None:
    scheme = "postgresql+psycopg" if missing == "psycopg" else "postgresql"
    monkeypatch.setitem(sys.modules, missing, None)
    face = connect(f"{scheme}://ann:{quote(SECRET, safe='')}@db.example/shelf")
    with pytest.raises(ConfigurationError, match=f"not installed: .*{missing}") as failure:
        face.get("k")
    assert not shows_secret(everything_about(failure.value) + log())


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_no_lost_connection_shows_a_password(
    connect: Callable[..., Face], password_url: URL, log: Callable[[], str], drivername: str
) -> None:
    password = str(password_url.password)
    with Proxy(password_url) as proxy:
        face = connect(proxy.url(drivername), retry_seconds=0)
        face.set("k", "v")
        proxy.refuse()
        proxy.cut()
        with pytest.raises(DocShelfError) as failure:
            face.get("k")
        shown = everything_about(failure.value) + log()
        face.close()
    assert password not in shown
    assert quote(password, safe="") not in shown


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_no_log_of_work_that_succeeds_shows_a_password(
    connect: Callable[..., Face], password_url: URL, log: Callable[[], str], drivername: str
) -> None:
    face = connect(password_url.set(drivername=drivername))
    face.sync({"k": "v"})
    assert face.get("k") == "v"
    shown = log()
    assert "docshelf_entries" in shown  # the log was on
    assert str(password_url.password) not in shown
    assert quote(str(password_url.password), safe="") not in shown


@pytest.mark.parametrize("drivername", POSTGRESQL_DRIVERS)
def test_no_refused_statement_shows_the_documents_of_its_parameters(
    connect: Callable[..., Face],
    new_location: Callable[[str], Location],
    new_engine: Callable[..., Engine],
    drivername: str,
) -> None:
    location = new_location("pg18")
    face = connect(location.url.replace("postgresql:", f"{drivername}:", 1))
    face.setup()
    with new_engine(location).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE docshelf_entries ADD CHECK (key <> 'k')")
    with pytest.raises(DocShelfError) as failure:
        face.set("k", f"a document with {SECRET}")
    assert SECRET not in str(failure.value)
    assert SECRET not in repr(failure.value)
