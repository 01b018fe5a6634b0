"""TCP clients: slow ones, some that do not read, and some that send too much."""

import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from telemetry.tests.support.servers.server import Server

# Seconds; longer than any deadline of a connection.
PATIENCE_SECONDS = 90


class Answer(NamedTuple):
    """An answer; `status` is 0 if the server closed the connection without one."""

    status: int
    headers: str
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert "content-type: application/problem+json" in self.headers.lower()
        document: dict[str, Any] = json.loads(self.body)
        return document


def connect(server: Server, *, source: str = "127.0.0.1", receive_buffer: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(PATIENCE_SECONDS)
    client.bind((source, 0))
    client.connect(("127.0.0.1", server.port))
    return client


def head(method: str, path: str, **headers: str) -> bytes:
    """The head of a request; underscores in the names of `headers` become hyphens."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "localhost", **headers}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "\r\n"]).encode()


def some_of(client: socket.socket, size: int = 1 << 16) -> bytes:
    """The next bytes of a connection that must still be open."""
    part = client.recv(size)
    if not part:
        raise ConnectionError("The other side has closed the connection.")
    return part


def until_closed(client: socket.socket) -> Answer:
    """The bytes that the server sends before it closes the connection."""
    received = b""
    with suppress(ConnectionError):
        while part := client.recv(1 << 16):
            received += part
    return parsed(received)


def parsed(received: bytes) -> Answer:
    if not received:
        return Answer(0, "", b"")
    before, _, body = received.partition(b"\r\n\r\n")
    first, _, headers = before.decode().partition("\r\n")
    return Answer(int(first.split()[1]), headers, body)


def one_answer(client: socket.socket) -> Answer:
    """The next answer, which must have a Content-Length, on a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = client.recv(1 << 16)
        if not part:
            return parsed(received)
        received += part
    answer = parsed(received)
    length = next(int(line[15:]) for line in answer.headers.splitlines() if line.lower().startswith("content-length:"))
    body = answer.body
    while len(body) < length:
        body += some_of(client)
    return answer._replace(body=body)


def trickle(client: socket.socket, data: bytes, *, pause: float) -> None:
    """Sends single bytes until the server closes the connection."""
    client.settimeout(pause)
    with suppress(OSError):
        for number in range(len(data)):
            client.sendall(data[number : number + 1])
            with suppress(TimeoutError):
                if client.recv(1, socket.MSG_PEEK) is not None:
                    break
    client.settimeout(PATIENCE_SECONDS)


def memory_mb(server: Server, figure: str = "VmRSS") -> float:
    """Memory in MB. `figure`: VmRSS (current) or VmHWM (peak)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(figure)) / 1024


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def open_sockets(server: Server) -> int:
    found = 0
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):  # already closed
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def connections_to(server: Server) -> int:
    """Open connections of clients to the server, as the kernel has them (proc(5), /proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if int(row[1].split(":")[1], 16) == server.port and row[3] != "0A"}
    return len(inodes - {"0"})  # 0: the process has closed it already


def wait_until(condition: Any, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return bool(condition())
