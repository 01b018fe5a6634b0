"""A value is a double, and every answer gives the same double in the same characters, on both databases.

The suite runs on both, and each answer is compared with what was sent, so the two are compared with each other too.
"""

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devices.metrics import COLUMNS
from devices.models import Device
from devices.tests.examples import examples
from devices.tests.fixtures import ADMIN_KEY, client_with
from devices.times import rfc3339
from readings.history.csv_export import Layout, page_of
from readings.log.reader import Window
from readings.models import Reading
from readings.signals import readings_recorded
from readings.statistics.tiers import HOURS
from readings.upkeep.rollups import roll_up
from realtime.protocol.frames import documents

pytestmark = pytest.mark.django_db

CASES = Path(__file__).parents[2] / "data" / "doubles.json"
# All bit patterns, so that every magnitude is as frequent; and numbers near the limits of integers.
ANY_BITS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", bits.to_bytes(8, "little"))[0])
DOUBLES = st.one_of(
    st.floats(-1e300, 1e300),
    ANY_BITS.filter(lambda value: abs(value) <= 1e300),
    st.builds(lambda power, steps: float(2**power) + steps * 2.0 ** max(0, power - 52), *2 * [st.integers(0, 80)]),
    st.decimals(-1000, 1000, places=3).map(float),
)
INTEGERS = st.integers(-(2**53), 2**53)


def sent(value: Any) -> Any:
    """What is read back for a value: an integer up to 2^53 as such, any other number as the nearest double."""
    number = float(value) if isinstance(value, float) or abs(value) > 2**53 else value
    return number + 0.0 if isinstance(number, float) else number


def text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def posted(values: dict[str, Any]) -> tuple[Device, str]:
    """Posts one reading of a new device; returns the device and its live frame."""
    device, key = Device.objects.register(device_id=f"mote-{Device.objects.count()}")
    frames: list[str] = []

    def receive(appended: Any, **_: Any) -> None:
        frames.extend(documents(log.readings) for log in appended)

    readings_recorded.connect(receive)
    try:
        response = client_with(key).post("/api/v1/ingest", json.dumps(values), content_type="application/json")
    finally:
        readings_recorded.disconnect(receive)
    assert response.status_code == 201, response.content
    (frame,) = frames
    return device, frame


def check(values: dict[str, Any]) -> None:
    """Posts these values as one reading, and compares every answer that contains them."""
    device, frame = posted(values)
    address = f"/api/v1/devices/{device.device_id}"
    admin = client_with(ADMIN_KEY)
    expected = {name: float(value) + 0.0 if name in COLUMNS else sent(value) for name, value in values.items()}
    members = [f'"{name}":{text(value)}' for name, value in expected.items()]

    for answer in (
        admin.get(f"{address}/history").content.decode(),
        admin.get(f"{address}/latest").content.decode(),
        admin.get(address).content.decode(),
        frame,
        documents(Reading.objects.filter(device=device)),  # the frame of a replay
    ):
        assert [member for member in members if f"{member}," not in answer.replace("}", ",")] == []

    latest = admin.get(f"{address}/latest").json()["values"]
    assert {name: repr(found["value"]) for name, found in latest.items()} == {
        name: repr(value) for name, value in expected.items()
    }

    (line,), _ = page_of(Window(device.device_id), Layout(metrics=list(values), time_cell=rfc3339))
    assert line.decode().rstrip().split(",")[-len(values) :] == [repr(value) for value in expected.values()]

    for _ in range(2):
        found = admin.get(f"{address}/aggregate").json()["metrics"]
        (bucket,) = admin.get(f"{address}/aggregate", {"bucket": "1h"}).json()["buckets"]
        for statistics in (found, bucket["metrics"]):
            figures = {name: [each[figure] for figure in ("min", "max", "sum")] for name, each in statistics.items()}
            assert repr(sorted(figures.items())) == repr(
                [(name, [float(value)] * 3) for name, value in sorted(expected.items())]
            )
        roll_up(HOURS)


def test_the_edges_of_a_double_come_back_as_they_were_sent():
    check(json.loads(CASES.read_text()))


@pytest.mark.examples
@settings(
    max_examples=examples(3, of=10), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(DOUBLES | INTEGERS, min_size=8, max_size=8))
@example([1e16, 1e15, 123456789012345680.0, 2.0**63, -(2.0**64), 1e22, 9007199254740994.0, -9007199254740992])
@example([-0.0, 0, 1.0, 1, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-7])
@example([0.1, 1024.4, 1e300, -1e300, 1e21, 1.7e18, 9007199254740993, 10**300])
def test_every_double_comes_back_as_it_was_sent(values):
    names = ("temperature", "humidity", "voltage", *(f"m{n}" for n in range(5)))
    check(dict(zip(names, values, strict=True)))
    check(dict(zip(names, reversed(values), strict=True)))
