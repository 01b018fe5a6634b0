from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.models import REPORT_INTERVAL_SECONDS_MAX, Device, DeviceState
from devices.status import Status

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 9, 10, 0, 0, 123456, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
DEFAULT = 60


def judged(*, now):
    """The status of each device."""
    devices: Any = Device.objects.with_status(now=now)
    return {device.device_id: device.status for device in devices}


def status_of(device, *, silent_for, now=NOW):
    """The status of a device that was last heard from this long before `now`."""
    DeviceState.objects.filter(device=device).update(last_seen_at=now - silent_for)
    return judged(now=now)[device.device_id]


def test_a_device_that_was_never_heard_from(device):
    assert judged(now=NOW) == {"mote-1": Status.NEVER}


@pytest.mark.parametrize("interval", [None, 1, 7, DEFAULT, 3600, REPORT_INTERVAL_SECONDS_MAX])
def test_two_intervals_of_silence_are_late_and_five_offline(device, interval):
    Device.objects.update(report_interval=interval)
    late_after = 2 * timedelta(seconds=interval or DEFAULT)
    offline_after = 5 * timedelta(seconds=interval or DEFAULT)

    assert status_of(device, silent_for=timedelta(0)) == Status.ONLINE
    assert status_of(device, silent_for=late_after - INSTANT) == Status.ONLINE
    assert status_of(device, silent_for=late_after) == Status.LATE
    assert status_of(device, silent_for=offline_after - INSTANT) == Status.LATE
    assert status_of(device, silent_for=offline_after) == Status.OFFLINE
    assert status_of(device, silent_for=timedelta(days=365)) == Status.OFFLINE


def test_a_receipt_that_a_wrong_clock_has_dated_in_the_future_does_not_make_a_device_online(device):
    assert status_of(device, silent_for=-timedelta(minutes=5)) == Status.ONLINE
    assert status_of(device, silent_for=-timedelta(minutes=5) - INSTANT) == Status.OFFLINE
    assert status_of(device, silent_for=-timedelta(days=1)) == Status.OFFLINE


def test_without_an_interval_of_its_own_the_server_s_default_counts(device, settings):
    settings.DEFAULT_REPORT_INTERVAL = 10

    assert status_of(device, silent_for=timedelta(seconds=19)) == Status.ONLINE
    assert status_of(device, silent_for=timedelta(seconds=20)) == Status.LATE
    assert status_of(device, silent_for=timedelta(seconds=50)) == Status.OFFLINE


def test_a_device_heard_from_after_now_is_online(device):
    assert status_of(device, silent_for=-timedelta(seconds=30)) == Status.ONLINE


@pytest.mark.parametrize("moment", [datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)])
def test_the_end_of_a_day_or_a_year_makes_no_difference(device, moment):
    assert status_of(device, silent_for=timedelta(seconds=1), now=moment) == Status.ONLINE
    assert status_of(device, silent_for=timedelta(seconds=120), now=moment + timedelta(seconds=90)) == Status.LATE


def test_each_device_is_judged_by_its_own_interval(device, other_device):
    Device.objects.filter(pk=device.pk).update(report_interval=10)
    DeviceState.objects.update(last_seen_at=NOW - timedelta(seconds=30))

    assert judged(now=NOW) == {"mote-1": Status.LATE, "mote-2": Status.ONLINE}


@pytest.mark.parametrize(
    ("seconds", "status"), [(1, "online"), (119, "online"), (130, "late"), (290, "late"), (310, "offline")]
)
def test_the_api_says_so(admin, device, seconds, status):
    DeviceState.objects.update(last_seen_at=timezone.now() - timedelta(seconds=seconds))

    assert admin.get("/api/v1/devices/mote-1").json()["status"] == status
    assert [shown["status"] for shown in admin.get("/api/v1/devices").json()["results"]] == [status]


def test_a_reading_brings_a_device_back_online(admin, as_device):
    DeviceState.objects.update(last_seen_at=timezone.now() - timedelta(days=9))
    assert admin.get("/api/v1/devices/mote-1").json()["status"] == "offline"

    as_device.post("/api/v1/ingest", {"temperature": 21.5})

    assert admin.get("/api/v1/devices/mote-1").json()["status"] == "online"
