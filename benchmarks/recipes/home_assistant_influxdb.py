"""Home Assistant's own integration `influxdb`: each change of a sensor becomes a reading, over both versions."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.recipes.documents import blocks, replaced
from benchmarks.recipes.home_assistant import INSTALL, started, token
from benchmarks.recipes.installation import FLEET_KEY, Installation, free_port, wait_for
from benchmarks.recipes.software import output, program

HTTP = """
http:
  server_host: 127.0.0.1
  server_port: {port}
"""
SENSOR = "living_room_temperature"
# A name that ends with digits, of which the integration makes a number.
ATTRIBUTES = {"unit_of_measurement": "°C", "device_class": "temperature", "friendly_name": "Living room DHT22"}


def run(installation: Installation, folder: Path) -> str:
    hass = program("hass", install=INSTALL)
    version_2, version_1 = blocks("doors.md", "Home Assistant")
    (of_a_device,) = blocks("connect.md", "Home Assistant (InfluxDB)")
    installation.register(SENSOR)
    fleet = '"the fleet key"', f'"{FLEET_KEY}"'
    for name, configuration, device_id, metric, temperature in (
        ("version-2", replaced(version_2, fleet), SENSOR, "sensor__temperature", 19.25),
        ("version-1", replaced(version_1, fleet), SENSOR, "c", 20.5),
        ("device", replaced(of_a_device, ("tlm_…", installation.key)), "demo", f"sensor_{SENSOR}", 21.75),
    ):
        (folder / name).mkdir()
        reading = reading_of_a_change(
            hass, folder / name, installation, configuration, device_id=device_id, metric=metric, value=temperature
        )
        if extra := reading.keys() - {"id", "seq", "timestamp", metric}:
            raise RuntimeError(f"{name}: more than the sensor's value is stored: {', '.join(sorted(extra))}")
        if abs(datetime.fromisoformat(reading["timestamp"]) - datetime.now(UTC)) > timedelta(minutes=1):
            raise RuntimeError(f"{name}: the time is {reading['timestamp']}")
    return f"Home Assistant {output(hass, '--version').strip()}"


def reading_of_a_change(
    hass: str,
    folder: Path,
    installation: Installation,
    configuration: str,
    *,
    device_id: str,
    metric: str,
    value: float,
) -> dict[str, Any]:
    """Starts Home Assistant, changes a sensor to this value, and returns the reading that it stores with it."""
    port, here = free_port(), installation.url.rpartition(":")[2]
    text = replaced(configuration, ("port: 8000", f"port: {here}")) + HTTP.format(port=port)
    (folder / "configuration.yaml").write_text(text)
    with started(hass, folder, port=port) as server:
        headers = {"Authorization": f"Bearer {token(server.url)}"}

        def is_ready() -> bool:
            """Whether it is set up: changes before that are not written."""
            return "influxdb" in httpx.get(f"{server.url}/api/config", headers=headers).json()["components"]

        wait_for("the integration influxdb", is_ready)
        change = {"state": str(value), "attributes": ATTRIBUTES}
        httpx.post(f"{server.url}/api/states/sensor.{SENSOR}", json=change, headers=headers).raise_for_status()
        found = wait_for(
            f"a reading with {metric}",
            lambda: [one for one in installation.readings(device_id) if one.get(metric) == value],
        )
    if errors := re.findall(r"(?:ERROR|WARNING) .*influxdb.*", (folder / "hass.log").read_text()):
        raise RuntimeError("\n".join(errors))
    return found[0]
