"""The rules for payloads, as in DESIGN.md §3."""

import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devices.metrics import TIME_NAMES
from readings.ingest.payloads import InvalidReading, parse_reading
from readings.log.entries import NewReading, Refusal
from readings.tests.logs import NOON

pytestmark = pytest.mark.once

ID = "0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b"


def parse(payload: Any, device_id: str | None = "mote-1") -> NewReading:
    return parse_reading(payload, device_id=device_id, received_at=NOON)


def refusal(payload: Any, device_id: str | None = "mote-1") -> Refusal:
    with pytest.raises(InvalidReading) as caught:
        parse(payload, device_id)
    return caught.value.refusal


@pytest.mark.parametrize("payload", [None, True, 5, 5.5, "text", [], [{"temperature": 1}]])
def test_it_refuses_what_is_no_object(payload):
    assert refusal(payload).code == "not_an_object"


@pytest.mark.parametrize("payload", [{}, {"temperature": None}, {"rssi": None}, {"id": ID, "age_seconds": 5, "seq": 1}])
def test_it_refuses_a_reading_without_metrics(payload):
    assert refusal(payload) == Refusal("", "no_metrics", "A reading needs at least one metric.")


@pytest.mark.parametrize("name", ["a", "rssi", "t2m", "pm2_5", "co2_", "ids", "device_id_2", "x" * 63])
def test_any_name_of_the_pattern_is_a_metric(name):
    assert parse({name: 1}).extra == {name: 1}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_a",
        "2m",
        "Temp",
        "pm2.5",
        "a-b",
        "a b",
        "température",
        "t\n",
        "a\x00",
        "x" * 64,
        "deviceId",
        "ａ",
        "$where",
    ],
)
def test_it_refuses_any_other_name(name):
    refused = refusal({"temperature": 20, name: 1})
    assert (refused.field, refused.code) == (name, "invalid_name")


def test_it_refuses_a_wrong_name_also_where_the_value_is_null():
    assert refusal({"temperature": 20, "Temp": None}).code == "invalid_name"


def test_the_name_it_refuses_is_shown_shortened():
    assert refusal({"temperature": 20, "X" * 100_000: 1}).field == "X" * 80 + "…"


@pytest.mark.parametrize("name", ["id", "device_id", "seq", "timestamp", "age_seconds"])
def test_a_reserved_key_is_no_metric(name):
    value = {"id": ID, "device_id": "mote-1"}.get(name, 1)
    assert refusal({name: value}).code == "no_metrics"
    assert name not in parse({"rssi": -1, name: value}).extra


def test_null_is_absent():
    reading = parse({"temperature": None, "humidity": 40, "rssi": None, "id": None, "device_id": None})
    assert (reading.temperature, reading.humidity, reading.extra, reading.id) == (None, 40, {}, None)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (21.5, 21.5),
        (-40, -40.0),
        (0, 0.0),
        ("21.5", 21.5),
        ("-40", -40.0),
        ("+3", 3.0),
        ("007", 7.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        (1e300, 1e300),
        (-1e300, -1e300),
        ("1e300", 1e300),
        (5e-324, 5e-324),
        (" 48 ", 48.0),
        ("21.5\r\n", 21.5),
        ("\t -3e2", -300.0),
    ],
)
def test_a_number_counts_also_as_text(value, number):
    reading = parse({"temperature": value, "probe": value})
    assert reading.temperature == number
    assert isinstance(reading.temperature, float)
    assert reading.extra == {"probe": number}


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "abc",
            "nan",
            "NaN",
            "inf",
            "Infinity",
            "-Infinity",
            "1_000",
            "١٢",
            "１２",
            "0x10",
            "1,5",
            "1e",
            "e5",
        ),
        *(".", "+", "--1", "1 2", "- 1", "\u00a01", "\u30001", "\u00001", "true", "null", "1.2.3", "0b1", "½", "1e٢"),
        *(True, False, [], [1], {}, {"value": 1}),
    ],
)
@pytest.mark.parametrize("name", ["temperature", "probe", "age_seconds"])
def test_it_refuses_what_is_no_number(name, value):
    refused = refusal({"voltage": 3.3, name: value})
    assert (refused.field, refused.code) == (name, "not_a_number")


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        float("-inf"),
        float("nan"),
        1.0000001e300,
        -1.1e300,
        10**301,
        10**400,
        "1e301",
        "1e999",
        "9" * 5000,
    ],
    ids=lambda value: str(value)[:12] if isinstance(value, str | float) else f"{len(str(value))} digits",
)
@pytest.mark.parametrize("name", ["temperature", "probe", "age_seconds"])
def test_it_refuses_what_is_beyond_the_largest_value(name, value):
    refused = refusal({"voltage": 3.3, name: value})
    assert (refused.field, refused.code) == (name, "out_of_range")


