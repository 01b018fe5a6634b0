"""Clients that stop reading or send nonsense: memory stays small, and other clients are served."""

import json
import random
import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from telemetry.tests.support.clients.audience import HEADERS, Audience
from telemetry.tests.support.clients.raw import some_of
from telemetry.tests.support.servers.server import FLEET_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.once,
    pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"]),
]

STOPPED = 50
# Each batch is a frame of 300 KB; all of them are 18 MB a socket, and 900 MB in all.
BATCHES, BATCH = 60, 250
# The memory for 50 sockets: waiting frames are shared, and the rest of one frame of each is in its buffer.
GROWTH_MB_MAX = 150
CLOSED_SECONDS_MAX = 30
# Bytes that the kernel may hold for a stopped client: 16 KiB (`telemetry.server.pacing`) and one more write.
IN_KERNEL_MAX = 128 * 1024


def memory_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def sockets_of(server: Server) -> int:
    """The number of connections of the process."""
    return len([1 for fd in Path(f"/proc/{server.process.pid}/fd").iterdir() if "socket:" in link_of(fd)])


def link_of(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:  # already closed
        return ""


def in_kernel(server: Server) -> int:
    """The largest number of unacknowledged bytes that the kernel holds for one of the server's connections."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return max(int(row[4].split(":")[0], 16) for row in rows if int(row[1].split(":")[1], 16) == server.port)


def handshake(server: Server, address: str) -> socket.socket:
    """A subscribed TCP client with a small receive buffer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", server.port))
    client.sendall(
        f"GET /api/v1/realtime/subscribe/{address} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-API-Key: {HEADERS['X-API-Key']}\r\n\r\n".encode()
    )
    received = b""
    while b"subscribed" not in received:
        received += some_of(client, 4096)
    return client


def post_batches(server: Server, count: int = BATCHES) -> None:
    reading = {"device_id": "d-0", **{f"a_metric_of_some_length_{n}": random.random() for n in range(25)}}
    with httpx.Client(headers={"X-API-Key": FLEET_KEY}, timeout=30) as client:
        for _ in range(count):
            answer = client.post(f"{server.url}/api/v1/ingest/batch", json=[reading] * BATCH)
            assert answer.status_code == 201, answer.text


def last_frames(client: socket.socket) -> bytes:
    """The bytes that arrive until the server closes the connection."""
    received = b""
    try:
        while chunk := client.recv(1 << 20):
            received = (received + chunk)[-4096:]
    except (ConnectionError, TimeoutError):
        pass
    return received


def test_clients_that_stop_reading_are_closed_and_cost_nobody_anything(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server, ExitStack() as stopped:
        server.register("d-0")
        with Audience([server], devices={"d-0": 5}, fleets=1) as audience:
            time.sleep(1)
            quiet, before = sockets_of(server), memory_mb(server)
            for _ in range(STOPPED):
                stopped.enter_context(handshake(server, "d-0"))

            post_batches(server)

            audience.ends_complete({"d-0": BATCHES * BATCH})
            assert all(client.connections == 1 for client in audience.clients)
            assert memory_mb(server) - before < GROWTH_MB_MAX
            deadline = time.monotonic() + CLOSED_SECONDS_MAX
            while sockets_of(server) > quiet + 2 and time.monotonic() < deadline:
                time.sleep(0.5)
            assert sockets_of(server) <= quiet + 2  # the connections of the posts


def test_a_reader_that_has_stopped_is_soon_served_no_more(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server:
        server.register("d-0")
        with handshake(server, "d-0"):
            post_batches(server, 10)
            assert 0 < in_kernel(server) < IN_KERNEL_MAX


def test_a_reader_that_wakes_up_in_time_learns_that_it_was_too_slow(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server:
        server.register("d-0")
        with handshake(server, "d-0") as slow:
            post_batches(server, 15)
            # First the server's buffers arrive, then a frame of opcode 8 with the close code.
            assert re.search(b"\x88.\x03\xf5", last_frames(slow), re.DOTALL)


NONSENSE: list[str | bytes] = [
    "",
    "hello",
    "[]",
    '{"type":"shout"}',
    '{"type":"resume"}',
    b"",
    b"\xff\xfe",
    "[" * 60_000,
]


def begin(client: Any) -> None:
    """Receives what a socket of a device says first."""
    assert [json.loads(client.recv())["type"] for _ in range(2)] == ["subscribed", "alarms"]


def test_nonsense_gets_an_error_frame_and_the_socket_stays(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server:
        server.register("d-0")
        with connect(server, "d-0") as client:
            begin(client)
            for message in NONSENSE:
                client.send(message)
                assert json.loads(client.recv())["code"] == "unreadable"
            client.send('{"type":"ping"}')
            assert json.loads(client.recv()) == {"type": "pong"}


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_a_message_that_is_too_big_closes_the_socket_and_says_so(tmp_path: Path, uvicorn: bool, size: int) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server:
        server.register("d-0")
        before = memory_mb(server)
        for message in ("x" * size, b"\0" * size):
            with connect(server, "d-0") as client:
                client.recv()
                assert closing(client, message) == 1009
        assert memory_mb(server) - before < 30
        assert httpx.get(f"{server.url}/health").is_success


def closing(client: Any, message: str | bytes) -> int:
    """The close code with which the server answers the message."""
    try:
        client.send(message)
        while True:
            client.recv(timeout=20)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


def connect(server: Server, address: str) -> Any:
    url = f"ws://127.0.0.1:{server.port}/api/v1/realtime/subscribe/{address}"
    return websockets.sync.client.connect(url, additional_headers=HEADERS)


def test_garbage_on_the_wire_ends_that_socket_alone(tmp_path: Path, uvicorn: bool) -> None:
    chance = random.Random(1)
    with Server(tmp_path, uvicorn=uvicorn) as server:
        server.register("d-0")
        with connect(server, "d-0") as witness:
            begin(witness)
            for _ in range(50):
                with handshake(server, "d-0") as client:
                    client.settimeout(1)
                    client.sendall(chance.randbytes(chance.randrange(1, 20_000)))
                    last_frames(client)
            httpx.post(
                f"{server.url}/api/v1/ingest",
                json={"device_id": "d-0", "temperature": 1},
                headers={"X-API-Key": FLEET_KEY},
            )
            assert json.loads(witness.recv(timeout=5))["readings"][0]["seq"] == 1
        assert httpx.get(f"{server.url}/health").is_success
        assert "Traceback" not in server.log.read_text()
