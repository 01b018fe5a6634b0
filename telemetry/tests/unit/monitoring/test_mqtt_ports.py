"""The ports of `manage.py mqtt`: taken ones, the certificate, and the one for metrics."""

import asyncio
import os
import socket
import ssl
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from prometheus_client import CollectorRegistry

from devices.tests.fixtures import ADMIN_KEY
from readings import instruments
from readings.alarms.upkeep.heartbeat import heart
from telemetry.gateway.sharing import Shared
from telemetry.server import metrics_port, mqtt
from telemetry.server.metrics_port import MetricsPort, answer
from telemetry.tests.support.servers.certificates import write_certificate

pytestmark = pytest.mark.once


@pytest.fixture
def taken_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(autouse=True)
def ports(settings, monkeypatch):
    settings.HOST, settings.MQTT_PORT, settings.MQTT_TLS_PORT = "127.0.0.1", 0, 0
    settings.DOORS = ["mqtt"]
    monkeypatch.setattr(heart, "start", lambda: None)
    registry = CollectorRegistry()
    registry.register(instruments.DOOR_READINGS)
    monkeypatch.setattr(metrics_port, "REGISTRY", registry)
    return settings


@pytest.mark.parametrize(("setting", "words"), [("MQTT_PORT", "for MQTT"), ("MQTT_METRICS_PORT", "for metrics")])
def test_a_taken_port_ends_the_command_with_its_name(ports, taken_port, setting, words):
    setattr(ports, setting, taken_port)
    with pytest.raises(CommandError, match=f"Cannot listen {words} on 127.0.0.1:{taken_port}: Address already in use"):
        call_command("mqtt")


def test_without_anything_to_do_the_command_says_what_to_set():
    with pytest.raises(CommandError, match="set MQTT_PORT, MQTT_TLS_PORT or MQTT_BROKER_URL"):
        call_command("mqtt")


def test_beside_http_a_taken_port_is_told_in_one_line_and_is_no_error(ports, taken_port):
    ports.MQTT_PORT = taken_port
    told: list[str] = []

    async def start():
        await mqtt.Listener(Shared()).start_beside(told.append)

    asyncio.run(start())
    (line,) = told
    assert line.startswith(f"Cannot listen for MQTT on 127.0.0.1:{taken_port}: Address already in use. Running without")


@pytest.mark.parametrize("wrong", ["missing", "encrypted", "of another certificate"])
def test_a_certificate_that_cannot_be_used_is_named(ports, tmp_path, wrong):
    certificate, key = write_certificate(tmp_path, password=b"secret" if wrong == "encrypted" else None)
    if wrong == "missing":
        key = tmp_path / "nowhere.pem"
    if wrong == "of another certificate":
        (tmp_path / "other").mkdir()
        _, key = write_certificate(tmp_path / "other")
    ports.MQTT_TLS_PORT, ports.MQTT_TLS_CERT, ports.MQTT_TLS_KEY = 8883, str(certificate), str(key)
    with pytest.raises(mqtt.CannotListen, match="MQTT_TLS_CERT or MQTT_TLS_KEY cannot be read"):
        mqtt.ports()


def test_a_renewed_certificate_is_used_for_new_connections_and_a_broken_one_is_not(
    ports, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(mqtt, "RENEW_SECONDS", 0.01)
    certificate, key = write_certificate(tmp_path)
    ports.MQTT_TLS_PORT, ports.MQTT_TLS_CERT, ports.MQTT_TLS_KEY = 8883, str(certificate), str(key)
    ((_, context),) = mqtt.ports()
    assert context is not None

    async def seen(server: asyncio.Server) -> str:
        port = server.sockets[0].getsockname()[1]
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return ssl.DER_cert_to_PEM_cert(found)

    async def scenario():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        renewing = asyncio.create_task(mqtt.keep_renewing(context))
        assert await seen(server) == certificate.read_text()
        await asyncio.sleep(0)
        write_certificate(tmp_path)
        os.utime(certificate, (1, 1))
        async with asyncio.timeout(5):
            while await seen(server) != certificate.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        used = certificate.read_text()
        certificate.write_text("broken")
        async with asyncio.timeout(5):
            while "The certificate before is used on" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await seen(server) == used
        renewing.cancel()
        server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (f"GET /metrics HTTP/1.1\r\nAuthorization: Bearer {ADMIN_KEY}", 200),
        (f"GET /metrics?a=b HTTP/1.1\r\nX-API-Key: {ADMIN_KEY}", 200),
        ("GET /metrics HTTP/1.1", 401),
        ("GET /metrics HTTP/1.1\r\nX-API-Key: wrong", 401),
        ("GET /health/live HTTP/1.1", 200),
        ("GET / HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("nonsense", 405),
    ],
)
def test_the_port_for_metrics_answers_whoever_has_the_key(request_head, status):
    assert answer(request_head)[0] == status


def test_the_port_for_metrics_counts_readings_by_door_and_ends_slow_clients(ports, monkeypatch):
    monkeypatch.setattr(metrics_port, "SECONDS", 0.05)
    instruments.DOOR_READINGS.labels("mqtt", "stored").inc(0)
    ports.MQTT_METRICS_PORT = 0

    async def scenario():
        port: Any = MetricsPort()
        await port.start()
        address = port.server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"GET /metrics HTTP/1.1\r\nX-API-Key: {ADMIN_KEY}\r\n\r\n".encode())
        text = (await reader.read()).decode()
        assert text.startswith("HTTP/1.1 200 OK\r\n")
        assert 'telemetry_door_readings_total{door="mqtt",outcome="stored"}' in text
        slow, slow_writer = await asyncio.open_connection(*address)
        slow_writer.write(b"GET /metr")
        assert await slow.read() == b""
        for end in (writer, slow_writer):
            end.close()
        port.stop()

    asyncio.run(scenario())
