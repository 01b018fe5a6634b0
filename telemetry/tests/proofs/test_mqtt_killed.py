"""The server is killed under MQTT with QoS 1: what it acknowledged is stored, once."""

import json
import os
import random
import threading
import time
import uuid
from collections import deque
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.fleet import Verdict
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server, free_port

pytestmark = pytest.mark.prove

TIMES = int(os.environ.get("MQTT_KILLS", "50"))
DEVICES = 8
# Messages that a device sends before it waits for acknowledgements.
UNACKNOWLEDGED_MAX = 50


class Device:
    """Publishes readings with ids, and sends them again after a new connection, as paho-mqtt does by itself."""

    def __init__(self, name: str, key: str, port: int, version: MQTTProtocolVersion) -> None:
        self.name = name
        self.sent: deque[tuple[MQTTMessageInfo, str]] = deque()
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=version)
        self.client.username_pw_set(name, key)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(UNACKNOWLEDGED_MAX)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stopping.is_set():
            self.collect()
            if len(self.sent) >= UNACKNOWLEDGED_MAX or not self.client.is_connected():
                time.sleep(0.002)
                continue
            identifier = str(uuid.uuid4())
            document = json.dumps({"id": identifier, "co2": 1})
            message = self.client.publish(f"telemetry/{self.name}/readings", document, qos=1)
            if message.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
                message.rc = MQTTErrorCode.MQTT_ERR_SUCCESS  # it is kept and sent later
            self.sent.append((message, identifier))

    def collect(self) -> None:
        """Moves what is acknowledged. Acknowledgements come in the order of the messages."""
        while self.sent and self.sent[0][0].is_published():
            self.acknowledged.append(self.sent.popleft()[1])

    def finish(self) -> None:
        """Publishes nothing more, and waits until all is acknowledged."""
        self.stopping.set()
        self.thread.join(10)
        deadline = time.monotonic() + 60
        while self.sent and time.monotonic() < deadline:
            self.collect()
            time.sleep(0.02)
        self.client.disconnect()
        self.client.loop_stop()


def test_the_server_is_killed_under_mqtt(tmp_path: Path, record: Record) -> None:
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        server.process.kill()
        server.process.wait()
        port = free_port()
        server.environment["MQTT_PORT"] = str(port)
        server.start()
        devices = []
        for number in range(DEVICES):
            name = f"mqtt-{number}"
            version = MQTTProtocolVersion.MQTTv5 if number % 2 else MQTTProtocolVersion.MQTTv311
            devices.append(Device(name, server.register(name), port, version))
        try:
            for _ in range(TIMES):
                time.sleep(random.uniform(1.2, 2.2))  # paho-mqtt connects again after a second
                server.process.kill()
                server.process.wait()
                server.start()
        finally:
            for device in devices:
                device.finish()
        lost = doubled = acknowledged = 0
        for device in devices:
            ids = server.log_of(device.name)
            lost += len(set(device.acknowledged) - set(ids))
            doubled += len(ids) - len(set(ids))
            acknowledged += len(device.acknowledged)
            assert not device.sent, "messages were not acknowledged after the last start"
    verdict = Verdict(acknowledged, lost, doubled, 0)
    record("MQTT, QoS 1: SIGKILL", times=TIMES, verdict=verdict, seen="paho-mqtt with 3.1.1 and 5; ids; sent again")
