"""`python -m benchmarks.storage.upgrade`: ingest while old readings of an upgraded log are sealed in the background.

python -m benchmarks.storage.upgrade prepare postgresql    fills the database with old readings: five minutes and 2 GB
python -m benchmarks.storage.upgrade measure postgresql    five minutes; deletes the database at the end
python -m benchmarks.storage.upgrade measure sqlite        the same of a file in .cache/benchmarks

Old readings are rows with ids that the server did not derive, as before the upgrade. Devices post single readings at a
constant rate, then as fast as possible, with sealing switched off and with it, in turns. Prints a section for
docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import psycopg
from rich.console import Console

from benchmarks.contenders.served import ROOT, create_database, drop_database
from benchmarks.measuring import report
from benchmarks.storage.stores import DATABASE, Store

console = Console()
FILE = ROOT / ".cache" / "benchmarks" / "upgrade.sqlite3"
DEVICES = 20
POSTING = 50
PER_SECOND = 500
# Devices that post, with the keys of a file.
REGISTER = """
from devices.models import Device
pairs = [Device.objects.register(device_id=f"posting-{{number}}") for number in range({count})]
open({file!r}, "w").write("\\n".join(key for _, key in pairs))
"""
# As days after the upgrade: all old readings count as received then. Five days, because `fill` rolls up at the time of
# the newest reading, a day ago, so that sealing does not trust the clock of today yet and is a day behind.
MARK = """
from datetime import timedelta
from django.utils import timezone
from readings.models import ReceiptMark
from readings.upkeep.sealing import marks
now = timezone.now()
ReceiptMark.objects.all().delete()
print(marks.note(now=now - timedelta(days=5)))
"""


class Posted(NamedTuple):
    """Single readings acknowledged per second, the median and p99 of their milliseconds, and how many were refused."""

    per_second: float
    p50: float
    p99: float
    refused: int


class Beside(NamedTuple):
    """What was posted with sealing off and beside it, and how many old readings were sealed per second meanwhile."""

    without: list[Posted]
    beside: list[Posted]
    sealed_per_second: list[float]


def store_of(name: str) -> Store:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    if name == "sqlite":
        return Store("SQLite", f"sqlite:///{FILE}", FILE)
    return Store("PostgreSQL", f"postgresql://postgres@127.0.0.1/{DATABASE}_upgrade")


def prepare(store: Store, readings: int) -> None:
    if store.file:
        for path in FILE.parent.glob(f"{FILE.name}*"):
            path.unlink()
    else:
        create_database(f"{DATABASE}_upgrade")
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    started = time.monotonic()
    store.fill(end, devices=DEVICES, days=readings // (DEVICES * 1440), client_ids=True)
    console.print(f"{store.name}: filled and rolled up in {time.monotonic() - started:.0f} s")
    store.manage("shell", "--no-imports", "-c", MARK)
    store.manage("shell", "--no-imports", "-c", REGISTER.format(count=POSTING, file=str(keys_of(store))))
    if store.file is None:
        with psycopg.connect(store.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def keys_of(store: Store) -> Path:
    return FILE.with_name(f"upgrade-{store.name}.keys")


def sealed(store: Store) -> tuple[int, int]:
    """How many old readings are sealed, and how many there are."""
    sql = "SELECT sum(sealed_seq), sum(last_seq) FROM devices_devicestate WHERE device_id LIKE 'sensor-%'"
    if store.file:
        with closing(sqlite3.connect(store.file)) as file:
            row = file.execute(sql).fetchone()
    else:
        with psycopg.connect(store.url) as connection:
            row = connection.execute(sql.replace("%", "%%"), []).fetchone()
    assert row
    return int(row[0]), int(row[1])


async def post(port: int, keys: Sequence[str], *, per_second: float | None, seconds: float) -> Posted:
    """Posts over a connection for each key. `per_second` of all; None: each as soon as the one before is answered."""
    took: list[float] = []
    refused = 0
    end = time.monotonic() + seconds

    async def device(key: str, place: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        interval = len(keys) / per_second if per_second else 0.0
        due = time.monotonic() + interval * place / len(keys)
        while (now := time.monotonic()) < end:
            if due > now:
                await asyncio.sleep(due - now)
            # From when it is due: a post that had to wait for the one before is late.
            since = due if per_second else time.monotonic()
            due += interval
            body = json.dumps({"temperature": round(random.gauss(21, 3), 2), "humidity": 45.5, "rssi": -60})
            head = f"POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(answer.partition(b"content-length:")[2].split(b"\r\n")[0]))
            took.append((time.monotonic() - since) * 1000)
            refused += answer[9:12] != b"201"
        writer.close()

    await asyncio.gather(*(device(key, place) for place, key in enumerate(keys)))
    return Posted((len(took) - refused) / seconds, median(took), quantiles(took, n=100)[-1], refused)


def measure(store: Store, per_second: float | None, *, rounds: int, seconds: int) -> Beside:
    keys = keys_of(store).read_text().split()
    found = Beside([], [], [])
    for _ in range(rounds):
        for sealing in (False, True):
            with tempfile.TemporaryDirectory() as folder, store.served(Path(folder), sealing=sealing) as server:
                asyncio.run(post(server.port, keys, per_second=per_second, seconds=3))  # fills caches
                before = sealed(store)[0]
                posted = asyncio.run(post(server.port, keys, per_second=per_second, seconds=seconds))
                after, all_of_them = sealed(store)
            if sealing:
                assert after < all_of_them, "everything was sealed before the end: prepare more readings"
                assert after > before, "nothing was sealed"
                found.sealed_per_second.append((after - before) / seconds)
            (found.beside if sealing else found.without).append(posted)
            console.print(f"  {store.name}, sealing {sealing}: {posted}, {after:,} of {all_of_them:,} are sealed")
    return found


def line(name: str, load: str, found: Beside) -> str:
    without, beside = (median(one.per_second for one in part) for part in found[:2])
    times = [f"{median(one.p50 for one in part):.1f}, {median(one.p99 for one in part):.1f}" for part in found[:2]]
    refused = sum(one.refused for part in found[:2] for one in part)
    return (
        f"| {name}, {load} | {without:,.0f}/s | {beside:,.0f}/s | **{beside / without:.2f}** | {' | '.join(times)} | "
        f"{median(found.sealed_per_second):,.0f}/s | {refused} |"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("step", choices=["prepare", "measure"])
    arguments.add_argument("store", choices=["postgresql", "sqlite"])
    arguments.add_argument("--readings", type=int, default=5_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=20)
    options = arguments.parse_args()
    store = store_of(options.store)
    if options.step == "prepare":
        prepare(store, options.readings)
        return
    done, stored = sealed(store)
    times = {"rounds": options.rounds, "seconds": options.seconds}
    lines = [
        f"`python -m benchmarks.storage.upgrade`, {datetime.now(UTC):%Y-%m-%d}: {stored:,} old readings of {DEVICES} "
        f"devices, {done:,} of them sealed before. {POSTING} devices post single readings to `manage.py up`, "
        f"{options.rounds} times {options.seconds} s each without and beside sealing, in turns. Medians; p50 and p99 "
        "in ms, of posts at a constant rate from when they are due.",
        "",
        report.machine(),
        "",
        "| store, load | without | beside | ratio | p50, p99 without | beside | sealed meanwhile | refused |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines.append(line(store.name, f"{PER_SECOND}/s", measure(store, PER_SECOND, **times)))
    lines.append(line(store.name, "as fast as possible", measure(store, None, **times)))
    console.print("\n".join(lines), soft_wrap=True)
    if store.file is None:
        drop_database(f"{DATABASE}_upgrade")


if __name__ == "__main__":
    main()
