"""Limits of a connection, one by one; `test_connection_limits.py` tests them on real servers."""

import resource
import socket
from collections.abc import Iterator

import pytest

from telemetry.server import connections, files
from telemetry.server.connections import Addresses, Phase, Progress, counted_as
from telemetry.server.pacing import bytes_acknowledged

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    counted_as.cache_clear()
    yield
    counted_as.cache_clear()


def at(phase: Phase, *, received: int = 0) -> Progress:
    progress = Progress()
    progress.enter(phase)
    progress.received = received
    return progress


@pytest.mark.parametrize(
    ("phase", "received", "seconds", "overdue"),
    [
        (Phase.OPENED, 0, 9.9, False),
        (Phase.OPENED, 0, 10.1, True),
        (Phase.HEAD, 0, 10.1, True),
        (Phase.BODY, 0, 9.9, False),
        (Phase.BODY, 10 * 1024, 10.1, True),
        (Phase.BODY, 11 * 1024, 10.1, False),
        (Phase.BODY, 1024 * 1024, 1000.0, False),
        (Phase.BODY, 1024 * 1024, 1025.0, True),
        (Phase.ANSWER, 0, 10_000.0, False),
        (Phase.IDLE, 0, 59.9, False),
        (Phase.IDLE, 0, 60.1, True),
    ],
)
def test_each_part_of_a_request_has_its_deadline(phase, received, seconds, overdue):
    progress = at(phase, received=received)

    assert progress.overdue(progress.since + seconds) is overdue


def test_the_first_head_counts_from_accept_and_the_next_from_its_first_byte():
    progress = Progress()
    progress.since -= 8
    progress.begin()
    assert progress.overdue(progress.since + 10.1)

    progress.enter(Phase.IDLE)
    progress.since -= 50
    progress.begin()
    assert not progress.overdue(progress.since + 9.9)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="no TCP_INFO")
def test_a_client_that_reads_is_told_from_one_that_does_not():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            before = bytes_acknowledged(server)
            server.sendall(b"x" * 1000)
            client.recv(1000)
            assert before is not None
            assert bytes_acknowledged(server) == before + 1000

            progress = Progress()
            assert not progress.stalled(server, 0.0)
            assert not progress.stalled(server, 30.0)
            assert progress.stalled(server, 30.1)
            server.sendall(b"x")
            client.recv(1)
            assert not progress.stalled(server, 31.0)
            assert not progress.stalled(server, 61.0)


def test_what_is_no_tcp_connection_has_no_acknowledgements():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert bytes_acknowledged(ours) is None


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("10.0.0.9", ""),
        ("::ffff:10.0.0.9", ""),
        ("", ""),
    ],
)
def test_trusted_proxies_and_unix_sockets_are_not_counted(settings, peer, counted):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "unix"]

    assert counted_as(peer) == counted


def test_an_address_has_so_many_connections_and_no_more(settings):
    settings.CONNECTIONS_PER_ADDRESS = 2
    addresses = Addresses()

    assert addresses.admit("192.0.2.7", 3) is addresses.admit("192.0.2.7", 3) is None
    refusal = addresses.admit("192.0.2.7", 3)
    assert refusal is not None
    assert refusal.status == 503
    assert "CONNECTIONS_PER_ADDRESS" in refusal.detail
    assert addresses.admit("192.0.2.8", 3) is None

    addresses.release("192.0.2.7")
    assert addresses.admit("192.0.2.7", 3) is None
    for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8", ""):
        addresses.release(address)
    assert not addresses.open


def test_without_a_limit_an_address_has_any_number(settings):
    settings.CONNECTIONS_PER_ADDRESS = 0
    addresses = Addresses()

    assert all(addresses.admit("192.0.2.7", 3) is None for _ in range(1000))


def test_the_last_files_are_kept_free_and_the_log_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(files.scarcity, "last", None)

    assert not files.files_are_scarce(1024 - files.RESERVED_FILES - 1)
    assert all(files.files_are_scarce(descriptor) for descriptor in range(1024 - files.RESERVED_FILES, 1024))
    assert len(caplog.records) == 1
    assert "LimitNOFILE" in caplog.text
    assert Addresses().admit("192.0.2.7", 1000) is connections.TOO_FEW_FILES


def test_the_soft_limit_of_files_is_raised_to_the_hard_one_and_not_beyond_the_units(monkeypatch):
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: limits.update(now=wanted))

    files.raise_file_limit()
    assert limits["now"] == (4096, 4096)
    limits["now"] = (1024, resource.RLIM_INFINITY)
    files.raise_file_limit()
    assert limits["now"] == (files.FILES_MAX, resource.RLIM_INFINITY)
    limits["now"] = (100_000, 200_000)
    files.raise_file_limit()
    assert limits["now"] == (100_000, 200_000)


def test_the_unit_has_the_same_limit_of_files(settings):
    unit = (settings.BASE_DIR / "docs" / "deployment" / "telemetry-web@.service").read_text()

    assert f"LimitNOFILE={files.FILES_MAX}\n" in unit
