"""The ingest lane answers like Django's handler; its requests share transactions but not failures."""

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import FLEET_KEY
from readings.ingest import views
from readings.ingest.decoding import decode_reading
from readings.log import group_commit, recording
from readings.models import Reading
from telemetry.gateway.sharing import LaneSharing, Shared
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = pytest.mark.django_db(transaction=True)

ID = "0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b"


@pytest.fixture
def fleet_of_twenty(db):
    for number in range(20):
        Device.objects.register(device_id=f"d-{number}")


@pytest.fixture
def stored_groups(monkeypatch):
    """The sizes of the transactions, in readings."""
    sizes = []

    def store(readings, **when):
        sizes.append(len(readings))
        return recording.store(readings, **when)

    monkeypatch.setattr(group_commit, "store", store)
    return sizes


def post_for_each_of_twenty(client):
    return asyncio.gather(
        *(
            client.post("/ingest", json={"device_id": f"d-{n}", "temperature": n}, headers={"X-API-Key": FLEET_KEY})
            for n in range(20)
        )
    )


REQUESTS = {
    "a reading": ("/ingest", '{"temperature": 1}', {}),
    "with a slash": ("/ingest/", '{"temperature": 1}', {}),
    "ignored fields": ("/ingest", '{"temperature": 1, "timestamp": 5}', {}),
    "other times": ("/ingest", '{"temperature": 1, "ts": 5, "time": "now"}', {}),
    "nothing but a time": ("/ingest", '{"ts": 5}', {}),
    "a rounded integer": ("/ingest", '{"pulses": 9007199254740993}', {}),
    "a byte order mark": ("/ingest", '\ufeff{"temperature": 1}', {}),
    "malformed": ("/ingest", "{", {}),
    "no metrics": ("/ingest", "{}", {}),
    "empty": ("/ingest", "", {}),
    "another device": ("/ingest", '{"temperature": 1, "device_id": "mote-2"}', {}),
    "another media type": ("/ingest", "temperature=1", {"Content-Type": "application/x-www-form-urlencoded"}),
    "no key": ("/ingest", "{", {"X-API-Key": ""}),
    "a wrong key": ("/ingest", "{", {"X-API-Key": "tlm_wrong"}),
    "the administrator": ("/ingest", "{", {"X-API-Key": "admin-key-of-the-tests-0123456789"}),
    "a batch": ("/ingest/batch", '[{"temperature": 1}, {"temperature": 2}]', {}),
    "partly valid": ("/ingest/batch", '[{"temperature": 1}, {"temperature": 1e999}, 7]', {}),
    "none valid": ("/ingest/batch", "[7]", {}),
    "no batch": ("/ingest/batch", '{"temperature": 1}', {}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_it_answers_as_the_ordinary_handler_does(mote, anyone, name):
    path, body, changes = REQUESTS[name]
    headers = {"X-API-Key": mote[1], "Content-Type": "application/json"} | changes

    async def post(client):
        return await client.post(path, content=body, headers=headers)

    lane = through_the_lane(post)
    ordinary = anyone.generic(
        "POST", f"/api/v1{path}", body, headers["Content-Type"], headers={"X-API-Key": headers["X-API-Key"]}
    )

    assert lane.status_code == ordinary.status_code
    assert lane.headers["Content-Type"] == ordinary["Content-Type"]
    assert lane.headers.get("WWW-Authenticate") == ordinary.get("WWW-Authenticate")
    assert lane.headers["X-Request-ID"]
    assert shape(lane.json()) == shape(ordinary.json())


def shape(answer):
    """An answer without the parts that differ between requests."""
    if isinstance(answer, dict):
        changing = {"id", "seq", "timestamp", "server_time", "request_id", "first_seq", "last_seq"}
        return {name: name if name in changing else shape(value) for name, value in answer.items()}
    return [shape(item) for item in answer] if isinstance(answer, list) else answer


def test_an_id_is_stored_once(mote):
    async def post_twice(client):
        headers = {"X-API-Key": mote[1]}
        return [await client.post("/ingest", json={"temperature": t, "id": ID}, headers=headers) for t in (1, 2)]

    first, second = through_the_lane(post_twice)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json() | {"duplicate": True}
    assert Reading.objects.get().temperature == 1


def test_what_arrives_meanwhile_shares_the_next_transaction(fleet_of_twenty, stored_groups):
    answers = through_the_lane(post_for_each_of_twenty)

    assert {answer.status_code for answer in answers} == {201}
    assert sum(stored_groups) == 20
    assert len(stored_groups) < 10
    assert {(r.device_id, r.seq) for r in Reading.objects.all()} == {(f"d-{n}", 1) for n in range(20)}


def test_a_request_that_cannot_be_stored_fails_alone(fleet_of_twenty, monkeypatch):
    def store(readings, **when):
        if any(reading.temperature == 7 for reading in readings):
            raise ValueError("poison")
        return recording.store(readings, **when)

    monkeypatch.setattr(group_commit, "store", store)

    answers = through_the_lane(post_for_each_of_twenty)

    assert [answer.status_code for answer in answers] == [500 if n == 7 else 201 for n in range(20)]
    assert answers[7].json()["code"] == "internal_error"
    assert "poison" not in answers[7].text
    assert Reading.objects.count() == 19


def test_a_database_that_is_away_is_a_503_for_all_of_a_group_and_passes(fleet_of_twenty, monkeypatch):
    def away(*_args, **_when):
        raise OperationalError("server closed the connection unexpectedly")

    async def post_before_and_after(client):
        with monkeypatch.context() as patch:
            patch.setattr(group_commit, "store", away)
            before = await post_for_each_of_twenty(client)
        return before, await post_for_each_of_twenty(client)

    before, after = through_the_lane(post_before_and_after)

    assert {answer.status_code for answer in before} == {503}
    assert {answer.json()["code"] for answer in before} == {"database_unavailable"}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in before)
    assert {answer.status_code for answer in after} == {201}
    assert Reading.objects.count() == 20


def test_a_fault_outside_the_transaction_is_heard_of_and_passes(mote, monkeypatch):
    def fail(*_args):
        raise LookupError("a fault of ours")

    async def post_twice(client):
        headers = {"X-API-Key": mote[1]}
        with monkeypatch.context() as patch:
            patch.setattr(group_commit.GroupCommitter, "commit", fail)
            first = await client.post("/ingest", json={"temperature": 1}, headers=headers)
        return first, await client.post("/ingest", json={"temperature": 2}, headers=headers)

    first, second = through_the_lane(post_twice)

    assert (first.status_code, second.status_code) == (500, 201)


def test_a_full_queue_is_a_503_at_once(fleet_of_twenty, monkeypatch):
    monkeypatch.setattr(group_commit, "QUEUED_READINGS_MAX", 5)

    answers = through_the_lane(post_for_each_of_twenty)

    refused = [answer for answer in answers if answer.status_code != 201]
    assert refused
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert Reading.objects.count() == 20 - len(refused)


def test_what_a_full_queue_refuses_is_not_decoded(mote, monkeypatch):
    monkeypatch.setattr(group_commit, "QUEUED_READINGS_MAX", 5)
    decoded = []

    def decode(body, refused, **about):
        decoded.append(body)
        return decode_reading(body, refused, **about)

    monkeypatch.setattr(views, "decode_reading", decode)
    stored = threading.Event()

    def wait(readings, **when):
        stored.wait(5)
        return recording.store(readings, **when)

    monkeypatch.setattr(group_commit, "store", wait)

    async def post_until_some_are_refused(client):
        headers = {"X-API-Key": mote[1]}
        posts = [
            asyncio.create_task(client.post("/ingest", json={"temperature": number}, headers=headers))
            for number in range(8)
        ]
        await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        stored.set()
        return await asyncio.gather(*posts)

    answers = through_the_lane(post_until_some_are_refused)

    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [503] * 3
    assert len(decoded) == 5


def test_a_database_that_never_answers_is_a_503_in_time(mote, monkeypatch):
    released, stored = threading.Event(), threading.Event()

    def hang(readings, **when):
        released.wait(5)
        try:
            return recording.store(readings, **when)
        finally:
            stored.set()

    async def post(client):
        answer = await client.post("/ingest", json={"temperature": 1}, headers={"X-API-Key": mote[1]})
        released.set()
        return answer

    monkeypatch.setattr(group_commit, "store", hang)
    monkeypatch.setattr(group_commit, "ANSWER_SECONDS", 0.1)

    answer = through_the_lane(post)

    assert answer.status_code == 503
    assert "same ids" in answer.json()["detail"]
    assert stored.wait(10)  # or it would be stored while the next test runs


def test_a_revoked_key_is_refused_by_the_next_request(mote):
    device, key = mote

    def post():
        return through_the_lane(
            lambda client: client.post("/ingest", json={"temperature": 1}, headers={"X-API-Key": key})
        )

    before = post()
    device.rotate_key(overlap=timedelta(0), now=timezone.now())
    after = post()

    assert (before.status_code, after.status_code) == (201, 401)
    assert Reading.objects.count() == 1


def test_the_body_of_a_stranger_is_not_even_read():
    from telemetry.asgi import application

    sent = []

    async def receive():
        raise AssertionError("the body was asked for")

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "method": "POST", "path": "/api/v1/ingest", "headers": [(b"x-api-key", b"tlm_wrong")]}
    asyncio.run(application(scope | {"query_string": b"", "root_path": ""}, receive, send))  # type: ignore[arg-type]

    assert sent[0]["status"] == 401


