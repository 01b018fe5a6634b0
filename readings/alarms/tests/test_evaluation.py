"""The evaluation: each reading is judged once, in the order of the log."""

import pytest

from readings.alarms.models import Alarm
from readings.alarms.tests.rules import evaluate, make_rule
from readings.tests.logs import at, new, state_of, store

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_value_beyond_the_bound_opens_an_alarm_that_ends_when_it_is_back(device):
    make_rule(metric="temperature", above=30)
    store(
        [
            new(timestamp=at(0), temperature=25),
            new(timestamp=at(10), temperature=31),
            new(timestamp=at(20), temperature=35),
        ]
    )

    evaluate(at(21))

    alarm = Alarm.objects.get()
    assert (alarm.device_id, alarm.metric, alarm.value, alarm.worst) == ("mote-1", "temperature", 31, 35)
    assert (alarm.began_at, alarm.opened_at, alarm.noticed_at) == (at(10), at(10), at(21))
    assert alarm.resolved_at is None
    assert not alarm.late
    assert state_of().alarms_seq == 3
    store([new(timestamp=at(30), temperature=29)])
    evaluate(at(31))
    alarm = Alarm.objects.get()
    assert (alarm.resolved_at, alarm.reason) == (at(30), "cleared")
