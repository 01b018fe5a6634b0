"""Sockets and a poster in one event loop, which record when each reading was posted and when each socket got it."""

import asyncio
import base64
import json
import os
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import cast

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\nX-API-Key: {key}\r\n\r\n"
)
READING = re.compile(rb'"seq":\s?(\d+)')
SENT = re.compile(rb'"sent":\s?([\d.]+)')
OPCODE_TEXT, OPCODE_CLOSE, OPCODE_PING = 1, 8, 9
# Seconds after a step in which all readings must arrive: longer than the product takes to notice a lost message.
DRAIN_SECONDS = 6
# Seconds for which an idle connection is reused; uvicorn closes it after 5.
IDLE_SECONDS = 3


@dataclass
class Deliveries:
    """The deliveries of one step over all sockets: latency of each reading since its POST in seconds, and disorder."""

    latencies: list[float] = field(default_factory=list)
    out_of_order: int = 0


class Watcher(asyncio.Protocol):
    """One socket. A frame that many sockets get is parsed once: `seen` has the seqs and POST times of its readings."""

    seen: dict[bytes, tuple[list[int], list[float]]] = {}

    def __init__(self, deliveries: "Audience", path: str, key: str, port: int) -> None:
        self.audience = deliveries
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.request = HANDSHAKE.format(path=path, port=port, nonce=nonce, key=key).encode()
        self.buffer = b""
        self.open = False
        self.last_seq: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = data = self.buffer + data if self.buffer else data
        position = 0
        if not self.open:
            head, separator, _ = data.partition(b"\r\n\r\n")
            if not separator:
                return
            assert b" 101 " in head.split(b"\r\n")[0], head
            self.open = True
            position = len(head) + 4
        while len(data) - position >= 2:
            length, start = data[position + 1], position + 2
            if length == 126:
                length, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif length == 127:
                length, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if len(data) < start + length or start > len(data):
                break
            self.frame(data[position] & 15, data[start : start + length])
            position = start + length
        self.buffer = data[position:]

    def frame(self, opcode: int, payload: bytes) -> None:
        if opcode == OPCODE_TEXT:
            self.text(payload)
        elif opcode == OPCODE_PING:
            self.transport.write(struct.pack("!BB4x", 0x8A, 0x80 | len(payload)) + payload)
        elif opcode == OPCODE_CLOSE:
            self.audience.closed.append(int.from_bytes(payload[:2], "big"))

    def text(self, payload: bytes) -> None:
        known = self.seen.get(payload)
        if known is None:
            seqs, sent = [int(n) for n in READING.findall(payload)], [float(n) for n in SENT.findall(payload)]
            known = self.seen[payload] = (seqs, sent)
        seqs, sent = known
        if not sent:
            if b'"subscribed"' in payload:
                self.audience.subscribed += 1
            return
        if self.last_seq is not None and seqs[0] != self.last_seq + 1:
            self.audience.deliveries.out_of_order += 1
        self.last_seq = seqs[-1]
        now = time.time()
        for moment in sent:
            self.audience.deliveries.latencies.append(now - moment)


class Audience:
    """A number of sockets on one address."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self.port, self.path, self.key = port, path, key
        self.watchers: list[Watcher] = []
        self.subscribed = 0
        self.closed: list[int] = []
        self.deliveries = Deliveries()

    async def grow(self, count: int) -> None:
        """Opens sockets until there are `count`, and waits until all are subscribed."""
        loop = asyncio.get_running_loop()
        while len(self.watchers) < count:
            few = range(min(20, count - len(self.watchers)))
            made = [
                loop.create_connection(lambda: Watcher(self, self.path, self.key, self.port), "127.0.0.1", self.port)
                for _ in few
            ]
            self.watchers += [watcher for _, watcher in await asyncio.gather(*made)]
            async with asyncio.timeout(60):
                while self.subscribed < len(self.watchers):  # noqa: ASYNC110  sockets only increase a counter
                    await asyncio.sleep(0.01)

    async def step(self, poster: "Poster", rate: float, seconds: float) -> tuple[Deliveries, int]:
        """Posts `rate` readings per second for `seconds`; returns the deliveries and the number of posted readings."""
        Watcher.seen.clear()
        self.deliveries = Deliveries()
        posted = await poster.post(rate, seconds)
        deadline = time.monotonic() + DRAIN_SECONDS
        while len(self.deliveries.latencies) < posted * len(self.watchers) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return self.deliveries, posted

    def close(self) -> None:
        for watcher in self.watchers:
            watcher.transport.abort()


class Poster:
    """Posts readings at a constant rate, without waiting for answers, over connections that stay open."""

    def __init__(self, port: int, path: str, key: str, *, extra: int = 0) -> None:
        """`extra` is the number of additional metrics in each reading."""
        self.port, self.path, self.key = port, path, key
        self.extra = {f"metric_number_{n}": 20.0 + n / 7 for n in range(extra)}
        self.idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []  # idle since, reader, writer

    async def post(self, rate: float, seconds: float) -> int:
        count = round(rate * seconds)
        begin = time.monotonic() + 0.05
        tasks = []
        for number in range(count):
            await asyncio.sleep(max(0, begin + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(self.one()))
        await asyncio.gather(*tasks)
        return count

    async def one(self) -> None:
        reader, writer = await self.connection()
        body = json.dumps({"temperature": 21.5, "sent": round(time.time(), 6)} | self.extra).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nX-API-Key: {self.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 201 " in answer.split(b"\r\n")[0], answer
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        assert length, answer
        await reader.readexactly(int(length[1]))
        self.idle.append((time.monotonic(), reader, writer))

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection used last, or a new one if the server may have closed that for being idle."""
        while self.idle:
            since, reader, writer = self.idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)

    def close(self) -> None:
        for _, _, writer in self.idle:
            writer.transport.abort()


async def stopped_reader(port: int, path: str, key: str) -> socket.socket:
    """A client that subscribes and then reads nothing, with a small receive buffer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    nonce = base64.b64encode(os.urandom(16)).decode()
    await loop.sock_sendall(client, HANDSHAKE.format(path=path, port=port, nonce=nonce, key=key).encode())
    received = b""
    while b"subscribed" not in received:
        received += await loop.sock_recv(client, 4096)
    return client
