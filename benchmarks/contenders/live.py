"""The contenders of `benchmarks.live`: the product and the stock Channels way, each on daphne and uvicorn."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.served import FLEET_KEY, ROOT, SEED, create_database, python
from benchmarks.measuring.servers import Server

PORT = 8750
REDIS_PORT = 8751
DATABASE = "bench_live"
ADMIN_KEY = "admin-key-of-the-benchmark-0123456789"
REDIS = f"redis://127.0.0.1:{REDIS_PORT}/0"
PRODUCT = {
    "ENV_FILE": os.devnull,
    "SECRET_KEY": "secret-key-of-the-benchmark-0123456789-0123456789",
    "API_SECRET_KEY": ADMIN_KEY,
    "DEVICE_API_KEYS": FLEET_KEY,
    "CONNECTIONS_PER_ADDRESS": "0",
    "PORT": str(PORT),
    "LOG_LEVEL": "WARNING",
    "DATABASE_URL": f"postgres://postgres@127.0.0.1/{DATABASE}",
    "REDIS_URL": REDIS,
}


@dataclass(frozen=True)
class Contender:
    """A POST to `post` with `key` creates a reading, which sockets at `watch` receive."""

    name: str
    watch: str
    post: str
    key: str
    start: Callable[[], Server]


def redis(folder: Path) -> Server:
    """A Redis for the benchmark, without persistence."""
    command = ["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Server(command, port=REDIS_PORT, log=folder / "redis.log", environment={})


def prepare(keys: Path) -> None:
    """Creates the product's database, with a device for each line of `keys`."""
    create_database(DATABASE)
    python("manage.py", "migrate", "-v0", environment=PRODUCT)
    python("manage.py", "shell", "-v0", "-c", SEED.format(keys=str(keys)), environment=PRODUCT)


def product(folder: Path, server: str, key: str) -> Contender:
    uvicorn = ["-m", "uvicorn", "telemetry.asgi:application", "--port", str(PORT), "--no-access-log"]
    uvicorn += [
        "--http",
        "telemetry.server.uvicorn_http:Protocol",
        "--ws",
        "telemetry.server.uvicorn_websockets:Socket",
    ]
    command = [sys.executable, *(["manage.py", "up", "--no-demo"] if server == "daphne" else uvicorn)]

    def start() -> Server:
        return Server(command, port=PORT, log=folder / "product.log", environment=PRODUCT)

    watch = "/api/v1/realtime/subscribe/d-0?after=999999999"
    return Contender(f"product on {server}", watch, "/api/v1/ingest", key, start)


def stock(folder: Path, server: str) -> Contender:
    application = "benchmarks.contenders.stock.asgi:application"
    daphne = ["-m", "daphne", "-p", str(PORT), "-v0", application]
    uvicorn = ["-m", "uvicorn", application, "--port", str(PORT), "--no-access-log", "--log-level", "error"]
    command = [sys.executable, *(daphne if server == "daphne" else uvicorn)]
    environment = {"BENCH_REDIS": REDIS, "PYTHONPATH": str(ROOT)}

    def start() -> Server:
        return Server(command, port=PORT, log=folder / "stock.log", environment=environment)

    return Contender(f"stock way on {server}", "/live", "/readings", "", start)
