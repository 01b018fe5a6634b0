"""Several workers on one port, without processes: when workers are started, and what they do when told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from telemetry.health import closing, draining
from telemetry.server import draining as draining_module
from telemetry.server.draining import drain
from telemetry.server.workers import process as process_module
from telemetry.server.workers import slot as slot_module
from telemetry.server.workers.process import WorkerProcess
from telemetry.server.workers.shared_port import CLOSING, READY, SharedPort
from telemetry.server.workers.slot import PAUSE_SECONDS_MAX, Slot, pause_after

pytestmark = pytest.mark.once


def in_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


class FakeProcess:
    """A worker that listens at once, or with `listens=False` never, and ends when the test says so."""

    def __init__(self, *, listens: bool = True) -> None:
        self.listening_since = 0.0 if listens else None
        self.over = asyncio.Event()
        self.told = False

    async def wait_until_listening(self) -> bool:
        return self.listening_since is not None

    async def wait_until_ended(self) -> str:
        await self.over.wait()
        return "SIGKILL"

    async def end(self) -> None:
        self.told = True
        self.over.set()


class FakeSlot(Slot):
    """`begun`: the workers it has started; `to_begin`: what it starts next, an error fails."""

    def __init__(self) -> None:
        super().__init__(socket.socket(), 1)
        self.begun: list[Any] = []
        self.to_begin: list[Any] = []

    async def start(self) -> Any:
        new = self.to_begin.pop(0) if self.to_begin else FakeProcess()
        self.begun.append(new)
        if isinstance(new, Exception):
            raise new
        return new


@asynccontextmanager
async def kept(slot: FakeSlot) -> AsyncIterator[None]:
    """Runs `keep`, and lets it have its first worker."""
    task = asyncio.create_task(slot.keep())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        slot.listener.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of slots, which do not wait."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds or found:
            found.append(seconds)
        await sleep(0)

    class Asyncio:
        def __getattr__(self, name: str) -> Any:
            return note if name == "sleep" else getattr(asyncio, name)

    monkeypatch.setattr(slot_module, "asyncio", Asyncio())
    return found


def test_the_pause_doubles_with_each_failure_up_to_a_maximum() -> None:
    assert [pause_after(failures) for failures in range(8)] == [0, 1, 2, 4, 8, 16, PAUSE_SECONDS_MAX, PAUSE_SECONDS_MAX]


@in_event_loop
async def test_a_worker_that_served_is_started_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    slot = FakeSlot()
    async with kept(slot):
        slot.begun[0].over.set()
        await settle()
        assert slot.worker is slot.begun[1]
    assert "Worker 1 ended by itself (SIGKILL)" in caplog.text


@in_event_loop
async def test_one_that_never_listens_or_cannot_be_started_is_started_after_growing_pauses(pauses: list[float]) -> None:
    slot = FakeSlot()
    scarce = [OSError("too many processes"), RuntimeError("can't start new thread")]
    slot.to_begin = [FakeProcess(listens=False), *scarce, FakeProcess(listens=False)]
    for process in (slot.to_begin[0], slot.to_begin[3]):
        process.over.set()
    async with kept(slot):
        assert pauses == [1, 2, 4, 8]
        assert slot.worker is slot.begun[4]
        assert slot.listening.is_set()
        assert slot.begun[0].told


@in_event_loop
async def test_a_worker_is_ended_after_its_replacement_listens_and_is_not_started_again() -> None:
    slot = FakeSlot()
    async with kept(slot):
        assert await slot.replace()
        await settle()
        assert slot.begun[0].told
        assert slot.worker is slot.begun[1]
        assert len(slot.begun) == 2


@in_event_loop
async def test_a_replacement_that_dies_is_started_again_while_the_worker_before_ends() -> None:
    class Busy(FakeProcess):
        async def end(self) -> None:
            await self.over.wait()

    slot = FakeSlot()
    slot.to_begin = [Busy()]
    async with kept(slot):
        replacing = asyncio.create_task(slot.replace())
        await settle()
        slot.begun[1].over.set()
        await settle()
        assert slot.worker is slot.begun[2]
        assert not replacing.done()
        slot.begun[0].over.set()
        assert await replacing
        await settle()
        assert len(slot.begun) == 3


@pytest.mark.parametrize("new", [None, OSError("too many processes"), RuntimeError("can't start new thread")])
@in_event_loop
async def test_a_replacement_that_fails_changes_nothing(new: Exception | None) -> None:
    slot = FakeSlot()
    async with kept(slot):
        slot.to_begin = [new or FakeProcess(listens=False)]
        assert not await slot.replace()
        await settle()
        assert not slot.begun[0].told
        assert slot.worker is slot.begun[0]


@in_event_loop
async def test_a_worker_says_that_it_listens_and_does_what_the_supervisor_says() -> None:
    supervisor, connection = socket.socketpair()
    said: list[str] = []
    with supervisor, connection, socket.socket() as listener:
        shared = SharedPort(listener, connection)
        shared.follow(
            asyncio.get_running_loop(), closing=lambda: said.append("closing"), end=lambda: said.append("end")
        )
        assert supervisor.recv(10) == READY
        supervisor.send(CLOSING)
        await settle()
        assert said == ["closing"]
        supervisor.close()
        await settle()
        assert said == ["closing", "end"]


@asynccontextmanager
async def sleeping() -> AsyncIterator[tuple[WorkerProcess, socket.socket]]:
    """A process that never does anything, as a worker, and its end of the connection."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    worker = WorkerProcess(await asyncio.create_subprocess_exec("sleep", "60"), ours)
    with theirs:
        yield worker, theirs
        await worker.end()


