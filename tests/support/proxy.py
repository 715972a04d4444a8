"""A TCP proxy in front of a PostgreSQL server that cuts the network on demand and reads what passes."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import threading
from types import TracebackType

from sqlalchemy.engine import URL

_ASKS_FOR_ENCRYPTION = (80877103, 80877104)  # SSLRequest and GSSENCRequest, answered by one byte


class Proxy:
    """Listens on 127.0.0.1 and passes on to the server of a URL, whole message by whole message.

    Attributes:
        schema: the PostgreSQL schema that the URL's search path names.
        database: the database that the URL names.
        attempts: connections that clients made.
        round_trips: how often a client spoke after the server did; the data of a COPY aside, for which asyncpg does
            not wait until the server is ready.
        messages: messages of the server that were passed on.
        statement_names: the name of each statement that a client prepared; "" is the unnamed one.
        cuts: connections that this proxy cut.
    """

    def __init__(self, url: URL) -> None:
        self.schema = str(url.query.get("options", "")).removeprefix("-csearch_path=")
        self.database = str(url.database)
        self.attempts = 0
        self.round_trips = 0
        self.messages = 0
        self.statement_names: list[str] = []
        self.cuts = 0
        self._url = url
        self._refusals: float = 0
        self._login_error = b""
        self._farewell = b""
        self._closing = False
        self._messages_left: int | None = None
        self._links: set[_Link] = set()
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, drivername: str = "postgresql") -> str:
        """The server's URL by way of this proxy."""
        query = {name: value for name, value in self._url.query.items() if name not in ("host", "port")}
        url = self._url.set(drivername=drivername, host="127.0.0.1", port=self.port, query=query)
        return url.render_as_string(hide_password=False)

    def cut(self) -> None:
        """Cut every connection that is open now."""
        with self._changed:
            links = list(self._links)
        for link in links:
            link.cut()
        for link in links:
            link.join()

    def cut_after(self, messages: int, farewell: bytes = b"") -> None:
        """Forward this many more messages of the server, then cut the connection of the next one, once.

        Args:
            farewell: what the client gets instead of that message, such as a `fatal_error`.
        """
        with self._changed:
            self._messages_left = messages
            self._farewell = farewell

    def answer_logins(self, error: bytes) -> None:
        """Answer each login with this message of a server, and hang up, until `accept`."""
        self._login_error = error

    @property
    def is_armed(self) -> bool:
        """`cut_after` was called and has not cut yet."""
        return self._messages_left is not None

    def disarm(self) -> None:
        """Take `cut_after` back."""
        with self._changed:
            self._messages_left = None

    def refuse(self, times: float = math.inf) -> None:
        """Hang up on this many new connections, or on all until `accept`."""
        self._refusals = times

    def accept(self) -> None:
        """Pass new connections on again."""
        self._refusals = 0
        self._login_error = b""

    def wait_for_no_connection(self, timeout: float = 30) -> bool:
        """Wait until every client has hung up; False if one has not."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._links, timeout)

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the listener
        self._thread.join()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with self._listener:
            while True:
                client, _ = self._listener.accept()
                if self._closing:
                    client.close()
                    return
                self.attempts += 1
                if self._refusals > 0:
                    self._refusals -= 1
                    client.close()
                    continue
                if self._login_error:
                    _answer_login(client, self._login_error)
                    continue
                link = _Link(self, client, self._connect())
                with self._changed:
                    self._links.add(link)
                link.start()

    def _connect(self) -> socket.socket:
        host = self._url.query.get("host") or self._url.host or "127.0.0.1"
        port = self._url.query.get("port") or self._url.port or 5432
        assert isinstance(host, str)
        assert not isinstance(port, tuple)
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _client_spoke(self, names: list[str], *, after_server: bool) -> None:
        with self._changed:
            self.round_trips += after_server
            self.statement_names += names

    def _may_pass(self) -> bool:
        """Count one message of the server; False when it is the one to be lost."""
        with self._changed:
            if self._messages_left == 0:
                self._messages_left = None
                return False
            if self._messages_left is not None:
                self._messages_left -= 1
            self.messages += 1
            return True

    def _ended(self, link: _Link, *, cut: bool) -> None:
        with self._changed:
            self._links.discard(link)
            self.cuts += cut
            self._changed.notify_all()


class _Link:
    """One client's connection and its counterpart to the server, served by one thread."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._from_client = _ClientStream()
        self._from_server = b""
        self._server_spoke = True
        self._cut = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def cut(self) -> None:
        self._cut = True
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self._client, self._server, contextlib.suppress(OSError):
            while self._pass_on():
                pass
        self._proxy._ended(self, cut=self._cut)

    def _pass_on(self) -> bool:
        readable, _, _ = select.select([self._client, self._server], [], [])
        if self._client in readable:
            data = self._client.recv(65_536)
            if not data:
                return False
            names = self._from_client.feed(data)
            self._proxy._client_spoke(names, after_server=self._server_spoke and not self._from_client.copied)
            self._server_spoke = False
            self._server.sendall(data)
            return True
        data = self._server.recv(65_536)
        self._from_server += data
        self._server_spoke = True
        return bool(data) and self._pass_messages()

    def _pass_messages(self) -> bool:
        """Forward the complete messages of the server to the client. False if the connection must end now."""
        start = 0
        data = self._from_server
        alive = True
        while alive and (end := self._message_end(data, start)) <= len(data):
            alive = self._proxy._may_pass()
            start = end if alive else start
        self._client.sendall(data[:start] + (b"" if alive else self._proxy._farewell))
        self._from_server = data[start:]
        self._cut = self._cut or not alive
        return alive

    def _message_end(self, data: bytes, start: int) -> int:
        if self._from_client.asked_for_encryption and start < len(data):
            self._from_client.asked_for_encryption = False
            return start + 1
        if len(data) < start + 5:
            return len(data) + 1
        return int(start + 1 + struct.unpack_from("!I", data, start + 1)[0])


def fatal_error(state: str, message: str) -> bytes:
    """The message of a server that gives up a connection."""
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": message}
    body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


def _answer_login(client: socket.socket, error: bytes) -> None:
    with client, contextlib.suppress(OSError, struct.error):
        while True:
            length, code = struct.unpack("!II", client.recv(8, socket.MSG_WAITALL))
            client.recv(length - 8, socket.MSG_WAITALL)
            if code not in _ASKS_FOR_ENCRYPTION:
                break
            client.sendall(b"N")
        client.sendall(error)
        client.shutdown(socket.SHUT_WR)
        client.recv(1)  # until the client hangs up: else the system may drop the error


class _ClientStream:
    """Reads the messages of a client: which statements it prepares, and whether the last one was COPY data."""

    def __init__(self) -> None:
        self.asked_for_encryption = False
        self.copied = False
        self._started = False
        self._data = b""

    def feed(self, data: bytes) -> list[str]:
        """The names of the statements that the received messages prepare."""
        self._data += data
        self.copied = self._started and self._data[:1] in (b"d", b"c")  # CopyData, CopyDone
        names = []
        while len(self._data) >= 8 and not self._started:
            length, code = struct.unpack_from("!II", self._data)
            if len(self._data) < length:
                break
            self.asked_for_encryption = code in _ASKS_FOR_ENCRYPTION
            self._started = not self.asked_for_encryption
            self._data = self._data[length:]
        while self._started and len(self._data) >= 5:
            length = struct.unpack_from("!I", self._data, 1)[0]
            if len(self._data) < 1 + length:
                break
            if self._data[:1] == b"P":
                names.append(self._data[5 : self._data.index(b"\0", 5)].decode())
            self._data = self._data[1 + length :]
        return names
