"""Bodies that no honest client sends: always a 4xx with a problem document, never a 5xx, and nothing stored."""

import json
from typing import Any

import pytest

from devices.models import Device
from devices.tests.fixtures import problem
from readings.models import Reading
from readings.tests.logs import post_raw, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.once]

INGEST, BATCH, DEVICES = "/api/v1/ingest", "/api/v1/ingest/batch", "/api/v1/devices"
MANY = 100_000

NO_JSON: dict[str, bytes] = {
    "whitespace": b" \r\n\t ",
    "NaN": b'{"temperature": NaN}',
    "Infinity": b'{"temperature": Infinity}',
    "-Infinity": b'{"temperature": -Infinity}',
    "NaN beside 1e999": b'{"temperature": 1e999, "humidity": NaN}',
    "Infinity beside 1e999": b'{"temperature": 1e999, "humidity": -Infinity}',
    "open brackets": b"[" * MANY,
    "nested brackets": b"[" * MANY + b"]" * MANY,
    "nested braces": b'{"a":' * MANY + b"1" + b"}" * MANY,
    "nested brackets in a value": b'{"temperature":' + b"[" * MANY + b"]" * MANY + b"}",
    "nested brackets beside 1e999": b'{"temperature": 1e999, "a":' + b"[" * MANY + b"]" * MANY + b"}",
    "nested brackets beside an ignored key": b'{"temperature": 1, "seq":' + b"[" * MANY + b"]" * MANY + b"}",
    "lone surrogate in a name": b'{"temperature": 1, "\\ud800": 1}',
    "lone surrogate in a value": b'{"device_id": "\\ud800", "name": "\\ud800"}',
    "low surrogate first": b'{"device_id": "\\udc00\\ud800"}',
    "lone surrogate beside 1e999": b'{"temperature": 1e999, "device_id": "\\ud800"}',
    "lone surrogate in a name beside 1e999": b'{"temperature": 1e999, "\\udfff": 1}',
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"temperature": 1}',
    "byte order mark after a space": b' \xef\xbb\xbf{"temperature": 1}',
    "byte order mark and NaN": b'\xef\xbb\xbf{"temperature": NaN}',
    "invalid UTF-8": b'{"temperature": 1, "\xff\xfe": 1}',
    "overlong UTF-8": b'{"device_id": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"device_id": "\xed\xa0\x80"}',
    "invalid UTF-8 beside 1e999": b'{"temperature": 1e999, "device_id": "\xff"}',
    "UTF-16": '{"temperature": 1}'.encode("utf-16"),
    "UTF-32 without a mark": '{"temperature": 1}'.encode("utf-32-le"),
    "NUL bytes": b"\x00" * 100,
    "NUL after the document": b'{"temperature": 1}\x00',
    "a raw NUL in text": b'{"device_id": "a\x00b"}',
    "a raw line feed in text": b'{"device_id": "a\nb"}',
    "two documents": b'{"temperature": 1}{"temperature": 2}',
    "a trailing comma": b'{"temperature": 1,}',
    "single quotes": b"{'temperature': 1}",
    "hexadecimal": b'{"temperature": 0x10}',
    "an octal number": b'{"temperature": 010}',
    "a leading plus": b'{"temperature": +1}',
    "a bare dot": b'{"temperature": .5}',
    "a comment": b'{"temperature": 1 /* warm */}',
    "an unknown escape": b'{"device_id": "\\x41"}',
    "a cut escape": b'{"device_id": "\\u00',
    "a form": b"temperature=1",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}

DIGITS = b"9" * 5000

# Valid JSON, but not a reading, a batch or a device.
INVALID: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"5",
    "a huge number": b"1e999",
    "5,000 digits": DIGITS,
    "text": b'"temperature"',
    "an empty object": b"{}",
    "1e999": b'{"temperature": 1e999}',
    "-1e999": b'{"temperature": -1e999, "report_interval": 1e999}',
    "a 400-digit integer": b'{"temperature": ' + DIGITS[:400] + b', "report_interval": ' + DIGITS[:400] + b"}",
    "a negative 400-digit integer": b'{"rssi": -' + DIGITS[:400] + b', "report_interval": -' + DIGITS[:400] + b"}",
    "an age of 400 digits": b'{"temperature": 1, "age_seconds": ' + DIGITS[:400] + b"}",
    "a 5,000-digit integer": b'{"temperature": ' + DIGITS + b', "report_interval": ' + DIGITS + b"}",
    "a negative 5,000-digit integer": b'{"rssi": -' + DIGITS + b', "report_interval": -' + DIGITS + b"}",
    "a 5,000-digit float": b'{"temperature": ' + DIGITS + b".5}",
    "a 5,000-digit exponent": b'{"temperature": 1e' + DIGITS + b"}",
    "5,000 digits as text": b'{"temperature": "' + DIGITS + b'"}',
    "an age of 5,000 digits": b'{"temperature": 1, "age_seconds": ' + DIGITS + b"}",
    "NUL in a name": b'{"temperature": 1, "\\u0000": 1}',
    "NUL in an id": b'{"temperature": 1, "id": "\\u0000"}',
    "NUL in a device id": b'{"temperature": 1, "device_id": "mote-1\\u0000"}',
    "NUL in a value": b'{"temperature": "1\\u0000"}',
    "a name of a megabyte": b'{"' + b"x" * 1_000_000 + b'": 1}',
    "a value of a megabyte": b'{"temperature": "' + b"x" * 1_000_000 + b'"}',
    "100,000 metrics": json.dumps({f"m{n}": n for n in range(MANY)}).encode(),
    "one name 100,000 times": b'{"temperature": "x"' + b', "temperature": "x"' * MANY + b"}",
    "1e999 in a name that stands twice": b'{"temperature": 1, "temperature": 1e999}',
    "a nested value": b'{"temperature": {"value": [1, {"deeper": null}]}}',
}


