"""Posts single readings at a constant rate, from a client that uses little CPU time."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

from telemetry.tests.support.clients.fleet import Journal, Verdict
from telemetry.tests.support.servers.server import Server


class Steady:
    """Devices with a connection each that post readings, `per_second` in all, or as fast as possible.

    For servers that stay up: answers that do not acknowledge a reading are counted and not retried.
    """

    def __init__(self, server: Server, names: dict[str, str], journal: Path) -> None:
        """`names` maps device ids to keys."""
        self.server, self.keys, self.journal = server, names, Journal(journal)
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0

    def run(self, *, seconds: float, per_second: float | None = None) -> None:
        asyncio.run(self.post_all(seconds, len(self.keys) / per_second if per_second else 0.0))
        self.journal.file.close()

    async def post_all(self, seconds: float, interval: float) -> None:
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for number, (name, key) in enumerate(self.keys.items()):
                tasks.create_task(self.post(name, key, end, interval, number / len(self.keys)))

    async def post(self, name: str, key: str, end: float, interval: float, phase: float) -> None:
        head = (
            f"POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        due = time.monotonic() + phase * interval
        while (now := time.monotonic()) < end:
            await asyncio.sleep(max(0.0, due - now))
            due += interval
            identifier = str(uuid4())
            body = f'{{"id":"{identifier}","temperature":21.5,"humidity":45}}'
            self.journal.write("sent", name, identifier)
            asked = time.monotonic()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length[15:]))
            self.slowest = max(self.slowest, time.monotonic() - asked)
            status = int(answer[9:12])
            self.answers[status] += 1
            if status == 201:
                self.journal.write("acknowledged", name, identifier)
        writer.close()
        await writer.wait_closed()

    def verdict(self) -> Verdict:
        return self.journal.verdict(self.server, list(self.keys))
