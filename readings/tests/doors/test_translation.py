"""What all doors share: names, values, times and derived ids."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.metrics import is_metric_name
from readings.doors.times import Receipt, nanoseconds
from readings.doors.translation import (
    DEPTH,
    LIST,
    NAME,
    RANGE,
    TEXT,
    Skipped,
    identities,
    identity,
    metric_name,
    translate,
    values_of,
)
from readings.ingest.payloads import NOT_METRICS, InvalidReading
from readings.log.entries import NewReading, Refusal

pytestmark = pytest.mark.once

NOW = datetime(2026, 5, 9, 12, 0, 0, 123456, tzinfo=UTC)


def translated(document, **given) -> Any:
    return translate(document, device_id="mote-1", receipt=Receipt(NOW), **given)


@pytest.mark.parametrize(
    ("sent", "metric"),
    [
        ("temperature", "temperature"),
        ("batteryVoltage", "battery_voltage"),
        ("battery.V", "battery_v"),
        ("Temp (°C)", "temp_c"),
        ("PM2.5", "pm2_5"),
        ("%", "percent"),
        ("µg/m³", "ug_m3"),
        ("°", "value"),
        ("", "value"),
        ("🌡", "value"),
        ("3V3", "x_3v3"),
        ("id", "x_id"),
        ("device_id", "x_device_id"),
        ("time", "x_time"),
        ("ts", "x_ts"),
        ("seq", "x_seq"),
        ("Größe", "grosse"),
        ("a" * 70, "a" * 63),
    ],
)
def test_a_name_becomes_a_metric_name(sent, metric):
    assert metric_name(sent) == metric


@given(st.text(max_size=300))
def test_every_name_becomes_a_valid_metric_name(name):
    metric = metric_name(name)

    assert is_metric_name(metric)
    assert metric not in NOT_METRICS
    assert metric_name(metric) == metric


def test_nested_names_are_joined():
    values, skipped = values_of({"a": {"b": 1, "c": {"dE": 2.5}}, "x": 3})

    assert (values, skipped) == ({"a_b": 1, "a_c_d_e": 2.5, "x": 3}, [])


def test_true_and_false_are_1_and_0_and_null_is_absent():
    assert values_of({"on": True, "off": False, "gone": None}) == ({"on": 1, "off": 0}, [])


def test_a_number_in_a_string_counts():
    assert values_of({"a": " 21.50 ", "b": "-3e2"})[0] == {"a": 21.5, "b": -300.0}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("warm", TEXT),
        ("", TEXT),
        ("NaN", TEXT),
        ([1, 2], LIST),
        ([], LIST),
        (1e301, RANGE),
        (float("inf"), RANGE),
        (10**400, RANGE),
        ({"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}, None),
        ({"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}, DEPTH),
    ],
)
def test_what_cannot_be_a_metric_is_skipped_and_the_rest_is_kept(value, code):
    values, skipped = values_of({"kept": 1, "a": value})

    assert values["kept"] == 1
    assert [s.code for s in skipped] == ([code] if code else [])


def test_of_two_names_that_become_one_the_later_wins_and_the_other_is_named():
    values, skipped = values_of({"battery.V": 3.1, "BatteryV": 3.2})

    assert values == {"battery_v": 3.2}
    assert skipped == [Skipped("battery.V", NAME)]


def test_the_columns_are_floats_and_the_rest_is_extra():
    reading = translated({"Temperature": 21, "Humidity": True, "rssi": -67}).reading

    assert isinstance(reading, NewReading)
    assert (reading.temperature, reading.humidity, reading.voltage) == (21.0, 1.0, None)
    assert isinstance(reading.temperature, float)
    assert reading.extra == {"rssi": -67}


def test_large_integers_are_stored_as_the_nearest_double():
    assert translated({"pulses": 2**53 + 1}).reading.extra == {"pulses": float(2**53)}


def test_33_extra_metrics_are_refused_and_32_are_not():
    columns = {"temperature": 1, "humidity": 2, "voltage": 3}

    assert isinstance(translated(columns | {f"m{n}": n for n in range(32)}).reading, NewReading)
    refusal = translated(columns | {f"m{n}": n for n in range(33)}).reading
    assert isinstance(refusal, Refusal)
    assert refusal.code == "too_many_metrics"


@pytest.mark.parametrize("document", [{}, {"a": None}, {"state": "on"}])
def test_a_document_without_a_value_is_no_reading_and_no_error(document):
    assert translated(document).reading is None


def test_a_sent_time_dates_the_reading():
    sent = NOW - timedelta(days=30, microseconds=17)

    reading = translated({"a": 1}, time_ns=nanoseconds(sent) + 999).reading

    assert reading.timestamp == sent


@pytest.mark.parametrize("ahead", [0, 1, 10**9, 10**18, 10**40])
def test_a_time_in_the_future_is_the_receipt(ahead):
    assert translated({"a": 1}, time_ns=nanoseconds(NOW) + ahead).reading.timestamp == NOW


def test_without_a_time_the_receipt_counts():
    reading = translated({"a": 1}).reading

    assert (reading.timestamp, reading.id) == (NOW, None)


@pytest.mark.parametrize("time_ns", [nanoseconds(NOW - timedelta(days=31)) - 1, 0, -1, -(10**40)])
def test_a_time_more_than_31_days_back_is_refused_and_named(time_ns):
    refusal = translated({"a": 1}, time_ns=time_ns).reading

    assert (refusal.field, refusal.code) == ("time", "too_old")


def test_exactly_31_days_back_is_accepted():
    sent = NOW - timedelta(days=31)

    assert translated({"a": 1}, time_ns=nanoseconds(sent)).reading.timestamp == sent


def test_a_repeated_post_gets_the_same_id_whatever_the_order_of_its_values():
    sent = nanoseconds(NOW - timedelta(seconds=5))
    first = translated({"a": 1, "b": 2}, time_ns=sent).reading
    later: Any = Receipt(NOW + timedelta(hours=1))
    again: Any = translate({"b": 2, "a": 1}, device_id="mote-1", receipt=later, time_ns=sent).reading

    assert first.id == again.id
    assert first.id.version == 8


def test_another_device_time_or_value_gets_another_id():
    sent = nanoseconds(NOW - timedelta(seconds=5))
    elsewhere: Any = translate({"a": 1}, device_id="mote-2", receipt=Receipt(NOW), time_ns=sent)
    ids = {
        translated({"a": 1}, time_ns=sent).reading.id,
        translated({"a": 2}, time_ns=sent).reading.id,
        translated({"b": 1}, time_ns=sent).reading.id,
        translated({"a": 1}, time_ns=sent + 1).reading.id,
        elsewhere.reading.id,
    }

    assert len(ids) == 5


def test_a_future_time_is_clamped_but_still_gives_the_same_id():
    sent = nanoseconds(NOW + timedelta(days=400))

    assert translated({"a": 1}, time_ns=sent).reading.id == translated({"a": 1}, time_ns=sent).reading.id


def test_many_readings_get_the_ids_that_each_gets_alone():
    sent = nanoseconds(NOW - timedelta(seconds=5))
    of_each: list[dict[str, float]] = [{"b": 2, "a": 1.5}, {"co2": -0.1}, {"a": 1e300, "b": float(2**53)}]

    ids = identities(["mote-1", "mote-2", "mote-1"], [sent, sent + 1, None], of_each)

    assert ids == [identity("mote-1", sent, of_each[0]), identity("mote-2", sent + 1, of_each[1]), None]


def test_an_id_is_the_same_in_every_version():
    """Otherwise a batch that is repeated after an upgrade would be stored twice."""
    assert (
        str(identity("mote-1", 1_795_996_012_888_123_456, {"b": 2, "a": 1.5})) == "01a229b4-5158-8f06-816f-0f86d7e62b6b"
    )


@given(
    st.lists(
        st.none()
        | st.integers(nanoseconds(NOW - timedelta(days=31)), nanoseconds(NOW))
        | st.sampled_from([nanoseconds(NOW) + more for more in (-1, 0, 1, 10**20)])
        | st.sampled_from([-(10**40), -1, 0, nanoseconds(NOW - timedelta(days=31)) - 1])
    )
)
def test_many_times_are_those_that_each_is_alone(times):
    receipt = Receipt(NOW)

    def alone(time_ns: int | None) -> Any:
        try:
            return receipt.measured_at(time_ns)
        except InvalidReading as error:
            return error.refusal

    assert receipt.each_measured_at(times) == [alone(time_ns) for time_ns in times]


@pytest.mark.parametrize("back", [0, 1, 999, 1000, 1001, 999_999_999, 10**9, 10**15])
def test_times_together_are_rounded_down_to_microseconds(back):
    time_ns = nanoseconds(NOW) - 1 - back

    assert Receipt(NOW).each_measured_at([time_ns]) == [Receipt(NOW).measured_at(time_ns)]
