"""Other stores with the same readings, in line protocol: the bytes that they take."""

import shutil
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.contenders.served import INFLUX
from benchmarks.measuring.servers import Server
from benchmarks.storage.stores import PORT

LINES = 20_000
SETTLE_SECONDS = 15


def influxdb(folder: Path, lines: Iterable[bytes]) -> float | None:
    """Bytes of the data files of an InfluxDB with these lines, after its writes are compacted; None: not installed."""
    if not shutil.which("influxd"):
        return None
    soon = '[data]\ncache-snapshot-write-cold-duration = "2s"\ncompact-full-write-cold-duration = "4s"\n'
    configuration = INFLUX.format(folder=folder).replace("[data]\n", soon)
    configuration = configuration.replace(":8720", f":{PORT + 1}").replace(":8721", f":{PORT + 2}")
    (folder / "influxdb.conf").write_text(configuration)
    command = ["influxd", "-config", str(folder / "influxdb.conf")]
    with Server(command, port=PORT + 1, log=folder / "log", environment={"HOME": str(folder)}) as server:
        time.sleep(2)
        post(server, "/query?q=CREATE+DATABASE+bench", [])
        write(server, lines)
        return settled(folder / "data", "*.tsm")


def victoriametrics(folder: Path, lines: Iterable[bytes]) -> float | None:
    """Bytes of the files of a VictoriaMetrics with these lines, after a merge; None: not installed.

    It stores times in milliseconds.
    """
    if not (program := shutil.which("victoria-metrics")):
        return None
    options = {"httpListenAddr": f"127.0.0.1:{PORT + 3}", "storageDataPath": str(folder / "victoria")}
    options |= {"retentionPeriod": "100y", "loggerLevel": "ERROR"}
    command = [program, *(f"-{name}={value}" for name, value in options.items())]
    with Server(command, port=PORT + 3, log=folder / "log", environment={"HOME": str(folder)}) as server:
        write(server, lines)
        for path in ("/internal/force_flush", "/internal/force_merge"):
            urllib.request.urlopen(server.url + path).close()
        return settled(folder / "victoria", "*")


def write(server: Server, lines: Iterable[bytes]) -> None:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == LINES:
            post(server, "/write?db=bench&precision=u", batch)
            batch.clear()
    post(server, "/write?db=bench&precision=u", batch)


def post(server: Server, path: str, lines: Sequence[bytes]) -> None:
    request = urllib.request.Request(server.url + path, b"".join(lines), method="POST")
    with urllib.request.urlopen(request) as response:
        assert response.status in (200, 204)


def settled(folder: Path, pattern: str) -> float:
    """Bytes of the files, when they do not change any more."""

    def size() -> float:
        return float(sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file()))

    previous, now = -1.0, size()
    while previous != now:
        time.sleep(SETTLE_SECONDS)
        previous, now = now, size()
    return now
