"""Statements that the database itself refuses, for every client."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from devices.models import Device, DeviceState
from readings.log.entries import StoredReading
from readings.models import Reading
from readings.tests.logs import NOON, new, store


@pytest.fixture
def reading(device):
    store([new(temperature=20.0, extra={"rssi": -67})])
    return Reading.objects.get()


def change_by_save(reading):
    reading.temperature = 99
    reading.save()


def change_by_update(reading):
    Reading.objects.update(temperature=99)


def change_in_bulk(reading):
    reading.extra = {}
    Reading.objects.bulk_update([reading], ["extra"])


def change_by_upsert(reading):
    reading.temperature = 99
    Reading.objects.bulk_create(
        [reading], update_conflicts=True, unique_fields=["device", "id"], update_fields=["temperature"]
    )  # fmt: skip


def change_by_sql(reading):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE readings_reading SET seq = seq + 1")


def change_by_sql_to_the_same(reading):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE readings_reading SET temperature = temperature WHERE seq = 1")


by_save = pytest.param(change_by_save, marks=pytest.mark.one_database("Citus itself refuses to set the device"))
CHANGES = [by_save, change_by_update, change_in_bulk, change_by_upsert, change_by_sql, change_by_sql_to_the_same]


def assert_unchangeable(reading, change):
    with pytest.raises(IntegrityError, match="readings are immutable"), transaction.atomic():
        change(reading)
    stored = Reading.objects.get()
    assert (stored.seq, stored.temperature, stored.extra) == (1, 20.0, {"rssi": -67})


@pytest.mark.parametrize("change", CHANGES)
def test_the_database_refuses_to_change_a_reading(reading, change):
    assert_unchangeable(reading, change)


def stored(**changes: Any) -> StoredReading:
    values: dict[str, Any] = {"id": uuid4(), "device_id": "mote-1", "seq": 2, "timestamp": NOON, "temperature": 1.0}
    values |= {"humidity": None, "voltage": None, "extra": {}}
    return StoredReading(**(values | changes))


@pytest.mark.parametrize("taken", ["seq", "id"])
@pytest.mark.one_database("COPY to nodes has another error")
def test_the_database_refuses_a_number_or_an_id_that_is_taken(reading, taken):
    with pytest.raises(IntegrityError), transaction.atomic():
        Reading.objects.insert([stored(**{taken: getattr(reading, taken)})])
    assert Reading.objects.count() == 1


def test_two_devices_have_the_same_numbers(reading, other_device):
    Reading.objects.insert([stored(device_id="mote-2", seq=1)])
    assert Reading.objects.filter(seq=1).count() == 2


def test_the_database_refuses_a_reading_of_no_device(transactional_db):
    # In a separate transaction, because foreign keys are checked at the commit.
    with pytest.raises(IntegrityError), transaction.atomic():
        Reading.objects.insert([stored(device_id="nobody")])
    assert not Reading.objects.exists()


def test_a_device_with_readings_cannot_be_deleted(reading, device):
    with pytest.raises(ProtectedError):
        device.delete()


def test_the_database_refuses_to_delete_a_device_with_readings(transactional_db):
    Device.objects.register(device_id="mote-1")
    store([new()])
    DeviceState.objects.all().delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        Device.objects.all()._raw_delete("default")
    assert Reading.objects.count() == 1


def test_readings_can_be_deleted_by_whoever_keeps_the_retention(reading):
    Reading.objects.filter(seq__lte=1).delete()
    assert not Reading.objects.exists()


@pytest.mark.slow
@pytest.mark.one_database("a migration from before tables are distributed")
def test_the_migration_that_makes_readings_immutable_can_be_taken_back(transactional_db):
    Device.objects.register(device_id="mote-1")
    store([new(temperature=20.0, extra={"rssi": -67})])
    try:
        call_command("migrate", "readings", "0001", verbosity=0)
        Reading.objects.update(temperature=99)
        assert Reading.objects.get().temperature == 99
        Reading.objects.update(temperature=20.0)
    finally:
        call_command("migrate", verbosity=0)
    assert_unchangeable(Reading.objects.get(), change_by_update)
