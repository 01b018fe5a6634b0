"""Many clients of the live stream, which record what they receive and resume as the protocol says."""

import asyncio
import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any, Self

import websockets

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

HEADERS = {"X-API-Key": ADMIN_KEY}
# Seconds within which every client must be complete, as the product promises.
COMPLETE_SECONDS = 10
# Seconds within which the clients end when they are told to.
END_SECONDS = 15


class Client:
    """Follows one device, or the fleet (None). `seqs` has the received `seq` by device, in order of arrival."""

    def __init__(self, servers: list[Server], device_id: str | None) -> None:
        self.servers = servers
        self.device_id = device_id
        self.seqs: dict[str, list[int]] = defaultdict(list)
        self.positions: dict[str, int] = {}
        self.connections = 0
        self.subscribed = threading.Event()

    async def run(self) -> None:
        while True:
            # Pauses like a well-behaved client, then connects to the next process, as behind a load balancer.
            with contextlib.suppress(OSError, websockets.WebSocketException):
                await self.connect(self.servers[self.connections % len(self.servers)])
            await asyncio.sleep(0.1)

    async def connect(self, server: Server) -> None:
        address = f"ws://127.0.0.1:{server.port}/api/v1/realtime/subscribe"
        resumes = self.connections > 0
        if self.device_id is not None:
            address += f"/{self.device_id}?after={self.positions.get(self.device_id, 0)}"
        elif resumes:
            address += "?resume=true"
        async with websockets.connect(address, additional_headers=HEADERS, open_timeout=20) as socket:
            if self.device_id is None and resumes:
                await socket.send(json.dumps({"type": "resume", "positions": self.positions}))
            async for text in socket:
                self.take(json.loads(text))

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "subscribed" and self.device_id is not None:
            self.ready()
        elif frame["type"] == "positions":
            for device in frame["devices"]:
                self.positions.setdefault(device["device_id"], device["last_seq"])
            if not frame["more"]:
                self.ready()
        elif frame["type"] == "readings":
            seqs = [reading["seq"] for reading in frame["readings"]]
            self.seqs[frame["device_id"]] += seqs
            self.positions[frame["device_id"]] = seqs[-1]

    def ready(self) -> None:
        self.connections += 1
        self.subscribed.set()


class Audience:
    """Runs the clients in an event loop in a thread of its own."""

    def __init__(self, servers: list[Server], *, devices: dict[str, int], fleets: int) -> None:
        """Starts this number of clients for each device, and for the fleet."""
        self.clients = [Client(servers, device) for device, count in devices.items() for _ in range(count)]
        self.clients += [Client(servers, None) for _ in range(fleets)]

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.tasks = self.spawn(self.begin()).result()
        for client in self.clients:
            assert client.subscribed.wait(20)
        return self

    async def begin(self) -> list["asyncio.Task[None]"]:
        return [asyncio.create_task(client.run()) for client in self.clients]

    async def end(self) -> None:
        """Waits until each client has closed its connection."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def __exit__(self, *_: object) -> None:
        try:
            self.spawn(self.end()).result(END_SECONDS)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()

    def ends_complete(self, lengths: dict[str, int]) -> None:
        """Asserts that within COMPLETE_SECONDS every client got every seq of these logs, once, in order."""
        deadline = time.monotonic() + COMPLETE_SECONDS
        wanted = {device: list(range(1, length + 1)) for device, length in lengths.items()}

        def missing() -> list[str]:
            return [
                f"{client.device_id or 'fleet'} of {device}: {client.seqs[device][-3:]} of {len(seqs)}"
                for client in self.clients
                for device, seqs in wanted.items()
                if client.device_id in (None, device) and client.seqs[device] != seqs
            ]

        while (lacking := missing()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not lacking
