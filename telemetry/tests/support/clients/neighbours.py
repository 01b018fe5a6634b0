"""Devices that post one reading a second each, and the durations of their answers while another caller is greedy."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings

from telemetry.tests.support.servers.server import Server

INTERVAL_SECONDS = 1.0
# Seconds after which an answer counts as missing.
ANSWER_SECONDS_MAX = 60

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Neighbours:
    """Devices with a connection each, which is opened again if the server closes it."""

    def __init__(self, server: Server, size: int = 50) -> None:
        self.server = server
        self.keys = [server.register(f"neighbour-{number}") for number in range(size)]
        self.statuses: Counter[int] = Counter()  # 0: no answer
        self.seconds: list[float] = []

    def run(self, seconds: float) -> None:
        """Posts for `seconds`; `statuses` and the durations are those of this run."""
        self.statuses.clear()
        self.seconds.clear()
        asyncio.run(self.post_all(seconds))

    async def post_all(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for number, key in enumerate(self.keys):
                tasks.create_task(self.post(key, end, number / len(self.keys) * INTERVAL_SECONDS))

    async def post(self, key: str, end: float, phase: float) -> None:
        body = b'{"temperature":21.5,"humidity":45}'
        head = f"POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
        request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        streams: Streams | None = await asyncio.open_connection("127.0.0.1", self.server.port)
        due = time.monotonic() + phase
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    streams = streams or await asyncio.open_connection("127.0.0.1", self.server.port)
                    status = await self.answer(*streams, request)
            except (OSError, asyncio.IncompleteReadError):
                status = 0
            if status != 201 and streams:
                streams[1].close()
                streams = None
            self.statuses[status] += 1
            # Measured from when it was due, because a late answer also delays the device's next readings.
            self.seconds.append(time.monotonic() - due)
            due += INTERVAL_SECONDS
        if streams:
            streams[1].close()

    @staticmethod
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length[15:]))
        return int(head[9:12])

    def p99_ms(self) -> float:
        found = sorted(self.seconds)
        return found[min(len(found) - 1, int(len(found) * 0.99))] * 1000

    def none_refused(self) -> bool:
        return set(self.statuses) == {201}


class Greedy:
    """A process of `telemetry.tests.support.clients.greedy`; `statuses` is set when it has ended.

    It has the lowest priority, because a real caller's own work is done on another machine.
    """

    def __init__(self, server: Server, kind: str, device_id: str, key: str, *, loops: int, seconds: float) -> None:
        command = ["nice", "-n", "19", sys.executable, "-m", "telemetry.tests.support.clients.greedy"]
        self.process = subprocess.Popen(
            [*command, kind, str(server.port), device_id, key, str(loops), str(seconds)],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        self.statuses: dict[str, int] = {}

    def begin(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Waits until it has received its last answers."""
        assert self.process.stdout
        self.statuses = json.loads(self.process.stdout.readline())

    def seen(self) -> str:
        return ", ".join(f"{number:,} times {status}" for status, number in sorted(self.statuses.items()))


@contextmanager
def beside(*greedy: Greedy) -> Iterator[None]:
    """Starts the processes, and ends them if the block fails."""
    with ExitStack() as stack:
        for one in greedy:
            stack.enter_context(one.process)
            stack.callback(one.process.kill)
        for one in greedy:
            one.begin()
        yield
        for one in greedy:
            one.end()


class Memory:
    """The peak resident memory of a server's process since `reset()`, in MB (proc(5): clear_refs, VmHWM)."""

    def __init__(self, server: Server) -> None:
        self.folder = Path(f"/proc/{server.process.pid}")
        self.reset()

    def reset(self) -> None:
        (self.folder / "clear_refs").write_text("5")

    def peak_mb(self) -> float:
        lines = (self.folder / "status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024 / 1e6
