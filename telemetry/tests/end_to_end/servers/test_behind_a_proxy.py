"""Production behind a proxy that ends TLS: its headers are used, and pages redirect to HTTPS."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.once]

NAME = "telemetry.example.org"
ADMIN = {"X-API-Key": ADMIN_KEY}

Proxied = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("production")
    server = Server(folder)
    server.environment |= {"APP_ENV": "production", "ALLOWED_HOSTS": NAME, "TRUSTED_PROXIES": "127.0.0.1"}
    with server:
        yield server


@pytest.fixture
def proxied(server: Server) -> Iterator[Proxied]:
    """Creates clients that connect through the proxy, as the server sees them."""
    with ExitStack() as stack:

        def client(*, scheme: str = "https", address: str = "192.0.2.7") -> httpx.Client:
            headers = {"Host": NAME, "X-Forwarded-Proto": scheme, "X-Forwarded-For": address}
            return stack.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=20))

        yield client


def sign_in(client: httpx.Client, password: str) -> httpx.Response:
    token = client.get("/admin/login/").cookies["csrftoken"]
    headers = {"Origin": f"https://{NAME}", "Referer": f"https://{NAME}/admin/login/", "Cookie": f"csrftoken={token}"}
    form: dict[str, Any] = {"username": "admin", "password": password, "csrfmiddlewaretoken": token}
    return client.post("/admin/login/?next=/admin/", data=form, headers=headers)


def test_who_comes_over_https_is_kept_there(proxied: Proxied) -> None:
    response = proxied().get("/admin/login/")

    assert response.status_code == 200
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "; Secure" in response.headers["Set-Cookie"]


def test_a_page_moves_to_https_and_the_api_does_not(proxied: Proxied) -> None:
    client = proxied(scheme="http")
    page, api = client.get("/admin/?page=2"), client.get("/api/v1/devices", headers=ADMIN)

    assert (page.status_code, page.headers["Location"]) == (301, f"https://{NAME}/admin/?page=2")
    assert api.status_code == 200
    assert "Strict-Transport-Security" not in api.headers
    assert client.get("/health").status_code == client.get("/metrics", headers=ADMIN).status_code == 200


def test_an_operator_signs_in_without_more_settings(server: Server, proxied: Proxied) -> None:
    response = sign_in(proxied(), server.password())

    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")
    assert "; Secure" in response.headers["Set-Cookie"]


def test_the_address_of_the_next_page_is_that_of_the_proxy(server: Server, proxied: Proxied) -> None:
    for name in ("mote-1", "mote-2"):
        server.register(name)

    following = proxied().get("/api/v1/devices?limit=1", headers=ADMIN).json()["next"]

    assert following.startswith(f"https://{NAME}/api/v1/devices?")


def test_who_guesses_is_locked_out_by_the_address_that_the_proxy_saw(proxied: Proxied) -> None:
    guesser, invented = proxied(), proxied(address="203.0.113.1, 192.0.2.7")
    statuses = [sign_in(guesser, f"wrong-{n}").status_code for n in range(10)]

    assert statuses == [200] * 9 + [429]
    assert sign_in(invented, "wrong").status_code == 429
    assert sign_in(proxied(address="198.51.100.9"), "wrong").status_code == 200


def test_the_log_has_the_client_and_not_the_proxy(server: Server, proxied: Proxied) -> None:
    proxied(address="203.0.113.77").get("/nothing")

    assert "client=203.0.113.77" in server.log.read_text()
