"""Home Assistant: shows a device's values, and posts the state of a sensor."""

import os
import re
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measuring.servers import Server
from benchmarks.recipes.documents import blocks, filled_in, replaced
from benchmarks.recipes.installation import Installation, free_port, wait_for
from benchmarks.recipes.software import output, program

INSTALL = "python3 -m venv .cache/recipes/home-assistant && .cache/recipes/home-assistant/bin/pip install homeassistant"
# The first start installs what the integrations need.
START_SECONDS = 300.0
# Older versions cannot show a metric that the device never sent, as the recipe says.
AVAILABILITY_FIRST = [2024, 12]
OWN = """
http:
  server_host: 127.0.0.1
  server_port: {port}
template:
  - sensor:
      - name: "Living room"
        state: "19.25"
"""


def token(url: str) -> str:
    """Makes the first account, as a new installation asks for it; returns a token for the API."""
    wait_for("Home Assistant", lambda: httpx.get(f"{url}/manifest.json").is_success)
    client = {"client_id": f"{url}/"}
    account = {"name": "Test", "username": "test", "password": "password-of-the-test", "language": "en"}
    created = httpx.post(f"{url}/api/onboarding/users", json=client | account).raise_for_status().json()
    grant = {"grant_type": "authorization_code", "code": created["auth_code"]}
    return str(httpx.post(f"{url}/auth/token", data=client | grant).raise_for_status().json()["access_token"])


def started(hass: str, folder: Path, *, port: int) -> Server:
    """Home Assistant with the configuration in the folder. It can be used once `token` has an answer."""
    command = [hass, "-c", str(folder)]
    # One directory for all starts of a recipe. It installs packages itself, with the authorities of this machine.
    environment = {name: os.environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if name in os.environ}
    environment["HOME"] = str(folder.parent)
    return Server(command, port=port, log=folder / "hass.log", environment=environment, start_seconds=START_SECONDS)


def run(installation: Installation, folder: Path) -> str:
    hass = program("hass", install=INSTALL)
    version = output(hass, "--version").strip()
    port = free_port()
    (show,) = blocks("recipes.md", "Home Assistant")
    (post,) = blocks("connect.md", "Home Assistant")
    texts = replaced(show, ("scan_interval: 60", "scan_interval: 2")) + post
    configuration = filled_in(texts, url=installation.url, key=installation.key) + OWN.format(port=port)
    (folder / "configuration.yaml").write_text(configuration)

    installation.post(temperature=4.25, age_seconds=3600)
    if [int(part) for part in version.split(".")[:2]] < AVAILABILITY_FIRST:
        installation.post(humidity=90.0, age_seconds=3600)
    with started(hass, folder, port=port) as server:
        headers = {"Authorization": f"Bearer {token(server.url)}"}

        def sensor(metric: str, expected: str) -> Any:
            def state() -> bool:
                answer = httpx.get(f"{server.url}/api/states/sensor.greenhouse_{metric}", headers=headers)
                return bool(answer.is_success and answer.json()["state"] == expected)

            return wait_for(f"{metric} {expected}", state)

        sensor("temperature", "unavailable")  # an hour old
        sensor("humidity", "unavailable")  # never sent, or an hour old too
        installation.post(temperature=21.5)
        installation.post(humidity=40.0)  # the newest reading has no temperature
        sensor("temperature", "21.5")
        sensor("humidity", "40.0")
        wait_for(
            "a reading from Home Assistant",
            lambda: [reading for reading in installation.readings() if reading.get("temperature") == 19.25],
            seconds=90,
        )
    if errors := re.findall(r"ERROR .*(?:rest|automation|template).*", (folder / "hass.log").read_text()):
        raise RuntimeError("\n".join(errors))
    return f"Home Assistant {version}"
