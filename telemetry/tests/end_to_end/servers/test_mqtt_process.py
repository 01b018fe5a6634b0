"""`manage.py mqtt` as a process of its own: TLS, a stop under load, and a database that hangs."""

import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection

from telemetry.tests.support.servers.certificates import write_certificate
from telemetry.tests.support.servers.hanging_proxy import HangingProxy
from telemetry.tests.support.servers.server import ADMIN_KEY, Server, free_port

pytestmark = [pytest.mark.e2e]
mqtt = pytest.importorskip("paho.mqtt.client")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("mqtt-process")) as running:
        yield running


@contextmanager
def listening(server: Server, folder: Path, **changes: str):
    """Runs `manage.py mqtt` on the database of the server; yields the process, with its port as `port`."""
    port = free_port()
    environment = server.environment | {"MQTT_PORT": str(port)} | changes
    log = folder / "mqtt.log"
    with log.open("w") as output:
        process: Any = subprocess.Popen(
            [sys.executable, "manage.py", "mqtt"], env=environment, stdout=output, stderr=output, cwd=settings.BASE_DIR
        )
    process.port, process.log = port, log
    try:
        deadline = time.monotonic() + 30
        while "Listening" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(20)


class Device:
    """Publishes readings, each with an id, and remembers which were acknowledged."""

    def __init__(self, name: str, key: str, port: int, certificate: Path | None = None) -> None:
        self.name, self.sent = name, dict[int, str]()
        self.numbers, self.connected = list[int](), threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name)
        self.client.username_pw_set(name, key)
        if certificate is not None:
            self.client.tls_set(str(certificate))
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_publish = lambda _client, _userdata, number, *_: self.numbers.append(number)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(100)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.connected.wait(10)

    @property
    def acknowledged(self) -> set[str]:
        return {self.sent[number] for number in list(self.numbers)}

    def publish(self, count: int) -> None:
        for _ in range(count):
            identifier = str(uuid.uuid4())
            document = json.dumps({"id": identifier, "co2": 1})
            self.sent[self.client.publish(f"telemetry/{self.name}/readings", document, qos=1).mid] = identifier

    def wait_for(self, count: int, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while len(self.numbers) < count:
            assert time.monotonic() < deadline, f"{len(self.numbers)} of {count} were acknowledged"
            time.sleep(0.02)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_tls_and_the_metrics_of_the_process(server, tmp_path):
    certificate, key = write_certificate(tmp_path)
    tls, metrics = free_port(), free_port()
    names = {"MQTT_TLS_PORT": tls, "MQTT_TLS_CERT": certificate, "MQTT_TLS_KEY": key, "MQTT_METRICS_PORT": metrics}
    with listening(server, tmp_path, **{name: str(value) for name, value in names.items()}):
        device = Device("secure", server.register("secure"), tls, certificate)
        device.publish(10)
        device.wait_for(10)
        device.close()
        address = f"http://127.0.0.1:{metrics}"
        assert httpx.get(f"{address}/metrics").status_code == 401
        text = httpx.get(f"{address}/metrics", headers={"X-API-Key": ADMIN_KEY}).text
        assert 'telemetry_door_readings_total{door="mqtt",outcome="stored"} 10.0' in text
        assert 'telemetry_mqtt_messages_total{outcome="stored"} 10.0' in text
        assert httpx.get(f"{address}/health/live").text == "ok\n"
    assert sorted(server.log_of("secure")) == sorted(device.acknowledged)


def test_a_stop_under_load_acknowledges_what_is_stored_and_loses_nothing(server, tmp_path):
    key = server.register("loaded")
    with listening(server, tmp_path) as process:
        device = Device("loaded", key, process.port)
        device.publish(3000)
        device.wait_for(300)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.wait(20) == 0
        assert time.monotonic() - started < 16
        before = len(device.acknowledged)
        assert set(server.log_of("loaded")) >= device.acknowledged
        assert before < 3000
    with listening(server, tmp_path, MQTT_PORT=str(process.port)):
        device.wait_for(3000)
    device.close()
    assert sorted(server.log_of("loaded")) == sorted(device.acknowledged)


@pytest.mark.postgresql
def test_a_database_that_hangs_delays_acknowledgements_and_nothing_is_lost(server, tmp_path):
    """Its connections pass no byte any more, in either direction; new ones work, as after a failover."""
    entry = connection.settings_dict
    key = server.register("hung")
    with HangingProxy(int(entry["PORT"] or 5432)) as proxy:
        url = f"{proxy.url.rpartition('/')[0]}/{server.database}"
        with listening(server, tmp_path, DATABASE_URL=url) as process:
            device = Device("hung", key, process.port)
            device.publish(200)
            device.wait_for(200)
            assert proxy.hang()
            device.publish(200)
            device.wait_for(400, seconds=40)
            device.close()
        proxy.forget()
    assert sorted(server.log_of("hung")) == sorted(device.acknowledged)
