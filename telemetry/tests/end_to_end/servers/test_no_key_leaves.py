"""Keys in every place of a request, sent to every kind of server, with LOG_LEVEL=DEBUG and DEBUG on.

None of them may appear in the output of a server or in an error answer.
"""

import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.once]

PASSWORD = "correct-horse-battery-staple"
SOCKET = "/api/v1/realtime/subscribe/mote-1"


def servers(stack: ExitStack, folder: Path, output: str) -> list[Server]:
    """`up`, and beside it daphne with its access log and uvicorn with its most detailed log."""
    up, daphne, uvicorn = first = [Server(folder) for _ in range(3)]
    verbose = {"DEBUG": "true", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": output}
    for server in first:
        server.environment.update(verbose)
    stack.enter_context(up)
    for server in (daphne, uvicorn):
        server.database = ""
        server.environment["DATABASE_URL"] = up.environment["DATABASE_URL"]
    listen = ["telemetry.asgi:application", "--port"]
    daphne.command = [sys.executable, "-m", "daphne", "-v", "2", *listen, str(daphne.port)]
    uvicorn.command = [sys.executable, "-m", "uvicorn", "--log-level", "trace", *listen, str(uvicorn.port)]
    stack.enter_context(daphne)
    stack.enter_context(uvicorn)
    return first


def send_everywhere(server: Server, secret: str) -> list[httpx.Response]:
    """Requests with the secret where a key belongs, and elsewhere."""
    with httpx.Client(base_url=server.url, follow_redirects=False, timeout=10) as client:
        ingest, devices = "/api/v1/ingest", "/api/v1/devices"
        headers = [
            {"X-API-Key": secret},
            {"Authorization": f"Bearer {secret}"},
            {"Authorization": f"Basic {secret}"},
            {"Cookie": f"sessionid={secret}; other={secret}"},
            {"X-API-Key": f"{secret} {secret}"},
            {"X-Request-ID": secret},
            {"User-Agent": secret, "Referer": f"http://testserver/?key={secret}"},
            {"Host": f"{secret}.example.org"},
            {"Origin": f"http://{secret}.example.org"},
        ]
        answers = [client.post(ingest, json={"temperature": 1}, headers=header) for header in headers]
        answers += [client.get(devices, headers=header | {"Accept": "text/html"}) for header in headers]
        for query in (f"api_key={secret}", f"ticket={secret}", f"x={secret}", secret):
            answers += [client.get(f"{address}?{query}") for address in (devices, "/nothing", "/admin/", "/health")]
            answers.append(client.post(f"{ingest}?{query}", json={"temperature": 1}))
        answers += [client.get(f"{address}/{secret}") for address in (devices, "/nothing", "/live", "/admin/nothing")]
        for body in (
            {"device_id": secret, "temperature": 1},
            {"temperature": secret},
            [secret],
            {"key": {"a": secret}},
        ):
            answers += [
                client.post(address, json=body, headers={"X-API-Key": key})
                for key in (secret, FLEET_KEY)
                for address in (ingest, f"{ingest}/batch", devices)
            ]
        answers.append(client.post(ingest, content=f"{{{secret}", headers={"X-API-Key": FLEET_KEY}))
        answers.append(client.request(secret.replace("_", "-")[:20], devices, headers={"X-API-Key": secret}))
    watch(server, f"?ticket={secret}")
    watch(server, "", {"X-API-Key": secret})
    watch(server, f"?after={secret}", {"Authorization": f"Bearer {secret}", "Cookie": f"sessionid={secret}"})
    return answers


def watch(server: Server, query: str, headers: dict[str, str] | None = None) -> None:
    address = f"{server.url}{SOCKET}{query}".replace("http", "ws", 1)
    with suppress(WebSocketException, TimeoutError), connect(address, additional_headers=headers) as socket:
        socket.recv(timeout=5)


def sign_in(server: Server, password: str) -> str:
    """Signs in at the console; returns the session, or "" after a wrong password."""
    with httpx.Client(base_url=server.url, timeout=10) as client:
        client.get("/admin/login/")
        form: dict[str, Any] = {"username": "admin", "password": password}
        form["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
        client.post("/admin/login/?next=/admin/", data=form)
        client.get("/live/mote-1/")
        return client.cookies.get("sessionid") or ""


@pytest.mark.parametrize("output", ["console", "json"])
def test_no_key_is_printed_or_answered_back(tmp_path: Path, output: str) -> None:
    with ExitStack() as stack:
        up, daphne, uvicorn = started = servers(stack, tmp_path, output)
        key = up.register("mote-1")
        password = up.password()
        keys, answers = (key, "tlm_" + "Wr0ng-" * 6, ADMIN_KEY, FLEET_KEY), []
        secrets = {*keys, PASSWORD, up.environment["SECRET_KEY"]}
        for server in started:
            for sent in keys:
                answers += send_everywhere(server, sent)
            issued = httpx.post(
                f"{server.url}/api/v1/realtime/tickets", json={"device_id": "mote-1"}, headers={"X-API-Key": ADMIN_KEY}
            ).json()["ticket"]
            watch(server, f"?ticket={issued}")
            secrets |= {issued, sign_in(server, password)}
            assert sign_in(server, PASSWORD) == ""

    printed = {server: server.log.read_text() for server in started}
    printed[up] = printed[up].replace(password, "", 1)  # shown once on purpose
    assert "" not in secrets
    for server, text in printed.items():
        assert "/api/v1/devices" in text, "nothing was printed"
        assert [secret for secret in secrets | {password} if secret in text] == [], server.command
    refused = [answer for answer in answers if answer.status_code >= 400]
    assert len(refused) > len(answers) / 2
    assert [(answer.request.url, secret) for answer in refused for secret in secrets if secret in answer.text] == []
    assert "ticket=[hidden]" in printed[daphne]
    assert "ticket=[hidden]" in printed[uvicorn]
