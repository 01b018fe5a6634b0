"""What a device said of itself, in the database."""

from datetime import timedelta

from django.utils import timezone

from devices.models import Device, DeviceState
from readings.log.entries import NewReading
from readings.log.recording import record


def status(now):
    return Device.objects.with_status(now=now).values_list("status", flat=True).get(device_id="mote-1")  # type: ignore[misc]


def test_offline_holds_until_the_next_reading(device):
    now = timezone.now()
    record([NewReading("mote-1", now, extra={"co2": 1})], received_at=now)
    assert status(now) == "online"
    DeviceState.objects.say("mote-1", online=False, at=now + timedelta(seconds=1))
    assert status(now) == "offline"
    record([NewReading("mote-1", now, extra={"co2": 1})], received_at=None)  # an import is not heard from the device
    assert status(now) == "offline"
    record([NewReading("mote-1", now, extra={"co2": 1})], received_at=now + timedelta(seconds=2))
    assert status(now) == "online"


def test_offline_is_ignored_if_something_was_received_after_it(device):
    now = timezone.now()
    record([NewReading("mote-1", now, extra={"co2": 1})], received_at=now)
    DeviceState.objects.say("mote-1", online=False, at=now - timedelta(seconds=1))
    assert status(now) == "online"


def test_online_ends_offline(device):
    now = timezone.now()
    record([NewReading("mote-1", now, extra={"co2": 1})], received_at=now)
    DeviceState.objects.say("mote-1", online=False, at=now)
    DeviceState.objects.say("mote-1", online=True, at=now)
    assert status(now) == "online"
