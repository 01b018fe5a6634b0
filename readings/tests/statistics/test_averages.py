"""An average lies between the minimum and the maximum, whichever way it was computed, also where sums are rounded."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, client_with
from readings.statistics.averages import average
from readings.statistics.hourly_averages import hourly_averages
from readings.statistics.tiers import HOURS
from readings.tests.logs import NOON, at, new, store
from readings.upkeep.rollups import roll_up

DOUBLES = st.floats(-1e300, 1e300)


@pytest.mark.once
@given(st.lists(DOUBLES, min_size=1, max_size=20), st.integers(1, 5000))
@example([1024.4], 3600)
@example([5e-324, -5e-324, 0.0], 1)
@example([-5e-324, 0.0], 3)
def test_an_average_is_never_outside_its_values(values, times):
    total = 0.0
    for value in values * min(times, 100):
        total += value
    found = average(len(values) * min(times, 100), total, min(values), max(values))
    assert min(values) <= found <= max(values)
    assert repr(found) != "-0.0"


def asked(device_id: str, **parameters: str) -> list[dict[str, Any]]:
    window = {"start": at(0).isoformat(), "end": at(7200).isoformat()}
    answer = client_with(ADMIN_KEY).get(f"/api/v1/devices/{device_id}/aggregate", window | parameters).json()
    parts = answer["buckets"] if parameters else [answer]
    return [statistics for part in parts for statistics in part["metrics"].values()]


def check(values: list[float], times: int) -> None:
    device, _ = Device.objects.register(device_id=f"mote-{Device.objects.count()}")
    moments = [at(n * 5400 / (len(values) * times)) for n in range(len(values) * times)]
    series = zip(moments, values * times, strict=True)
    entries = [new(device.device_id, when, temperature=value, extra={"probe": value}) for when, value in series]
    store(entries)
    for late in (None, new(device.device_id, at(5390), temperature=values[0], extra={"probe": values[0]})):
        if late:
            roll_up(HOURS)
            store([late])  # so that an answer adds rollups and readings
        found = [*asked(device.device_id), *asked(device.device_id, bucket="5m"), *asked(device.device_id, bucket="1h")]
        assert [each for each in found if not each["min"] <= each["avg"] <= each["max"]] == []
        assert {each["min"] for each in found} >= {min(values)}
        assert {each["max"] for each in found} >= {max(values)}
    hours = hourly_averages([device.device_id], metric="temperature", start=NOON, hours=2)[device.device_id]
    assert all(hour is None or min(values) <= hour <= max(values) for hour in hours)


@pytest.mark.django_db
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(DOUBLES | st.decimals(-500, 2000, places=1).map(float), min_size=1, max_size=3), st.integers(30, 60))
@example([1024.4], 300)
@example([0.1], 100)
@example([9007199254740991.0, 9007199254740992.0], 40)
@example([1.0, 1.0000000000000002], 41)
def test_the_average_of_every_answer_lies_between_minimum_and_maximum(values, times):
    check(values, times)
