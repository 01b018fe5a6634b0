"""Forwarding headers are used if they come from a proxy in TRUSTED_PROXIES, and ignored otherwise."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync

from telemetry.gateway.proxies import TrustedProxies

pytestmark = pytest.mark.once

PEER, CLIENT, OTHER = "10.1.2.3", "192.0.2.7", "198.51.100.9"


def arrives(*headers, trusted=(), peer=PEER, scheme="http", scope_type="http", root_path=""):
    """The scope that the inner application gets."""
    seen = []

    async def application(scope, _receive, _send):
        seen.append(scope)

    scope: Any = {
        "type": scope_type,
        "scheme": scheme,
        "client": (peer, 5000) if peer else None,
        "root_path": root_path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    nothing: Any = None
    async_to_sync(TrustedProxies(application, trusted=trusted))(scope, nothing, nothing)
    return seen[0]


def client(*forwarded, trusted=("10.0.0.0/8",), peer=PEER):
    scope = arrives(*(("x-forwarded-for", value) for value in forwarded), trusted=trusted, peer=peer)
    return scope["client"] and scope["client"][0]


def test_nobody_is_believed_unless_listed():
    scope = arrives(("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https"))

    assert (scope["client"][0], scope["scheme"]) == (PEER, "http")


def test_a_listed_proxy_says_who_calls_and_how():
    scope = arrives(("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https"), trusted=["10.0.0.0/8"])

    assert (scope["client"][0], scope["scheme"]) == (CLIENT, "https")


def test_a_socket_over_tls_is_known_as_one():
    said = ("x-forwarded-proto", "https")

    assert arrives(said, trusted=["10.0.0.0/8"], scope_type="websocket", scheme="ws")["scheme"] == "wss"


def test_what_the_client_wrote_before_the_proxy_is_not_believed():
    assert client(f"127.0.0.1, {OTHER}, {CLIENT}") == CLIENT
    assert client("127.0.0.1", CLIENT) == CLIENT


def test_between_two_proxies_of_ours_the_client_is_who_the_first_saw():
    assert client(f"{OTHER}, {CLIENT}, 10.9.9.9") == CLIENT


def test_whom_the_proxies_alone_have_seen_is_the_first_of_them():
    assert client("10.5.5.5, 10.9.9.9") == "10.5.5.5"


@pytest.mark.parametrize("nonsense", ["", "unknown", "_hidden", "192.0.2.7;", "192.0.2.7 192.0.2.8", "é", "1.2.3"])
def test_what_is_no_address_leaves_the_proxy_as_the_client(nonsense):
    assert client(nonsense) == PEER


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.7:4711", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("::ffff:192.0.2.7", CLIENT),
    ],
)
def test_an_address_may_have_a_port_and_brackets(written, address):
    assert client(written) == address


def test_a_proxy_may_be_one_address_of_either_kind():
    assert client(CLIENT, trusted=["10.1.2.3"]) == CLIENT
    assert client(CLIENT, trusted=["10.1.2.4"]) == PEER
    assert client(CLIENT, trusted=["::1"], peer="::1") == CLIENT
    assert client(CLIENT, trusted=["127.0.0.1"], peer="::ffff:127.0.0.1") == CLIENT


def test_over_a_unix_socket_the_peer_has_no_address_and_is_trusted_by_name():
    assert client(CLIENT, trusted=["unix"], peer=None) == CLIENT
    assert client(CLIENT, trusted=["10.0.0.0/8"], peer=None) is None
    assert client(CLIENT, trusted=["unix"]) == PEER


def test_only_http_and_https_are_schemes():
    for said in ("", "ftp", "wss", "https://"):
        assert arrives(("x-forwarded-proto", said), trusted=["10.0.0.0/8"])["scheme"] == "http"


def test_of_several_schemes_the_nearest_proxy_s_counts():
    assert arrives(("x-forwarded-proto", "https, http"), trusted=["10.0.0.0/8"])["scheme"] == "http"
    assert arrives(("x-forwarded-proto", "http, HTTPS"), trusted=["10.0.0.0/8"])["scheme"] == "https"


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
def test_nothing_of_it_is_left_for_anyone_to_believe(trusted):
    names = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip")
    scope = arrives(*((name, CLIENT) for name in names), ("host", "testserver"), trusted=trusted)

    assert scope["headers"] == [(b"host", b"testserver")]


@pytest.mark.parametrize("scope_type", ["http", "websocket"])
def test_no_client_moves_the_application(scope_type):
    """daphne sets `root_path` from a client's header, `Daphne-Root-Path`."""
    scope = arrives(("daphne-root-path", "/elsewhere"), scope_type=scope_type, root_path="/elsewhere")

    assert scope["root_path"] == ""
    assert scope["headers"] == []


def test_the_application_of_the_server_asks_it_first():
    from telemetry.asgi import application

    assert isinstance(application, TrustedProxies)
