"""Client libraries of other servers, unmodified: InfluxDB 3, ThingsBoard over MQTT and HTTP, and MQTT.js."""

from pathlib import Path
from typing import Any

from benchmarks.recipes.installation import Installation, wait_for
from benchmarks.recipes.software import FOLDER, NotInstalled, output, program

PIP = "python3 -m venv .cache/recipes/{0} && .cache/recipes/{0}/bin/pip install {1}"

INFLUXDB_3 = """
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from influxdb_client_3 import InfluxDBClient3, Point, WriteOptions, write_client_options

url, key = sys.argv[1:]
measured = datetime.now(UTC) - timedelta(hours=1)
with InfluxDBClient3(host=url, token=key, database="any", org="any") as client:
    client.write(Point("weather").field("temperature", 21.25).field("rssi", -67).time(measured))
    client.write([f"weather humidity={n} {round(measured.timestamp() * 1e9) + n}" for n in (1, 2)])
    try:
        client.write("nonsense")
    except Exception as error:
        assert "partial write" in str(error), error
    else:
        raise SystemExit("an invalid line was accepted")
batches = write_client_options(write_options=WriteOptions(batch_size=500))
with InfluxDBClient3(host=url, token=key, database="any", org="any", write_client_options=batches) as client:
    for n in range(1200):
        client.write(Point("m").field("co2", n).time(measured + timedelta(seconds=n + 1)))
print("influxdb3-python", version("influxdb3-python"))
"""

THINGSBOARD = """
import sys
import time
from importlib.metadata import version
from tb_device_mqtt import TBDeviceMqttClient
from tb_device_http import TBHTTPDevice

url, key, port = sys.argv[1:]
now = round(time.time() * 1000)
client = TBDeviceMqttClient("127.0.0.1", port=int(port), username=key)
client.connect(timeout=10)
deadline = time.monotonic() + 20
while not client.is_connected():
    assert time.monotonic() < deadline
    time.sleep(0.05)
for telemetry in (
    {"temperature": 21.5, "doorOpen": True, "mode": "eco"},
    {"ts": now - 60_000, "values": {"temperature": 20.5}},
    [{"ts": now - 50_000, "values": {"humidity": 40}}, {"ts": now - 40_000, "values": {"humidity": 41}}],
):
    assert client.send_telemetry(telemetry, quality_of_service=1).get() == 0
assert client.send_attributes({"firmware": "1.2", "rssi": -67}, quality_of_service=1).get() == 0
client.request_attributes(["firmware"], callback=print)
client.disconnect()
client.stop()

device = TBHTTPDevice(url, key)
assert device.test_connection()
device.connect()
device.send_attributes({"firmware": "1.2"})
device.send_telemetry({"voltage": 3.75}, queued=False)
device.send_telemetry({"voltage": 3.5})  # from its queue
time.sleep(2)
print("tb-mqtt-client", version("tb-mqtt-client"))
"""

MQTT_JS = """
const mqtt = require("mqtt")
const [port, key] = process.argv.slice(2)
async function publish(version) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    username: "demo", password: key, protocolVersion: version, clientId: `js-${version}`,
    will: {topic: "telemetry/demo/status", payload: "offline", qos: 1},
  })
  const refused = new Promise(resolve => client.on("message", (topic, payload) => resolve(payload.toString())))
  await client.subscribeAsync("telemetry/demo/refused", {qos: 1})
  const sent = Array.from({length: 200}, (_, n) =>
    client.publishAsync("telemetry/demo/readings", JSON.stringify({[`co${version}`]: n}), {qos: 1}))
  await Promise.all(sent)
  const answer = client.publishAsync("telemetry/demo/readings", "nonsense", {qos: 1})
  const failure = await answer.then(() => null, error => error)
  if (version === 5 && !failure) throw new Error("MQTT 5 does not say that the message is refused")
  if (!(await refused).includes("malformed")) throw new Error("The reason is missing")
  await client.endAsync()
}
publish(4).then(() => publish(5)).then(() => console.log("MQTT.js", require("mqtt/package.json").version))
"""


def python_of(name: str, package: str) -> Path:
    """The Python of a virtual environment of its own. Raises NotInstalled."""
    python = FOLDER / name / "bin" / "python"
    if not python.exists():
        raise NotInstalled(f"{package} is not installed: {PIP.format(name, package)}")
    return python


def values_of(installation: Installation, metric: str) -> list[Any]:
    return [reading[metric] for reading in installation.readings() if metric in reading]


def expect(installation: Installation, metric: str, expected: list[float]) -> None:
    """Raises TimeoutError if the stored values of the metric, in the order of their times, do not become these."""
    wait_for(f"{metric} {expected[:5]}", lambda: values_of(installation, metric) == expected, seconds=20)


def influxdb_3(installation: Installation, folder: Path) -> str:
    python = python_of("influxdb3", "influxdb3-python")
    (folder / "client.py").write_text(INFLUXDB_3)
    found = output(python, folder / "client.py", installation.url, installation.key).splitlines()[-1]
    expect(installation, "temperature", [21.25])
    expect(installation, "humidity", [1.0, 2.0])
    expect(installation, "co2", [float(n) for n in range(1200)])
    return found


def thingsboard(installation: Installation, folder: Path) -> str:
    python = python_of("thingsboard", "tb-mqtt-client")
    (folder / "client.py").write_text(THINGSBOARD)
    program_of = (python, folder / "client.py", installation.url, installation.key, str(installation.mqtt_port))
    found = output(*program_of).splitlines()[-1]
    expect(installation, "temperature", [20.5, 21.5])
    expect(installation, "door_open", [1])
    expect(installation, "humidity", [40.0, 41.0])
    expect(installation, "voltage", [3.75, 3.5])
    if values_of(installation, "rssi"):
        raise RuntimeError("An attribute was stored.")
    return found


def mqtt_js(installation: Installation, folder: Path) -> str:
    node = program("node", install="apt-get install nodejs")
    modules = FOLDER / "node_modules"
    if not (modules / "mqtt").exists():
        raise NotInstalled("MQTT.js is not installed: npm install --prefix .cache/recipes mqtt")
    (folder / "client.js").write_text(MQTT_JS)
    command = (node, folder / "client.js", str(installation.mqtt_port), installation.key)
    found = output(*command, NODE_PATH=str(modules)).splitlines()[-1]
    for version in (4, 5):
        expect(installation, f"co{version}", [float(n) for n in range(200)])
    return found
