"""A real PgBouncer in transaction mode."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until


@contextlib.contextmanager
def running_pgbouncer(
    server_port: int, database: str = "postgres", *, search_path: str = "", **settings: object
) -> Iterator[str]:
    """PgBouncer that gives each transaction the other one of two sessions; its URL without a driver.

    Args:
        server_port: where the server, or a proxy before it, listens on 127.0.0.1.
        database: the name of the server's database.
        search_path: of all sessions; "" leaves the server's own.
        settings: of pgbouncer.ini.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer on this machine (Debian: apt-get install pgbouncer)")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="docshelf-pgbouncer-"))
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    fields = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": 2,
        "min_pool_size": 2,
        "server_round_robin": 1,
        "server_reset_query": "",
        **settings,
    }
    query = f" connect_query='SET search_path TO {search_path}'" if search_path else ""
    config.write_text(
        f"[databases]\nshelf = host=127.0.0.1 port={server_port} user=postgres dbname={database}{query}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in fields.items())
    )
    # It refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    process = subprocess.Popen([program, str(config)], user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, "pgbouncer did not start"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, "pgbouncer listens")
        yield f"://postgres@127.0.0.1:{port}/shelf"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