@in_event_loop
async def test_a_worker_that_says_nothing_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "START_SECONDS", 0.0)
    async with sleeping() as (worker, _):
        assert not await worker.wait_until_listening()
    assert await worker.wait_until_ended() == "SIGTERM"


@in_event_loop
async def test_a_worker_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_module, "END_SECONDS", 0.0)
    async with sleeping() as (worker, connection):
        connection.send(READY)
        assert await worker.wait_until_listening()
    assert await worker.wait_until_ended() == "SIGKILL"
    assert "is killed" in caplog.text


class FakePort:
    def __init__(self) -> None:
        self.socket = None
        self.accepted = self.closed = False

    def doRead(self) -> None:  # noqa: N802
        self.accepted = True

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self.closed = self.accepted


@in_event_loop
async def test_a_worker_that_is_replaced_lets_new_connections_begin_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Leaving:
        lead, shares_port, ports, connections = 0.0, True, [FakePort()], {}  # type: ignore[var-annotated]
        http_factory = type("Factory", (), {"channels": ()})

        def close_sockets(self) -> None: ...

        def open_sockets(self) -> list[Any]:
            return []

    def fail(_: Any) -> None:
        raise AssertionError("the port is closed for all workers")

    monkeypatch.setattr(draining_module, "begin_no_more", fail)
    monkeypatch.setattr(draining_module, "CLOSED_SECONDS", 0.0)
    server = Leaving()
    await drain(server)
    assert server.ports[0].closed


def test_a_worker_that_is_replaced_is_ready_and_one_whose_port_closes_is_not(client: Any, db: None) -> None:
    def is_draining() -> str:
        return str(client.get("/health/ready").json()["checks"]["draining"])

    try:
        draining.set()
        assert is_draining() == "no"
        closing.set()
        assert is_draining() == "yes"
    finally:
        draining.clear()
        closing.clear()


@pytest.mark.parametrize("count", [0, 65])
def test_the_number_of_workers_is_limited(count: int) -> None:
    with pytest.raises(CommandError, match="from 1 to 64"):
        call_command("serve", workers=count)


def test_without_postgresql_or_redis_several_workers_are_refused(settings: Any) -> None:
    settings.REDIS_URL = ""
    with pytest.raises(CommandError, match="--workers needs PostgreSQL"):
        call_command("serve", workers=2)
