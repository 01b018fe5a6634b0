"""MQTT against a real server, with real clients."""

import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server, free_port

pytestmark = [pytest.mark.e2e]
mqtt = pytest.importorskip("paho.mqtt.client")
ADMIN = {"X-API-Key": ADMIN_KEY}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running: Any = Server(tmp_path_factory.mktemp("mqtt"))
    running.mqtt_port = free_port()
    running.environment["MQTT_PORT"] = str(running.mqtt_port)
    with running:
        yield running


def client_of(server, device_id, key, version, on_disconnect=None):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, device_id, protocol=version)
    client.username_pw_set(device_id, key)
    ready = threading.Event()
    client.on_connect = lambda *_: ready.set()
    client.on_disconnect = on_disconnect
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    assert ready.wait(10)
    return client


@pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5])
def test_what_paho_has_acknowledged_is_stored_once(server, version):
    device_id = f"paho-{version}"
    client = client_of(server, device_id, server.register(device_id), version)
    sent = [client.publish(f"telemetry/{device_id}/readings", '{"co2":1}', qos=1) for _ in range(200)]
    for message in sent:
        message.wait_for_publish(10)
    assert len(server.log_of(device_id)) == 200
    client.disconnect()
    client.loop_stop()


@pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="mosquitto_pub is not installed")
def test_mosquitto_pub_stores_a_reading_before_it_ends(server):
    key = server.register("pub")
    command = ["mosquitto_pub", "-p", str(server.mqtt_port), "-u", "pub", "-P", key, "-q", "1"]
    subprocess.run([*command, "-t", "telemetry/pub/temperature", "-m", "21.5"], check=True, timeout=10)
    assert len(server.log_of("pub")) == 1


@pytest.mark.skipif(not shutil.which("mosquitto"), reason="mosquitto is not installed")
def test_mosquitto_bridges_to_the_server(server, tmp_path: Path):
    server.register("bridged")
    port = free_port()
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nconnection out\naddress 127.0.0.1:{server.mqtt_port}\n"
        f"remote_username gateway\nremote_password {FLEET_KEY}\ntopic telemetry/# out 1\n"
    )
    broker = subprocess.Popen(["mosquitto", "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        publish = ["mosquitto_pub", "-p", str(port), "-t", "telemetry/bridged/readings", "-m", '{"co2":1}', "-q", "1"]
        while subprocess.run(publish, stderr=subprocess.DEVNULL).returncode and time.monotonic() < deadline:
            time.sleep(0.2)
        while not server.log_of("bridged") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(server.log_of("bridged")) == 1
    finally:
        broker.kill()
        broker.wait()


def test_a_deactivated_device_is_disconnected_within_a_second_and_a_will_makes_it_offline(server):
    key = server.register("leaver")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "leaver", protocol=mqtt.MQTTv5)
    client.username_pw_set("leaver", key)
    client.will_set("telemetry/leaver/status", "offline")
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    client.publish("telemetry/leaver/readings", '{"co2":1}', qos=1).wait_for_publish(10)
    url = f"{server.url}/api/v1/devices/leaver"
    assert httpx.get(url, headers=ADMIN).json()["status"] == "online"
    client.loop_stop()
    client.socket().close()
    deadline = time.monotonic() + 5
    while httpx.get(url, headers=ADMIN).json()["status"] != "offline":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    gone = threading.Event()
    client = client_of(server, "leaver", key, mqtt.MQTTv5, lambda *_: gone.set())
    time.sleep(1)
    httpx.patch(url, json={"is_active": False}, headers=ADMIN)
    assert gone.wait(1.2)
    client.disconnect()
    client.loop_stop()