@pytest.mark.parametrize("value", [0, -67, 2**53, -(2**53)])
def test_a_whole_number_stays_whole(value):
    assert repr(parse({"rssi": value}).extra["rssi"]) == repr(value)


@pytest.mark.parametrize("value", [-67.0, 2**53 + 1, 2**64, 10**300, "-67"])
def test_any_other_number_is_a_double(value):
    assert repr(parse({"rssi": value}).extra["rssi"]) == repr(float(value))


def test_it_takes_32_metrics_beside_the_columns():
    extras: dict[str, Any] = {f"m{n}": n for n in range(32)} | {"absent": None}
    columns = {"temperature": 1, "humidity": 2, "voltage": 3}
    assert len(parse(extras | columns).extra) == 32
    assert refusal(extras | {"m32": 1}).code == "too_many_metrics"


@pytest.mark.parametrize(
    ("age_seconds", "seconds"),
    [(0, 0), (1, 1), (0.000001, 0.000001), ("90", 90), ("1.5", 1.5), (2_678_400, 2_678_400), ("2678400", 2_678_400)],
)
def test_a_reading_is_dated_by_its_age(age_seconds, seconds):
    assert parse({"temperature": 1, "age_seconds": age_seconds}).timestamp == NOON - timedelta(seconds=seconds)


@pytest.mark.parametrize("payload", [{"temperature": 1}, {"temperature": 1, "age_seconds": None}])
def test_a_reading_without_an_age_is_dated_by_its_receipt(payload):
    assert parse(payload).timestamp == NOON


@pytest.mark.parametrize("value", [-0.0, "-0", "-0.0", " -0e5", "-1e-400"])
def test_negative_zero_is_zero(value):
    reading = parse({"humidity": value, "probe": value})
    assert (repr(reading.humidity), repr(reading.extra["probe"])) == ("0.0", "0.0")


@given(st.integers(-(10**300), 10**300) | st.integers(-(2**60), 2**60) | st.integers(53, 900).map(lambda n: 2**n + 1))
@example(2**53)
@example(2**53 + 1)
@example(-(2**53) - 1)
@example(2**53 + 2)
@example(2**64)
@example(10**22)
@example(10**23)
def test_an_integer_that_no_double_represents_is_named(value):
    named = ("humidity", "probe") if int(float(value)) != value else ()
    for written in (value, str(value), f" {value:+}", f"{'-' if value < 0 else ''}000{abs(value)}"):
        reading = parse({"humidity": written, "probe": written, "temperature": 1.5})
        assert reading.rounded == named
        assert reading.humidity == reading.extra["probe"] == float(value)


@given(st.floats(-1e300, 1e300))
@example(0.1)
@example(9007199254740993.0)
@example(5e-324)
def test_a_double_is_never_named_as_rounded(value):
    for written in (value, repr(value)):
        reading = parse({"humidity": written, "probe": written})
        assert reading.rounded == ()
        assert reading.humidity == reading.extra["probe"] == value


@pytest.mark.parametrize("age_seconds", [-1, -0.000001, "-1", 2_678_400.001, 2_678_401, "2678401", 1e300])
def test_it_refuses_an_age_outside_31_days(age_seconds):
    refused = refusal({"temperature": 1, "age_seconds": age_seconds})
    assert (refused.field, refused.code) == ("age_seconds", "out_of_range")


@pytest.mark.parametrize("value", ["2020-01-01T00:00:00Z", 0, 1778328000, 1e999, False, "nonsense", {"nested": [1]}])
@pytest.mark.parametrize("name", [*TIME_NAMES, "seq"])
def test_a_time_and_a_seq_of_the_payload_are_ignored_which_is_said(name, value):
    reading = parse({"temperature": 1, name: value})
    assert (reading.timestamp, reading.extra) == (NOON, {})
    assert reading.ignored == (name,)


def test_the_names_of_times_are_those_of_the_contract():
    assert TIME_NAMES == ("timestamp", "ts", "time", "date", "datetime", "created_at")


@pytest.mark.parametrize("name", ["tsl", "times", "dates", "time_ms", "created", "uptime"])
def test_similar_names_are_metrics(name):
    assert parse({name: 5}).extra == {name: 5}


@pytest.mark.parametrize("name", TIME_NAMES)
def test_a_reading_with_nothing_but_a_time_is_told_how_to_date_it(name):
    refused = refusal({name: 1778328000, "temperature": None})
    assert refused.code == "no_metrics"
    assert f"Not used: {name}." in refused.detail
    assert "age_seconds" in refused.detail


def test_nothing_is_said_to_be_ignored_where_nothing_was():
    assert parse({"temperature": 1, "timestamp": None, "ts": None}).ignored == ()


def test_a_long_text_that_is_no_number_is_refused_at_once():
    before = time.process_time()
    assert refusal({"temperature": "1" * 100_000 + "x"}).code == "not_a_number"
    assert time.process_time() - before < 0.5
