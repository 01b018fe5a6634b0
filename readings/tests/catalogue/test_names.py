"""Which metrics are in the catalogue: the common ones, and each that a device has sent."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState
from readings.catalogue import names
from readings.common_metrics import COMMON
from readings.models import Metric
from readings.upkeep.maintenance import maintain

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def common(db):
    """A test with transactions of its own begins with an empty table."""
    names.add_common()


def maintained():
    return maintain(now=timezone.now())


def other_names():
    return set(Metric.objects.values_list("name", flat=True)) - COMMON.keys()


def test_common_metrics_have_their_units_from_the_start():
    units = dict(Metric.objects.values_list("name", "unit"))

    assert units.keys() == COMMON.keys()
    assert {name: units[name] for name in ("temperature", "co2", "pressure", "rssi", "battery", "illuminance")} == {
        "temperature": "°C",
        "co2": "ppm",
        "pressure": "hPa",
        "rssi": "dBm",
        "battery": "%",
        "illuminance": "lx",
    }


@pytest.mark.django_db(transaction=True)
def test_a_new_name_appears_at_the_next_round_of_maintenance(as_device):
    as_device.post("/api/v1/ingest", {"temperature": 21.5, "soil_moisture_top": 0.4})
    assert other_names() == set()

    maintained()

    added = Metric.objects.get(name="soil_moisture_top")
    assert (added.label, added.unit, added.decimals) == ("", "", None)


@pytest.mark.django_db(transaction=True)
def test_a_name_that_comes_later_appears_too_and_costs_nothing_while_none_is_new(as_device, monkeypatch):
    as_device.post("/api/v1/ingest", {"first": 1})
    maintained()
    added: list[list[str]] = []
    monkeypatch.setattr(names, "add", added.append)
    as_device.post("/api/v1/ingest", {"first": 2})
    maintained()
    as_device.post("/api/v1/ingest", {"first": 3, "second": 1})
    maintained()

    assert added == [["second"]]


@pytest.mark.django_db(transaction=True)
def test_what_somebody_has_described_stays(as_device):
    Metric.objects.filter(name="temperature").update(unit="°F", label="Heat")

    as_device.post("/api/v1/ingest", {"temperature": 70})
    maintained()
    names.add_common()

    assert Metric.objects.get(name="temperature").unit == "°F"


@pytest.mark.django_db(transaction=True)
def test_a_full_catalogue_gives_up_names_that_no_device_has(as_device, monkeypatch, caplog):
    monkeypatch.setattr(names, "METRICS_MAX", len(COMMON) + 3)
    Metric.objects.bulk_create([Metric(name="gone"), Metric(name="described", unit="m")])
    as_device.post("/api/v1/ingest", {"a": 1, "b": 1, "c": 1})

    maintained()

    assert other_names() == {"a", "b", "described"}
    assert "1 name of devices is not in it" in caplog.text
    assert Device.objects.get().state.last_seq == DeviceState.objects.get().rolled_up_seq == 1


def test_ingest_does_nothing_for_the_catalogue(as_device):
    with CaptureQueriesContext(connection) as captured:
        as_device.post("/api/v1/ingest", {"brand_new": 1})

    assert Device.objects.get().state.last_seq == 1
    assert not [query for query in captured.captured_queries if "readings_metric" in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_a_new_name_is_added_before_the_roll_up_locks_what_ingest_needs(as_device):
    as_device.post("/api/v1/ingest", {"brix": 12.5})
    with CaptureQueriesContext(connection) as captured:
        maintained()
    statements = [query["sql"] for query in captured]
    added = next(n for n, sql in enumerate(statements) if 'INTO "readings_metric"' in sql)
    locked = min(n for n, sql in enumerate(statements) if "FOR NO KEY UPDATE" in sql or "SET rolled_up_seq" in sql)
    assert added < locked
