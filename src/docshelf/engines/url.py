"""Translates the URL that a user gives into the arguments of each driver. Nothing here may show a password."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
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
# Options of libpq that asyncpg reads from a DSN.
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
_ASYNCPG_SETTINGS: Final = frozenset(("application_name", "options"))
# Options that tune libpq's own connection. asyncpg works without them.
_LIBPQ_TUNING: Final = frozenset(
    (
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "sslcertmode",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    )
)
# Options of libpq that asyncpg cannot obey. Leaving one out would connect to another server, or less safely.
_LIBPQ_ONLY: Final = frozenset(
    (
        "hostaddr",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_issuer",
        "oauth_scope",
        "require_auth",
        "requirepeer",
        "scram_client_key",
        "scram_server_key",
        "sslcrldir",
        "sslkeylogfile",
    )
)
_LIBPQ: Final = _ASYNCPG_DSN | _ASYNCPG_SETTINGS | _LIBPQ_TUNING | _LIBPQ_ONLY
# Options of asyncpg or of its SQLAlchemy dialect, with their types. They do not concern other drivers.
_ASYNCPG_ONLY: Final[dict[str, type[int] | type[float]]] = {
    "command_timeout": float,
    "max_cacheable_statement_size": int,
    "max_cached_statement_lifetime": int,
    "prepared_statement_cache_size": int,
    "statement_cache_size": int,
}
# The one option of psycopg 3 itself that URLs carry.
_PREPARE_THRESHOLD: Final = "prepare_threshold"
# Options with few values.
_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_POOLER_OPTION: Final = "pgbouncer"
# Options of other libraries, and where docshelf has the same.
_ELSEWHERE: Final = {
    "connection_limit": "pass pool_size= instead",
    "currentSchema": "pass schema= instead",
    "max_overflow": "pass max_overflow= as an argument",
    "pool_size": "pass pool_size= as an argument",
    "pool_timeout": "pass pool_timeout= as an argument",
    "pooler": "pass pooler= as an argument",
    "schema": "pass schema= as an argument",
    "search_path": "pass schema=, or write options=-csearch_path%3Dname",
    "statement_timeout": "write options=-cstatement_timeout%3D30s",
    _PREPARE_THRESHOLD: "it belongs to postgresql+psycopg://; with asyncpg write statement_cache_size=0",
}
# Arguments of sqlite3 that SQLAlchemy reads from a URL, and parameters of SQLite's own URIs of files:
# https://sqlite.org/uri.html
_SQLITE_ARGUMENTS: Final = frozenset(
    ("cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri")
)
_SQLITE_URI: Final = frozenset(("cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs"))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HOST: Final = re.compile(r"(?P<host>.*?)(:(?P<port>\d+))?")
# libpq's form of several hosts: user:password@a:1,b:2
_HOSTS: Final = re.compile(r"(?P<scheme>[^:/]+://)(?P<user>[^/?]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>.*)", re.DOTALL)
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


@dataclass(frozen=True, repr=False)
class Target:
    """The database of a store: its dialect, and how the sync and async drivers connect.

    URLs and options contain passwords; `str(target)` and `repr(target)` do not.

    Attributes:
        sync_options, async_options: arguments of the driver's `connect` beside the URL.
        memory: an SQLite database in memory.
        pooler: the server is behind a pooler in transaction mode.
    """

    dialect: str
    sync_url: URL
    async_url: URL | None = None
    async_options: dict[str, Any] = field(default_factory=dict)
    memory: bool = False
    sync_options: dict[str, Any] = field(default_factory=dict)
    pooler: bool = False

    def in_any_folder(self) -> Target:
        """The same database for a process whose current folder is another: the path of an SQLite file is absolute."""
        file = self.sync_url.database
        if self.dialect != "sqlite" or self.memory or file is None or file.startswith("file:"):
            return self
        return replace(self, sync_url=self.sync_url.set(database=str(Path(file).absolute())))

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


def parse_url(
    url: str | os.PathLike[str] | URL | None, connect_args: Mapping[str, Any] | None = None, *, pooler: bool = False
) -> Target:
    """Parse the URL that a user gave.

    Args:
        url: `postgresql://user:password@host/database?option=value` with any driver suffix or none; `sqlite:///file`;
            the path of an SQLite file; `":memory:"`; or None for `docshelf.db` in the current folder.
        connect_args: further arguments of the driver's `connect`, as `DocShelf` takes them.
        pooler: as `DocShelf` takes it. The URL's option `pgbouncer=true` means the same.

    Raises:
        ConfigurationError: it is none of these, or an option is unknown or has a wrong value. The text never shows the
            URL, which may hold a password.
    """
    if connect_args is not None and not isinstance(connect_args, Mapping):
        raise ConfigurationError(f"connect_args is a {type(connect_args).__name__}; give a dict")
    arguments = dict(connect_args or {})
    if url is None:
        url = DEFAULT_SQLITE_FILE
    if not isinstance(url, URL):
        if not isinstance(url, str | os.PathLike):
            raise ConfigurationError(f"the url is a {type(url).__name__}; give a URL or the path of an SQLite file")
        path = os.fspath(url)
        if not isinstance(url, str) or not (_SCHEME.match(path.lstrip()) or _LIKE_URL.search(path)):
            if isinstance(url, str) and path != path.strip("\r\n"):
                raise ConfigurationError("the url ends or begins with a line break; remove it, for example by .strip()")
            return _sqlite(URL.create("sqlite", database=_check_path(path)), arguments)
        url = _parsed(path.strip())  # a secret that was read from a file often ends with a line break
    backend, _, driver = url.drivername.partition("+")
    _check_characters(url)
    if backend in _POSTGRESQL:
        return _postgresql(url, driver, arguments, pooler=pooler)
    if backend == "sqlite":
        return _sqlite(url, arguments)
    raise ConfigurationError(f"docshelf supports PostgreSQL and SQLite, not {backend!r}")


def _parsed(text: str) -> URL:
    # SQLAlchemy's error shows the URL, so it must not be chained to ours.
    several = _HOSTS.fullmatch(text)
    try:
        url = make_url(text if several is None else f"{several['scheme']}{several['user'] or ''}{several['rest']}")
        if several is not None:
            url = url.update_query_dict({"host": several["hosts"].split(",")})
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


def _sqlite(url: URL, arguments: dict[str, Any]) -> Target:
    if url.host or url.username or url.password or url.port:
        raise ConfigurationError(
            "the url names a host or a user, but SQLite has neither; write sqlite:///file, with three slashes"
        )
    is_uri = (url.database or "").startswith("file:")
    memory = url.database in _MEMORY or url.query.get("mode") == "memory"
    known = _SQLITE_ARGUMENTS | (_SQLITE_URI if is_uri or not memory else set())
    for name in url.query.keys() - known:
        if name in _SQLITE_URI:
            raise ConfigurationError(
                f"the url's option {name!r} needs SQLite's own URI for a database in memory; write "
                "sqlite:///file:NAME?mode=memory&cache=shared&uri=true"
            )
        raise ConfigurationError(
            f"the url's option {name!r} is unknown for the path of an SQLite file{_suggestion(name, known)}"
        )
    if not memory and url.database is not None and not is_uri:
        file = Path(url.database).expanduser()
        if not file.parent.is_dir():
            folder = str(file.parent)
            raise ConfigurationError(f"the folder {folder!r} for the SQLite file does not exist; create it first")
        if _SQLITE_URI & url.query.keys():
            # SQLite takes these options in its own URI only: beside a path it would ignore mode=ro, and write.
            url = url.set(database=file.absolute().as_uri()).update_query_dict({"uri": "true"})
        else:
            url = url.set(database=str(file))
    return Target("sqlite", url.set(drivername="sqlite+pysqlite"), memory=memory, sync_options=arguments)


def _postgresql(url: URL, driver: str, arguments: dict[str, Any], *, pooler: bool) -> Target:
    is_psycopg = driver in ("psycopg", "psycopg_async")
    drivers = ("psycopg",) if is_psycopg else ("psycopg2", "asyncpg")
    by_driver = {name: _arguments_of(name, arguments) for name in drivers if name in arguments}
    flat = {name: value for name, value in arguments.items() if name not in by_driver}
    url = _normalized(url.update_query_dict({n: str(flat.pop(n)) for n in [*flat] if n in _LIBPQ or n in _URL_PARTS}))
    query = _query(url)
    if query.pop(_POOLER_OPTION, "false") == "true":
        pooler = True
    if is_psycopg:
        own = flat | by_driver.get("psycopg", {})
        if _PREPARE_THRESHOLD in query:
            own[_PREPARE_THRESHOLD] = _threshold(query.pop(_PREPARE_THRESHOLD))
        if pooler:
            if own.get(_PREPARE_THRESHOLD) is not None:
                raise ConfigurationError("both pooler=True and prepare_threshold were given; leave out one of them")
            own[_PREPARE_THRESHOLD] = None
        url = url.set(drivername="postgresql+psycopg", query=_libpq_query(query))
        return Target("postgresql", url, url, own, sync_options=own, pooler=pooler)
    if flat:
        raise ConfigurationError(
            f"connect_args names {sorted(flat)}, but psycopg2 and asyncpg take different arguments; give options of "
            "libpq, or one dict for each: connect_args={'psycopg2': {...}, 'asyncpg': {...}}"
        )
    sync_url = url.set(drivername="postgresql+psycopg2", query=_libpq_query(query))
    options = _asyncpg_options(query)
    if {**options, **by_driver.get("asyncpg", {})}.get("statement_cache_size") == 0:
        # Without names asyncpg prepares and executes in two messages, which a pooler may send to two sessions.
        pooler = True
    if pooler:
        # No named statements: one prepared in this transaction may not exist on the server of the next.
        options = {
            **options,
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": _unnamed,
        }
    options |= by_driver.get("asyncpg", {})
    async_url = url.set(drivername="postgresql+asyncpg", query={})
    return Target("postgresql", sync_url, async_url, options, sync_options=by_driver.get("psycopg2", {}), pooler=pooler)


def _arguments_of(driver: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(arguments[driver], Mapping):
        raise ConfigurationError(f"connect_args[{driver!r}] is a {type(arguments[driver]).__name__}; give a dict")
    return dict(arguments[driver])


def _unnamed() -> str:
    return ""


def _threshold(text: str) -> int | None:
    if text.lower() in ("", "none"):
        return None
    number = _number(_PREPARE_THRESHOLD, text, int)
    if number < 0:
        raise ConfigurationError(f"the url's option {_PREPARE_THRESHOLD}={text!r} must be 0 or more, or None")
    return int(number)


def _check_options(query: Mapping[str, str], driver: str) -> None:
    """Refuse what a driver would ignore, misread, or reject in words of its own. `driver` may be "psycopg"."""
    known = _LIBPQ | _ASYNCPG_ONLY.keys() | {_POOLER_OPTION}
    if driver == "psycopg":
        known |= {_PREPARE_THRESHOLD}
    for name, value in query.items():
        if name not in known:
            mend = f"; {_ELSEWHERE[name]}" if name in _ELSEWHERE else _suggestion(name, known)
            raise ConfigurationError(f"the url's option {name!r} is unknown{mend}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ConfigurationError(f"the url's option {name} must be one of {', '.join(_CHOICES[name])}")
        if driver != "psycopg" and (name in _LIBPQ_ONLY or (name, value) == ("gssencmode", "require")):
            raise ConfigurationError(
                f"asyncpg, which serves async calls, cannot obey the url's option {name}; use postgresql+psycopg://"
            )
    if query.get(_POOLER_OPTION, "true") not in ("true", "false"):
        raise ConfigurationError(f"the url's option {_POOLER_OPTION} must be true or false")
    if "connect_timeout" in query:
        _number("connect_timeout", query["connect_timeout"], int)


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(known), 1, 0.75)
    return f"; do you mean {near[0]}?" if near else "; remove it"


def _normalized(url: URL) -> URL:
    """The URL with each setting in one place. If an option is given twice, the last wins, as in libpq."""
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    parts: dict[str, Any] = {part: query.pop(name) for name, part in _URL_PARTS.items() if name in query}
    if "ssl" in query:  # SQLAlchemy's name for sslmode with asyncpg
        mode = query.pop("ssl")
        if mode not in _CHOICES["sslmode"]:
            # Drivers disagree whether `true` also means to check the certificate.
            raise ConfigurationError(
                "the url's option ssl must be a mode: write sslmode=require to encrypt, sslmode=verify-full to check "
                "the server's certificate too, or sslmode=disable"
            )
        query.setdefault("sslmode", mode)
    _check_options(query, "psycopg" if url.drivername.partition("+")[2] in ("psycopg", "psycopg_async") else "asyncpg")
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


def _libpq_query(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name not in _ASYNCPG_ONLY}


def _asyncpg_options(query: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `asyncpg.connect` that are not part of the URL itself. Options of `_LIBPQ_TUNING` are left out."""
    options: dict[str, Any] = {}
    dsn = {name: value for name, value in query.items() if name in _ASYNCPG_DSN}
    if dsn:
        options["dsn"] = "postgresql://?" + urlencode(dsn)
    settings = {name: value for name, value in query.items() if name in _ASYNCPG_SETTINGS}
    if "fallback_application_name" in query:
        settings.setdefault("application_name", query["fallback_application_name"])
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
