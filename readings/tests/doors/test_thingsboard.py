"""ThingsBoard's telemetry over HTTP. Its address has the key, which no log line, answer or page may show."""

import time

import pytest

from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, staff_client
from readings.models import Reading, Rejection

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def opened(settings):
    settings.DOORS = ["thingsboard"]


@pytest.fixture
def post(send, mote):
    def posted(body, key=mote[1], **given):
        return send("POST", f"/api/v1/{key}/telemetry", body, **given)

    return posted


def milliseconds_ago(seconds):
    return int((time.time() - seconds) * 1000)


def test_flat_values_are_stored_and_answered_with_200(post, stored):
    answer = post('{"temperature": 21.5, "doorOpen": true, "gps": {"lat": 52.5}, "mode": "eco", "co2": "415"}')

    assert (answer.status_code, answer.content) == (200, b"")
    assert stored() == [{"temperature": 21.5, "door_open": 1, "gps_lat": 52.5, "co2": 415}]
    assert Rejection.objects.values_list("device_id", "code", "field", "status").get() == (
        *("mote-1", "skipped_text", "mode", 200),
    )


def test_a_time_in_milliseconds_dates_the_values_and_a_retry_is_stored_once(post, stored):
    sent = milliseconds_ago(3600)
    body = f'[{{"ts": {sent}, "values": {{"a": 1}}}}, {{"ts": {sent - 1}, "values": {{"a": 2}}}}, {{"b": 3}}]'
    post(body)
    post(body)

    assert stored() == [{"a": 1}, {"a": 2}, {"b": 3}, {"b": 3}]
    assert round(Reading.objects.order_by("seq")[0].timestamp.timestamp() * 1000) == sent


@pytest.mark.parametrize("body", ["{}", "[]", '{"mode": "eco"}', '{"ts": 1778328000000, "values": {}}'])
def test_a_body_without_a_metric_succeeds(post, stored, body):
    assert post(body).status_code == 200
    assert stored() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"ts": 1000, "values": {"a": 1}}', "too_old"),
        ('{"ts": "now", "values": {"a": 1}}', "invalid_time"),
        ('{"ts": 1.5, "values": {"a": 1}}', "invalid_time"),
        ("7", "not_telemetry"),
        ("[[1]]", "not_telemetry"),
        ("null", "not_telemetry"),
    ],
)
def test_what_is_refused_is_a_422_and_the_rest_is_stored(post, stored, body, code):
    assert post(body).json()["errors"][0]["code"] == code

    answer = post(f'[{{"good": 1}}, {body.removeprefix("[").removesuffix("]")}]')
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "stored: 1" in answer.json()["errors"][0]["detail"]
    assert stored() == [{"good": 1}]


@pytest.mark.parametrize(
    ("body", "status"), [("{", 400), ("", 400), ("[" * 100_000, 400), ("[" + "1," * 20_001 + "1]", 413)]
)
def test_a_body_that_cannot_be_read_is_refused(post, body, status):
    assert post(body).status_code == status


def test_the_key_counts_and_no_other(send, mote, stored):
    other = send("POST", f"/api/v1/{'x' * 20}/telemetry", '{"a": 1}', headers={"X-API-Key": mote[1]})

    assert other.status_code == 401
    assert stored() == []


def test_attributes_are_accepted_and_not_stored(send, mote, stored):
    """ThingsBoard's own client for HTTP repeats what fails, for ever and before anything else."""
    address = f"/api/v1/{mote[1]}/attributes"

    assert send("POST", address, '{"firmware": "1.2", "rssi": -67}').status_code == 200
    assert send("POST", address, "{").status_code == 400
    assert send("POST", f"/api/v1/{'x' * 20}/attributes", "{}").status_code == 401
    assert stored() == []


@pytest.mark.parametrize("key", [FLEET_KEY, ADMIN_KEY])
def test_only_a_devices_own_key_is_allowed(post, key):
    assert post('{"a": 1}', key=key).status_code == 403


def test_the_door_is_closed_unless_it_is_named(post, settings):
    settings.DOORS = ["influx", "mqtt", "lorawan"]

    assert post('{"a": 1}').status_code == 404


@pytest.mark.parametrize("closed", [False, True])
def test_neither_the_log_nor_an_answer_nor_a_page_shows_the_key(post, mote, settings, capfd, closed):
    if closed:
        settings.DOORS = ["none"]
    unknown = "a-key-of-another-server-0123"
    answers = [post(body, key=key) for body in ('{"a": 1}', "{", "7") for key in (mote[1], unknown)]
    viewer = staff_client("viewer", "readings.view_reading", "readings.view_rejection", "devices.view_device")
    pages = viewer.get("/live/mote-1/").content.decode() + viewer.get("/admin/").content.decode()

    shown = "".join(capfd.readouterr()) + pages + "".join(answer.content.decode() for answer in answers)
    shown += str(list(Rejection.objects.values()))
    assert "/telemetry" in shown
    for key in (mote[1], unknown):
        assert key not in shown
        assert key[8:] not in shown
