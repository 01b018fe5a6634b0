"""A server that is told to stop answers the requests it has accepted, and has stored what it acknowledged."""

import errno
import select
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from telemetry.server import draining
from telemetry.server.draining import begin_no_more, receive_again
from telemetry.tests.support.clients.raw import connect, head, wait_until
from telemetry.tests.support.servers.server import ADMIN_KEY, UVICORN, Server

pytestmark = pytest.mark.e2e

DEVICES = 32
STOP_SECONDS = 10
of_linux = pytest.mark.skipif(sys.platform != "linux", reason="no kernel that can drop what reaches a listening socket")
SERVICE_RESTART = 1012
HANDSHAKE = head(
    "GET",
    "/api/v1/realtime/subscribe/d-1",
    Upgrade="websocket",
    Connection="Upgrade",
    Sec_WebSocket_Version="13",
    Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
    X_API_Key=ADMIN_KEY,
)


class Poster:
    """A device that posts readings, each on a new connection, until the port is closed."""

    def __init__(self, server: Server, device_id: str) -> None:
        self.server, self.device_id = server, device_id
        self.key = server.register(device_id)
        self.acknowledged: list[str] = []
        self.cut_off: list[str] = []
        self.thread = threading.Thread(target=self.post)

    def post(self) -> None:
        with httpx.Client(headers={"X-API-Key": self.key, "Connection": "close"}, timeout=30) as client:
            while True:
                try:
                    response = client.post(f"{self.server.url}/api/v1/ingest", json={"temperature": 21.5})
                except httpx.ConnectError:
                    return  # the port is closed
                except httpx.TransportError as error:
                    self.cut_off.append(repr(error))
                    return
                assert response.status_code == 201
                self.acknowledged.append(response.json()["id"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_stops_under_load_and_has_what_it_acknowledged(tmp_path: Path, how: signal.Signals) -> None:
    with Server(tmp_path) as server:
        posters = [Poster(server, f"d-{number}") for number in range(DEVICES)]
        for poster in posters:
            poster.thread.start()
        assert wait_until(lambda: all(poster.acknowledged for poster in posters), seconds=30)

        server.process.send_signal(how)
        server.process.wait(STOP_SECONDS)
        for poster in posters:
            poster.thread.join()

        if how is signal.SIGTERM:
            assert [error for poster in posters for error in poster.cut_off] == []
        server.start()
        for poster in posters:
            stored = server.log_of(poster.device_id)
            assert set(poster.acknowledged) <= set(stored)
            if how is signal.SIGTERM:
                assert len(poster.acknowledged) == len(stored)


def head_and_body(key: str) -> tuple[bytes, bytes]:
    """The head of a post of one reading."""
    body = b'{"temperature": 21.5}'
    head = f"POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body


def test_it_waits_for_a_body_that_is_under_way_and_not_for_a_connection_that_idles(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        head, body = head_and_body(server.register("d-1"))
        with (
            socket.create_connection(("127.0.0.1", server.port)) as idle,
            socket.create_connection(("127.0.0.1", server.port)) as slow,
        ):
            slow.sendall(head + body[:5])
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.3)
            server.process.terminate()
            idle.settimeout(STOP_SECONDS)
            assert idle.recv(1) == b""
            time.sleep(0.5)
            assert server.process.poll() is None
            slow.sendall(body[5:])
            answer = b""
            while part := slow.recv(65536):
                answer += part
        server.process.wait(STOP_SECONDS)
        assert answer.startswith(b"HTTP/1.1 201 ")
        server.start()
        assert len(server.log_of("d-1")) == 1


def test_a_client_that_was_let_in_has_time_to_send_its_request(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        head, body = head_and_body(server.register("d-1"))
        with socket.create_connection(("127.0.0.1", server.port)) as late:
            time.sleep(0.3)
            server.process.terminate()
            time.sleep(2)
            late.sendall(head + body)
            assert late.recv(65536).startswith(b"HTTP/1.1 201 ")
        server.process.wait(STOP_SECONDS)


@of_linux
def test_a_door_that_closes_lets_in_who_has_begun_and_turns_nobody_away_who_comes_then() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = door.getsockname()
        with socket.create_connection(address) as early:
            begin_no_more(door)
            with socket.socket() as late:
                late.setblocking(False)
                assert late.connect_ex(address) == errno.EINPROGRESS

                early.sendall(b"a request")
                accepted, _ = door.accept()
                with accepted:
                    assert accepted.recv(100) == b"a request"
                    accepted.sendall(b"an answer")
                assert early.recv(100) == b"an answer"

                door.close()
                with socket.create_server(address):  # simulates the next process
                    _, writable, _ = select.select([], [late], [], STOP_SECONDS)
                    assert writable
                    assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@of_linux
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_is_accepted_afterwards_can_be_heard_again(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as door:
        # As if the handshake had ended while the port was being closed.
        begin_no_more(door)
        receive_again(door)
        with socket.create_connection(door.getsockname()[:2]) as client:
            begin_no_more(door)
            accepted, _ = door.accept()
            with accepted:
                begin_no_more(accepted)
                client.sendall(b"a request")
                accepted.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    accepted.recv(100)

                receive_again(accepted)
                accepted.settimeout(STOP_SECONDS)
                assert accepted.recv(100) == b"a request"


def test_where_the_system_cannot_do_that_the_log_has_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(tcp: socket.socket, ttl: int) -> None:
        raise PermissionError("forbidden here")

    monkeypatch.setattr(draining, "require_ttl", forbidden)
    with socket.create_server(("127.0.0.1", 0)) as door, caplog.at_level("INFO"):
        begin_no_more(door)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "forbidden here" in caplog.text


def close_code(client: Any) -> int:
    """The code of the server's close frame; 0 if the connection ends without one."""
    try:
        while True:
            client.recv(timeout=STOP_SECONDS)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0


@pytest.mark.parametrize("uvicorn", UVICORN)
def test_each_live_socket_is_closed_with_a_code_that_says_to_come_back(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server, ExitStack() as stack:
        server.register("d-1")
        url = f"ws://127.0.0.1:{server.port}/api/v1/realtime/subscribe"
        clients = [
            stack.enter_context(websockets.sync.client.connect(url + of, additional_headers={"X-API-Key": ADMIN_KEY}))
            for of in ("", "/d-1", "/d-1")
        ]
        for client in clients:
            client.recv(timeout=STOP_SECONDS)
        server.process.terminate()
        for client in clients:
            assert close_code(client) == SERVICE_RESTART
        server.process.wait(STOP_SECONDS)
        assert "Traceback" not in server.log.read_text()


def test_a_live_socket_that_does_not_answer_the_close_delays_the_end_by_seconds(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.register("d-1")
        with connect(server) as silent:
            silent.sendall(HANDSHAKE)
            assert b"101" in silent.recv(4096)
            server.process.terminate()
            began = time.monotonic()
            server.process.wait(STOP_SECONDS)
            assert time.monotonic() - began < 8
