"""Limits of connections on real servers, daphne and uvicorn: slow clients, large heads, many connections."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client

from telemetry.server.connections import BODY_GRACE_SECONDS, HEAD_SECONDS, IDLE_SECONDS
from telemetry.tests.support.clients.raw import (
    Answer,
    connect,
    cpu_seconds,
    head,
    memory_mb,
    one_answer,
    open_sockets,
    some_of,
    trickle,
    until_closed,
    wait_until,
)
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.once]

on_both = pytest.mark.parametrize("server", [False, True], ids=["daphne", "uvicorn"], indirect=True)
FEW = 6
UVICORN_IDLE_SECONDS = 5
# Seconds: deadlines are checked once a second, and the server shares its cores.
LATE_SECONDS = 5
SOCKET = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}


@pytest.fixture(scope="module")
def server(request: Any, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), uvicorn=request.param)
    server.environment |= {"CONNECTIONS_PER_ADDRESS": str(FEW), "TRUSTED_PROXIES": "127.0.0.1,127.0.0.99"}
    with server:
        yield server


def on_uvicorn(server: Server) -> bool:
    return "uvicorn" in server.command


def refused(server: Server, reason: str, *, what: str = "dropped", client: httpx.Client | None = None) -> int:
    """`client` is already connected, for a server that accepts no further connection."""
    get = client.get if client else httpx.get
    answer = get(f"{server.url}/metrics", headers={"X-API-Key": ADMIN_KEY}, timeout=20)
    assert answer.status_code == 200, answer.text
    metrics = answer.text
    name = f'telemetry_connections_{what}_total{{reason="{reason}"}} '
    return next((int(float(line.removeprefix(name))) for line in metrics.splitlines() if line.startswith(name)), 0)


# The head


def answer_to(server: Server, *parts: bytes) -> Answer:
    """Sends the parts until the server stops accepting them; returns its answer."""
    with connect(server) as client:
        with suppress(ConnectionError):
            for part in parts:
                client.sendall(part)
                time.sleep(0.01)
        return until_closed(client)


ENDLESS = [b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", *[b"a" * 1_000_000] * 64]
TOO_LARGE = {
    "one header of 20 KB": [head("GET", "/health", X_A="a" * 20_000)],
    "one header of 20 KB in parts": [b"GET /health HTTP/1.1\r\nX-A: ", *[b"a" * 2_000] * 10, b"\r\n\r\n"],
    "one header of 64 MB": ENDLESS,
    "501 headers": [head("GET", "/health", **{f"X_{n}": "" for n in range(500)})],
    "100,000 headers": [b"GET /health HTTP/1.1\r\n", *[b"X-A: b\r\n" * 1_000] * 100, b"\r\n"],
    "100,000 headers at once": [b"GET /health HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n"],
    "an address of 20 KB": [head("GET", f"/health?{'a' * 20_000}")],
    "a WebSocket's handshake of 20 KB": [
        head(
            "GET", "/api/v1/realtime/subscribe", **SOCKET, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", X="a" * 20_000
        )
    ],
}


@on_both
@pytest.mark.parametrize("parts", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_head_that_is_too_large_is_refused_with_a_problem_document(server: Server, parts: list[bytes]) -> None:
    before = memory_mb(server)

    answer = answer_to(server, *parts)

    assert (answer.status, answer.problem["code"]) == (431, "head_too_large")
    assert "16384 bytes" in answer.problem["detail"]
    assert memory_mb(server) - before < 10


@on_both
def test_a_large_head_within_the_limits_is_taken(server: Server) -> None:
    headers = {f"X_{n}": "a" * 20 for n in range(480)}
    with connect(server) as client:
        client.sendall(head("GET", "/health/live", **headers))
        assert one_answer(client).status == 200
        # Again on the same connection, in parts: the previous request must not be counted.
        request = head("GET", "/health/live", **headers)
        for n in range(0, len(request), 1000):
            client.sendall(request[n : n + 1000])
        assert one_answer(client).status == 200


@on_both
def test_the_head_behind_a_large_body_is_counted_alone(server: Server) -> None:
    body = b" " * 200_000
    post = head("POST", "/api/v1/ingest", X_API_Key=FLEET_KEY, Content_Length=str(len(body)))
    with connect(server) as client:
        client.sendall(post + body + head("GET", "/health/live", X_A="a" * 10_000))
        assert one_answer(client).status in (400, 415)
        assert one_answer(client).status == 200


@on_both
def test_the_head_of_a_request_that_waits_for_its_turn_is_counted_too(server: Server) -> None:
    # 0: the kernel reset the connection, because more was sent, before the answer was read.
    assert answer_to(server, head("GET", "/health") + ENDLESS[0], *ENDLESS[1:]).status in (0, 200, 431)
    assert memory_mb(server, "VmHWM") < 300
    assert answer_to(server, head("GET", "/health", Connection="close")).status == 200


@on_both
def test_what_is_no_http_is_refused_with_a_problem_document(server: Server) -> None:
    answer = answer_to(server, b"\x16\x03\x01 TLS, for instance\r\n\r\n")

    assert (answer.status, answer.problem["code"]) == (400, "malformed")


# The deadlines


def timed(action: Any, *arguments: Any) -> tuple[float, Answer]:
    began = time.monotonic()
    answer = action(*arguments)
    return time.monotonic() - began, answer


def trickled(server: Server, request: bytes, *, sent: bytes = b"") -> Answer:
    with connect(server) as client:
        client.sendall(sent)
        trickle(client, request, pause=0.5)
        return until_closed(client)


def silent(server: Server, request: bytes = b"") -> Answer:
    """Sends the request, reads its answer, and then sends nothing."""
    with connect(server) as client:
        if request:
            client.sendall(request)
            assert one_answer(client).status == 200
        return until_closed(client)


def steady_body(server: Server) -> Answer:
    """A body at twice the slowest accepted rate, for longer than the grace time."""
    body = b'{"temperature": 21.5, "device_id": "slow"}'.ljust(30_000)
    with connect(server) as client:
        client.sendall(
            head(
                "POST",
                "/api/v1/ingest",
                X_API_Key=FLEET_KEY,
                Content_Type="application/json",
                Content_Length=str(len(body)),
            )
        )
        for n in range(0, len(body), 1000):
            client.sendall(body[n : n + 1000])
            time.sleep(0.5)
        return one_answer(client)


@on_both
def test_each_part_of_a_request_must_arrive_in_time(server: Server) -> None:
    server.register("slow")
    post = {"X_API_Key": FLEET_KEY, "Content_Type": "application/json"}
    with ThreadPoolExecutor() as pool:
        tried = {
            "head": pool.submit(timed, trickled, server, head("GET", "/health", X_A="a" * 1000)),
            "handshake": pool.submit(timed, trickled, server, head("GET", "/api/v1/realtime/subscribe", **SOCKET)),
            "body": pool.submit(
                lambda: timed(
                    lambda: trickled(
                        server, b" " * 1000, sent=head("POST", "/api/v1/ingest", **post, Content_Length="9999")
                    )
                )
            ),
            "chunks": pool.submit(
                lambda: timed(
                    lambda: trickled(
                        server,
                        b"1\r\n \r\n" * 1000,
                        sent=head("POST", "/api/v1/ingest", **post, Transfer_Encoding="chunked"),
                    )
                )
            ),
            "second head": pool.submit(
                lambda: timed(lambda: trickled(server, b"\r\nX-A: " + b"a" * 1000, sent=b"GET /health/live HTTP/1.1"))
            ),
            "nothing": pool.submit(timed, silent, server),
            "idle": pool.submit(timed, silent, server, head("GET", "/health/live")),
            "steady": pool.submit(timed, steady_body, server),
        }
        seconds = {name: future.result()[0] for name, future in tried.items()}
        answers = {name: future.result()[1] for name, future in tried.items()}

    for name in ("head", "handshake", "second head"):
        assert (answers[name].status, answers[name].problem["code"]) == (408, "head_timeout")
        assert HEAD_SECONDS - 1 < seconds[name] < HEAD_SECONDS + LATE_SECONDS
    for name in ("body", "chunks"):
        assert (answers[name].status, answers[name].problem["code"]) == (408, "body_timeout")
        assert BODY_GRACE_SECONDS - 1 < seconds[name] < BODY_GRACE_SECONDS + LATE_SECONDS
    assert answers["nothing"].status == 0
    assert HEAD_SECONDS - 1 < seconds["nothing"] < HEAD_SECONDS + LATE_SECONDS
    idle = UVICORN_IDLE_SECONDS if on_uvicorn(server) else IDLE_SECONDS
    assert answers["idle"].status == 0
    assert idle - 1 < seconds["idle"] < idle + LATE_SECONDS
    assert answers["steady"].status == 201
    assert refused(server, "head") == 3
    assert refused(server, "body") == 2


# The number for each address


def watch(server: Server, source: str) -> Any:
    url = f"ws://127.0.0.1:{server.port}/api/v1/realtime/subscribe"
    return websockets.sync.client.connect(
        url, additional_headers={"X-API-Key": ADMIN_KEY}, source_address=(source, 0), open_timeout=20
    )


@on_both
def test_an_address_has_a_bounded_number_of_connections_and_sockets(server: Server) -> None:
    live = head("GET", "/health/live")
    with ExitStack() as stack:
        sockets = [stack.enter_context(watch(server, "127.0.0.2")) for _ in range(3)]
        clients = [stack.enter_context(connect(server, source="127.0.0.2")) for _ in range(FEW - 3)]
        for client in clients:
            client.sendall(live)
            assert one_answer(client).status == 200

        with connect(server, source="127.0.0.2") as further:
            further.sendall(live)
            answer = until_closed(further)
        assert (answer.status, answer.problem["code"]) == (503, "too_many_connections")
        assert "CONNECTIONS_PER_ADDRESS" in answer.problem["detail"]
        assert "retry-after: 5" in answer.headers.lower()
        with connect(server, source="127.0.0.2") as further:
            further.sendall(head("GET", "/api/v1/realtime/subscribe", **SOCKET))
            assert until_closed(further).status == 503
        assert refused(server, "address", what="refused") == 2
        with connect(server, source="127.0.0.3") as other:
            other.sendall(live)
            assert one_answer(other).status == 200
        proxied = [stack.enter_context(connect(server, source="127.0.0.99")) for _ in range(2 * FEW)]
        for client in proxied:
            client.sendall(live)
            assert one_answer(client).status == 200

        sockets[0].close()
        clients[0].close()
        assert wait_until(lambda: answers_from(server, "127.0.0.2"), seconds=10)
        with watch(server, "127.0.0.2"):
            pass
    assert "Connections from 127.0.0.2 are refused" in server.log.read_text()
    assert server.log.read_text().count("are refused") == 1


def answers_from(server: Server, source: str) -> bool:
    with connect(server, source=source) as client:
        client.sendall(head("GET", "/health/live"))
        return one_answer(client).status == 200


# The limit of files

FILES = 240
ATTACKERS = 300


def attack(server: Server, number: int, stop: float) -> None:
    """Connects again and again, and sends a byte in 5 s. A third of these clients has one address."""
    source = "127.0.1.1" if number % 3 == 0 else f"127.0.1.{2 + number % 5}"
    while time.monotonic() < stop:
        with suppress(OSError), connect(server, source=source) as client:
            client.settimeout(5)
            while time.monotonic() < stop:
                client.sendall(b"G")
                with suppress(TimeoutError):
                    if not client.recv(1000):
                        break
        time.sleep(1)


@pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"])
def test_connected_devices_go_on_while_others_take_all_files(tmp_path: Path, uvicorn: bool) -> None:
    server = Server(tmp_path, uvicorn=uvicorn)
    server.command = ["prlimit", f"--nofile={FILES}:{FILES}", *server.command]
    server.environment["CONNECTIONS_PER_ADDRESS"] = "45"
    with server, ThreadPoolExecutor(ATTACKERS) as attackers, httpx.Client(timeout=20) as device:
        key = server.register("d-1")

        def post(client: httpx.Client) -> int:
            address = f"{server.url}/api/v1/ingest"
            return client.post(address, json={"temperature": 1}, headers={"X-API-Key": key}).status_code

        assert post(device) == 201
        stop = time.monotonic() + 20
        for number in range(ATTACKERS):
            attackers.submit(attack, server, number, stop)
        assert wait_until(lambda: open_sockets(server) > FILES * 0.6, seconds=10)
        used, began, posts = cpu_seconds(server), time.monotonic(), 0
        while time.monotonic() < stop - 2:
            assert post(device) == 201
            posts += 1
            time.sleep(0.1)
        assert (cpu_seconds(server) - used) / (time.monotonic() - began) < 0.6
        assert posts > 20

        with httpx.Client(timeout=20, transport=httpx.HTTPTransport(retries=0)) as newcomer:
            assert wait_until(lambda: succeeds(lambda: post(newcomer) == 201), seconds=HEAD_SECONDS + 5)
        assert refused(server, "files", what="refused", client=device) > 0
        assert refused(server, "address", what="refused", client=device) > 0
        log = server.log.read_text()
        assert "LimitNOFILE" in log
        assert log.count("New connections are refused") == 1
        assert "Traceback" not in log


def succeeds(action: Any) -> bool:
    with suppress(httpx.TransportError):
        return bool(action())
    return False


def test_up_raises_the_limit_of_files(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.command = ["prlimit", "--nofile=1024:4096", *server.command]
    with server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files")) == [
        "4096",
        "4096",
    ]


# Request targets in absolute form


@on_both
def test_a_target_in_absolute_form_is_that_of_its_host(server: Server) -> None:
    here = f"localhost:{server.port}"

    def ask(method: str, target: str, body: str = "", **headers: str) -> Answer:
        with connect(server) as client:
            sent = {"X_API_Key": FLEET_KEY, "Content_Type": "application/json", "Connection": "close"}
            sent |= {"Content_Length": str(len(body))} | headers
            client.sendall(head(method, target, **sent) + body.encode())
            return until_closed(client)

    httpx.post(f"{server.url}/api/v1/devices", json={"device_id": "far"}, headers={"X-API-Key": ADMIN_KEY})
    reading = '{"device_id": "far", "temperature": 1}'
    for target in (f"http://{here}/api/v1/ingest", "HTTPS://LOCALHOST/api/v1/ingest/"):
        assert ask("POST", target, reading, Host="elsewhere.example").status == 201

    page = ask(
        "GET", f"http://{here}/api/v1/devices/far/history?limit=1", X_API_Key=ADMIN_KEY, Host="elsewhere.example"
    )
    assert page.status == 200
    # The link has the host of the target, with its port.
    assert json.loads(page.body)["next"].startswith(f"http://{here}/api/v1/devices/far/history?")

    # The host that counts is checked: the target's, not that of the header.
    assert ask("GET", "http://elsewhere.example/api/v1/devices", X_API_Key=ADMIN_KEY, Host=here).status == 400
    assert ask("GET", f"http://{here}").status == 302  # the path is /
    for target in ("ftp://localhost/health", "http://user@localhost/health", "http:///health", "http://localhost/#a"):
        assert ask("GET", target).problem["code"] in ("invalid_target", "malformed")
    # Neither form; uvicorn cannot parse it.
    assert ask("CONNECT", here).problem["code"] in ("not_found", "malformed")


@on_both
def test_a_handshake_may_have_a_target_in_absolute_form(server: Server) -> None:
    key = {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "X_API_Key": ADMIN_KEY}
    here = f"localhost:{server.port}"
    for host, status in ((here, b"101"), ("elsewhere.example", b"403")):
        target = f"http://{host}/api/v1/realtime/subscribe?x=1"
        with connect(server) as client:
            client.sendall(head("GET", target, **SOCKET | key, Host="third.example", Origin=f"http://{host}"))
            assert some_of(client).startswith(b"HTTP/1.1 " + status)


# The command line of uvicorn


def test_uvicorn_without_our_classes_says_so(tmp_path: Path) -> None:
    server = Server(tmp_path, uvicorn=True)
    server.command = [
        part for part in server.command if part not in ("--http", "telemetry.server.uvicorn_http:Protocol")
    ]
    with server:
        pass
    assert "uvicorn was started without --http telemetry.server.uvicorn_http:Protocol, so" in server.log.read_text()


def test_uvicorn_with_them_says_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, uvicorn=True) as server:
        pass
    assert "uvicorn was started without" not in server.log.read_text()