def assert_refused(response: Any, *statuses: int) -> None:
    assert response.status_code in statuses, response.content[:500]
    problem(response, response.status_code)
    assert not Reading.objects.exists()
    assert Device.objects.count() == 1


BOM = b"\xef\xbb\xbf"
SPACES = b" " * 600_000  # so that a batch is decoded item by item


def test_a_byte_order_mark_before_a_body_is_ignored(as_device, admin):
    for path, body, status in (
        (INGEST, b'{"temperature": 1}', 201),
        (INGEST, b'\r\n{"temperature": 1e999}', 422),
        (BATCH, b'[{"temperature": 1}]', 201),
        (BATCH, b'{"readings": [{"temperature": 1}]}', 201),
        (BATCH, b'[{"temperature": 1}' + SPACES + b"]", 201),
        (BATCH, SPACES + b'{"readings": [{"temperature": 1}]}', 201),
    ):
        assert post_raw(as_device, path, BOM + body).status_code == status
    assert Reading.objects.count() == 5
    assert (
        post_raw(admin, DEVICES, BOM + b'{"device_id": "mote-2", "name": "\xef\xbb\xbfx"}').json()["name"] == "\ufeffx"
    )
    for path, status in ((f"{DEVICES}/mote-2/rotate-key", 200), ("/api/v1/realtime/tickets", 201)):
        assert post_raw(admin, path, BOM + b"{}").status_code == status


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_is_a_bad_request_everywhere(as_device, admin, body):
    for client, path in ((as_device, INGEST), (as_device, BATCH), (admin, DEVICES)):
        assert_refused(post_raw(client, path, body), 400)
    assert state_of().last_seen_at is None


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID.keys())
def test_what_is_no_reading_no_batch_and_no_device_is_refused(as_device, admin, body):
    for client, path in ((as_device, INGEST), (as_device, BATCH), (admin, DEVICES)):
        assert_refused(post_raw(client, path, body), 422)
    assert state_of().last_seen_at is None


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID.keys())
def test_in_a_batch_it_is_rejected_and_its_neighbours_are_stored(as_device, body):
    response = post_raw(as_device, BATCH, b'[{"temperature": 1}, ' + body + b', {"temperature": 2}]')

    assert response.status_code == 207, response.content[:500]
    assert [rejected["index"] for rejected in response.json()["rejected"]] == [1]
    assert [reading.temperature for reading in Reading.objects.order_by("seq")] == [1, 2]


def test_an_empty_body_is_refused(as_device, admin):
    for client, path in ((as_device, INGEST), (as_device, BATCH), (admin, DEVICES)):
        assert_refused(post_raw(client, path, b""), 400, 422)


@pytest.mark.parametrize("content_type", ["text/json", "application/xml", "application/octet-stream", "json", "/", ";"])
def test_other_media_types_are_refused(as_device, admin, content_type):
    for client, path in ((as_device, INGEST), (as_device, BATCH), (admin, DEVICES)):
        assert_refused(post_raw(client, path, b'{"temperature": 1, "device_id": "mote-1"}', content_type), 415)


@pytest.mark.parametrize(
    "values",
    [
        {"device_id": "a\x00"},
        {"device_id": "-a"},
        {"device_id": "a\n"},
        {"device_id": "ä"},
        {"device_id": "x" * 65},
        {"device_id": 5},
        {"device_id": None},
        {"device_id": ["a"]},
        {"device_id": {"a": 1}},
        {"name": "a\x00"},
        {"name": "x" * 256},
        {"name": 5},
        {"name": None},
        {"report_interval": 0},
        {"report_interval": 1.5},
        {"report_interval": "60"},
        {"report_interval": True},
        {"report_interval": 2**63},
        {"report_interval": 10**400},
        {"api_key": "mine"},
        {"": 1},
        {"\x00": 1},
    ],
    ids=lambda values: repr(values)[:30],
)
def test_a_device_is_not_registered_with_a_value_that_is_wrong(admin, device, values):
    response = admin.post(DEVICES, {"device_id": "node-1"} | values)
    assert_refused(response, 422)
    assert {error["field"] for error in response.json()["errors"]} == values.keys()
