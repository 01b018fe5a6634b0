"""A Redis server for tests that kill it, and a proxy that loses or delays its messages."""

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import redis

from telemetry.tests.support.servers.relay import Relay, until_either_ends
from telemetry.tests.support.servers.server import free_port

START_SECONDS = 10


class Redis:
    """A redis-server process without persistence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            ["redis-server", *options], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "redis-server did not start"
                    time.sleep(0.05)
                else:
                    return

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Proxy(Relay):
    """A proxy for Redis. `loses` decides for each message to a subscriber; commands of clients wait `delay` seconds."""

    def __init__(
        self, upstream: Redis, *, loses: Callable[[], bool] = lambda: False, delay: Callable[[], float] = lambda: 0.0
    ) -> None:
        super().__init__()
        self.upstream, self.loses, self.delay = upstream, loses, delay
        self.lost = 0
        self.url = f"redis://127.0.0.1:{self.port}/0"

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self.upstream.port)
        except OSError:  # Redis is stopped
            writer.close()
            return
        ways = [self.ask(reader, to_redis), self.answer(from_redis, writer)]
        try:
            await until_either_ends(*map(asyncio.create_task, ways))
        finally:
            for end in (writer, to_redis):
                end.close()

    async def ask(self, reader: asyncio.StreamReader, to_redis: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await asyncio.sleep(self.delay())
            to_redis.write(chunk)

    async def answer(self, from_redis: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                reply = await read_reply(from_redis)
                if reply.startswith(b"*3\r\n$7\r\nmessage\r\n") and self.loses():
                    self.lost += 1
                else:
                    writer.write(reply)


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """The next reply of the stream, still encoded (RESP, version 2)."""
    line = await reader.readuntil(b"\r\n")
    if line[:1] == b"$" and line != b"$-1\r\n":
        return line + await reader.readexactly(int(line[1:]) + 2)
    if line[:1] == b"*":
        return line + b"".join([await read_reply(reader) for _ in range(int(line[1:]))])
    return line


def one_in(number: int, seed: int = 1) -> Callable[[], bool]:
    chance = random.Random(seed)
    return lambda: chance.randrange(number) == 0
