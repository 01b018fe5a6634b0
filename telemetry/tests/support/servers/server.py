"""A server for tests: `manage.py up` in a process, with a private database, on a free port."""

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from django.conf import settings
from django.db import connection

from telemetry.tests.support.servers.template import administer, copy_database, create_database, server_url

ADMIN_KEY = "admin-key-of-the-server-0123456789"
FLEET_KEY = "fleet-key-of-the-server-0123456789"
START_SECONDS = 60
# On SQLite a large batch may have to wait for maintenance, which takes long on a busy machine.
BUSY_SECONDS_MAX = 120
# For slow tests that depend on the server and on the database, but not on their combination: both servers on SQLite,
# uvicorn on PostgreSQL. `make prove` has every combination.
UVICORN = [pytest.param(False, marks=pytest.mark.once, id="daphne"), pytest.param(True, id="uvicorn")]


class Server:
    """Uses the stack of the test run: PostgreSQL and Redis if DATABASE_URL says so, else SQLite."""

    def __init__(
        self,
        folder: Path,
        *,
        demo: bool = False,
        beside: "Server | None" = None,
        database_url: str = "",
        redis_url: str | None = None,
        uvicorn: bool = False,
        migrated: bool = True,
    ) -> None:
        """`beside`: share the database of that server. `database_url`: use this existing database.

        `migrated`: begin with a database that has the schema; otherwise the first start makes it.
        `uvicorn`: run on uvicorn instead of daphne, which `up` uses.
        """
        self.port = free_port()
        self.log = folder / f"server-{self.port}.log"
        self.command = [sys.executable, "manage.py", "up", *([] if demo else ["--no-demo"])]
        if uvicorn:
            self.command = [sys.executable, "-m", "uvicorn", "telemetry.asgi:application", "--port", str(self.port)]
            self.command += [
                "--http",
                "telemetry.server.uvicorn_http:Protocol",
                "--ws",
                "telemetry.server.uvicorn_websockets:Socket",
            ]
            self.command += ["--no-access-log"]
        # uvicorn does neither maintain the database nor prepare it, as `up` does.
        self.maintains = not uvicorn
        self.prepares = uvicorn
        self.migrated = migrated
        own = not beside and not database_url
        self.database = f"telemetry_server_{uuid.uuid4().hex[:8]}" if own and connection.vendor == "postgresql" else ""
        self.file = folder / "db.sqlite3" if own and not self.database else None
        if (own and migrated) or beside:
            self.prepares = False
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "ENV_FILE": str(folder / ".env"),
            "API_SECRET_KEY": ADMIN_KEY,
            "DEVICE_API_KEYS": FLEET_KEY,
            "CONNECTIONS_PER_ADDRESS": "0",  # all clients of a test have one address
            "PORT": str(self.port),
            "MQTT_PORT": "0",
            "DATABASE_URL": server_url(self.database) if self.database else f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_URL": settings.REDIS_URL if redis_url is None else redis_url,
        }
        if beside or database_url:
            self.environment["DATABASE_URL"] = database_url or beside.environment["DATABASE_URL"]  # type: ignore[union-attr]
        # The channels in Redis are named by it and by the database's name, which private PostgreSQL servers have in
        # common: with one key, tests that run at once would hear each other's devices.
        database = sha256(self.environment["DATABASE_URL"].encode()).hexdigest()
        self.environment["SECRET_KEY"] = f"secret-key-of-the-server-{database}"

    def __enter__(self) -> Self:
        if self.database:
            create_database(self.database, migrated=self.migrated)
        elif self.file and self.migrated and not self.file.exists():
            copy_database(self.file)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        """Starts the server, for the first time or again."""
        if self.prepares:
            prepare = [sys.executable, "manage.py", "migrate", "-v0"]
            subprocess.run(prepare, env=self.environment, cwd=settings.BASE_DIR, check=True)
            self.prepares = False
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, cwd=settings.BASE_DIR
            )
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"The server did not start:\n{self.log.read_text()}")

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.database:
            administer(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")

    def register(self, device_id: str) -> str:
        """Registers a device and returns its key."""
        response = httpx.post(
            f"{self.url}/api/v1/devices", json={"device_id": device_id}, headers={"X-API-Key": ADMIN_KEY}
        )
        return str(response.json()["api_key"])

    def post_batch(self, content: bytes, *, key: str, **headers: str) -> None:
        """Stores a JSON array of readings. While the server is busy (503), it posts again, for BUSY_SECONDS_MAX."""
        deadline = time.monotonic() + BUSY_SECONDS_MAX
        headers = {"X-API-Key": key, "Content-Type": "application/json", **headers}
        while True:
            answer = httpx.post(f"{self.url}/api/v1/ingest/batch", content=content, headers=headers, timeout=60)
            if answer.status_code != 503:
                assert answer.status_code == 201, answer.text
                return
            assert time.monotonic() < deadline, answer.text

    def log_of(self, device_id: str) -> list[str]:
        """The ids of the device's log, oldest first; asserts that it is dense from 1 and has no id twice."""
        url: str | None = f"{self.url}/api/v1/devices/{device_id}/history?order=asc&limit=10000"
        readings: list[dict[str, Any]] = []
        while url:
            page = httpx.get(url, headers={"X-API-Key": ADMIN_KEY}, timeout=30).json()
            readings += page["results"]
            url = page["next"]
        assert sorted(reading["seq"] for reading in readings) == list(range(1, len(readings) + 1))
        ids = [reading["id"] for reading in readings]
        assert len(ids) == len(set(ids))
        return ids

    def printed(self, pattern: str) -> str:
        """The group of `pattern` in the server's output."""
        match = re.search(pattern, self.log.read_text())
        assert match, self.log.read_text()
        return match[1]

    def password(self) -> str:
        """The first account's password, which the server prints once."""
        return self.printed(r"Password\s+(\S+)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
