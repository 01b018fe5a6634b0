"""What a message says to people: names and units of the catalogue, and numbers with the right form of the noun."""

from datetime import timedelta
from uuid import UUID

import pytest

from devices.metrics import Catalogue, Description
from devices.models import Device
from readings.alarms.delivery.texts import Content, summary_of, text_of
from readings.alarms.models import Alarm, MessageType, Rule
from readings.tests.logs import NOON

pytestmark = pytest.mark.once

CATALOGUE = Catalogue(
    {"temperature": Description("", "°C"), "co2": Description("CO₂", "ppm", 0), "battery": Description("", "%")}
)


def content(rule, count=1, *, value=None, tags=(), ended=False, of=MessageType.OPENED):
    alarms = [
        Alarm(
            device=Device(device_id=f"mote-{number}", name="North window" if number == 1 else ""),
            metric=rule.metric,
            value=value,
            began_at=NOON - timedelta(hours=number),
            resolved_at=NOON if ended else None,
        )
        for number in range(1, count + 1)
    ]
    return Content(UUID(int=1), of, NOON, rule, count, alarms, tags, CATALOGUE)


def rule(kind="threshold", metric="temperature", **given):
    return Rule(kind=kind, metric=metric, **given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            content(rule(above=30), value=31.5),
            "North window (mote-1): temperature above 30 °C (31.5 °C) since 11:00 UTC",
        ),
        (
            content(rule(below=-5.25, above=1200), value=-6),
            "North window (mote-1): temperature outside -5.25 to 1,200 °C (-6 °C) since 11:00 UTC",
        ),
        (
            content(rule(metric="co2", above=1000), value=1234.4),
            "North window (mote-1): CO₂ above 1,000 ppm (1,234 ppm) since 11:00 UTC",
        ),
        (
            content(rule(metric="battery", below=15), 2, value=12),
            "2 devices: battery below 15 % since 10:00 UTC",
        ),
        (
            content(rule(metric="door_open", above=0), value=1, of=MessageType.REPEATED),
            "North window (mote-1): still door open above 0 (1) since 11:00 UTC",
        ),
        (
            content(rule("rate", change=5, per=600), value=25),
            "North window (mote-1): temperature changes by more than 5 °C in 10 min (25 °C) since 11:00 UTC",
        ),
        (
            content(rule("rate", change=5, per=86_400), 2),
            "2 devices: temperature changes by more than 5 °C in 1 day since 10:00 UTC",
        ),
        (
            content(rule("stuck"), value=20),
            "North window (mote-1): temperature does not change (20 °C) since 11:00 UTC",
        ),
        (content(rule("silence", "co2")), "North window (mote-1): no CO₂ since 11:00 UTC"),
        (content(rule("silence", "")), "North window (mote-1) is silent since 11:00 UTC"),
        (
            content(rule("silence", ""), 3, tags=["greenhouse-3"]),
            "3 devices tagged greenhouse-3 are silent since 09:00 UTC",
        ),
        (
            content(rule(above=30), value=31, ended=True, of=MessageType.RESOLVED),
            "North window (mote-1): resolved, was open from 11:00 UTC until 12:00 UTC",
        ),
        (
            content(rule(above=30), 2, value=31, ended=True, of=MessageType.RESOLVED),
            "2 alarms are resolved, open from 10:00 UTC until 12:00 UTC",
        ),
    ],
)
def test_the_sentence_of_a_message(given, expected):
    assert summary_of(given) == expected


def test_a_text_names_ten_devices_with_their_values_and_says_how_many_more(settings):
    settings.PUBLIC_URL = ""
    lines = text_of(content(rule(metric="co2", above=1000, text="Open a window."), 12, value=1200)).splitlines()

    assert lines[2] == "- North window (mote-1) (1,200 ppm): since 11:00 UTC"
    assert lines[3] == "- mote-2 (1,200 ppm): since 10:00 UTC"
    assert lines[11:] == ["- mote-10 (1,200 ppm): since 02:00 UTC", "and 2 more", "", "Open a window."]
