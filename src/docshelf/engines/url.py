"""Translates the URL that a user gives into the arguments of each driver. Nothing here may show a password."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlencode

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from docshelf.errors import ConfigurationError

DEFAULT_SQLITE_FILE: Final = "docshelf.db"
_POSTGRESQL: Final = ("postgresql", "postgres")
_MEMORY: Final = (None, "", ":memory:")
# A scheme of one letter would be a Windows drive.
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+._-]+:(?!memory:)")
# Text that is hardly the name of a file and may hold a password. For a file of such a name, users can pass a Path.
_LIKE_URL: Final = re.compile(r"://|[^/\\:@]+:[^/\\@]*@|\bpassword\s*=")
# Options of libpq that asyncpg reads from a DSN. It sends all others to the server as settings.
_ASYNCPG_DSN: Final = frozenset(
    (
        "gsslib",
        "host",
        "krbsrvname",
        "passfile",
        "port",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "target_session_attrs",
    )
)
# Parts of a URL that libpq also accepts as options.
_URL_PARTS: Final = {"user": "username", "password": "password", "dbname": "database"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HOST: Final = re.compile(r"(?P<host>.*?)(:(?P<port>\d+))?")
# Options whose values may be shown. Any other may be a password with a mistyped name.
_SHOWN_OPTIONS: Final = frozenset(
    (
        "application_name",
        "client_encoding",
        "connect_timeout",
        "host",
        "options",
        "port",
        "sslmode",
        "target_session_attrs",
    )
)
_ASYNCPG_SETTINGS: Final = frozenset(("application_name", "options"))
# Options of asyncpg or of its SQLAlchemy dialect, with their types. libpq would reject them.
_ASYNCPG_ONLY: Final[dict[str, type[int] | type[float]]] = {
    "command_timeout": float,
    "max_cacheable_statement_size": int,
    "max_cached_statement_lifetime": int,
    "prepared_statement_cache_size": int,
    "statement_cache_size": int,
}


@dataclass(frozen=True, repr=False)
class Target:
    """The database of a store: its dialect, and how the sync and async drivers connect.

    `sync_url`, `async_url` and `async_options` contain passwords; `str(target)` and `repr(target)` do not.
    """

    dialect: str
    sync_url: URL
    async_url: URL | None = None
    async_options: dict[str, Any] = field(default_factory=dict)
    memory: bool = False

    def __str__(self) -> str:
        return without_secrets(self.sync_url.set(drivername=self.dialect))

    def __repr__(self) -> str:
        return f"<Target {self}>"


def without_secrets(url: URL) -> str:
    """The URL for display. The password is `***`, and so is the value of every option that may hold one."""
    if url.get_backend_name() == "sqlite":
        return f"{url.drivername}:///{url.database or ''}"  # SQLAlchemy would quote the path
    hidden = {name: "***" for name in url.query if name not in _SHOWN_OPTIONS}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def parse_url(url: str | os.PathLike[str] | URL | None) -> Target:
    """Parse the URL that a user gave.

    Args:
        url: `postgresql://user:password@host/database?option=value` with any driver suffix or none; `sqlite:///file`;
            the path of an SQLite file; `":memory:"`; or None for `docshelf.db` in the current folder.

    Raises:
        ConfigurationError: it is none of these. The text never shows the URL, which may hold a password.
    """
    if url is None:
        url = DEFAULT_SQLITE_FILE
    if not isinstance(url, URL):
        if not isinstance(url, str | os.PathLike):
            raise ConfigurationError(f"the url is a {type(url).__name__}; give a URL or the path of an SQLite file")
        path = os.fspath(url)
        if not isinstance(url, str) or not (_SCHEME.match(path) or _LIKE_URL.search(path)):
            return _sqlite(URL.create("sqlite", database=_check_path(path)))
        url = _parsed(path)
    backend, _, driver = url.drivername.partition("+")
    _check_characters(url)
    if backend in _POSTGRESQL:
        return _postgresql(url, driver)
    if backend == "sqlite":
        return _sqlite(url)
    raise ConfigurationError(f"docshelf supports PostgreSQL and SQLite, not {backend!r}")


def _parsed(text: str) -> URL:
    # SQLAlchemy's error shows the URL, so it must not be chained to ours.
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or "") or not _SCHEME.match(text) or not 0 < (url.port or 1) < 65536:
        raise ConfigurationError(
            "the url cannot be parsed; write postgresql://user:password@host:port/database with a port from 1 to 65535 "
            "and percent-escapes (urllib.parse.quote) for special characters of user and password, or the path of an "
            "SQLite file"
        )
    return url


def _check_characters(url: URL) -> None:
    # Drivers raise plain Python errors for these characters, and their texts show the password.
    parts = {"user": url.username, "password": url.password, "host": url.host, "database": url.database}
    for name, part in (*parts.items(), *((f"option {name}", value) for name, value in url.query.items())):
        text = str(part)
        if "\0" in text or _SURROGATE.search(text):
            raise ConfigurationError(f"the url's {name} contains a NUL or a lone surrogate; remove it")


def _check_path(path: str) -> str:
    if not path or "\0" in path:
        raise ConfigurationError("the url is empty or contains a NUL; give a URL or the path of an SQLite file")
    return path


def _sqlite(url: URL) -> Target:
    if url.host or url.username or url.password or url.port:
        raise ConfigurationError(
            "the url names a host or a user, but SQLite has neither; write sqlite:///file, with three slashes"
        )
    memory = url.database in _MEMORY or url.query.get("mode") == "memory"
    if not memory and url.database is not None and not url.database.startswith("file:"):
        folder = Path(url.database).expanduser().parent
        if not folder.is_dir():
            raise ConfigurationError(f"the folder {str(folder)!r} for the SQLite file does not exist; create it first")
        url = url.set(database=str(Path(url.database).expanduser()))
    return Target("sqlite", url.set(drivername="sqlite+pysqlite"), memory=memory)


def _postgresql(url: URL, driver: str) -> Target:
    url = _normalized(url)
    if driver in ("psycopg", "psycopg_async"):
        url = url.set(drivername="postgresql+psycopg", query=_libpq_query(url))
        return Target("postgresql", url, url)
    sync_url = url.set(drivername="postgresql+psycopg2", query=_libpq_query(url))
    return Target("postgresql", sync_url, url.set(drivername="postgresql+asyncpg", query={}), _asyncpg_options(url))


def _normalized(url: URL) -> URL:
    """The URL with each setting in one place. If an option is given twice, the last wins, as in libpq."""
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    parts: dict[str, Any] = {part: query.pop(name) for name, part in _URL_PARTS.items() if name in query}
    if "ssl" in query:  # SQLAlchemy's name for sslmode with asyncpg
        query.setdefault("sslmode", query.pop("ssl"))
    hosts = url.query.get("host", ())
    pairs = [_HOST.fullmatch(host) for host in ((hosts,) if isinstance(hosts, str) else hosts)]
    if any(pair and pair["port"] for pair in pairs) or len(pairs) > 1:
        # From SQLAlchemy's form, host=a:1&host=b:2, to libpq's, which all drivers know: host=a,b&port=1,2
        query["host"] = ",".join(pair["host"] if pair else "" for pair in pairs)
        query["port"] = ",".join((pair and pair["port"]) or str(url.port or 5432) for pair in pairs)
    if url.host is not None:
        url = url.set(host=unquote(url.host))  # the folder of a socket: %2Fvar%2Frun
    return url.set(query=query, **parts)


def _query(url: URL) -> dict[str, str]:
    return {name: value for name, value in url.query.items() if isinstance(value, str)}


def _libpq_query(url: URL) -> dict[str, str]:
    return {name: value for name, value in _query(url).items() if name not in _ASYNCPG_ONLY}


def _asyncpg_options(url: URL) -> dict[str, Any]:
    """Arguments of `asyncpg.connect` that are not part of the URL itself.

    Options of libpq that neither asyncpg nor the server knows are left out (keepalives, channel_binding, gssencmode,
    ...). They only concern libpq's own connection.
    """
    query = _query(url)
    options: dict[str, Any] = {}
    dsn = {name: value for name, value in query.items() if name in _ASYNCPG_DSN}
    if dsn:
        options["dsn"] = "postgresql://?" + urlencode(dsn)
    settings = {name: value for name, value in query.items() if name in _ASYNCPG_SETTINGS}
    if settings:
        options["server_settings"] = settings
    if "connect_timeout" in query:
        # In libpq, 0 or less means no limit.
        seconds = _number("connect_timeout", query["connect_timeout"], float)
        options["timeout"] = seconds if seconds > 0 else None
    for name in _ASYNCPG_ONLY.keys() & query.keys():
        options[name] = _number(name, query[name], _ASYNCPG_ONLY[name])
    return options


def _number(name: str, value: str, kind: type[float] | type[int]) -> float | int:
    try:
        return kind(value)
    except ValueError:
        raise ConfigurationError(f"the url's option {name}={value!r} must be a number") from None
