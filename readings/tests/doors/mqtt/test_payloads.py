"""What topics and payloads of real devices mean."""

from datetime import UTC, datetime, timedelta

import pytest

from readings.doors.mqtt.payloads import Status, content_of
from readings.doors.mqtt.topics import Meaning, is_own_filter, matches, meaning_of

pytestmark = pytest.mark.once

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TS = int(NOW.timestamp() * 1000) - 60_000


def content(topic, payload, own="m1"):
    meaning = meaning_of(topic)
    assert meaning is not None
    return content_of(meaning, payload, own=own, received_at=NOW)


def values(found):
    return [
        {n: v for n, v in (("temperature", r.temperature), ("humidity", r.humidity)) if v is not None} | r.extra
        for r in found.readings
    ]


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("telemetry/m1/readings", b'{"temperature":21.5,"a":{"b":true}}', [{"temperature": 21.5, "a_b": 1}]),
        ("telemetry/m1/readings", b'[{"co2":1},{"co2":"2"}]', [{"co2": 1}, {"co2": 2}]),
        ("v1/devices/me/telemetry", b'{"ts":%d,"values":{"co2":1}}' % TS, [{"co2": 1}]),
        ("v1/devices/me/telemetry", b'[{"ts":%d,"values":{"co2":1}}]' % TS, [{"co2": 1}]),
        ("telemetry/m1/temperature", b"21.5", [{"temperature": 21.5}]),
        ("telemetry/m1/sensor/living_room_humidity/state", b"48.2", [{"living_room_humidity": 48.2}]),
        ("telemetry/m1/binary_sensor/door/state", b"ON", [{"door": 1}]),
        (
            "tele/tasmota_1/SENSOR",
            b'{"Time":"2026-11-29T12:00:00","AM2301":{"Temperature":22.1,"Humidity":40},"TempUnit":"C"}',
            [{"am2301_temperature": 22.1, "am2301_humidity": 40}],
        ),
        (
            "tele/tasmota_1/STATE",
            b'{"Time":"2026-11-29T12:00:00","Uptime":"0T00:10:00","UptimeSec":600,"Heap":25,"SleepMode":"Dynamic",'
            b'"Sleep":50,"LoadAvg":19,"MqttCount":1,"POWER":"ON","Wifi":{"AP":1,"SSId":"net","BSSId":"AA","Channel":6,'
            b'"Mode":"11n","RSSI":80,"Signal":-60,"LinkCount":1,"Downtime":"0T00:00:03"}}',
            [{"uptime_sec": 600, "heap": 25, "load_avg": 19, "switch": 1, "wifi_rssi": 80, "wifi_signal": -60}],
        ),
        ("tele/x/SENSOR", b'{"DS18B20":{"Id":"0123","Temperature":20.5}}', [{"ds18b20_temperature": 20.5}]),
        ("tele/x/SENSOR", b'{"Time":"2026-11-29T12:00:00"}', []),
        ("stat/tasmota_1/POWER", b"OFF", [{"switch": 0}]),
        ("stat/tasmota_1/POWER2", b"ON", [{"switch2": 1}]),
    ],
)
def test_readings_of_real_devices_are_understood(topic, payload, expected):
    found = content(topic, payload)
    assert values(found) == expected
    assert not found.refusals
    assert not found.skipped


def test_a_sent_time_dates_the_reading_and_gives_it_the_same_id_again():
    payload = b'{"ts":%d,"values":{"co2":1}}' % TS
    first, again = (content("v1/devices/me/telemetry", payload).readings[0] for _ in range(2))
    assert first.timestamp == NOW - timedelta(minutes=1)
    assert first.id == again.id


def test_age_seconds_dates_a_reading():
    assert content("telemetry/m1/readings", b'{"co2":1,"age_seconds":60}').readings[0].timestamp == NOW - timedelta(
        minutes=1
    )


@pytest.mark.parametrize(
    ("topic", "payload", "own", "code"),
    [
        ("telemetry/m1/readings", b"{", "m1", "malformed"),
        ("telemetry/m1/readings", b"\xff", "m1", "malformed"),
        ("telemetry/m1/readings", b"{}", "m1", "no_metrics"),
        ("telemetry/m1/readings", b"5", "m1", "not_an_object"),
        ("telemetry/m2/readings", b'{"co2":1}', "m1", "other_device"),
        ("telemetry/m1/readings", b'{"co2":1,"device_id":"m2"}', None, "other_device"),
        ("v1/devices/me/telemetry", b'{"co2":1}', None, "required"),
        ("telemetry/-/readings", b'{"co2":1}', None, "invalid_device_id"),
        ("telemetry/m1/readings", b'{"co2":1,"id":"x"}', "m1", "invalid_id"),
        ("telemetry/m1/readings", b'{"co2":1,"ts":1}', "m1", "too_old"),
        ("telemetry/m1/status", b"perhaps", "m1", "invalid_status"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_code(topic, payload, own, code):
    found = content(topic, payload, own)
    assert [refusal.code for _, refusal in found.refusals] == [code]
    assert not found.readings


def test_a_valid_reading_beside_a_refused_one_is_kept():
    found = content("telemetry/m1/readings", b'[{"co2":1},5]')
    assert (len(found.readings), len(found.refusals)) == (1, 1)


@pytest.mark.parametrize(
    ("topic", "payload", "online"),
    [
        ("telemetry/m1/status", b"offline", False),
        ("telemetry/m1/status", b'{"state":"online"}', True),
        ("tele/any/LWT", b"Offline", False),
    ],
)
def test_a_status_is_understood(topic, payload, online):
    assert content(topic, payload).status == Status("m1", online)


def test_topics_of_other_uses_are_ignored_and_unknown_ones_are_not():
    for topic in (
        "$SYS/broker/connection/x/state",
        "homeassistant/sensor/x/config",
        "stat/x/RESULT",
        "stat/x/POWERED",
        "telemetry/x/debug",
    ):
        meaning = meaning_of(topic)
        assert meaning is not None
        assert meaning.meaning is Meaning.NOTHING
    for topic in ("other", "telemetry/m1", "telemetry/m1/refused", "x" * 300):
        assert meaning_of(topic) is None


def test_a_device_subscribes_to_its_own_topics_only():
    assert is_own_filter("telemetry/m1/#", "m1")
    assert not is_own_filter("telemetry/m2/#", "m1")
    assert not is_own_filter("#", "m1")
    assert matches("telemetry/+/refused", "telemetry/m1/refused")
    assert not matches("#", "$SYS/x")
