"""Skipped values are counted, and shown on the device's page without displacing refused posts."""

import pytest
from django.utils import timezone

from devices.tests.fixtures import EVERYTHING, staff_client
from readings import instruments
from readings.doors import skipped_values
from readings.doors.skipped_values import Lately, skipped_posts
from readings.doors.switches import Door
from readings.doors.translation import TEXT, Skipped
from readings.ingest import refused_posts
from readings.ingest.refused_posts import Noted, Times, keep, refused_post
from readings.models import Rejection
from readings.overview import overview

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(skipped_values, "lately", Lately())


def posts(*skipped, now=0.0):
    named = [("mote-1", value) for value in skipped]
    return skipped_posts(named, door=Door.INFLUX, caller="device", address="192.0.2.1", status=204, now=now)


def kept(*skipped):
    keep({refusal: Times(timezone.now(), count) for refusal, count in posts(*skipped)})


def test_a_skipped_value_is_kept_with_its_name_and_reason(device):
    kept(Skipped("state", TEXT), Skipped("state", TEXT))

    row = Rejection.objects.get()
    assert (row.device_id, row.code, row.field, row.status, row.count) == ("mote-1", TEXT, "state", 204, 2)
    assert row.detail == "InfluxDB, state: Text is not stored."


def test_it_is_noted_once_a_minute_with_all_its_times():
    counts = [[count for _, count in posts(Skipped("state", TEXT), now=now)] for now in (0.0, 30.0, 59.9, 60.0)]

    assert counts == [[1], [], [], [3]]


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(skipped_values, "REMEMBERED_MAX", 5)
    for n in range(20):
        posts(Skipped(f"name {n}", TEXT))

    assert len(skipped_values.lately.noted) == 5


def test_of_one_request_a_bounded_number_is_noted():
    assert len(posts(*(Skipped(f"name {n}", TEXT) for n in range(1000)))) == skipped_values.NOTED_OF_A_REQUEST


def test_every_skipped_value_is_counted_for_the_metrics():
    counter = instruments.DOOR_SKIPPED.labels("influx", TEXT)
    before = counter._value.get()

    posts(*(Skipped(f"name {n}", TEXT) for n in range(1000)))

    assert counter._value.get() == before + 1000


def test_waiting_skipped_values_leave_room_for_refusals():
    noted = Noted()
    for n in range(100):
        for refusal, count in posts(Skipped(f"name {n}", TEXT)):
            noted.note(refusal, now=timezone.now(), count=count)
    refusal = refused_post(caller="device", device_id="mote-1", address="", status=422, code="invalid", detail="")
    noted.note(refusal, now=timezone.now())

    assert refusal in noted
    assert len(noted) == refused_posts.WAITING_OF_A_SENDER["device"] + 1


def test_stored_skipped_values_displace_no_refusal(device, monkeypatch):
    monkeypatch.setitem(refused_posts.KEPT_OF_A_SHARE, "skipped", 7)
    keep(
        {
            refused_post(caller="device", device_id="mote-1", address="", status=422, code="x", detail=""): Times(
                timezone.now()
            )
        }
    )
    for n in range(30):
        kept(Skipped(f"name {n}", TEXT))

    assert Rejection.objects.refusals().count() == 1
    assert Rejection.objects.count() == 1 + 7


def test_the_devices_page_lists_them_apart_and_the_overview_does_not(device):
    kept(Skipped("state", TEXT))
    page = staff_client("viewer", "readings.view_reading", "readings.view_rejection").get("/live/mote-1/refused/")

    assert "No refused posts lately" in page.content.decode()
    assert "Values that were not stored" in page.content.decode()
    assert "InfluxDB, state: Text is not stored." in page.content.decode()
    assert overview(EVERYTHING, now=timezone.now()).refused == []
