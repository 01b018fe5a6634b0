"""A full disk, a clock that jumps, overload, and hostile clients."""

import asyncio
import gzip
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.proofs.watching import Watch, usage
from telemetry.tests.support.clients.fleet import Fleet, seconds_until_acknowledged
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import FLEET_KEY, Server

pytestmark = pytest.mark.prove

DEVICES = 16
RECOVERY_SECONDS_MAX = 30
DISK_MB = 400
OVERLOAD_SECONDS = 120
OVERLOAD_FACTOR = 5
ANSWER_SECONDS_MAX = 60
GROWTH_MB_MAX = 120
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system in memory of DISK_MB, in a folder that the account `postgres` can access."""
    folder = Path(tempfile.mkdtemp(prefix="telemetry-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def test_the_disk_of_the_database_is_full(tmp_path: Path, record: Record) -> None:
    times, longest = 3, 0.0
    with (
        small_disk() as disk,
        PostgreSQL(disk) as postgresql,
        Server(tmp_path, database_url=postgresql.url) as server,
    ):
        fleet = Fleet(server, DEVICES)
        ballast = disk / "ballast"
        with fleet.posting():
            for _ in range(times):
                time.sleep(2)
                full = time.monotonic()
                with ballast.open("wb") as file:
                    while shutil.disk_usage(disk).free > 65536:
                        file.write(b"\0" * 32768)
                        file.flush()
                while not any(status == 503 and when > full for when, status, _ in list(fleet.answers)):
                    assert time.monotonic() < full + 60, "it never minded"
                    time.sleep(0.1)
                time.sleep(3)
                ballast.unlink()
                if not postgresql.runs():
                    postgresql.start()
                since = time.monotonic()
                longest = max(longest, seconds_until_acknowledged(fleet.answers, since, within=RECOVERY_SECONDS_MAX))
        assert {status for _, status, _ in fleet.answers} <= {200, 201, 503}
        record(
            "disk of PostgreSQL full", times=times, verdict=fleet.verdict(), recovered=longest, seen="only 2xx and 503"
        )


def test_the_clock_jumps(tmp_path: Path, record: Record) -> None:
    """The server's clock jumps by an hour, forward and back; its monotonic clock is not affected."""
    clock, jumps = tmp_path / "clock", ("+3600", "+0", "-3600", "+0")
    clock.write_text("+0\n")
    started = time.time()
    with PostgreSQL() as postgresql:
        server = Server(tmp_path, database_url=postgresql.url)
        server.environment |= {
            "LD_PRELOAD": FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with server:
            fleet = Fleet(server, DEVICES)
            longest = 0.0
            with fleet.posting():
                for jump in jumps:
                    time.sleep(3)
                    clock.write_text(f"{jump}\n")
                    since = time.monotonic()
                    longest = max(
                        longest, seconds_until_acknowledged(fleet.answers, since, within=RECOVERY_SECONDS_MAX)
                    )
                time.sleep(1)
            assert {status for _, status, _ in fleet.answers} == {201}
            verdict = fleet.verdict()
        with psycopg.connect(postgresql.url) as administrator:
            rows = administrator.execute(
                "SELECT extract(epoch FROM timestamp)::float8 FROM readings_reading"
            ).fetchall()
    assert {round((moment - started) / 3600) for (moment,) in rows} == {-1, 0, 1}, "the clock did not jump"
    record(
        "server's clock: an hour forward, back, back, forward",
        times=1,
        verdict=verdict,
        recovered=longest,
        seen="only 201",
    )


def batch(server: Server, devices: list[str]) -> bytes:
    readings = [{"device_id": devices[n % len(devices)], "temperature": 21.5, "humidity": n % 100} for n in range(1000)]
    return json.dumps(readings).encode()


async def offer(server: Server, body: bytes, *, per_second: float, seconds: float) -> Counter[int]:
    """Posts `per_second` batches a second, each on a new connection, without waiting for earlier answers.

    Returns the number of answers by status; 0: no answer. Fails if the client cannot keep this rate.
    """
    answers: Counter[int] = Counter()
    head = f"POST /api/v1/ingest/batch HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {FLEET_KEY}\r\nConnection: close\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def post() -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                with closing(writer):
                    writer.write(request)
                    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                    await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            answers[0] += 1
            return
        status = int(answer.split()[1])
        answers[status] += 1
        if status in (429, 503):
            assert b"\r\nretry-after: " in answer

    loop = asyncio.get_running_loop()
    started, number = loop.time(), 0
    async with asyncio.TaskGroup() as tasks:
        while loop.time() < started + seconds:
            tasks.create_task(post())
            number += 1
            await asyncio.sleep(max(0.0, started + number / per_second - loop.time()))
    assert number > per_second * seconds * 0.9
    return answers


async def capacity(server: Server, body: bytes, *, seconds: float) -> float:
    """The number of batches stored per second by four clients that each wait for their answers."""
    done = 0
    async with httpx.AsyncClient(headers={"X-API-Key": FLEET_KEY}, timeout=60) as client:
        end = asyncio.get_running_loop().time() + seconds

        async def post() -> None:
            nonlocal done
            while asyncio.get_running_loop().time() < end:
                answer = await client.post(
                    f"{server.url}/api/v1/ingest/batch", content=body, headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 201
                done += 1

        await asyncio.gather(*(post() for _ in range(4)))
    return done / seconds


def test_far_more_is_offered_than_can_be_stored(tmp_path: Path, record: Record) -> None:
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        devices = [f"d-{number}" for number in range(100)]
        for name in devices:
            server.register(name)
        body = batch(server, devices)
        most = asyncio.run(capacity(server, body, seconds=10))
        before = usage(server, postgresql.url)
        with Watch(server, postgresql.url).watching() as watch:
            rate = most * OVERLOAD_FACTOR
            answers = asyncio.run(offer(server, body, per_second=rate, seconds=OVERLOAD_SECONDS))
        since = time.monotonic()
        while not httpx.post(
            f"{server.url}/api/v1/ingest", json={"device_id": "d-0", "temperature": 1}, headers={"X-API-Key": FLEET_KEY}
        ).is_success:
            assert time.monotonic() < since + RECOVERY_SECONDS_MAX
            time.sleep(0.1)
        recovered = time.monotonic() - since
        assert set(answers) <= {201, 429, 503}, answers
        growth = watch.peak_mb() - before.memory_mb
        assert growth < GROWTH_MB_MAX
        assert watch.memory(0.8, 1.0) - watch.memory(0.2, 0.4) < 15
        with psycopg.connect(postgresql.url) as administrator:
            (stored,) = administrator.execute("SELECT count(*) FROM readings_reading").fetchone() or (0,)
            (holes,) = administrator.execute(
                "SELECT count(*) FROM devices_devicestate AS state WHERE last_seq <> "
                "(SELECT count(*) FROM readings_reading AS r WHERE r.device_id = state.device_id)"
            ).fetchone() or (1,)
        assert holes == 0
        assert stored >= 1000 * answers[201]
    seen = ", ".join(f"{count:,} times {status}" for status, count in sorted(answers.items()))
    record(
        f"{OVERLOAD_FACTOR} times what it can store ({most * 1000:,.0f} readings/s) offered for {OVERLOAD_SECONDS} s",
        recovered=recovered,
        seen=f"{seen}; memory +{growth:.0f} MB",
    )


def slow_lorises(server: Server, number: int) -> list[socket.socket]:
    """Opens connections that begin a request and never finish it."""
    sockets = []
    for _ in range(number):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nX-a: ")
        sockets.append(client)
    return sockets


def gigabyte(server: Server, *, key: str, chunked: bool) -> None:
    """Sends until the server closes the connection."""
    block = b" " * 65536
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 30}"
    head = f"POST /api/v1/ingest/batch HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n{framing}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client, suppress(OSError):
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        for _ in range((1 << 30) // len(block)):
            client.sendall(f"{len(block):x}\r\n".encode() + block + b"\r\n" if chunked else block)


def test_clients_that_mean_harm(tmp_path: Path, record: Record) -> None:
    bomb = gzip.compress(b"[" + b" " * (1 << 30))
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        fleet = Fleet(server, DEVICES)
        with fleet.posting(), Watch(server, postgresql.url).watching(every=0.2) as watch:
            time.sleep(3)
            calm = watch.memory()
            for key in (FLEET_KEY, "wrong-key-wrong-key"):
                for chunked in (False, True):
                    gigabyte(server, key=key, chunked=chunked)
            headers = {"X-API-Key": FLEET_KEY, "Content-Encoding": "gzip", "Content-Type": "application/json"}
            for _ in range(20):
                answer = httpx.post(f"{server.url}/api/v1/ingest/batch", content=bomb, headers=headers, timeout=60)
                assert answer.status_code == 413
            lorises = slow_lorises(server, 500)
            time.sleep(10)
            for client in lorises:
                client.close()
            since = time.monotonic()
            recovered = seconds_until_acknowledged(fleet.answers, since, within=RECOVERY_SECONDS_MAX)
        growth = watch.peak_mb() - calm
        assert growth < GROWTH_MB_MAX
        assert {status for _, status, _ in fleet.answers} == {201}
        record(
            "bodies of 1 GB (4), gzip bombs of 1 GB (20), requests that never end (500)",
            verdict=fleet.verdict(),
            recovered=recovered,
            seen=f"only 201 for others; memory +{growth:.0f} MB",
        )
