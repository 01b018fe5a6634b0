"""Bodies that cost far more to decode than to send: refused before the work is done, and off the event loop."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from rest_framework.exceptions import ParseError, ValidationError

from devices import cpu_pool
from devices.api.json_decoding import DOCUMENT_BYTES_MAX, is_light
from devices.tests.fixtures import problem
from readings.ingest.decoding import Posted, decode_batch, decode_reading
from readings.ingest.payloads import BATCH_READINGS_MAX
from readings.log.entries import NewReading, Refusal
from readings.models import Reading
from readings.tests.logs import NOON, post_raw

BATCH = "/api/v1/ingest/batch"
SIZE = 4 << 20


def filled(item: bytes, before: bytes = b"[", after: bytes = b"]") -> bytes:
    """A batch of 4 MiB with this item repeated."""
    return before + (item + b",") * ((SIZE - 100) // (len(item) + 1)) + item + after


TOO_MANY = {
    "empty arrays": filled(b"[]"),
    "empty objects": filled(b"{}"),
    "numbers": filled(b"1"),
    "numbers out of range": filled(b"1e999"),
    "text": filled(b'""'),
    "readings": filled(b'{"temperature":1}'),
    "in an object": filled(b"[]", b'{"readings":[', b"]}"),
    "behind spaces": b" \r\n" + filled(b"[]"),
}
ONE_ITEM = {
    "arrays": filled(b"[]", b"[[", b"]]"),
    "keys": filled(b'"a":1', b"[{", b"}]"),
    "nested in a value": filled(b"[]", b'[{"temperature":[', b"]}]"),
    "arrays of a size": filled(b"[" + b"[]," * 20_000 + b"[]]"),
    "text": b'["' + "é".encode() * (SIZE // 2 - 10) + b'"]',
    "digits": b"[" + b"9" * (SIZE - 10) + b"]",
}


def decoded(body: bytes, decode: Callable[..., Posted] = decode_batch) -> Posted:
    return decode(body, "", content_type="application/json", device_id="mote-1", received_at=NOON)


def seconds_of(action) -> float:
    before = time.thread_time()
    action()
    return time.thread_time() - before


@pytest.mark.parametrize("name", TOO_MANY)
def test_the_items_of_a_batch_are_counted_while_it_is_decoded(name):
    with pytest.raises(ValidationError) as raised:
        decoded(TOO_MANY[name])
    assert raised.value.get_codes() == {"": "batch_size"}


@pytest.mark.alone
@pytest.mark.parametrize("name", TOO_MANY)
def test_a_batch_of_too_many_items_takes_no_time(name):
    def refuse():
        with pytest.raises(ValidationError):
            decoded(TOO_MANY[name])

    refuse()  # creates the decoders
    assert seconds_of(refuse) < 0.05


@pytest.mark.parametrize("name", ONE_ITEM)
def test_one_item_that_is_too_large_is_refused_by_itself(name):
    body = b'[{"temperature":1},' + ONE_ITEM[name].strip()[1:-1] + b',{"temperature":2}]'

    first, *middle, last = decoded(body).outcomes

    assert isinstance(first, NewReading)
    assert isinstance(last, NewReading)
    assert {refusal.code for refusal in middle if isinstance(refusal, Refusal)} == {"reading_too_large"}
    assert not any(isinstance(outcome, NewReading) for outcome in middle)


@pytest.mark.alone
@pytest.mark.parametrize("name", ONE_ITEM)
@pytest.mark.parametrize("decode", [decode_batch, decode_reading])
def test_a_large_item_takes_no_time(name, decode):
    body = ONE_ITEM[name] if decode is decode_batch else ONE_ITEM[name][1:-1]

    def refuse():
        try:
            assert not isinstance(decoded(body, decode).outcomes[0], NewReading)
        except (ParseError, ValidationError):
            assert decode is decode_reading

    refuse()
    assert seconds_of(refuse) < 0.1


def test_one_document_is_bounded_everywhere_else(as_device, admin):
    body = json.dumps({f"m{n}": n for n in range(20_000)}).encode()
    for client, path in (
        (as_device, "/api/v1/ingest"),
        (admin, "/api/v1/devices"),
        (as_device, "/api/v1/realtime/tickets"),
    ):
        document = problem(post_raw(client, path, body), 422)
        assert document["errors"][0]["code"] == "document_too_large"
        assert str(DOCUMENT_BYTES_MAX) in document["detail"]


@pytest.mark.parametrize("wrap", [b"[%b]", b'{"readings":[%b]}'])
def test_a_large_batch_is_read_as_a_small_one_is(wrap):
    small = [
        b'{"temperature": 1, "rssi": -67, "age_seconds": 5}',
        b'{"temperature": "21.5"}',
        b"null",
        b"[]",
        b"1e999",
        b'{"temperature": 1e999}',
        b'{"device_id": "mote-2", "temperature": 1}',
        b'{"temperature": 1, "seq": [[1]]}',
    ]
    padding = [b'{"humidity": 40.0, "voltage": 3.9, "rssi": -60}'] * (BATCH_READINGS_MAX - len(small))
    body = wrap % b",".join([*small, *padding])
    assert not is_light(body)

    outcomes = decoded(body).outcomes

    assert outcomes[: len(small)] == decoded(b"[%b]" % b",".join(small)).outcomes
    assert len(outcomes) == BATCH_READINGS_MAX
    assert all(isinstance(outcome, NewReading) for outcome in outcomes[len(small) :])


@pytest.mark.parametrize(
    "item",
    [b"{", b'{"a": 01}', b'{"temperature": 1, "a": "\xff"}', b'{"\\ud800": 1}', b"[" * 5000 + b"]" * 5000, b"NaN"],
)
def test_a_large_batch_that_is_no_json_is_malformed(item):
    with pytest.raises(ParseError):
        decoded(b"[" + b'{"temperature":1,"rssi":1,"x":2},' * 9000 + item + b"]")


@pytest.mark.parametrize(
    "body", [filled(b'"a":1', b"{", b"}"), filled(b'"a":1', b'{"readings":{', b"}}"), b'"' + b"x" * (SIZE - 2) + b'"']
)
def test_a_large_document_that_is_no_batch_is_told_so(as_device, body):
    assert problem(post_raw(as_device, BATCH, body), 422)["errors"][0]["code"] == "not_a_batch"


@pytest.mark.django_db
def test_a_batch_of_the_largest_size_is_stored(as_device, device):
    readings = [{"temperature": n / 10, "rssi": -n, "pm": n, "age_seconds": 10_000 - n} for n in range(10_000)]

    response = post_raw(as_device, BATCH, json.dumps(readings))

    assert response.status_code == 201, response.content[:200]
    assert response.json()["devices"] == [{"device_id": "mote-1", "first_seq": 1, "last_seq": 10_000}]
    assert Reading.objects.get(seq=10_000).extra == {"rssi": -9999, "pm": 9999}
    assert Reading.objects.get(seq=1).timestamp < Reading.objects.get(seq=10_000).timestamp - timedelta(hours=2)


def test_callers_take_turns_for_the_thread():
    order = []
    release = threading.Event()

    def work(name):
        release.wait(5)
        order.append(name)

    async def story():
        greedy = [asyncio.ensure_future(cpu_pool.run("greedy", partial(work, f"greedy {n}"))) for n in range(5)]
        await asyncio.sleep(0)
        other = asyncio.ensure_future(cpu_pool.run("other", lambda: work("other")))
        await asyncio.sleep(0)
        greedy[1].cancel()
        release.set()
        await asyncio.gather(*greedy, other, return_exceptions=True)

    asyncio.run(story())

    assert order == ["greedy 0", "other", "greedy 2", "greedy 3", "greedy 4"]


def test_one_caller_has_a_bounded_number_waiting():
    async def story():
        release = threading.Event()
        first = [asyncio.ensure_future(cpu_pool.run("a", lambda: release.wait(5))) for _ in range(cpu_pool.WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(cpu_pool.TooManyLargeBodies) as raised:
            await cpu_pool.run("a", lambda: None)
        other = asyncio.ensure_future(cpu_pool.run("b", lambda: "done"))
        release.set()
        await asyncio.gather(*first)
        assert await other == "done"
        assert await cpu_pool.run("a", lambda: "again") == "again"
        return raised.value

    refusal = asyncio.run(story())

    assert refusal.status_code == 429
    assert str(cpu_pool.WAITING_MAX) in str(refusal.detail)
    assert "WAITING_MAX" in str(refusal.detail)


def test_what_fails_in_the_thread_fails_for_its_caller_alone():
    async def story():
        with pytest.raises(ZeroDivisionError):
            await cpu_pool.run("a", lambda: 1 / 0)
        return await cpu_pool.run("a", lambda: "done")

    assert asyncio.run(story()) == "done"


def test_the_attack_is_four_kilobytes():
    assert len(gzip.compress(TOO_MANY["empty arrays"])) < 5_000
