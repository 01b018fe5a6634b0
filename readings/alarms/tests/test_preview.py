"""`POST /alarm-rules/preview`: the alarms that a rule would have opened, as the evaluation would have opened them."""

import itertools

import hypothesis
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.examples import examples
from devices.tests.fixtures import problem
from readings.alarms import preview as previewing
from readings.alarms.models import Alarm, Reception, Rule
from readings.alarms.parameters import complete, condition_of
from readings.alarms.preview import preview
from readings.alarms.rules.changing import change_rule
from readings.alarms.tests.rules import evaluate, make_rule
from readings.alarms.tests.test_conditions import series
from readings.alarms.tests.test_evaluation import RULES as KINDS
from readings.tests.logs import NOON, at, make_devices, new, store

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PREVIEW = "/api/v1/alarm-rules/preview"
HOT = {"kind": "threshold", "metric": "temperature", "above": 30}
WINDOW = {"start": "2026-05-09T00:00:00Z", "end": "2026-05-10T00:00:00Z"}
numbers = itertools.count()


def ask(admin, rule, **more):
    response = admin.post(PREVIEW, {"rule": rule, **WINDOW, **more})
    assert response.status_code == 200, response.content
    return response.json()


def test_it_lists_the_alarms_and_stores_nothing(admin, mote, other_device):
    store([new(timestamp=at(n * 10), temperature=value) for n, value in enumerate([20, 31, 35, 29, 31])])
    store([new("mote-2", at(0), humidity=50)])

    found = ask(admin, HOT)

    assert found == {
        "devices": 1,
        "alarms": [
            {
                "device_id": "mote-1",
                "metric": "temperature",
                "state": "resolved",
                "began_at": "2026-05-09T12:00:10.000000Z",
                "opened_at": "2026-05-09T12:00:10.000000Z",
                "value": 31.0,
                "worst": 35.0,
                "resolved_at": "2026-05-09T12:00:30.000000Z",
            },
            {
                "device_id": "mote-1",
                "metric": "temperature",
                "state": "open",
                "began_at": "2026-05-09T12:00:40.000000Z",
                "opened_at": "2026-05-09T12:00:40.000000Z",
                "value": 31.0,
                "worst": 31.0,
                "resolved_at": None,
            },
        ],
        "truncated": False,
    }
    assert not Alarm.objects.exists()
    assert not Rule.objects.active().exists()


def test_the_window_bounds_what_is_judged_and_is_the_last_week_by_default(admin, device):
    now = timezone.now()
    store([new(timestamp=at(0), temperature=31), new(timestamp=at(60), temperature=31)], received_at=now)
    store([new(timestamp=now, temperature=31)], received_at=now)

    window = {"start": "2026-05-09T12:00:00Z", "end": "2026-05-09T12:01:00Z"}
    assert len(ask(admin, HOT | {"for": 60}, **window)["alarms"]) == 0
    assert len(admin.post(PREVIEW, {"rule": HOT}).json()["alarms"]) == 1


def test_it_looks_only_at_the_devices_that_the_rule_names(admin, mote, other_device):
    store([new(device_id, at(0), temperature=31) for device_id in ("mote-1", "mote-2")])

    found = ask(admin, HOT | {"devices": ["mote-2"]})

    assert (found["devices"], [alarm["device_id"] for alarm in found["alarms"]]) == (1, ["mote-2"])


@pytest.mark.once
@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "rule", "required"),
        ({"rule": {"kind": "threshold"}}, "rule.metric", "parameter_missing"),
        ({"rule": HOT | {"below": 40}}, "rule.above", "bounds_crossed"),
        ({"rule": HOT | {"tags": ["roof"]}}, "rule.tags", "unknown_tag"),
        ({"rule": HOT, "start": "now", "end": "-1h"}, "end", "empty_window"),
        ({"rule": HOT, "start": 5}, "start", "invalid"),
        ({"rule": HOT, "since": "now"}, "since", "unknown_field"),
    ],
)
def test_a_wrong_preview_names_its_field(admin, db, body, field, code):
    errors = problem(admin.post(PREVIEW, body), 422)["errors"]

    assert (field, code) in [(error["field"], error["code"]) for error in errors]


def test_late_readings_are_judged_in_the_order_of_the_log(admin, device):
    """In the order of time there would be two alarms, of which the first would end."""
    for seconds, value in ((100, 20), (50, 31), (110, 31)):
        store([new(timestamp=at(seconds), temperature=value)])

    (alarm,) = ask(admin, HOT)["alarms"]

    assert (alarm["opened_at"], alarm["state"]) == ("2026-05-09T12:00:50.000000Z", "open")


