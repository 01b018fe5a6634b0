"""No exception object is kept and raised again, because each raise adds frames, with their variables, to it."""

import asyncio
import gc
import importlib
import pkgutil
import traceback
from collections import Counter
from types import FrameType, ModuleType, TracebackType
from typing import Any

import pytest
from django.db import OperationalError

import devices
import readings
import realtime
import telemetry
from devices.access.key_lookup import KeyResolver
from realtime.tests.sockets import OWN, WITHOUT, fate, in_a_loop

PACKAGES = (telemetry, devices, readings, realtime)
SOCKETS = 1_000
WAITERS = 200


def modules() -> list[ModuleType]:
    """Every module of the four packages, without tests, migrations and modules that run on import."""
    names = [
        found.name
        for package in PACKAGES
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not {"tests", "migrations", "__main__"} & set(found.name.split("."))
    ]
    return [importlib.import_module(name) for name in names]


def kept(owner: Any, name: str) -> list[str]:
    """The places of exception objects in the attributes of a module or class, and in containers there."""
    found = []
    for attribute, value in list(vars(owner).items()):
        where = f"{name}.{attribute}"
        if isinstance(value, type) and value.__module__ == name:
            found += kept(value, where)
        items = value.values() if isinstance(value, dict) else value
        parts = list(items) if isinstance(value, dict | list | tuple | set | frozenset) else [value]
        found += [where for part in parts if isinstance(part, BaseException) and not is_twisted(part)]
    return found


def is_twisted(error: BaseException) -> bool:
    """Twisted passes its constants to `connectionLost`, and never raises them."""
    return type(error).__module__.startswith("twisted.")


def test_no_module_keeps_an_exception():
    scanned = modules()
    assert len(scanned) > 100
    assert [where for module in scanned for where in kept(module, module.__name__)] == []


def test_a_kept_exception_is_found():
    module = ModuleType("example")
    module.__dict__.update(ONE=ValueError(), FEW={"one": KeyError()})
    assert kept(module, "example") == ["example.ONE", "example.FEW"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.once
@in_a_loop
async def test_a_thousand_refused_sockets_leave_nothing_behind(mote):
    """One refusal of each kind; the key of the handshake is in their frames."""
    refused = [
        ("mote-9", {"x_api_key": mote[1]}, "4404 unknown_device"),
        ("", {"x_api_key": mote[1]}, "4403 permission_denied"),
        ("mote-1", {"x_api_key": "wrong"}, "4401 invalid_key"),
        ("mote-1?ticket=wrong", OWN, "4401 invalid_ticket"),
        ("mote-1", WITHOUT, "4401 not_authenticated"),
        ("mote-1?after=x", {"x_api_key": mote[1]}, "4400 invalid_after"),
        ("?resume=x", {"x_api_key": mote[1]}, "4400 invalid_resume"),
    ]

    async def refuse(times: int) -> None:
        for _ in range(times):
            for address, headers, end in refused:
                assert await fate(address, **headers) == end

    await refuse(2)
    before = count_frames()
    await refuse(SOCKETS // len(refused))
    # Other threads of the process have exceptions that come and go.
    assert (count_frames() - before).total() < SOCKETS // 10


def count_frames() -> Counter[type]:
    gc.collect()
    # type(), because isinstance() follows a weak reference, whose object may be gone.
    return Counter(type(entry) for entry in gc.get_objects() if type(entry) in (TracebackType, FrameType))


@in_a_loop
async def test_an_error_that_many_wait_for_does_not_grow_with_them(monkeypatch):
    """A future raises the exception with the traceback it had when it was set, so several futures may share it."""
    resolver = KeyResolver()

    async def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    async def depth() -> int:
        with pytest.raises(OperationalError) as raised:
            await resolver.caller("tlm_the-same-key")
        return len(list(traceback.walk_tb(raised.value.__traceback__)))

    monkeypatch.setattr(resolver.runner, "run", fail)
    depths = await asyncio.gather(*(depth() for _ in range(WAITERS)))
    assert len(depths) == WAITERS
    assert max(depths) < 10
