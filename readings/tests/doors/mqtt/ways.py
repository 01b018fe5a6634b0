"""A write path that tests of MQTT control, and how they wait."""

import asyncio
from uuid import uuid4

from devices.access.callers import Caller, Role
from devices.models import Device
from devices.tokens.querysets import ValidToken
from devices.tokens.scopes import Scope
from readings.log.entries import StoredReading
from readings.log.recording import Recorded

TOKENS = {
    "gate": ValidToken(1, "Gateway", frozenset([Scope.INGEST]), None),
    "read": ValidToken(2, "Reader", frozenset([Scope.READ]), None),
}


class FakeWay:
    """Stores in memory, while `allowed` is set; `failures` are raised first."""

    def __init__(self):
        self.stored, self.noted, self.failures = [], [], []
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def caller(self, key):
        if key == "key1":
            return Caller(role=Role.DEVICE, device=Device(device_id="m1"))
        if key in TOKENS:
            return Caller(role=Role.TOKEN, token=TOKENS[key])
        return Caller(role=Role.ADMIN) if key == "admin" else None

    async def ask(self, question, *arguments):
        return question(*arguments)

    async def register(self, registration, *arguments):
        return registration(*arguments)

    async def record(self, readings, *, received_at, caller):
        await self.allowed.wait()
        if self.failures:
            raise self.failures.pop()
        self.stored += readings
        return [
            Recorded(StoredReading(r.id or uuid4(), r.device_id, 1, r.timestamp, None, None, None, r.extra))
            for r in readings
        ]

    async def note(self, refusal, *, now, count=1):
        self.noted.append(refusal)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 20))
