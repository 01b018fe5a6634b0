"""MQTT against a real server, with real clients."""

import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from realtime.pages.markdown import snippets
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


def snippet(server, title, device_id, key):
    """The code for a device on the page after it was added. The settings here have the default port."""
    found = snippets(address=server.url, key=key, device_id=device_id)
    code = next(one.code for one in found if one.title == title)
    return re.sub(r"\b1883\b", str(server.mqtt_port), code)


def values_of(server, device_id):
    history = httpx.get(f"{server.url}/api/v1/devices/{device_id}/history", headers=ADMIN).json()["results"]
    return [reading.get("temperature") for reading in history]


def wait_for_values(server, device_id, values):
    deadline = time.monotonic() + 10
    while values_of(server, device_id) != values:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.1)


@pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="mosquitto_pub is not installed")
def test_the_code_for_mosquitto_pub_works(server):
    code = snippet(server, "MQTT", "shell", server.register("shell"))
    subprocess.run(["bash", "-c", code], check=True, timeout=10)
    assert values_of(server, "shell") == [21.5]


def test_the_code_for_python_works(server, tmp_path):
    program = tmp_path / "device.py"
    program.write_text(snippet(server, "MQTT with Python", "python", server.register("python")))
    running = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.DEVNULL)
    try:
        wait_for_values(server, "python", [21.5])
    finally:
        running.kill()
        running.wait()


def test_what_tasmota_sends_after_its_line_is_stored(server):
    """The values of the line are used as Tasmota uses them; the messages are Tasmota's."""
    line = snippet(server, "Tasmota", "plug", server.register("plug")).removeprefix("Backlog ")
    options = dict(command.split(" ", 1) for command in line.split("; "))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "DVES_1A2B3C", protocol=mqtt.MQTTv311)
    client.username_pw_set(options["MqttUser"], options["MqttPassword"])
    client.will_set("tele/tasmota_1A2B3C/LWT", "Offline", qos=1, retain=True)
    client.connect(options["MqttHost"], int(options["MqttPort"]))
    client.loop_start()
    client.subscribe([("cmnd/tasmota_1A2B3C/#", 0), ("cmnd/tasmotas/#", 0), ("cmnd/DVES_1A2B3C_fb/#", 0)])
    client.publish("tele/tasmota_1A2B3C/LWT", "Online", retain=True)
    client.publish("cmnd/tasmota_1A2B3C/POWER", "")
    document = '{"Time":"2026-01-01T00:00:00","SI7021":{"Temperature":21.5,"Humidity":40.1},"TempUnit":"C"}'
    client.publish("tele/tasmota_1A2B3C/SENSOR", document)
    deadline = time.monotonic() + 10
    while not server.log_of("plug"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    latest = httpx.get(f"{server.url}/api/v1/devices/plug/latest", headers=ADMIN).json()["values"]
    assert {name: value["value"] for name, value in latest.items()} == {
        "si7021_temperature": 21.5,
        "si7021_humidity": 40.1,
    }
    client.disconnect()
    client.loop_stop()


def test_what_esphome_sends_with_its_configuration_is_stored(server):
    options = yaml.safe_load(snippet(server, "ESPHome with MQTT", "esp", server.register("esp")))["mqtt"]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "esp-a1b2c3", protocol=mqtt.MQTTv311)
    client.username_pw_set(options["username"], options["password"])
    prefix = options["topic_prefix"]
    client.will_set(f"{prefix}/status", "offline", retain=True)
    client.connect(options["broker"], options["port"], keepalive=15)
    client.loop_start()
    client.publish(f"{prefix}/status", "online", retain=True)
    client.publish(f"{prefix}/debug", "[I][app:102]: ESPHome")
    client.publish(f"{prefix}/sensor/temperature/state", "21.5", retain=True)
    wait_for_values(server, "esp", [21.5])
    client.disconnect()
    client.loop_stop()


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
