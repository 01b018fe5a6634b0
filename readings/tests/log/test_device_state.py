"""The state of a device after writes: length of its log, time of the last receipt, latest reading and values."""

import random
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from devices.models import Device
from readings.log.entries import reading_document
from readings.models import Reading
from readings.tests.logs import NOON, at, new, state_of, store

pytestmark = pytest.mark.django_db


def test_the_log_has_the_length_of_what_was_stored(device):
    store([new(), new()])
    store([new()])
    assert state_of().last_seq == 3


def test_a_device_is_seen_when_its_reading_came_not_when_it_was_measured(device):
    store([new(timestamp=at(-86_400))], received_at=NOON)
    assert state_of().last_seen_at == NOON


def test_when_a_device_was_seen_never_goes_back(device):
    store([new()], received_at=at(60))
    store([new()], received_at=at(30))
    assert state_of().last_seen_at == at(60)


def test_a_receipt_replaces_one_that_a_wrong_clock_has_dated_in_the_future(device):
    store([new()], received_at=at(86_400))
    store([new()], received_at=None)
    assert state_of().last_seen_at == at(86_400)
    store([new()], received_at=at(30))
    assert state_of().last_seen_at == at(30)


def test_a_duplicate_is_a_sign_of_life_and_nothing_else(device):
    again = new(id=uuid4())
    store([again], received_at=NOON)
    store([again], received_at=at(60))
    state = state_of()
    assert (state.last_seq, state.last_seen_at, state.latest_at) == (1, at(60), NOON)


def test_only_devices_that_were_heard_of_are_seen(device, other_device):
    store([new("mote-1")])
    Device.objects.filter(device_id="mote-2").update(is_active=False)
    assert store([new("mote-2")])[0].refusal
    assert state_of("mote-2").last_seen_at is None


@pytest.mark.parametrize(
    ("calls", "latest"),
    [
        pytest.param([[0]], (1, 0), id="the first"),
        pytest.param([[0], [10]], (2, 10), id="a newer one"),
        pytest.param([[0], [-10]], (1, 0), id="a late arrival"),
        pytest.param([[0, 20, 10]], (2, 20), id="out of order in one call"),
        pytest.param([[0, 20], [10, 15]], (2, 20), id="late arrivals in a call of their own"),
        pytest.param([[0, 20], [10, 30, 25]], (4, 30), id="late and newer mixed"),
        pytest.param([[5, 5, 5]], (3, 5), id="of equal times the last in the log"),
        pytest.param([[5], [5]], (2, 5), id="of equal times in two calls the last in the log"),
        pytest.param([[5], [4.999999]], (1, 5), id="a microsecond late"),
    ],
)
def test_the_latest_reading_is_the_newest_by_its_own_time(device, calls, latest):
    for seconds in calls:
        store(new(timestamp=at(offset)) for offset in seconds)
    state = state_of()
    assert (state.latest_seq, state.latest_at) == (latest[0], NOON + timedelta(seconds=latest[1]))


def values_of(device_id="mote-1"):
    """The latest value of each metric, with its time in seconds after noon and its `seq`."""
    return {
        name: (latest.value, latest.microseconds / 1e6 - NOON.timestamp(), latest.seq)
        for name, latest in state_of(device_id).latest_values().items()
    }


