"""A checkout of the product under test: its server commands, databases and processes."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.measuring.servers import Server
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import free_port

# The checkout's own benchmarks define its uvicorn options and how to register a device.
DESCRIBE = """
import json
from pathlib import Path
from benchmarks.contenders import live, served

def describe(command, *, port, environment, **_):
    print(json.dumps({"command": command, "port": port, "environment": environment, "seed": served.SEED}))

live.Server = describe
live.product(Path("."), "uvicorn", "").start()
"""


@dataclass(frozen=True)
class Stack:
    """`server` is daphne, uvicorn or mqtt. Without `postgresql`: SQLite and the in-memory channel layer."""

    server: str
    postgresql: PostgreSQL | None
    redis_url: str

    def __str__(self) -> str:
        return self.server + ("" if self.postgresql else ", SQLite")


class Checkout:
    """The code in `folder`, run by the virtual environment of the benchmark; `name` is before or after."""

    def __init__(self, name: str, folder: Path, work: Path) -> None:
        self.name, self.folder, self.work = name, folder.resolve(), work
        printed = subprocess.run(
            [sys.executable, "-c", DESCRIBE],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        described: dict[str, Any] = json.loads(printed.splitlines()[-1])
        self.seed: str = described["seed"]
        self.port, self.mqtt_port = free_port(), free_port()
        # The port in its benchmarks may be in use by another benchmark.
        uvicorn = [
            str(self.port) if argument == str(described["port"]) else argument for argument in described["command"]
        ]
        # Because all of the load comes from one address.
        self.settings: dict[str, str] = {
            **described["environment"],
            "PORT": str(self.port),
            "CONNECTIONS_PER_ADDRESS": "2000",
            "MQTT_PORT": str(self.mqtt_port),
        }
        self.commands = {
            "uvicorn": uvicorn,
            "daphne": [sys.executable, "manage.py", "serve"],
            "mqtt": [sys.executable, "manage.py", "mqtt"],
        }

    def database(self, stack: Stack) -> str:
        """The name of the database for one server, so that each server starts with an empty log."""
        return f"bench_{self.name}_{stack.server}"

    def file(self, stack: Stack) -> Path:
        return self.work / f"{self.database(stack)}.sqlite3"

    def environment(self, stack: Stack) -> dict[str, str]:
        if stack.postgresql:
            address = f"postgresql://postgres@127.0.0.1:{stack.postgresql.port}/{self.database(stack)}"
        else:
            address = f"sqlite:///{self.file(stack)}"
        return {**self.settings, "DATABASE_URL": address, "REDIS_URL": stack.redis_url}

    def prepare(self, stack: Stack, keys: Path) -> None:
        """Creates a database with a device for each line of `keys`."""
        if stack.postgresql:
            with psycopg.connect(stack.postgresql.url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {self.database(stack)}")
        self.manage(stack, "migrate", "-v0")
        self.manage(stack, "shell", "-v0", "-c", self.seed.format(keys=str(keys)))

    def manage(self, stack: Stack, *arguments: str) -> str:
        """Runs a management command; returns what it printed."""
        environment = {"PATH": os.environ["PATH"], **self.environment(stack)}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def logs_length(self, stack: Stack) -> int:
        """The number of readings that were ever stored in the database."""
        query = "SELECT sum(last_seq) FROM devices_devicestate"
        if stack.postgresql:
            with psycopg.connect(self.environment(stack)["DATABASE_URL"]) as connection:
                (length,) = connection.execute(query).fetchone() or (0,)
        else:
            with closing(sqlite3.connect(self.file(stack))) as database:
                (length,) = database.execute(query).fetchone()
        return int(length)

    def start(self, stack: Stack) -> Server:
        """Starts the server without maintenance, which would run at random moments and is measured separately."""
        return Server(
            self.commands[stack.server],
            port=self.mqtt_port if stack.server == "mqtt" else self.port,
            log=self.work / f"{self.name}-{stack.server}.log",
            environment=self.environment(stack),
            folder=self.folder,
        )
