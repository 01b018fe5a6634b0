"""Virtual devices repeat a post with the same id until it is acknowledged, and stop after a refusal."""

import asyncio
import functools
import json
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command

from readings.simulator import fleet
from readings.simulator.comparison import compare
from readings.simulator.fleet import Measurement, Outages, SimulationError, Tally, VirtualDevice, obtain_keys, simulate

pytestmark = pytest.mark.once

Answer = httpx.Response | httpx.TransportError
STORED = httpx.Response(201, json={})


class Backend:
    """An HTTP server in memory that returns these answers in order, and then the last one repeatedly."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.TransportError):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def readings(self) -> list[dict[str, float | str]]:
        """The posted readings, single and in batches."""
        return [r for body in self.bodies() for r in (body if isinstance(body, list) else [body])]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Backend]:
    """Replaces the network by a `Backend`, and shortens all waits."""
    monkeypatch.setattr(fleet, "RETRY_SECONDS", (0.001, 0.004))

    def install(*answers: Answer) -> Backend:
        backend = Backend(answers)
        for name in ("Client", "AsyncClient"):
            client = functools.partial(getattr(httpx, name), transport=httpx.MockTransport(backend))
            monkeypatch.setattr(httpx, name, client)
        return backend

    return install


def post_once(tally):
    async def post():
        async with httpx.AsyncClient(base_url="http://test") as client:
            waiting = [Measurement("one", {"temperature": 20}, time.monotonic())]
            await VirtualDevice("sim-001", "its-key").send(client, waiting, tally)

    asyncio.run(post())


def run(*device_ids, **options):
    devices = [VirtualDevice(device_id, f"key of {device_id}") for device_id in device_ids]
    return asyncio.run(simulate(devices, base_url="http://test", **{"interval": 0.01, "duration": 0.3} | options))


def test_a_reading_is_posted_once_when_it_is_acknowledged(backend):
    server, tally = backend(STORED), Tally()
    post_once(tally)
    assert (tally.stored, tally.failed) == (1, 0)
    (request,) = server.requests
    assert (request.method, request.url, request.headers["X-API-Key"]) == (
        "POST",
        "http://test/api/v1/ingest",
        "its-key",
    )


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(503, headers={"Retry-After": "0"}),
        httpx.Response(500),
        httpx.Response(502),
        httpx.Response(429),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut off"),
    ],
    ids=lambda trouble: str(getattr(trouble, "status_code", type(trouble).__name__)),
)
def test_it_is_posted_again_with_the_same_id_until_it_is(backend, trouble):
    server, tally = backend(trouble, trouble, trouble, httpx.Response(200, json={"duplicate": True})), Tally()
    post_once(tally)
    assert (tally.stored, tally.failed) == (1, 3)
    assert server.bodies() == [{"id": "one", "temperature": 20}] * 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_a_refusal_that_stays_is_an_error_that_says_why(backend, status):
    server = backend(httpx.Response(status, text="because"))
    with pytest.raises(SimulationError, match=f"sim-001: {status} because"):
        post_once(Tally())
    assert len(server.requests) == 1


def test_it_waits_longer_each_time_but_not_for_ever(backend, monkeypatch):
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backend(*[httpx.Response(503)] * 12, STORED)
    monkeypatch.setattr(fleet, "RETRY_SECONDS", (0.5, 30.0))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    post_once(Tally())
    assert len(waits) == 12
    for attempt, waited in enumerate(waits):
        longest = min(0.5 * 2**attempt, 30)
        assert longest / 2 <= waited <= longest


def test_each_device_posts_what_it_measured_with_its_own_key(backend):
    server = backend(STORED)
    tally = run("sim-001", "sim-002", interval=0.02, duration=0.5)
    assert tally.stored >= 4
    assert {request.headers["X-API-Key"] for request in server.requests} == {"key of sim-001", "key of sim-002"}
    readings = server.readings()
    assert len({reading["id"] for reading in readings}) == len(readings)
    for reading in readings:
        assert reading.keys() == {"id", "temperature", "humidity", "voltage", "rssi"}


def test_what_it_measures_is_what_a_room_is_like():
    device = VirtualDevice("sim-001", "key")
    for _ in range(2000):
        values = device.measure()
        assert 10 < values["temperature"] < 32
        assert 20 < values["humidity"] < 80
        assert 3.2 < values["voltage"] < 4.2
        assert -80 < values["rssi"] < -40


def test_it_ends_when_its_time_is_up(backend):
    backend(httpx.Response(503))
    started = time.monotonic()
    tally = run("sim-001", duration=0.2)
    assert time.monotonic() - started < 1.5
    assert tally.stored == 0


def test_one_device_that_is_refused_ends_it_all(backend):
    backend(STORED, STORED, httpx.Response(401, text="revoked"))
    with pytest.raises(SimulationError, match=r"sim-00[12]: 401 revoked"):
        run("sim-001", "sim-002", duration=30)


def test_it_tells_how_far_it_is(backend, monkeypatch):
    backend(STORED)
    monkeypatch.setattr(fleet, "PROGRESS_SECONDS", 0.05)
    told: list[str] = []
    run("sim-001", progress=lambda tally: told.append(str(tally)))
    assert len(told) >= 2
    assert re.fullmatch(
        r"\d+ readings stored \(\d+\.\d/s\), 0 attempts repeated, \d+ in buffers, 0 devices cut off", told[-1]
    )


def test_a_new_device_is_registered_and_one_there_is_gets_a_new_key(backend):
    new, taken = httpx.Response(201, json={"api_key": "new"}), httpx.Response(409)
    server = backend(new, taken, httpx.Response(200, json={"api_key": "rotated"}))
    devices = obtain_keys(["sim-001", "sim-002"], base_url="http://test", admin_key="secret")
    assert [(device.device_id, device.key) for device in devices] == [("sim-001", "new"), ("sim-002", "rotated")]
    assert [request.url.path for request in server.requests] == [
        "/api/v1/devices",
        "/api/v1/devices",
        "/api/v1/devices/sim-002/rotate-key",
    ]
    assert {request.headers["X-API-Key"] for request in server.requests} == {"secret"}
    # The key of an earlier simulation may still be within its overlap.
    assert json.loads(server.requests[2].content) == {"force": True}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(401, text="no"), "sim-001: 401 no"),
        (httpx.Response(307, headers={"Location": "https://test/"}), "sim-001: 307"),
        (httpx.ConnectError("refused"), "No server answers at http://test: refused"),
        (httpx.Response(200, text="<html>another program's page</html>"), "http://test"),
    ],
)
def test_without_keys_it_says_why(backend, answer, said):
    backend(answer)
    with pytest.raises(SimulationError, match=said):
        obtain_keys(["sim-001"], base_url="http://test", admin_key="secret")


@pytest.mark.parametrize("options", [{"devices": 0}, {"interval": 0.0}, {"interval": -1.0}])
def test_the_command_takes_no_nonsense(options):
    with pytest.raises(CommandError, match="at least 1"):
        call_command("simulate", **options)


def test_the_command_says_where_no_server_answers():
    with pytest.raises(CommandError, match=r"No server answers at http://127\.0\.0\.1:1:"):
        call_command("simulate", url="http://127.0.0.1:1")


def test_it_waits_as_long_as_it_is_told_to(backend, monkeypatch):
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backend(httpx.Response(429, headers={"Retry-After": "7"}), STORED)
    monkeypatch.setattr(fleet, "RETRY_SECONDS", (0.5, 30.0))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    post_once(Tally())
    assert waits == [7]


def test_what_was_measured_while_cut_off_is_sent_in_batches_with_its_age(backend, monkeypatch):
    monkeypatch.setattr(fleet, "AGE_SECONDS_MIN", 0.0)
    server = backend(STORED)
    outages = Outages(every=0.05, length=0.3)
    tally = run("sim-001", interval=0.01, duration=1, outages=outages, drain=5)

    batches = [body for body in server.bodies() if isinstance(body, list)]
    assert max(map(len, batches)) > 3
    longest = max(batches, key=len)
    ages = [reading["age_seconds"] for reading in longest]
    assert ages == sorted(ages, reverse=True)
    assert ages[0] - ages[-1] > 0.02
    readings = server.readings()
    assert tally.stored == len({reading["id"] for reading in readings}) == len(readings)


def test_a_reading_of_a_batch_that_is_refused_is_an_error(backend):
    backend(httpx.Response(207, text="one was refused"))

    async def send():
        async with httpx.AsyncClient(base_url="http://test") as client:
            waiting = [Measurement(str(n), {"temperature": n}, time.monotonic()) for n in range(2)]
            await VirtualDevice("sim-001", "key").send(client, waiting, Tally())

    with pytest.raises(SimulationError, match="207 one was refused"):
        asyncio.run(send())


NOW = 1_800_000_000


def verdict_on(backend, *, acknowledged, stored):
    """The verdict for a log with the readings `stored`, as (id, seq, seconds after NOW)."""
    device = VirtualDevice("sim-001", "key", acknowledged={name: NOW + n for n, name in enumerate(acknowledged)})
    results = [
        {"id": name, "seq": seq, "timestamp": datetime.fromtimestamp(NOW + seconds, UTC).isoformat()}
        for name, seq, seconds in stored
    ]
    backend(httpx.Response(200, json={"results": results, "next": None}))
    return compare([device], base_url="http://test")


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ([("a", 1, 0), ("b", 2, 1), ("c", 3, 2)], {}),
        ([("a", 1, 0), ("c", 2, 2)], {"lost": 1}),
        ([("a", 1, 0), ("b", 2, 1), ("b", 3, 1), ("c", 4, 2)], {"doubled": 1}),
        ([("a", 1, 0), ("b", 2, 1), ("c", 3, 60)], {"misdated": 1}),
        ([("a", 1, 0), ("b", 2, 1), ("c", 4, 2)], {"holes": 1}),
        # A stored reading that was not acknowledged, and a server clock that is an hour ahead, are not faults.
        ([("a", 1, 3600), ("b", 2, 3601), ("unheard", 3, 3601), ("c", 4, 3602)], {}),
    ],
)
def test_the_verdict_tells_what_was_lost_doubled_misdated(backend, stored, found):
    verdict = verdict_on(backend, acknowledged="abc", stored=stored)
    counts = {name: getattr(verdict, name) for name in ("lost", "doubled", "misdated", "holes")}
    assert {name: count for name, count in counts.items() if count} == found
    assert verdict.clean == (not found)