class TestSilence:
    def test_gaps_between_readings_are_silences_also_before_the_first_and_after_the_last(self, admin, device):
        moments = [NOON.replace(hour=hour) for hour in (1, 2, 12, 13)]
        store([new(timestamp=moment) for moment in [NOON.replace(day=8), *moments]])

        found = ask(admin, {"kind": "silence", "seconds": 4 * 3600})["alarms"]

        assert [
            (alarm["began_at"][:13], alarm["opened_at"][:13], (alarm["resolved_at"] or "")[:13]) for alarm in found
        ] == [
            ("2026-05-08T12", "2026-05-09T00", "2026-05-09T01"),
            ("2026-05-09T02", "2026-05-09T06", "2026-05-09T12"),
            ("2026-05-09T13", "2026-05-09T17", ""),
        ]

    def test_of_a_metric_other_readings_do_not_count(self, admin, device):
        store([new(timestamp=at(n * 3600), humidity=5 if n % 6 == 0 else None, voltage=5) for n in range(12)])

        found = ask(admin, {"kind": "silence", "seconds": 5 * 3600, "metric": "humidity"})["alarms"]

        assert [alarm["opened_at"][:16] for alarm in found] == ["2026-05-09T17:00", "2026-05-09T23:00"]


class TestBounds:
    def test_too_many_readings(self, db, monkeypatch):
        monkeypatch.setattr(previewing, "PREVIEW_READINGS", 5)
        names = make_devices(3)
        store([new(name, at(n), temperature=31 if n == 3 else 20) for name in names for n in range(4)])

        found = self.preview()

        assert (found.devices, found.truncated) == (2, True)
        assert [alarm.device_id for alarm in found.alarms] == [names[0]]

    def test_too_many_alarms(self, db, monkeypatch):
        monkeypatch.setattr(previewing, "PREVIEW_ALARMS", 2)
        names = make_devices(3)
        store([new(name, at(0), temperature=31) for name in names])

        found = self.preview()

        assert ([alarm.device_id for alarm in found.alarms], found.truncated) == (names[:2], True)

    def test_too_long(self, db, monkeypatch):
        monkeypatch.setattr(previewing, "PREVIEW_SECONDS", 0)
        store([new(name, at(0), temperature=31) for name in make_devices(3)])

        assert (self.preview().devices, self.preview().truncated) == (0, True)

    def test_within_the_bounds_it_is_complete(self, db, monkeypatch):
        monkeypatch.setattr(previewing, "PREVIEW_READINGS", 4)
        monkeypatch.setattr(previewing, "PREVIEW_ALARMS", 3)
        store([new(name, at(0), temperature=31) for name in make_devices(3)])

        assert (self.preview().devices, len(self.preview().alarms), self.preview().truncated) == (3, 3, False)

    def preview(self):
        condition = condition_of(
            Rule(kind="threshold", **complete("threshold", {"metric": "temperature", "above": 30}))
        )
        return preview(condition, [], start=NOON, end=at(100), now=at(100))


@given(KINDS, series())
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(3, of=10), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_equals_the_evaluation(db, given_rule, values):
    device_id = f"node-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    rule = make_rule(metric="x", devices=(device_id,), **given_rule)
    store([new(device_id, sample.at, extra={"x": sample.value}) for sample in values])
    evaluate(at(10_000))

    found = preview(condition_of(rule), [device_id], start=at(-10_000), end=at(10_000), now=at(10_000))

    assert sorted(
        (alarm.began_at, alarm.opened_at, alarm.value, alarm.worst, alarm.resolved_at or at(99_999))
        for alarm in found.alarms
    ) == sorted(
        (alarm.began_at, alarm.opened_at, alarm.value, alarm.worst, alarm.resolved_at or at(99_999))
        for alarm in Alarm.objects.filter(rule=rule)
    )
    change_rule(rule, {"is_active": False}, None, now=at(0))


@given(st.lists(st.integers(1, 900), max_size=10))
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(3, of=10), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_so_it_does_of_a_silence_where_readings_are_received_when_they_are_measured(db, gaps):
    device_id = f"node-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    rule = make_rule("silence", devices=(device_id,), seconds=300)
    received = list(itertools.accumulate(gaps, initial=0))
    wakes = {*received, received[-1] + 500} | {moment + 300 for moment in received}

    for now in sorted(wakes):
        if now in received:
            store([new(device_id, at(now))], received_at=at(now))
        Reception.objects.update_or_create(id=1, defaults={"since": at(-1), "until": at(now)})
        evaluate(at(now))
    end = at(received[-1] + 500)
    found = preview(condition_of(rule), [device_id], start=NOON, end=end, now=end)

    assert [(alarm.began_at, alarm.opened_at, alarm.resolved_at) for alarm in found.alarms] == list(
        Alarm.objects.filter(rule=rule).order_by("opened_at").values_list("began_at", "opened_at", "resolved_at")
    )
    change_rule(rule, {"is_active": False}, None, now=at(0))