@pytest.mark.parametrize(
    ("calls", "values"),
    [
        pytest.param([[(0, {"a": 1, "b": 2})]], {"a": (1, 0, 1), "b": (2, 0, 1)}, id="of one reading"),
        pytest.param([[(0, {"a": 1})], [(5, {"b": 2})]], {"a": (1, 0, 1), "b": (2, 5, 2)}, id="of two readings"),
        pytest.param([[(0, {"a": 1}), (5, {"b": 2})]], {"a": (1, 0, 1), "b": (2, 5, 2)}, id="of one call"),
        pytest.param([[(5, {"a": 1})], [(0, {"a": 2})]], {"a": (1, 5, 1)}, id="a late arrival"),
        pytest.param([[(5, {"a": 1})], [(0, {"a": 2, "b": 3})]], {"a": (1, 5, 1), "b": (3, 0, 2)}, id="late and new"),
        pytest.param([[(5, {"a": 1})], [(5, {"a": 2})]], {"a": (2, 5, 2)}, id="of equal times the later in the log"),
        pytest.param([[(5, {"a": 1}), (5, {"a": 2})]], {"a": (2, 5, 2)}, id="of equal times in one call"),
        pytest.param(
            [[(0, {"a": 1, "b": 1}), (5, {"a": 2}), (9, {"b": 3})], [(7, {"a": 4}), (8, {"b": 5})]],
            {"a": (4, 7, 4), "b": (3, 9, 3)},
            id="late for one metric alone",
        ),
        pytest.param(
            [[(0, {"a": 1, "b": 1})], [(9, {"b": 2})], [(5, {"a": 3}), (12, {"c": 4})]],
            {"a": (3, 5, 3), "b": (2, 9, 2), "c": (4, 12, 4)},
            id="newer than the newest and late in one call",
        ),
        pytest.param([[(0.25, {"a": 1})], [(0, {"a": 2})], [(0.5, {"a": 3})]], {"a": (3, 0.5, 3)}, id="in a second"),
    ],
)
def test_of_each_metric_the_newest_value_is_kept(device, calls, values):
    for readings in calls:
        store([new(timestamp=at(seconds), extra=extra) for seconds, extra in readings])
    assert values_of() == values


def test_columns_are_metrics_as_any(device):
    store([new(temperature=1.5, humidity=40.0)])
    store([new(timestamp=at(5), temperature=2.5, extra={"rssi": -67})])
    assert values_of() == {"temperature": (2.5, 5, 2), "rssi": (-67, 5, 2), "humidity": (40.0, 0, 1)}


@pytest.mark.parametrize("seed", range(8))
def test_the_values_are_those_of_the_whole_log_however_it_came(device, other_device, seed):
    chance = random.Random(seed)
    newest: dict[str, dict[str, Any]] = {"mote-1": {}, "mote-2": {}}
    names = ["temperature", "humidity", "a", "b", "c"]
    for _ in range(12):
        readings = []
        for _ in range(chance.randrange(1, 4)):
            chosen = chance.sample(names, chance.randrange(1, 5))
            values = {name: float(chance.randrange(100)) for name in chosen}
            columns = {name: values.pop(name) for name in ("temperature", "humidity") if name in values}
            device_id = chance.choice(list(newest))
            readings.append(new(device_id, at(chance.randrange(9)), extra=values, **columns))
        for outcome in store(readings):
            reading = outcome.reading
            assert reading
            for name, value in {
                "temperature": reading.temperature,
                "humidity": reading.humidity,
                **reading.extra,
            }.items():
                place = (reading.timestamp, reading.seq)
                if value is not None and place > newest[reading.device_id].get(name, (at(-1), 0, 0))[:2]:
                    newest[reading.device_id][name] = (*place, value)
        for device_id, expected in newest.items():
            assert values_of(device_id) == {
                name: (value, (moment - NOON).total_seconds(), seq) for name, (moment, seq, value) in expected.items()
            }
            state = state_of(device_id)
            named = Reading.objects.filter(device_id=device_id, seq=state.latest_seq or 0).first()
            assert state.latest_document() == (reading_document(named) if named else None)


@pytest.mark.parametrize("value", [1e300, -1e300, 5e-324, 0.1, 2**53, -(2**53)])
def test_a_value_is_read_back_as_it_was_sent(device, value):
    store([new(timestamp=at(5), extra={"a": value})])
    store([new(timestamp=at(0), extra={"b": 1})])
    assert values_of()["a"][0] == value


def test_the_newest_reading_is_named_by_its_id(device):
    (first,) = store([new(timestamp=at(5))])
    store([new(timestamp=at(0))])
    assert first.reading
    assert state_of().latest_id == first.reading.id


def test_a_newest_reading_that_a_wrong_clock_dated_in_the_future_is_replaced_by_the_next(device):
    """The same holds for each of its values; metrics that the device does not send again stay."""
    store([new(timestamp=at(86_400), temperature=50.0, extra={"rssi": -1})], at(86_400))
    store([new(timestamp=at(60), temperature=20.0)], at(60))
    store([new(timestamp=at(30), temperature=19.0)], at(61))

    state = state_of()
    assert (state.latest_seq, state.latest_at) == (2, at(60))
    assert state.latest_id == Reading.objects.get(seq=2).id
    values = {name: (latest.value, latest.seq) for name, latest in state.latest_values().items()}
    assert values == {"temperature": (20.0, 2), "rssi": (-1, 1)}