def test_two_transactions_at_a_time_never_share_a_device(fleet_of_twenty, monkeypatch):
    under_way: list[set[str]] = []
    met: list[list[bool]] = []

    def store(readings, **when):
        devices = {reading.device_id for reading in readings}
        met.append([bool(devices & others) for others in under_way])
        under_way.append(devices)
        time.sleep(0.01)  # long enough for another to begin
        try:
            return recording.store(readings, **when)
        finally:
            under_way.remove(devices)

    def post_all(client):
        readings = [{"device_id": f"d-{n % 5}", "temperature": n} for n in range(60)]
        headers = {"X-API-Key": FLEET_KEY}
        return asyncio.gather(*(client.post("/ingest", json=reading, headers=headers) for reading in readings))

    monkeypatch.setattr(group_commit, "PARALLEL_READINGS_MIN", 1)
    monkeypatch.setattr(group_commit, "GROUP_READINGS_MAX", 3)  # or the first would have all
    monkeypatch.setattr(group_commit, "store", store)
    answers = through_the_lane(post_all)

    assert {answer.status_code for answer in answers} == {201}
    assert not any(shared for others in met for shared in others)
    assert any(others for others in met) == (connection.vendor == "postgresql")


def test_registrations_have_a_thread_of_their_own():
    async def names():
        way = LaneSharing(Shared())
        return [await asked(lambda: threading.current_thread().name) for asked in (way.ask, way.register)]

    assert asyncio.run(names()) == ["tokens", "registrations"]
