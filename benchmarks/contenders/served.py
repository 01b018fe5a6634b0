"""The contenders that are HTTP servers."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.measuring.load import Target
from benchmarks.measuring.servers import Server

ROOT = Path(__file__).resolve().parent.parent.parent
FLEET_KEY = "fleet-key-of-the-benchmark-0123456789"
OTHERS = ROOT / ".cache" / "benchmarks" / "bin"
POSTGRESQL = "PostgreSQL with fsync and synchronous_commit on"
PORT = 8720
ADMINISTRATION = "host=127.0.0.1 user=postgres dbname=postgres"


@dataclass
class Contender:
    """`targets` are by workload: `single`, `batch` (each of one device), `gateway` (each over all devices)."""

    name: str
    durability: str
    start: Callable[[], Server]
    targets: dict[str, Target]
    database: str = ""  # the product's database, which is verified after the load
    prepare: Callable[[], None] = field(default=lambda: None)


def create_database(name: str) -> None:
    with psycopg.connect(ADMINISTRATION, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")


def drop_database(name: str) -> None:
    with psycopg.connect(ADMINISTRATION, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def python(*arguments: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ | environment, check=True)


SEED = """
import sys
from devices.keys import hash_key, key_hint
from devices.models import Device, DeviceState
pairs = [line.split() for line in open({keys!r})]
Device.objects.bulk_create(
    Device(device_id=name, api_key_hash=hash_key(key), key_hint=key_hint(key)) for name, key in pairs
)
DeviceState.objects.bulk_create(DeviceState(device_id=name) for name, _ in pairs)
"""


def product(folder: Path, keys: Path, bodies: dict[str, Path], *, server: str, sqlite: bool = False) -> Contender:
    """The product, on daphne as `manage.py up` runs it, on uvicorn with one worker, as in docs/operations.md, or on
    Granian, which is not supported.
    """
    database = f"bench_product_{server.lower()}"
    environment = {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "secret-key-of-the-benchmark-0123456789-0123456789",
        "API_SECRET_KEY": "admin-key-of-the-benchmark-0123456789",
        "DEVICE_API_KEYS": FLEET_KEY,
        "CONNECTIONS_PER_ADDRESS": "0",
        "PORT": str(PORT),
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": f"sqlite:///{folder}/product.sqlite3"
        if sqlite
        else f"postgres://postgres@127.0.0.1/{database}",
        "REDIS_URL": "" if sqlite else "redis://127.0.0.1:6379/15",
    }

    def prepare() -> None:
        if not sqlite:
            create_database(database)
        python("manage.py", "migrate", "-v0", environment=environment)
        python("manage.py", "shell", "-v0", "-c", SEED.format(keys=str(keys)), environment=environment)

    application = "telemetry.asgi:application"
    uvicorn = [sys.executable, "-m", "uvicorn", application, "--port", str(PORT), "--no-access-log"]
    uvicorn += [
        "--http",
        "telemetry.server.uvicorn_http:Protocol",
        "--ws",
        "telemetry.server.uvicorn_websockets:Socket",
    ]
    granian = [str(OTHERS / "granian"), "--interface", "asgi", "--port", str(PORT), "--no-access-log", application]
    commands = {
        "daphne": [sys.executable, "manage.py", "up", "--no-demo"],
        "uvicorn": uvicorn,
        "Granian": granian,
        "copied": [],  # only its tables are used
    }

    def start() -> Server:
        return Server(commands[server], port=PORT, log=folder / "product.log", environment=environment)

    gateway = folder / "gateway.key"
    gateway.write_text(f"gateway {FLEET_KEY}\n")
    return Contender(
        f"product on {server}" + (", SQLite" if sqlite else ""),
        "SQLite, WAL, synchronous=FULL" if sqlite else f"{POSTGRESQL}; Redis for the live stream",
        start,
        {
            "single": Target("/api/v1/ingest", keys, bodies["single"]),
            "batch": Target("/api/v1/ingest/batch", keys, bodies["batch"]),
            "gateway": Target("/api/v1/ingest/batch", gateway, bodies["gateway"]),
        },
        database="" if sqlite else database,
        prepare=prepare,
    )


def simple_targets(keys: Path, bodies: dict[str, Path]) -> dict[str, Target]:
    """The addresses of the contenders that are written here."""
    return {
        "single": Target("/readings", keys, bodies["single"]),
        "batch": Target("/readings/batch", keys, bodies["batch"]),
    }


def obvious(folder: Path, keys: Path, bodies: dict[str, Path], *, sqlite: bool = False) -> Contender:
    database = "bench_obvious"
    environment = {"DJANGO_SETTINGS_MODULE": "benchmarks.contenders.obvious.settings", "PYTHONPATH": str(ROOT)}
    environment |= {"BENCH_SQLITE": str(folder / "obvious.sqlite3")} if sqlite else {"BENCH_DATABASE": database}

    def prepare() -> None:
        if not sqlite:
            create_database(database)
        python("-m", "benchmarks.contenders.obvious.seed", str(keys), environment=environment)

    def start() -> Server:
        application = "benchmarks.contenders.obvious.asgi:application"
        command = [sys.executable, "-m", "daphne", "-p", str(PORT), "-v0", application]
        return Server(command, port=PORT, log=folder / "obvious.log", environment=environment)

    return Contender(
        "obvious Django on daphne" + (", SQLite" if sqlite else ""),
        "SQLite, WAL, synchronous=FULL" if sqlite else POSTGRESQL,
        start,
        simple_targets(keys, bodies),
        prepare=prepare,
    )


def bolt(folder: Path, keys: Path, bodies: dict[str, Path]) -> Contender:
    database = "bench_bolt"
    environment = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.contenders.obvious.settings",
        "PYTHONPATH": str(ROOT),
        "BENCH_DATABASE": database,
    }

    def prepare() -> None:
        create_database(database)
        python("-m", "benchmarks.contenders.obvious.seed", str(keys), environment=environment)

    def start() -> Server:
        command = [str(OTHERS / "python"), "-m", "django", "runbolt", "--host", "127.0.0.1", "--port", str(PORT)]
        return Server(
            [*command, "--no-admin"], port=PORT, log=folder / "bolt.log", environment=environment | {"BENCH_BOLT": "1"}
        )

    return Contender(
        "django-bolt",
        f"{POSTGRESQL}; the tables of the obvious Django, pool of 32",
        start,
        simple_targets(keys, bodies),
        prepare=prepare,
    )


def bare(folder: Path, keys: Path, bodies: dict[str, Path], *, server: str) -> Contender:
    """A server by itself, below an application that stores nothing."""
    application = "benchmarks.contenders.bare:application"
    commands = {
        "daphne": [sys.executable, "-m", "daphne", "-p", str(PORT), "-v0", application],
        "uvicorn": [sys.executable, "-m", "uvicorn", "--port", str(PORT), "--no-access-log", application],
        "Granian": [
            str(OTHERS / "granian"),
            "--interface",
            "asgi",
            "--port",
            str(PORT),
            "--no-access-log",
            application,
        ],
    }

    def start() -> Server:
        log = folder / "bare.log"
        return Server(commands[server], port=PORT, log=log, environment={"PYTHONPATH": str(ROOT)})

    return Contender(
        f"nothing on {server}", "stores nothing", start, {"single": Target("/readings", keys, bodies["single"])}
    )


def fastapi(folder: Path, keys: Path, bodies: dict[str, Path]) -> Contender:
    database = "bench_fastapi"
    environment = {"BENCH_DATABASE": database, "BENCH_KEYS": str(keys), "PYTHONPATH": str(ROOT)}

    def start() -> Server:
        application = "benchmarks.contenders.fastapi_app:app"
        command = [str(OTHERS / "uvicorn"), application, "--port", str(PORT), "--no-access-log"]
        return Server(command, port=PORT, log=folder / "fastapi.log", environment=environment)

    return Contender(
        "FastAPI on uvicorn",
        f"{POSTGRESQL}; async SQLAlchemy, asyncpg, pool of 20",
        start,
        simple_targets(keys, bodies),
        prepare=lambda: create_database(database),
    )


INFLUX = """
reporting-disabled = true
bind-address = "127.0.0.1:8721"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
wal-fsync-delay = "0s"
max-series-per-database = 0
[http]
bind-address = "127.0.0.1:8720"
log-enabled = false
[monitor]
store-enabled = false
[logging]
level = "error"
"""


def influxdb(folder: Path, keys: Path, bodies: dict[str, Path]) -> Contender:
    home = folder / "influx"

    def prepare() -> None:
        home.mkdir(exist_ok=True)
        (home / "influxdb.conf").write_text(INFLUX.format(folder=home))

    def start() -> Server:
        return Server(
            ["influxd", "-config", str(home / "influxdb.conf")],
            port=PORT,
            log=folder / "influx.log",
            environment={"HOME": str(home)},
        )

    def target(workload: str) -> Target:
        return Target("/write?db=bench&precision=ns", keys, bodies[f"influx {workload}"], "text/plain")

    targets = {workload: target(workload) for workload in ("single", "batch", "gateway")}
    return Contender("InfluxDB 1.6", "wal-fsync-delay=0 (each write is synced)", start, targets, prepare=prepare)
