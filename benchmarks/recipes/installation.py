"""A server with one device, `demo`, for one recipe."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from benchmarks.measuring.servers import Server
from benchmarks.pages.console import ROOT

ADMIN_KEY = "admin-key-of-the-recipes-0123456789"
FLEET_KEY = "fleet-key-of-the-recipes-0123456789"
WAIT_SECONDS = 60.0
Found = TypeVar("Found")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, find: Callable[[], Found], *, seconds: float = WAIT_SECONDS) -> Found:
    """The first true result of `find`, which may raise OSError or an httpx error until then. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := find():
                return found
        except (OSError, httpx.HTTPError):
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


class Installation:
    """Runs `manage.py up` on SQLite in `folder`. `stop` and `start` restart it on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port = free_port()
        self.mqtt_port = free_port()
        environment = {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": "secret-key-of-the-recipes-0123456789-0123456789",
            "API_SECRET_KEY": ADMIN_KEY,
            "DEVICE_API_KEYS": FLEET_KEY,
            "PORT": str(port),
            "MQTT_PORT": str(self.mqtt_port),
            "DOORS": "influx,mqtt,lorawan,thingsboard",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_URL": "",
        }
        self.manage = [str(ROOT / ".venv" / "bin" / "python"), str(ROOT / "manage.py")]
        self.server = Server(
            [*self.manage, "up", "--no-demo"], port=port, log=folder / "server.log", environment=environment
        )
        self.url = self.server.url
        self.key = ""

    def __enter__(self) -> Self:
        self.start()
        try:
            self.key = self.register("demo")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.server.__enter__()
        self.running = True

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.server.__exit__()

    def register(self, device_id: str) -> str:
        """Registers a device; returns its key."""
        document = {"device_id": device_id}
        device = httpx.post(f"{self.url}/api/v1/devices", json=document, headers={"X-API-Key": ADMIN_KEY})
        return str(device.raise_for_status().json()["api_key"])

    def post(self, **reading: float) -> None:
        """Stores a reading of the device."""
        httpx.post(f"{self.url}/api/v1/ingest", json=reading, headers={"X-API-Key": self.key}).raise_for_status()

    def import_history(self, csv: str) -> None:
        """Stores the rows of a CSV file with the header `device_id,timestamp,…`."""
        file = self.folder / "history.csv"
        file.write_text(csv)
        command = [*self.manage, "import_readings", str(file)]
        subprocess.run(command, env=self.server.environment, check=True, capture_output=True)

    def readings(self, device_id: str = "demo") -> list[dict[str, Any]]:
        """All stored readings of a device, oldest first."""
        answer = httpx.get(
            f"{self.url}/api/v1/devices/{device_id}/history",
            params={"order": "asc", "limit": 10_000},
            headers={"X-API-Key": ADMIN_KEY},
        )
        results: list[dict[str, Any]] = answer.raise_for_status().json()["results"]
        return results
