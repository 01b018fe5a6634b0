"""The log line of every request, and the context of the other lines during a request."""

import io
import json
import logging
from importlib import import_module

import pytest
from asgiref.sync import async_to_sync
from channels.testing import WebsocketCommunicator

from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, client_with, staff_client
from readings.log import group_commit
from telemetry.monitoring.logging import logging_config
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture
def lines():
    """Returns the lines logged since its last call, at DEBUG, parsed from JSON."""
    import_module("telemetry.asgi")  # its first import configures logging again
    formatter = logging_config(level="DEBUG", output="json")["formatters"]["structured"].copy()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter.pop("()")(**formatter))
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)

    def read():
        written = [json.loads(line) for line in stream.getvalue().splitlines()]
        stream.seek(0)
        stream.truncate()
        return [line for line in written if line["logger"].startswith(("telemetry", "readings", "realtime"))]

    yield read
    root.setLevel(level)
    root.removeHandler(handler)


def of_requests(lines):
    return [line for line in lines if line["logger"] == "telemetry.requests"]


def test_a_request_is_one_line_that_says_what_became_of_it(lines, mote):
    client_with(mote[1]).get("/api/v1/devices/mote-1/latest?limit=3", HTTP_X_REQUEST_ID="abc", REMOTE_ADDR="192.0.2.7")

    (line,) = of_requests(lines())
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp")
    assert line == {
        "event": "GET /api/v1/devices/mote-1/latest 404",
        "logger": "telemetry.requests",
        "level": "info",
        "method": "GET",
        "path": "/api/v1/devices/mote-1/latest",
        "route": "device-latest",
        "status": 404,
        "client": "192.0.2.7",
        "caller": "device",
        "device_id": "mote-1",
        "request_id": "abc",
    }


@pytest.mark.parametrize(
    ("make", "caller"),
    [
        (lambda: client_with(None), None),
        (lambda: client_with("tlm_wrong"), None),
        (lambda: client_with(ADMIN_KEY), "admin"),
        (lambda: client_with(FLEET_KEY), "fleet"),
        (lambda: staff_client("operator"), "user:operator"),
    ],
)
def test_it_says_who_called(lines, make, caller):
    client = make()
    lines()

    client.get("/api/v1/devices")

    (line,) = of_requests(lines())
    assert line.get("caller") == caller
    assert "device_id" not in line


def test_in_the_lane_it_is_the_same_at_debug_while_all_is_well(lines, mote):
    async def story(client):
        headers = {"X-API-Key": mote[1], "X-Request-ID": "abc"}
        await client.post("/ingest", json={"temperature": 1}, headers=headers)
        await client.post("/ingest", json={"temperature": True}, headers=headers)
        await client.post("/ingest", json={"temperature": 1}, headers={"X-API-Key": "tlm_wrong"})

    through_the_lane(story)

    told = of_requests(lines())
    assert [(line["level"], line["status"], line.get("device_id")) for line in told] == [
        ("debug", 201, "mote-1"),
        ("info", 422, "mote-1"),
        ("info", 401, None),
    ]
    assert {line["route"] for line in told} == {"ingest"}
    assert told[0]["request_id"] == "abc"


def test_a_gateway_s_reading_is_of_the_device_that_it_names(lines, mote):
    body = {"temperature": 1, "device_id": "mote-1"}
    through_the_lane(lambda client: client.post("/ingest", json=body, headers={"X-API-Key": FLEET_KEY}))

    (line,) = of_requests(lines())
    assert (line["caller"], line["device_id"]) == ("fleet", "mote-1")


def test_what_fails_meanwhile_is_told_under_the_same_id(lines, mote, monkeypatch):
    def fail(*_args, **_when):
        raise ValueError("poison")

    monkeypatch.setattr(group_commit, "store", fail)
    headers = {"X-API-Key": mote[1], "X-Request-ID": "abc"}
    through_the_lane(lambda client: client.post("/ingest", json={"temperature": 1}, headers=headers))

    failed, line = lines()
    assert "poison" in failed["exception"]
    assert failed["request_id"] == line["request_id"] == "abc"
    assert failed["device_id"] == line["device_id"] == "mote-1"
    assert line["status"] == 500


def test_the_next_request_is_of_nobody_again(lines, mote):
    client_with(mote[1]).get("/api/v1/devices/mote-1")
    lines()

    client_with(None).get("/nothing")

    (line,) = of_requests(lines())
    assert "device_id" not in line


def test_no_path_makes_a_line_of_its_own(lines):
    client_with(None).get("/nothing%0A2026-01-01 [error] forged" + "x" * 1000)

    (line,) = of_requests(lines())
    assert "\n" not in line["event"]
    assert "%0A2026" in line["path"]
    assert len(line["path"]) < 1000


def test_a_socket_is_one_line_when_it_ends(lines, mote):
    from telemetry.asgi import application

    async def watch():
        address = "/api/v1/realtime/subscribe/mote-1?ticket=nonsense-nonsense"
        headers = [(b"host", b"testserver"), (b"x-request-id", b"abc")]
        socket = WebsocketCommunicator(application, address, headers=headers)
        await socket.connect()
        await socket.receive_from()
        await socket.receive_output()
        await socket.wait()

    async_to_sync(watch)()

    (line,) = of_requests(lines())
    assert line["event"] == "WebSocket /api/v1/realtime/subscribe/mote-1 4401"
    assert (line["status"], line["request_id"], line["device_id"]) == (4401, "abc", "mote-1")
