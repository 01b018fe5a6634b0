"""`make bench-live`: measures the live stream, and the stock Channels way on the same servers.

python -m benchmarks.live                     about 12 minutes
python -m benchmarks.live --only fan-out      one part; writes no document
python -m benchmarks.live --quick             a minute, for a first look; writes no document
"""

import argparse
import asyncio
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop  # a fast event loop, so that generating the load uses little CPU time
from rich.console import Console

from benchmarks.contenders.live import ADMIN_KEY, DATABASE, PORT, Contender, prepare, product, redis, stock
from benchmarks.contenders.served import drop_database
from benchmarks.live import report as live_report
from benchmarks.live.report import Ingest, Results, Slow, Step
from benchmarks.live.watchers import Audience, Poster, stopped_reader
from benchmarks.measuring import load
from benchmarks.measuring.servers import Server

SOCKETS = (100, 500, 1000)
RATES = (10, 20, 40, 80, 160, 320, 640)
STEP_SECONDS = 4.0
# A server keeps up with a rate if all readings arrive, and 99 % of them within this many seconds.
KEPT_UP_SECONDS = 1.0
STOPPED = 50
SLOW_SECONDS = 12.0
DEVICES = 200
SERVERS = ("uvicorn", "daphne")

console = Console()


def percentile(values: list[float], share: float) -> float:
    """A percentile in milliseconds of sorted values in seconds; NaN for none."""
    return values[min(len(values) - 1, int(len(values) * share))] * 1000 if values else float("nan")


def memory_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


async def measure(audience: Audience, poster: Poster, rate: float, seconds: float) -> Step:
    started = time.monotonic()
    deliveries, posted = await audience.step(poster, rate, seconds)
    values = sorted(deliveries.latencies)
    wanted = posted * len(audience.watchers)
    step = Step(
        sockets=len(audience.watchers),
        rate=rate,
        per_second=len(values) / max(seconds, time.monotonic() - started - 0.1),
        lost=wanted - len(values),
        out_of_order=deliveries.out_of_order,
        p50_ms=percentile(values, 0.5),
        p99_ms=percentile(values, 0.99),
    )
    console.print(f"    {step}")
    return step


async def fan_out(contender: Contender, server: Server, sockets: tuple[int, ...], results: Results) -> None:
    """Measures rising rates up to saturation, for each number of sockets."""
    before = memory_mb(server)
    audience, poster = Audience(PORT, contender.watch, ADMIN_KEY), Poster(PORT, contender.post, contender.key)
    await poster.post(10, 1)  # warm-up
    for count in sockets:
        await audience.grow(count)
        await asyncio.sleep(1)
        results.memory_kb[contender.name, count] = (memory_mb(server) - before) * 1000 / count
        await audience.step(poster, 5, 1)
        for rate in RATES:
            step = await measure(audience, poster, rate, STEP_SECONDS)
            results.steps[contender.name].append(step)
            if step.lost or step.p99_ms > KEPT_UP_SECONDS * 1000:
                break
    audience.close()
    poster.close()


async def slow_readers(contender: Contender, results: Results) -> None:
    """Measures how clients that stop reading affect the others. Readings have 1 KB."""
    with contender.start():
        audience = Audience(PORT, contender.watch, ADMIN_KEY)
        poster = Poster(PORT, contender.post, contender.key, extra=30)
        await audience.grow(100)
        await audience.step(poster, 20, 2)
        for stopped in (0, STOPPED, 0, STOPPED):
            clients = [await stopped_reader(PORT, contender.watch, ADMIN_KEY) for _ in range(stopped)]
            step = await measure(audience, poster, 40, SLOW_SECONDS)
            results.slow[contender.name].append(Slow(stopped, step.lost, step.p50_ms, step.p99_ms))
            for client in clients:
                client.close()
        audience.close()
        poster.close()


@contextmanager
def redis_is(state: str, server: Server) -> Iterator[None]:
    """Puts Redis into a state: "running", "stopped" (nothing listens) or "hanging" (accepts but never answers)."""
    if state == "hanging":
        server.process.send_signal(signal.SIGSTOP)
    elif state == "stopped":
        server.__exit__()
    try:
        yield
    finally:
        if state == "hanging":
            server.process.send_signal(signal.SIGCONT)
        elif state == "stopped":
            server.__enter__()


async def watched_ingest(contender: Contender, target: load.Target, redis_server: Server, results: Results) -> None:
    """Measures ingest of devices, one of them watched by 10 sockets, while Redis runs, is stopped or hangs."""
    with contender.start():
        audience = Audience(PORT, contender.watch, ADMIN_KEY)
        await audience.grow(10)
        await asyncio.to_thread(load.run, f"http://127.0.0.1:{PORT}", target, connections=32, seconds=2)
        for _ in range(3):
            for state in ("running", "stopped", "hanging"):
                with redis_is(state, redis_server):
                    found = await asyncio.to_thread(
                        load.run, f"http://127.0.0.1:{PORT}", target, connections=32, seconds=4
                    )
                assert not found.refused and not found.failed, found
                measured = Ingest(state, found.per_second, found.p99_ms)
                results.ingest[contender.name].append(measured)
                console.print(f"    {measured}")
        audience.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live")
    parser.add_argument("--quick", action="store_true", help="measure 100 sockets on one server and write no document")
    parser.add_argument(
        "--only", choices=["fan-out", "slow", "ingest", "browser"], help="measure one part and write no document"
    )
    options = parser.parse_args()
    results = Results()

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    servers, sockets = (("uvicorn",), SOCKETS[:1]) if options.quick else (SERVERS, SOCKETS)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        keys = [f"tlm_{random.getrandbits(192):048x}" for _ in range(DEVICES)]
        (folder / "keys").write_text("".join(f"d-{number} {key}\n" for number, key in enumerate(keys)))
        (folder / "bodies").write_text('{"temperature": 21.5, "humidity": 40, "voltage": 3.9, "rssi": -60}')
        products = [product(folder, server, keys[0]) for server in servers]
        with redis(folder) as redis_server:
            prepare(folder / "keys")
            if wanted("fan-out"):
                for contender in (*products, *(stock(folder, server) for server in servers)):
                    console.print(contender.name)
                    with contender.start() as server:
                        uvloop.run(fan_out(contender, server, sockets, results))
            if wanted("slow"):
                for contender in products:
                    console.print(f"{contender.name}, with readers that stop")
                    uvloop.run(slow_readers(contender, results))
            if wanted("ingest") and shutil.which("wrk"):
                target = load.Target("/api/v1/ingest", folder / "keys", folder / "bodies")
                for contender in products:
                    console.print(f"{contender.name}, ingest without Redis")
                    uvloop.run(watched_ingest(contender, target, redis_server, results))
            if wanted("browser") and not options.quick:
                from benchmarks.live.browser import latencies

                for contender in products:
                    with contender.start():
                        results.browser_ms[contender.name] = latencies(PORT, contender)
        drop_database(DATABASE)
    text = live_report.section(results, seconds=STEP_SECONDS)
    console.print(text, markup=False)
    if not options.quick and not options.only:
        live_report.write(text)


if __name__ == "__main__":
    main()
