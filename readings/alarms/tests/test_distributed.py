"""Alarms of devices on several shards, over a pretended map of five."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import DeviceState
from devices.tests.fixtures import shard_of
from readings.alarms.evaluation.known import Known, Written, read_known, write_known
from readings.alarms.models import Alarm, EvaluationState, Rule
from readings.alarms.tests.rules import evaluate, make_rule
from readings.models import Reading
from readings.tests.logs import at, make_devices, new, store

pytestmark = pytest.mark.django_db


def judged(names: list[str]) -> list[Any]:
    """What a rule with a state of its own for each device finds in these logs."""
    make_rule(metric="temperature", above=30, for_=60)
    for round_number in range(3):
        values = [20 + (7 * n + round_number) % 20 for n in range(len(names))]
        store(new(name, at(60 * round_number), temperature=value) for name, value in zip(names, values, strict=True))
        assert evaluate(at(60 * round_number + 1)).readings == len(names)
    states = EvaluationState.objects.order_by("device_id").values_list("device_id", "state")
    alarms = Alarm.objects.order_by("device_id", "opened_at").values_list("device_id", "began_at", "worst")
    return [list(states), list(alarms)]


def test_devices_of_several_shards_are_judged_as_those_of_one(settings, five_shards):
    found = []
    for distributed in (False, True):
        settings.DISTRIBUTED = distributed
        found.append(judged(make_devices(40)))
        for model in (Alarm, EvaluationState, Rule, Reading, DeviceState):
            model.objects.all().delete()
        connection.cursor().execute("DELETE FROM devices_device")
    assert found[0] == found[1]
    assert all(found[0])


def test_what_rules_know_is_read_shard_by_shard(five_shards):
    names = make_devices(40)
    rule = make_rule(metric="temperature", above=30)
    write_known([Written(rule.pk, name, 3, "{}", heard_at=None) for name in names])

    with CaptureQueriesContext(connection) as queries:
        known = read_known([*names, "nobody"], [rule.pk])

    assert known == {name: {rule.pk: Known(3, "{}", heard=False)} for name in names}
    statements = [query["sql"] for query in queries.captured_queries]
    assert [{shard_of(name) for name in names if name in sql} for sql in statements] == [{0}, {1}, {2}, {3}, {4}]
